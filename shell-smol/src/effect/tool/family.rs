//! A family: a program that is held, with all that it starts.
//!
//! Two things must not depend on who is quicker, the family or its [guard](super::guard): how many
//! it is, and that it ends. So the kernel keeps both, where it can.
//!
//! **Its end.** The guard starts our own program once more, as the first process of a PID namespace,
//! and that starts what is held. When the first process ends, the kernel ends all others of the
//! namespace, whatever session or group they are of, and lets nobody join meanwhile. It ends when
//! nobody is left, when the guard kills it, and when the guard itself is killed. It reaps orphans.
//!
//! **Its number.** `RLIMIT_NPROC` is counted anew in a user namespace (Linux 5.14), exactly, threads
//! included, whatever else the user runs; but it does not bind root. For root there is `pids.max`
//! of a cgroup, if one can be made. (`kernel.pid_max` of a PID namespace would bind both, but is not
//! less than 301, counts numbers and not processes, and before Linux 6.14 is the whole machine's.)
//!
//! What of this is refused here, in a container say, is not had, and the family's guard looks and
//! ends by itself. [`Kept`] says how it is; it is found out by trying, each time.

use super::cgroup::Cgroup;
use super::guard::{self, INIT, NAME, Report, SUBCOMMAND};
use super::hold::{self, Hold, Limits};
use rustix::process::Pid;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

/// What is made ready for a family, and what is left of it when it is gone.
pub(super) struct Family {
    cgroup: Option<Cgroup>,
}

impl Family {
    /// Makes ready what keeps it. The process may have one thread only, else there is less.
    pub(super) fn prepare(hold: &Hold) -> Family {
        let cgroup = Cgroup::make(hold.limits.processes).ok();
        // It takes rights of root's. Who is not confined is promised all that the user has.
        if hold.walls.is_some() {
            system::leave_users();
        }
        Family { cgroup }
    }

    /// Starts its first process, which reads what to hold from the file. The calling thread can
    /// start no threads from then on. What the process reports is at its end when that is.
    pub(super) fn start(&self, file: &Path) -> io::Result<(Child, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        system::leave_processes();
        let mut init = Command::new(system::ourselves()?);
        init.arg0(NAME)
            .args([SUBCOMMAND, INIT])
            .arg(file)
            .args(self.cgroup.as_ref().map(Cgroup::door))
            .stdin(OwnedFd::from(theirs))
            .process_group(0);
        Ok((init.spawn()?, ours))
    }
}

/// The first process: holds what the file says, reports how that ends, and ends when nobody of the
/// family is left. `door` is the file by which it comes into its cgroup.
///
/// # Errors
/// Nothing was started.
pub(super) fn init(file: &Path, door: Option<&Path>, reports: &UnixStream) -> io::Result<()> {
    system::end_with(reports)?;
    guard::stand_apart()?;
    let hold = Hold::read(file)?;
    let kept = Kept {
        number: bound(&hold.limits, door)?,
        as_one: rustix::process::getpid().as_raw_nonzero().get() == 1,
    };
    guard::say(reports, &Report::Kept(kept.to_string()));
    let null = guard::null()?;
    let child = hold.start()?;
    guard::let_go_of_output(&null);
    guard::reap(Pid::from_child(&child), reports);
    Ok(())
}

/// How a family is kept.
struct Kept {
    number: Number,
    /// Its first process takes all others with it.
    as_one: bool,
}

/// Who sees to it that a family has no more processes than it may.
enum Number {
    /// The kernel, in a cgroup.
    Cgroup,
    /// The kernel, in a user namespace.
    Users,
    /// The guard, which is sometimes too late.
    Guard,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.number {
            Number::Cgroup => "the kernel counts them in a cgroup",
            Number::Users => "the kernel counts them in a user namespace",
            Number::Guard => {
                "they are counted ten times a second, for the kernel does not do it here"
            }
        })?;
        f.write_str(match self.as_one {
            true => " and ends them as one PID namespace",
            false => "; they are ended one by one, for there is no PID namespace to be had",
        })
    }
}

/// Keeps this process within limits, and those that it starts.
fn bound(limits: &Limits, door: Option<&Path>) -> io::Result<Number> {
    let number = match door {
        Some(door) if std::fs::write(door, "0").is_ok() => Number::Cgroup,
        _ if system::counts_from_zero() => Number::Users,
        _ => Number::Guard,
    };
    limits.set(match number {
        Number::Users => limits.processes.saturating_add(system::OURS),
        Number::Cgroup | Number::Guard => hold::threads_of_all().saturating_add(limits.processes),
    })?;
    Ok(number)
}

#[cfg(target_os = "linux")]
mod system {
    use nix::sched::{CloneFlags, unshare};
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
    use std::fs;
    use std::io::{self, ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::thread;

    /// How many of our own are counted with a family in its user namespace: three threads of the
    /// guard, and the first process.
    pub(super) const OURS: u64 = 4;

    /// Our own program, also when its file was replaced meanwhile.
    pub(super) fn ourselves() -> io::Result<PathBuf> {
        Ok("/proc/self/exe".into())
    }

    /// Goes into a user namespace of its own, with all rights over files that it had.
    pub(super) fn leave_users() {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        if unshare(CloneFlags::CLONE_NEWUSER).is_ok() {
            // Who may not keep their name go by nobody's, which changes nothing else.
            let _ = fs::write("/proc/self/setgroups", "deny");
            let _ = fs::write("/proc/self/uid_map", format!("{user} {user} 1"));
            let _ = fs::write("/proc/self/gid_map", format!("{group} {group} 1"));
        }
    }

    /// What this thread starts from now on is in a PID namespace of its own.
    pub(super) fn leave_processes() {
        let _ = unshare(CloneFlags::CLONE_NEWPID);
    }

    /// This process is killed when the thread that started it ends, which is the guard's first.
    ///
    /// # Errors
    /// It has ended already.
    pub(super) fn end_with(mut guard: &UnixStream) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        guard.set_nonblocking(true)?;
        match guard.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => guard.set_nonblocking(false),
            _ => Err(io::Error::other("the guard has ended")),
        }
    }

    /// Whether the kernel counts this family's processes from nought, and binds it: one more can
    /// start where there is room for one, and none where there is not.
    pub(super) fn counts_from_zero() -> bool {
        let usual = getrlimit(Resource::Nproc);
        let one_more = |most| {
            let current = Some(most);
            let tried = setrlimit(Resource::Nproc, Rlimit { current, ..usual });
            let started = thread::Builder::new().spawn(|| ());
            tried.is_ok() && started.is_ok_and(|one| one.join().is_ok())
        };
        let counts = !one_more(OURS) && one_more(OURS + 1);
        let restored = setrlimit(Resource::Nproc, usual);
        counts && restored.is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    pub(super) const OURS: u64 = 0;

    pub(super) fn ourselves() -> io::Result<PathBuf> {
        std::env::current_exe()
    }

    pub(super) fn leave_users() {}

    pub(super) fn leave_processes() {}

    pub(super) fn end_with(_guard: &UnixStream) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn counts_from_zero() -> bool {
        false
    }
}
