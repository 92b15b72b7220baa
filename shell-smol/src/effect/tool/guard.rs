//! The guard: a small process between the daemon and a command, so that the command cannot outlive
//! the daemon, nor anything it started outlive the command.
//!
//! The daemon runs its own program again as `openpistacrab __guard PROGRAM ARGUMENTS…` with one end
//! of a socket as standard input. The guard starts the program in a process group of its own and
//! reports over the socket, a line by line. When the socket is at its end, be it that the
//! daemon asks for an end or that it died in any way, SIGKILL included, the guard ends everything:
//! first with SIGTERM, and with SIGKILL what is still there half a second later. On Linux it adopts
//! what its descendants orphan, so it also finds what left the group by `setsid`; it ends itself
//! once nothing is left. Elsewhere it knows the process group alone.
//!
//! The guard leads a session without a terminal: the terminal's Ctrl-C goes to the daemon alone,
//! and nothing below the guard can stop to ask a person for a password.
//!
//! As `openpistacrab __guard --hold FILE` it starts the program that the file tells of, kept within
//! limits and walls, and ends everything at once when that grows beyond them.
//!
//! It does not use the kernel's parent-death signal, which comes when the *thread* that started
//! the guard ends and so would kill commands at random in a program with a pool of threads. The
//! socket cannot be mistaken: it is at its end exactly when the daemon has closed it.
//!
//! It also goes by a name of its own, so that killing the daemon by name spares the guard, which
//! then ends the command. Whoever kills the guard itself leaves the daemon to kill the process
//! group; only what had left the group outlives that.

use super::hold::{self, Hold, Limits};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// The hidden subcommand that makes our program a guard.
pub const SUBCOMMAND: &str = "__guard";

/// The option by which a guard learns of the file with a [`Hold`].
pub(super) const HOLD: &str = "--hold";

/// The name that a guard goes by in lists of processes.
pub(super) const NAME: &str = "openpista-guard";

/// How long a command may take to end after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// How long the guard tries to kill what does not go away, such as a process of another user.
pub(super) const KILLING: Duration = Duration::from_secs(2);

/// How often a guard looks how many threads the machine has, which costs nothing.
const GLANCE_EVERY: Duration = Duration::from_millis(10);

/// How often, in glances, it looks at each process that it holds.
const LOOK_EVERY: u32 = 10;

/// The guard reaps orphans and finds them by their parent: else only the group is known.
const ADOPTS: bool = cfg!(target_os = "linux");

/// What the guard tells the daemon, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The command runs, and leads this process group.
    Started(Pid),
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
            Report::Failed(why) => write!(f, "failed {}", why.replace('\n', " ")),
            Report::Exited(code) => write!(f, "exited {code}"),
            Report::Killed(signal) => write!(f, "killed {signal}"),
            Report::Exceeded(limit) => write!(f, "exceeded {limit}"),
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
        Some(file) if program == HOLD => Hold::read(file.as_ref()).and_then(|hold| {
            let usual = hold::go_first();
            guard(|| hold.start(usual), Some(hold.limits), &control)
        }),
        first => {
            let mut command = Command::new(program);
            command
                .args(first)
                .args(args)
                .stdin(Stdio::null())
                .process_group(0);
            guard(|| command.spawn(), None, &control)
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
fn say(mut control: &UnixStream, report: &Report) {
    let _ = control.write_all(format!("{report}\n").as_bytes());
}

/// # Errors
/// The command was not started.
fn guard(
    start: impl FnOnce() -> std::io::Result<Child>,
    limits: Option<Limits>,
    control: &UnixStream,
) -> std::io::Result<()> {
    stand_apart()?;
    let null = std::fs::File::options().write(true).open("/dev/null")?;
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
    let child = start()?;
    let leader = Pid::from_child(&child);
    // At once: until then nobody but us could end it.
    say(control, &Report::Started(leader));
    // Our own hold on the command's output would keep the daemon from seeing its end.
    let _ = rustix::stdio::dup2_stdout(&null).and(rustix::stdio::dup2_stderr(&null));
    let _ = group.set(leader);
    reap(leader, control);
    if !ADOPTS {
        let _ = ending.join();
    }
    Ok(())
}

/// Leaves the daemon's session, adopts orphans, and takes a name of its own.
fn stand_apart() -> std::io::Result<()> {
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
fn reap(leader: Pid, control: &UnixStream) {
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
/// It looks at once when the whole machine's number of threads jumps.
fn watch(group: Pid, limits: Limits, control: &UnixStream) {
    let before = hold::threads_of_all();
    for glance in 1_u32.. {
        thread::sleep(GLANCE_EVERY);
        let jumped = hold::threads_of_all() > before.saturating_add(limits.processes);
        if !jumped && !glance.is_multiple_of(LOOK_EVERY) {
            continue;
        }
        if let Some(limit) = limits.exceeded(&descendants()) {
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

/// A line of the system's table of processes.
#[derive(Clone, Copy)]
pub(super) struct Process {
    id: i32,
    parent: i32,
    group: i32,
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
            threads: fields.nth(14)?.parse().ok()?,
            memory_bytes: fields.nth(3)?.parse::<u64>().ok()?.saturating_mul(page),
        })
    })
    .collect()
}

#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<Process> {
    Vec::new()
}
