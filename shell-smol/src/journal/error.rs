//! What can go wrong with the journal, as a sentence with its cause and its cure.

use openpista_core::id::Seq;
use rusqlite::ErrorCode;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why the journal could not be opened, read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// Another process works in the data directory.
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Its pid and command, as far as the lock file tells.
        holder: Option<String>,
    },
    /// A directory or file could not be made, opened or locked.
    File {
        /// What was being done, for example `cannot create the directory`.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// There is no database yet.
    Missing(PathBuf),
    /// The file is a database, but none of ours.
    Foreign(PathBuf),
    /// A newer version of the program wrote it.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// An older version wrote it, and it was opened for reading alone.
    Older(PathBuf),
    /// SQLite reports a fault.
    Database {
        /// The database.
        path: PathBuf,
        /// Which fault, and so what to do about it.
        fault: Fault,
        /// What SQLite said.
        cause: String,
    },
    /// A step or snapshot in the journal cannot be read back.
    Unreadable {
        /// The database.
        path: PathBuf,
        /// Where and why.
        cause: String,
    },
    /// There is no session of this name.
    NoSession {
        /// The name that was asked for.
        name: String,
        /// A session with nearly that name.
        near: Option<String>,
    },
    /// A snapshot came before its step was durable: a fault of the caller.
    EarlySnapshot(Seq),
    /// An earlier commit failed, so the state in memory is ahead of the disk.
    Poisoned,
}

/// Faults of a database that call for different cures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space left.
    Full,
    /// No permission to write.
    ReadOnly,
    /// It cannot be opened at all.
    CannotOpen,
    /// The disk failed to read, write or sync.
    Disk,
    /// It is not a database, or a damaged one.
    Damaged,
    /// Somebody else keeps it locked.
    Busy,
    /// Anything else.
    Other,
}

impl Fault {
    fn of(error: &rusqlite::Error) -> Fault {
        // Its memory-mapped index could not grow: there is no other reason than a full disk.
        let extended = error.sqlite_error().map(|error| error.extended_code);
        if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return Fault::Full;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Fault::ReadOnly,
            Some(ErrorCode::CannotOpen) => Fault::CannotOpen,
            Some(ErrorCode::SystemIoFailure) => Fault::Disk,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::Busy,
            _ => Fault::Other,
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Fault::Full => "the disk is full",
            Fault::ReadOnly => "it is read-only",
            Fault::CannotOpen => "it cannot be opened",
            Fault::Disk => "the disk reports an I/O error",
            Fault::Damaged => "it is damaged, or no database",
            Fault::Busy => "another program keeps it locked",
            Fault::Other => "SQLite reports an error",
        }
    }

    fn cure(self) -> &'static str {
        match self {
            Fault::Full => "Free some space and start again; nothing that was confirmed is lost.",
            Fault::ReadOnly | Fault::CannotOpen => {
                "Let this user write the file and its directory, or choose another with --data-dir; \
                 nothing that was confirmed is lost."
            }
            Fault::Disk => "Check the disk, then start again; nothing that was confirmed is lost.",
            Fault::Damaged => {
                "Put a backup in its place, or move it (and its -wal file) away to begin anew."
            }
            Fault::Busy => "Close the program that has it open, then start again.",
            Fault::Other => "Start again; if it stays, this is a fault of openpistacrab.",
        }
    }
}

impl JournalError {
    /// Wraps what SQLite said about the database at `path`.
    pub(super) fn database(path: &Path, error: &rusqlite::Error) -> JournalError {
        JournalError::Database {
            path: path.to_owned(),
            fault: Fault::of(error),
            cause: error.to_string(),
        }
    }

    /// Wraps what the system said about a file or directory.
    pub(super) fn file(what: &'static str, path: &Path, error: &std::io::Error) -> JournalError {
        JournalError::File {
            what,
            path: path.to_owned(),
            cause: error.to_string(),
        }
    }
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::InUse { dir, holder } => write!(
                f,
                "the data directory {} is in use by {}; stop it, or choose another with --data-dir",
                dir.display(),
                holder.as_deref().unwrap_or("another process"),
            ),
            JournalError::File { what, path, cause } => write!(
                f,
                "{what} {}: {cause}; let this user write there, or choose another with --data-dir",
                path.display(),
            ),
            JournalError::Missing(path) => write!(
                f,
                "there is no database at {} yet; a first `openpistacrab run` makes it",
                path.display(),
            ),
            JournalError::Foreign(path) => write!(
                f,
                "{} is a database of another program; set `[database] url` to a path of our own",
                path.display(),
            ),
            JournalError::Newer { path, found, known } => write!(
                f,
                "{} has version {found}, and this program knows up to {known}; \
                 use the newer openpistacrab that wrote it, or another --data-dir",
                path.display(),
            ),
            JournalError::Older(path) => write!(
                f,
                "{} was written by an older openpistacrab; `openpistacrab run` or `repl` brings it \
                 up to date (after a backup)",
                path.display(),
            ),
            JournalError::Database { path, fault, cause } => write!(
                f,
                "database {}: {} ({cause})\n{}",
                path.display(),
                fault.cause(),
                fault.cure(),
            ),
            JournalError::Unreadable { path, cause } => write!(
                f,
                "database {}: {cause}\nPut a backup in its place, or use the openpistacrab that \
                 wrote it.",
                path.display(),
            ),
            JournalError::NoSession { name, near } => {
                write!(f, "there is no session {name:?}")?;
                match near {
                    Some(near) => write!(f, "; did you mean {near:?}?"),
                    None => f.write_str("; `openpistacrab sessions` lists them"),
                }
            }
            JournalError::EarlySnapshot(seq) => {
                write!(
                    f,
                    "a snapshot of step {seq} came before that step was durable"
                )
            }
            JournalError::Poisoned => f.write_str(
                "an earlier commit failed, so nothing more is written; start openpistacrab again",
            ),
        }
    }
}

impl std::error::Error for JournalError {}
