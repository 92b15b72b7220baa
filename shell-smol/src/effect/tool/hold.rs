//! A hold: what a guard is told of a program that it keeps within limits and walls.
//!
//! It is written to a file, not to the guard's command line or environment, for it may be long
//! and must not bend the guard: nothing of it reaches the guard but as data.
//!
//! The kernel limits each process: its memory, the size of a file it writes, how many files it
//! has open, and that it leaves no core. It has no good limit for a family of processes:
//! `RLIMIT_NPROC` counts all that the user runs anywhere, and does not bind root. So that is only
//! the last resort, set to what the whole machine runs and the family's share on top. The guard
//! itself looks at the family some times a second, and ends it when it has grown beyond its number
//! of processes and threads, or beyond its memory, counted as what all of them hold of it together.
//! To be quicker than what multiplies, the guard goes before everything if it may, and what it
//! holds goes behind.

use super::guard::Process;
use crate::effect::sandbox::subprocess::confine::Walls;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

/// A program, and what holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::effect) struct Hold {
    /// A path, or a name to be looked for in the environment's `PATH`.
    pub(in crate::effect) program: PathBuf,
    /// What it is given on its command line.
    pub(in crate::effect) args: Vec<String>,
    /// The whole of its environment.
    pub(in crate::effect) env: BTreeMap<String, String>,
    /// The file that it reads as its standard input.
    pub(in crate::effect) input: PathBuf,
    /// How much of the machine it may use.
    pub(in crate::effect) limits: Limits,
    /// What it may touch; everything that the user may when there are none.
    pub(in crate::effect) walls: Option<Walls>,
}

/// How much of the machine a program and all that it starts may use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::effect) struct Limits {
    /// Memory, in bytes: of each process, and of all together.
    pub(in crate::effect) memory_bytes: u64,
    /// Processes and threads at one time.
    pub(in crate::effect) processes: u64,
    /// The largest file that it may write, in bytes.
    pub(in crate::effect) file_bytes: u64,
}

impl Hold {
    /// Reads what was written for a guard.
    pub(super) fn read(file: &Path) -> io::Result<Hold> {
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// Starts the program, held. What holds it is put on a thread that ends with this: limits
    /// bind the guard as well, walls only that thread and what it starts.
    /// It is put a little behind the `usual` niceness.
    pub(super) fn start(&self, usual: i32) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(&self.env)
            .stdin(File::open(&self.input)?)
            .process_group(0);
        thread::scope(|scope| {
            let starting = thread::Builder::new().spawn_scoped(scope, || {
                go_last(usual);
                self.limits.set()?;
                if let Some(walls) = &self.walls {
                    walls.close()?;
                }
                command.spawn().map_err(|error| {
                    let program = self.program.display();
                    io::Error::new(error.kind(), format!("{program}: {error}"))
                })
            })?;
            let broken = |_| Err(io::Error::other("the guard failed at its work"));
            starting.join().unwrap_or_else(broken)
        })
    }
}

impl Limits {
    /// Which of them a family of processes is over; none when it is within all.
    pub(super) fn exceeded(&self, family: &[Process]) -> Option<String> {
        let threads: u64 = family.iter().map(|process| process.threads).sum();
        let bytes: u64 = family.iter().map(|process| process.memory_bytes).sum();
        if threads > self.processes {
            return Some(format!("more than {} processes", self.processes));
        }
        (bytes > self.memory_bytes)
            .then(|| format!("more than {} of memory", size(self.memory_bytes)))
    }

    /// Sets those that the kernel keeps, on this process and what it starts.
    #[cfg(target_os = "linux")]
    fn set(&self) -> io::Result<()> {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let set = |resource, most: u64| {
            let most = getrlimit(resource)
                .maximum
                .map_or(most, |now| now.min(most));
            let limit = Rlimit {
                current: Some(most),
                maximum: Some(most),
            };
            setrlimit(resource, limit)
        };
        set(Resource::Core, 0)?;
        set(Resource::Fsize, self.file_bytes)?;
        set(Resource::Nofile, OPEN_FILES)?;
        set(
            Resource::Nproc,
            threads_of_all().saturating_add(self.processes),
        )?;
        // The guard has to live under it too.
        set(
            Resource::As,
            self.memory_bytes.max(own_bytes() + SPARE_BYTES),
        )?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn set(&self) -> io::Result<()> {
        Ok(())
    }
}

/// How many threads the whole machine has, whoever runs them; all there can be when that is not
/// known.
pub(super) fn threads_of_all() -> u64 {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all = loads.split(['/', ' ']).nth(4);
    all.and_then(|all| all.parse().ok()).unwrap_or(u64::MAX)
}

/// Puts this thread, and those that it starts, before all others where that is allowed. Returns
/// its niceness until then.
#[cfg(target_os = "linux")]
pub(super) fn go_first() -> i32 {
    let usual = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, -20);
    usual
}

/// Puts this thread, and what it starts, a little behind others.
#[cfg(target_os = "linux")]
fn go_last(usual: i32) {
    let _ = rustix::process::setpriority_process(None, (usual + 5).min(19));
}

#[cfg(not(target_os = "linux"))]
pub(super) fn go_first() -> i32 {
    0
}

#[cfg(not(target_os = "linux"))]
fn go_last(_usual: i32) {}

/// How many files a process may have open.
#[cfg(target_os = "linux")]
const OPEN_FILES: u64 = 1_024;

/// What the guard may need more than it has, in bytes of address space.
#[cfg(target_os = "linux")]
const SPARE_BYTES: u64 = 64 << 20;

/// How much address space this process has.
#[cfg(target_os = "linux")]
fn own_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// A number of bytes as people read it.
pub(in crate::effect) fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes >> 20),
    }
}
