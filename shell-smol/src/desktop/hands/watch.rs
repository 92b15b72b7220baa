//! A process of its own that releases what we hold, when we are killed.
//!
//! The program starts itself once more, in a group of its own, and tells it over a socket what goes
//! down and what comes up. The socket closes when the program ends, however that comes about;
//! then the watcher releases what is still down, takes back codes that were lent, and ends. It is
//! not ended by the signals with which a terminal or a service manager ends a whole family: those
//! that cannot be ignored reach it only when it is meant.

use super::held::{Device, Fault, Pressed};
use super::system::Stroke;
use crate::companion::Served;
use async_signal::{Signal, Signals};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

/// The argument by which the program becomes a watcher.
pub(crate) const ARGUMENT: &str = "watch";

/// How long after our end what is down is released, again and again, in milliseconds: what we
/// asked of the display in our last moment may come to it later than the watcher's first word.
const RELEASES_MS: [u64; 3] = [0, 50, 250];
/// How long a watcher may take to be there.
const START: Duration = Duration::from_secs(20);

/// What the watcher must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// This goes down.
    Down(Pressed),
    /// This is up.
    Up(Pressed),
    /// These codes are lent, and no others.
    Lent(Vec<Stroke>),
}

/// Our end of a watcher. Dropping it ends the watcher, once that has released what is down.
pub(crate) struct Watcher {
    child: Child,
    socket: UnixStream,
}

impl Watcher {
    /// Starts one, and waits until it watches.
    ///
    /// # Errors
    /// It cannot be started, or does not reach the display.
    pub(crate) fn start(program: &Path) -> Result<Watcher, Fault> {
        let failed = |error: io::Error| Fault(format!("no watcher can be started: {error}"));
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(program)
            .arg(ARGUMENT)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let watcher = Watcher {
            child,
            socket: ours,
        };
        watcher
            .socket
            .set_read_timeout(Some(START))
            .map_err(failed)?;
        let mut hello = String::new();
        let read = BufReader::new(&watcher.socket).read_line(&mut hello);
        match read.map_err(failed)? {
            0 => Err(failed(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(watcher),
        }
    }

    /// Tells it something. What it was told outlives us.
    ///
    /// # Errors
    /// It is gone, so nothing may be pressed.
    pub(super) fn tell(&self, note: &Note) -> Result<(), Fault> {
        let gone = |error| Fault(format!("the watcher is gone: {error}"));
        let mut line = serde_json::to_vec(note).map_err(|error| gone(error.into()))?;
        line.push(b'\n');
        (&self.socket).write_all(&line).map_err(gone)
    }

    /// One that hears and does nothing.
    #[cfg(test)]
    pub(super) fn idle() -> Watcher {
        let (socket, theirs) = UnixStream::pair().expect("a socket");
        let mut cat = Command::new("cat");
        cat.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let child = cat.spawn().expect("cat");
        Watcher { child, socket }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Our own program, also when its file was replaced meanwhile.
pub(super) fn ourselves() -> PathBuf {
    match cfg!(target_os = "linux") {
        true => "/proc/self/exe".into(),
        false => std::env::current_exe().unwrap_or_else(|_| crate::desktop::PROGRAM.into()),
    }
}

/// The watcher's whole life.
pub(crate) fn main() -> ExitCode {
    match watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{}: watcher: {fault}", crate::desktop::PROGRAM);
            ExitCode::FAILURE
        }
    }
}

fn watch() -> Result<(), Fault> {
    let failed = |error: io::Error| Fault(error.to_string());
    // Caught and never looked at.
    let _deaf = Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map_err(failed)?;
    let mut device = Device::open(None)?;
    let mut served = Served::new().map_err(failed)?;
    let mut left = Left::default();
    while let Some(note) = served.hear() {
        left.note(note);
    }
    left.release(&mut device)
}

/// What is down and lent, as far as we were told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    down: Vec<Pressed>,
    lent: Vec<Stroke>,
}

impl Left {
    fn note(&mut self, note: Note) {
        match note {
            Note::Down(what) => self.down.push(what),
            Note::Up(what) => self.down.retain(|down| *down != what),
            Note::Lent(strokes) => self.lent = strokes,
        }
    }

    fn release(&self, device: &mut Device) -> Result<(), Fault> {
        if *self == Left::default() {
            return Ok(());
        }
        let mut end = Ok(());
        for wait_ms in RELEASES_MS {
            thread::sleep(Duration::from_millis(wait_ms));
            for what in self.down.iter().rev() {
                end = end.and(device.release(*what));
            }
        }
        end.and(device.keyboard.give_back(&self.lent))
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::Button;
    use super::*;

    #[test]
    fn what_is_left_is_what_did_not_come_up() {
        let mut left = Left::default();
        let (one, other) = (
            Pressed::Button(Button::Left),
            Pressed::Button(Button::Right),
        );
        for note in [Note::Down(one), Note::Down(other), Note::Up(other)] {
            left.note(note);
        }
        assert_eq!(left.down, [one]);
        left.note(Note::Up(one));
        assert_eq!(left, Left::default());
    }
}
