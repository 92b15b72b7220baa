//! The guard: a small process between the daemon and a command, so that the command cannot outlive
//! the daemon, nor anything it started outlive the command.
//!
//! The daemon runs `openpista-guard __guard/VERSION PROGRAM ARGUMENTS…` with one end of a socket as
//! standard input. That is a program of its own because each command waits for its start, and a small
//! one starts sooner; where there is none beside ours ([`find`]), our own does the same. The guard starts the program in a process group of its own and
//! reports over the socket, a line by line. When the socket is at its end, be it that the
//! daemon asks for an end or that it died in any way, SIGKILL included, the guard ends everything:
//! first with SIGTERM, and with SIGKILL what is still there half a second later. On Linux it adopts
//! what its descendants orphan, so it also finds what left the group by `setsid`; it ends itself
//! once nothing is left. Elsewhere it knows the process group alone.
//!
//! The guard leads a session without a terminal: the terminal's Ctrl-C goes to the daemon alone,
//! and nothing below the guard can stop to ask a person for a password.
//!
//! With `--hold FILE` in their place it starts the program that the file tells of, kept within
//! limits and walls, as a family (`family`) that the kernel counts and ends. It looks itself
//! how much memory all of it have together, and ends it at once when that is too much.
//!
//! It does not use the kernel's parent-death signal, which comes when the *thread* that started
//! the guard ends and so would kill commands at random in a program with a pool of threads. The
//! socket cannot be mistaken: it is at its end exactly when the daemon has closed it.
//!
//! It also goes by a name of its own, so that killing the daemon by name spares the guard, which
//! then ends the command. Whoever kills the guard itself leaves the daemon to kill its session;
//! only what had left that outlives it, unless it is a family in a PID namespace.

use super::family::{self, Family};
use super::hold::{Hold, Limits};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// The hidden subcommand that makes a program of ours a guard. One of another version does not know
/// it, and starts nothing.
pub const SUBCOMMAND: &str = concat!("__guard/", env!("CARGO_PKG_VERSION"));

/// The option by which a guard learns of the file with a [`Hold`].
pub(super) const HOLD: &str = "--hold";

/// The option by which a family's first process learns of the same file.
pub(super) const INIT: &str = "--init";

/// The name of the guard's program, and that by which it goes in lists of processes.
pub const NAME: &str = "openpista-guard";

/// How long a command may take to end after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// How long the guard tries to kill what does not go away, such as a process of another user.
pub(super) const KILLING: Duration = Duration::from_secs(2);

/// How often a guard looks at what it holds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The guard reaps orphans and finds them by their parent: else only the group is known.
const ADOPTS: bool = cfg!(target_os = "linux");

/// What the guard tells the daemon, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The command runs, and leads this process group.
    Started(Pid),
    /// What is held is kept so.
    Kept(String),
    /// The system would not start it.
    Failed(String),
    /// The command ended with this exit code. Others of its group may still run.
    Exited(i32),
    /// The command was ended by this signal. Others of its group may still run.
    Killed(i32),
    /// The command and what it started used this, more than they may. They are being ended.
    Exceeded(String),
}

impl Report {
    /// Reads a line without its end; none when no guard wrote it.
    pub(super) fn parse(line: &str) -> Option<Report> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "started" => Some(Report::Started(Pid::from_raw(rest.parse().ok()?)?)),
            "kept" => Some(Report::Kept(rest.to_owned())),
            "failed" => Some(Report::Failed(rest.to_owned())),
            "exited" => Some(Report::Exited(rest.parse().ok()?)),
            "killed" => Some(Report::Killed(rest.parse().ok()?)),
            "exceeded" => Some(Report::Exceeded(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Started(group) => write!(f, "started {}", group.as_raw_nonzero()),
            Report::Kept(how) => write!(f, "kept {how}"),
            Report::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Report::Exited(code) => write!(f, "exited {code}"),
            Report::Killed(signal) => write!(f, "killed {signal}"),
            Report::Exceeded(limit) => write!(f, "exceeded {limit}"),
        }
    }
}

/// What is to be started as a guard: the program beside ours, or else our own once more. Either is
/// the one that was there when this was first called, also when another version was installed since.
///
/// # Errors
/// The system does not say where our own program is.
pub fn find() -> io::Result<PathBuf> {
    #[cfg(target_os = "linux")]
    {
        static BESIDE: OnceLock<Option<File>> = OnceLock::new();
        let beside = BESIDE.get_or_init(|| {
            let path = crate::companion::find(NAME, None);
            let runs = rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok();
            File::open(path).ok().filter(|_| runs)
        });
        Ok(match beside {
            Some(program) => format!("/proc/self/fd/{}", program.as_raw_fd()).into(),
            None => "/proc/self/exe".into(),
        })
    }
    #[cfg(not(target_os = "linux"))]
    std::env::current_exe()
}

/// The program `openpista-guard`.
pub fn program() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == SUBCOMMAND => main(args),
        Some(first) if first == "--version" => {
            println!("{NAME} {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{NAME} is started by openpistacrab of the same version, for each command.");
            ExitCode::from(2)
        }
    }
}

/// Guards one command: `args` are its program and arguments, or tell of them; they follow
/// [`SUBCOMMAND`] on the command line. Returns when the command and everything it started is gone. Its exit code means
/// success when the command was started, however that ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    close_inherited();
    let mut args = args.into_iter();
    let (Some(program), Some(control)) = (args.next(), control()) else {
        eprintln!("`{SUBCOMMAND}` is used by openpistacrab itself. Try `openpistacrab --help`.");
        return ExitCode::from(2);
    };
    let ended = match args.next() {
        Some(file) if program == INIT => {
            let door = args.next();
            family::init(file.as_ref(), door.as_deref().map(Path::new), &control)
        }
        Some(file) if program == HOLD => Hold::read(file.as_ref()).and_then(|hold| {
            let family = Family::prepare(&hold);
            let start = || {
                let (init, reports) = family.start(file.as_ref())?;
                Ok((init, Some(reports)))
            };
            guard(start, Some(hold.limits), &control)
        }),
        first => {
            let mut command = Command::new(program);
            command
                .args(first)
                .args(args)
                .stdin(Stdio::null())
                .process_group(0);
            guard(|| Ok((command.spawn()?, None)), None, &control)
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&control, &Report::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Closes what the daemon never knew that it had open: whoever started it has left it open, and
/// no command is to find it. Nothing of our own is open yet.
fn close_inherited() {
    #[cfg(target_os = "linux")]
    {
        let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
        let open = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let open: Vec<i32> = open.filter(|fd| *fd > 2).collect();
        for fd in open {
            // One of them was the directory's, which is closed.
            let _ = nix::unistd::close(fd);
        }
    }
}

/// Standard input as the socket to the daemon; none when it is something else.
fn control() -> Option<UnixStream> {
    let control = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    control.local_addr().is_ok().then_some(control)
}

/// A guard can say what it likes to a daemon that is gone.
pub(super) fn say(mut control: &UnixStream, report: &Report) {
    let _ = control.write_all(format!("{report}\n").as_bytes());
}

/// Starts something, which may report for itself, and guards it.
///
/// # Errors
/// It was not started.
fn guard(
    start: impl FnOnce() -> io::Result<(Child, Option<UnixStream>)>,
    limits: Option<Limits>,
    control: &UnixStream,
) -> io::Result<()> {
    stand_apart()?;
    let null = null()?;
    let group = Arc::new(OnceLock::new());
    let ending = thread::Builder::new().spawn({
        let (group, control) = (Arc::clone(&group), control.try_clone()?);
        move || {
            wait_for_end(control);
            end(*group.wait());
        }
    })?;
    if let Some(limits) = limits {
        let (group, control) = (Arc::clone(&group), control.try_clone()?);
        thread::Builder::new().spawn(move || watch(*group.wait(), limits, &control))?;
    }
    let (child, reports) = start()?;
    let leader = Pid::from_child(&child);
    // At once: until then nobody but us could end it.
    say(control, &Report::Started(leader));
    let_go_of_output(&null);
    let _ = group.set(leader);
    if let Some(mut reports) = reports {
        // To its end, which is that of the leader.
        let _ = io::copy(&mut reports, &mut &*control);
    }
    reap(leader, control);
    if !ADOPTS {
        let _ = ending.join();
    }
    Ok(())
}

/// What swallows everything.
pub(super) fn null() -> io::Result<File> {
    File::options().write(true).open("/dev/null")
}

/// Our own hold on a command's output would keep the daemon from seeing its end.
pub(super) fn let_go_of_output(null: &File) {
    let _ = rustix::stdio::dup2_stdout(null).and(rustix::stdio::dup2_stderr(null));
}

/// Leaves the daemon's session, adopts orphans, and takes a name of its own.
pub(super) fn stand_apart() -> io::Result<()> {
    // Fails only for one that leads a group already: started by hand from a shell, say.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let _ = std::fs::write("/proc/self/comm", NAME);
    }
    Ok(())
}

/// Reaps until there is nobody left, and reports the command's own end.
pub(super) fn reap(leader: Pid, control: &UnixStream) {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == leader => {
                if let Some(code) = status.exit_status() {
                    say(control, &Report::Exited(code));
                } else if let Some(signal) = status.terminating_signal() {
                    say(control, &Report::Killed(signal));
                }
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Waits until the daemon closes its end of the socket, or dies.
fn wait_for_end(mut control: UnixStream) {
    let _ = std::io::copy(&mut control, &mut std::io::sink());
}

/// Ends the command and all that it started. On Linux the guard itself ends, in [`reap`], as soon
/// as nothing is left, whatever this still waits for.
fn end(group: Pid) {
    signal_all(group, Signal::TERM);
    let pause = Duration::from_millis(10);
    let is_gone = || !ADOPTS && rustix::process::test_kill_process_group(group).is_err();
    for _ in 0..GRACE.as_millis() / pause.as_millis() {
        if is_gone() {
            return;
        }
        thread::sleep(pause);
    }
    for _ in 0..KILLING.as_millis() / pause.as_millis() {
        signal_all(group, Signal::KILL);
        if is_gone() {
            return;
        }
        thread::sleep(pause);
    }
    std::process::exit(0);
}

/// Looks again and again whether what is held is within its limits, and ends it when it is not.
fn watch(group: Pid, limits: Limits, control: &UnixStream) {
    loop {
        thread::sleep(LOOK_EVERY);
        let mut family = descendants();
        // Its first process is ours.
        family.retain(|process| process.id != group.as_raw_nonzero().get());
        if let Some(limit) = limits.exceeded(&family) {
            say(control, &Report::Exceeded(limit));
            // No pause: what multiplies must not be quicker.
            loop {
                signal_all(group, Signal::KILL);
            }
        }
    }
}

/// Sends a signal once to the group and to each descendant outside it. What cannot be signalled
/// is gone, or another user's.
fn signal_all(group: Pid, signal: Signal) {
    let _ = rustix::process::kill_process_group(group, signal);
    for process in descendants() {
        if process.group != group.as_raw_nonzero().get()
            && let Some(pid) = Pid::from_raw(process.id)
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Kills what a guard has started that was itself killed: all are of the session that it led.
pub(super) fn kill_session(guard: u32) {
    let of_session = |process: &Process| i64::from(process.session) == i64::from(guard);
    for process in processes().iter().filter(|process| of_session(process)) {
        if let Some(pid) = Pid::from_raw(process.id) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// A line of the system's table of processes.
#[derive(Clone, Copy)]
pub(super) struct Process {
    id: i32,
    parent: i32,
    group: i32,
    session: i32,
    /// How many threads it has, its first included.
    pub(super) threads: u64,
    /// How much memory it holds.
    pub(super) memory_bytes: u64,
}

/// The guard's descendants, however deep, parents first.
fn descendants() -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = children
        .remove(&(std::process::id() as i32))
        .unwrap_or_default();
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children.remove(&process.id).unwrap_or_default());
        next += 1;
    }
    found
}

#[cfg(target_os = "linux")]
fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let page = rustix::param::page_size() as u64;
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| {
        let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // `ID (NAME) STATE PARENT GROUP …`, and a name may have brackets and blanks in it.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1);
        Some(Process {
            id,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            threads: fields.nth(13)?.parse().ok()?,
            memory_bytes: fields.nth(3)?.parse::<u64>().ok()?.saturating_mul(page),
        })
    })
    .collect()
}

#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<Process> {
    Vec::new()
}
