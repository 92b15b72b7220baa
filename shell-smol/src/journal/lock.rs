//! The lock of a data directory: one process at a time writes its journal.
//!
//! The lock is the kernel's, on the open file, so it goes when its process goes: a file that a
//! dead process left, or a pid that was given out again, never blocks a start. What the file says
//! only serves to name the holder, and to see that it is dead: a command that it was just starting
//! may keep the file open a moment longer, and that moment is waited for.

use super::error::JournalError;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a dead process's hold on the file is waited out.
const LINGER: Duration = Duration::from_secs(2);
/// How often a file that changes is looked at again.
const AGAIN: Duration = Duration::from_millis(10);

/// The lock file's name in the data directory.
pub const FILE_NAME: &str = "openpistacrab.pid";

/// A data directory held by this process, until dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the directory, which must exist, without waiting for a process that lives.
    ///
    /// # Errors
    /// When another process holds it, or the lock file cannot be made.
    pub fn take(dir: &Path) -> Result<Lock, JournalError> {
        let path = dir.join(FILE_NAME);
        let failed = |error: &io::Error| JournalError::file("cannot lock", &path, error);
        let until = Instant::now() + LINGER;
        loop {
            let mut file = open(&path).map_err(|error| failed(&error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if holder.as_ref().is_some_and(Holder::is_dead) && Instant::now() < until {
                        std::thread::sleep(AGAIN);
                        continue;
                    }
                    return Err(JournalError::InUse {
                        dir: dir.to_owned(),
                        holder: holder.map(|holder| holder.to_string()),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
            }
            // Between our open and our lock the last holder may have removed the file; a lock on
            // a removed file keeps nobody out.
            if is_at(&file, &path) {
                sign(&mut file).map_err(|error| failed(&error))?;
                return Ok(Lock { file, path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked: whoever opened it before sees that it is gone.
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.dev() == there.dev() && ours.ino() == there.ino(),
        _ => false,
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let signature = format!(
        "{}\n{}\n",
        std::process::id(),
        first_words(std::env::args())
    );
    file.write_all(signature.as_bytes())
}

/// The program's name and the words after it, up to the text of a message.
fn first_words(mut args: impl Iterator<Item = String>) -> String {
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default();
    let mut words = program.to_string_lossy().into_owned();
    for word in args.take(4).take_while(|word| !word.starts_with("-e")) {
        words.push(' ');
        words.extend(word.chars().filter(|c| !c.is_control()).take(60));
    }
    words
}

/// Who signed the file.
struct Holder {
    pid: String,
    command: String,
}

impl Holder {
    fn is_dead(&self) -> bool {
        let pid = self.pid.parse().ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {} ({})", self.pid, self.command)
    }
}

/// Who holds the file, read a few times over: its holder may be about to sign it.
fn holder(file: &mut File) -> Option<Holder> {
    for _ in 0..5 {
        let mut text = String::new();
        file.rewind().ok()?;
        file.take(1024).read_to_string(&mut text).ok()?;
        if let Some((pid, command)) = text.split_once('\n')
            && let Some(command) = command.strip_suffix('\n')
        {
            return Some(Holder {
                pid: pid.to_owned(),
                command: command.to_owned(),
            });
        }
        std::thread::sleep(AGAIN);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn a_command_that_a_dead_process_was_starting_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, format!("{}\nopenpistacrab repl\n", dead.id())).unwrap();
        let file = open(&path).unwrap();
        file.try_lock().unwrap();
        let mut sleep = Command::new("sleep");
        let mut child = sleep.arg("0.2").stdin(Stdio::from(file)).spawn().unwrap();
        drop(sleep);
        let lock = Lock::take(dir.path()).unwrap();
        assert!(matches!(
            Lock::take(dir.path()),
            Err(JournalError::InUse { .. })
        ));
        drop(lock);
        child.wait().unwrap();
    }

    #[test]
    fn never_two_hold_it_however_often_it_changes_hands() {
        let dir = tempfile::tempdir().unwrap();
        let (holders, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        let contend = || {
            while taken.load(Ordering::SeqCst) < 100 {
                if let Ok(lock) = Lock::take(dir.path()) {
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                    taken.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    holders.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(contend);
            }
        });
    }

    #[test]
    fn the_words_of_a_message_stay_out_of_the_lock_file() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let words = |text| first_words(args(text).into_iter());
        assert_eq!(words("/usr/bin/openpistacrab repl"), "openpistacrab repl");
        assert_eq!(words("openpistacrab run -e hello"), "openpistacrab run");
        assert_eq!(words("openpistacrab run -ehello"), "openpistacrab run");
        assert_eq!(
            words("openpistacrab --data-dir /d run -e hello"),
            "openpistacrab --data-dir /d run"
        );
        assert_eq!(first_words(std::iter::empty()), "");
    }
}
