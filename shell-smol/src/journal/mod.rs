//! The journal in SQLite.
//!
//! It works on the thread of whoever calls it, the daemon's loop: nothing may happen there before
//! the commit has returned, so that a thread of its own would only be two more to wake for each.
//! What else has to go on meanwhile (the gateway, other channels, model calls) has threads.
//!
//! [`Journal::commit`] makes steps durable, all or nothing, together with what people query about
//! them (`projection.rs`); its [`Receipt`] is what opens the core's gate. [`Journal::open`] takes
//! the data directory for this process alone (`lock.rs`), makes or upgrades the database
//! (`schema.rs`), and restores the core from it (`restore.rs`). [`Reader`] reads beside a running
//! daemon, without the lock.
//!
//! Nothing here decides anything, and nothing is ever changed or deleted but snapshots. A commit
//! is one transaction with `synchronous=FULL` in write-ahead mode: one sync of the disk.

mod error;
mod export;
mod lock;
mod projection;
mod read;
mod redact;
mod response;
mod restore;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod token;
mod writer;

pub use error::{Fault, JournalError};
pub use export::export;
pub use lock::{FILE_NAME as LOCK_FILE_NAME, Lock};
pub use read::{MessageRow, Reader, Role, SessionRow, StoredStep};
pub use response::{Asked, Identity, Lookup};
pub use token::{TokenError, TokenRow, Tokens};

use openpista_core::Core;
use openpista_core::gate::Receipt;
use openpista_core::replay::Line;
use snapshot::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use writer::Writer;

/// A journal that this process writes. Dropping it closes the database and gives the data directory
/// free.
#[derive(Debug)]
pub struct Journal {
    writer: Writer,
    /// Given up last.
    _lock: Lock,
}

/// How many commits of steps a journal has made durable in this process.
#[derive(Clone, Debug)]
pub struct CommitCount(Arc<AtomicU64>);

impl CommitCount {
    /// The number at this moment.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What [`Journal::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// To write to.
    pub journal: Journal,
    /// The state as the journal tells it.
    pub core: Core,
    /// When the journal began: milliseconds since 1970 in UTC.
    pub began_unix_ms: u64,
    /// How many steps came after the latest snapshot.
    pub unsaved_steps: u64,
}

impl Journal {
    /// Takes the data directory (the one that `path` is in), makes or upgrades the database at
    /// `path`, and restores the core from it. Blocks.
    ///
    /// # Errors
    /// When another process holds the directory, or the files cannot be made, read or written, or
    /// a newer program wrote them.
    pub fn open(path: &Path) -> Result<Opened, JournalError> {
        let dir = data_dir(path);
        schema::make_dir(&dir)?;
        let lock = Lock::take(&dir)?;
        let conn = schema::open(path, &schema::SCHEMA, crate::clock::unix_now_ms())?;
        let (core, unsaved_steps) = restore::restore(&conn, path)?;
        let began_unix_ms = read::began_unix_ms(&conn, path)?;
        let writer = Writer {
            durable: restore::last(&conn, path)?,
            conn,
            path: path.to_owned(),
            began_unix_ms,
            poisoned: false,
            commits: Arc::default(),
            last_sync: Duration::ZERO,
        };
        Ok(Opened {
            journal: Journal {
                writer,
                _lock: lock,
            },
            core,
            began_unix_ms,
            unsaved_steps,
        })
    }

    /// Makes the lines durable, in one transaction. Blocks until the disk has them. Lines must come
    /// in order.
    ///
    /// # Errors
    /// When nothing of it is known to be durable. Every later commit is then refused: the state
    /// in memory is ahead of the disk, and the process must end.
    pub fn commit(&mut self, lines: &[Line]) -> Result<Receipt, JournalError> {
        debug_assert!(!lines.is_empty(), "there is something to commit");
        self.writer.commit(lines)
    }

    /// Saves [`Core::snapshot`] of this moment, whose last step must be durable. The two latest are
    /// kept. Blocks for a sync of the disk of its own, so do it rarely.
    ///
    /// # Errors
    /// When it could not be saved, which harms nothing but the speed of the next start.
    pub fn save_snapshot(&mut self, core: &Core) -> Result<(), JournalError> {
        let (seq, snapshot) = (core.state().seq(), Snapshot::of(core));
        self.writer.save_snapshot(seq, &snapshot)
    }

    /// How long the disk took for the latest commit.
    pub fn last_sync(&self) -> Duration {
        self.writer.last_sync
    }

    /// How many commits of steps this process has made durable.
    pub fn commits(&self) -> u64 {
        self.commit_count().get()
    }

    /// The same number, for whoever watches it while the journal is in other hands.
    pub fn commit_count(&self) -> CommitCount {
        CommitCount(Arc::clone(&self.writer.commits))
    }
}

fn data_dir(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// SQLite's integers are signed; positions and times never come near the end of theirs.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
