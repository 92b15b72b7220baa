//! Making the database, opening it, and bringing an older one up to date.
//!
//! A new database is made from `schema.sql`. An older one goes forward one version at a time,
//! after a backup beside it; nothing goes backward. The version is SQLite's `user_version`.

use super::error::JournalError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A database's shape: how to make it, and how to come to it from an older one.
pub(super) struct Schema {
    /// Makes an empty database the newest version.
    pub(super) newest: &'static str,
    /// The first leads from version 1 to 2, and so on.
    pub(super) upgrades: &'static [&'static str],
}

/// Ours.
pub(super) const SCHEMA: Schema = Schema {
    newest: include_str!("../../schema.sql"),
    upgrades: &[include_str!("upgrade/2.sql"), include_str!("upgrade/3.sql")],
};

impl Schema {
    fn version(&self) -> u32 {
        1 + self.upgrades.len() as u32
    }
}

/// How long to wait for another connection, for example a person's `sqlite3`.
const BUSY: Duration = Duration::from_secs(5);
/// Pages in the write-ahead log before they move to the database: its two further syncs come once
/// in some hundred commits.
const CHECKPOINT_PAGES: u32 = 4_000;
/// What a large transaction may leave of the write-ahead log's file, in bytes.
const WAL_BYTES: u32 = 64 * 1024 * 1024;
/// Kept prepared: all statements of a commit.
const STATEMENTS: usize = 32;

/// Makes a directory, and those above it, for this user alone.
pub(super) fn make_dir(dir: &Path) -> Result<(), JournalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| JournalError::file("cannot create the directory", dir, &error))
}

/// Opens the database for writing, making or upgrading it as needed. `now_unix_ms` becomes the
/// beginning of a new journal, and names a backup.
pub(super) fn open(
    path: &Path,
    schema: &Schema,
    now_unix_ms: u64,
) -> Result<Connection, JournalError> {
    make_file(path)?;
    check_writable(path)?;
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = connect(path, flags).map_err(failed)?;
    let found = known_version(&conn, path, schema)?;
    configure(&conn).map_err(failed)?;
    match found {
        None => create(&mut conn, schema, now_unix_ms).map_err(failed)?,
        Some(version) if version < schema.version() => {
            back_up(&conn, path, version, now_unix_ms / 1000)?;
            upgrade(&mut conn, schema, version).map_err(failed)?;
        }
        Some(_) => {}
    }
    Ok(conn)
}

/// Opens an up-to-date database for writing, beside the process that holds the lock.
pub(super) fn open_beside(path: &Path, schema: &Schema) -> Result<Connection, JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let conn = open_existing(path, schema, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.pragma_update(None, "synchronous", "full")
        .map_err(failed)?;
    Ok(conn)
}

/// Opens the database for reading alone, while another process may write it.
pub(super) fn open_read_only(path: &Path, schema: &Schema) -> Result<Connection, JournalError> {
    open_existing(path, schema, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open_existing(
    path: &Path,
    schema: &Schema,
    access: OpenFlags,
) -> Result<Connection, JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    if !path.exists() {
        return Err(JournalError::Missing(path.to_owned()));
    }
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags).map_err(failed)?;
    match known_version(&conn, path, schema)? {
        None => Err(JournalError::Missing(path.to_owned())),
        Some(version) if version < schema.version() => Err(JournalError::Older(path.to_owned())),
        Some(_) => Ok(conn),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    // Without it, SQLite plans some prepared statements anew for every value that they are given.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

/// SQLite gives its further files the mode of this one.
fn make_file(path: &Path) -> Result<(), JournalError> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(JournalError::file("cannot create", path, &error)),
    }
}

/// Names the file that this user may not write. SQLite itself would make do with reading, and leave
/// files beside it that stay closed when the database is opened up.
fn check_writable(path: &Path) -> Result<(), JournalError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match access(&*file, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => {
                let file = Path::new(&file);
                return Err(JournalError::file("cannot write", file, &error.into()));
            }
        }
    }
    Ok(())
}

/// The database's version; none when it is empty.
fn known_version(
    conn: &Connection,
    path: &Path,
    schema: &Schema,
) -> Result<Option<u32>, JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let version: i64 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    let tables: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    match u32::try_from(version) {
        Ok(0) if tables == 0 => Ok(None),
        Ok(0) | Err(_) => Err(JournalError::Foreign(path.to_owned())),
        Ok(found) if found > schema.version() => Err(JournalError::Newer {
            path: path.to_owned(),
            found,
            known: schema.version(),
        }),
        Ok(found) => Ok(Some(found)),
    }
}

fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn create(conn: &mut Connection, schema: &Schema, now_unix_ms: u64) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(schema.newest)?;
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ('began_unix_ms', ?1)",
        [super::int(now_unix_ms)],
    )?;
    tx.pragma_update(None, "user_version", schema.version())?;
    tx.commit()
}

fn upgrade(conn: &mut Connection, schema: &Schema, found: u32) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for upgrade in schema.upgrades.iter().skip(found as usize - 1) {
        tx.execute_batch(upgrade)?;
    }
    tx.pragma_update(None, "user_version", schema.version())?;
    tx.commit()
}

/// Copies the database to a file beside it, named for its version and the moment.
fn back_up(
    conn: &Connection,
    path: &Path,
    version: u32,
    now_unix_s: u64,
) -> Result<PathBuf, JournalError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".backup-v{version}-{now_unix_s}"));
    let copy = path.with_file_name(name);
    make_file(&copy)?;
    conn.backup("main", &copy, rusqlite::backup::NO_PROGRESS)
        .map_err(|error| JournalError::database(&copy, &error))?;
    Ok(copy)
}
