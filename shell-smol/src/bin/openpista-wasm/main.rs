//! `openpista-wasm`: the program that WebAssembly guests run in, beside the daemon.
//!
//! It is a companion of the daemon, a *host*. It makes guests ready and lets them answer, one
//! at a time, and what a guest does can harm one call at the most: the daemon links no compiler and
//! no guest's code, a guest that is stopped or takes too long is ended with its host, whatever the
//! two are doing at that moment, and so no clock has to tick inside.
//!
//! Whoever breaks out of a guest is in a process that has nothing. Before its first word a host has
//! closed walls around itself: it reads the workspace and nothing else, has no socket but
//! the one to the daemon, no other process, no program to start, no environment but where these are.
//! Until its first guest runs it may also write to the cache of compiled modules, which are machine
//! code; then it closes that too. So what a guest has become cannot reach those that come after it.
//! It is never told a secret. Where the kernel cannot keep such walls, guests run without: their
//! own, WebAssembly's, are then the only ones.
//!
//! A host ends with the daemon, also in the middle of a guest: one thread does nothing but wait for
//! that.

mod abi;
mod cache;
mod engine;
mod printed;
mod trial;
mod world;

use self::cache::Cache;
use self::engine::{Bounds, Machine};
use openpista_shell_smol::companion::Served;
use openpista_shell_smol::guest::line::{Ask, Place, Run, Said};
use openpista_shell_smol::guest::{self, PROGRAM};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

/// Room for a guest's stack, which wasmtime bounds at 512 KiB, and for ours.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// The largest piece of an answer that is said at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What says something to the daemon.
type Tell = Arc<dyn Fn(&Said) + Send + Sync>;

/// The program: serves the daemon that started it until that is gone.
fn main() -> ExitCode {
    let place = match (std::env::args().nth(1).as_deref(), Place::of_environment()) {
        (None, Some(place)) => place,
        (Some("--version"), _) => {
            println!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!(
                "{PROGRAM} runs WebAssembly skills for openpistacrab, which starts it itself."
            );
            return ExitCode::from(2);
        }
    };
    match host(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{PROGRAM}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn host(place: Place) -> io::Result<()> {
    // Its Ctrl-C is for the daemon. Fails only for one that leads a group already.
    let _ = rustix::process::setsid();
    let (hand_over, served) = channel();
    let mut walls = close(&place);
    thread::Builder::new()
        .name("guest".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _end = EndsWithMe;
            if let Ok((served, tell, walls)) = served.recv() {
                serve(served, place, &tell, walls);
            }
        })?;
    // This thread writes nothing, so it need not wait for the first guest.
    if walls.is_ok() {
        let closed = guest::close_to_writing();
        walls = closed.map_err(|error| error.to_string()).and(walls);
    }
    let served = Served::new()?;
    let voice = served.voice()?;
    // To a daemon that is gone anything can be said.
    let tell: Tell = Arc::new(move |said: &Said| drop(voice.say(said)));
    let handed_over = hand_over.send((served, tell, walls));
    handed_over.map_err(io::Error::other)?;
    wait_for_end()
}

/// Closes the walls around this thread and those that it starts; says how they are kept, or why
/// they are not.
fn close(place: &Place) -> Result<String, String> {
    // Where it cannot be made, nothing is kept; where there is no data directory, nobody wants it.
    if place.cache_dir.parent().is_some_and(Path::is_dir) {
        let _ = Cache::new(place.cache_dir.clone()).make();
    }
    guest::enclose(place).map_err(|error| error.to_string())
}

/// Waits until the daemon closes its end of the socket, or dies. What it says is for the others.
fn wait_for_end() -> io::Result<()> {
    let socket = io::stdin();
    loop {
        let mut watched = [PollFd::new(&socket, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) if !watched[0].revents().is_empty() => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The process has nothing to do without the thread that has this.
struct EndsWithMe;

impl Drop for EndsWithMe {
    fn drop(&mut self) {
        std::process::exit(i32::from(thread::panicking()));
    }
}

/// Does what is asked until nobody is there to ask.
fn serve(mut served: Served, place: Place, tell: &Tell, walls: Result<String, String>) {
    let walled = walls.is_ok();
    let bounds = Bounds {
        workspace: place.workspace.clone(),
        memory_bytes: place.memory_bytes,
    };
    let mut machine = match Machine::new(bounds, Cache::new(place.cache_dir.clone())) {
        Ok(machine) => machine,
        Err(error) => {
            let why = format!("{error:#}");
            return tell(&Said::Unusable { why });
        }
    };
    tell(&Said::Ready { walls });
    let mut host = Host {
        machine: &mut machine,
        workspace: place.workspace.clone(),
        walled,
        writes: true,
        tell,
    };
    while let Some(ask) = served.hear() {
        let said = match ask {
            Ask::Prepare { file } => host.prepare(&file),
            Ask::Run(run) => host.run(&run),
            Ask::Try => {
                host.stop_writing();
                let possible = trial::possible(&place);
                Said::Tried { possible }
            }
        };
        tell(&said);
    }
}

/// What serves.
struct Host<'a> {
    machine: &'a mut Machine,
    workspace: PathBuf,
    walled: bool,
    /// It may still write to the cache.
    writes: bool,
    tell: &'a Tell,
}

impl Host<'_> {
    fn prepare(&mut self, file: &Path) -> Said {
        match self.machine.prepare(&self.workspace.join(file), self.tell) {
            Ok((digest, stamp)) => Said::Prepared { digest, stamp },
            Err(why) => Said::Refused { why },
        }
    }

    fn run(&mut self, run: &Run) -> Said {
        let Run {
            file,
            digest,
            request,
            timeout_ms,
        } = run;
        let path = self.workspace.join(file);
        let guest = match self.machine.guest(digest, &path, self.tell) {
            Ok(guest) => guest,
            Err(why) => return Said::Refused { why },
        };
        self.stop_writing();
        let called = self.machine.call(&guest, request, *timeout_ms, self.tell);
        let mut rest = called.output.as_str();
        while rest.len() > PIECE_BYTES {
            let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            let text = piece.to_owned();
            (self.tell)(&Said::Answered { text });
            rest = more;
        }
        Said::Ended {
            exit: called.exit,
            text: rest.to_owned(),
        }
    }

    /// Before the first guest: the cache is code that others will run.
    fn stop_writing(&mut self) {
        if std::mem::take(&mut self.writes) {
            self.machine.stop_writing();
            if self.walled
                && let Err(error) = guest::close_to_writing()
            {
                let what = format!("guests could write to the cache of compiled skills: {error}");
                (self.tell)(&Said::Warning { what });
            }
        }
    }
}
