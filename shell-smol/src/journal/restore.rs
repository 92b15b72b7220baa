//! The state of an earlier life: the latest snapshot that can be read, and the steps after it.
//!
//! The records are the truth. A snapshot that cannot be read costs time, never data: an older one
//! takes its place, and at last none.

use super::error::JournalError;
use super::int;
use openpista_core::Core;
use openpista_core::id::Seq;
use openpista_core::recover::Past;
use openpista_core::time::Time;
use rusqlite::{Connection, OptionalExtension, Row};
use std::path::Path;

/// Restores the core from the database, and tells how many steps came after the snapshot.
pub(super) fn restore(conn: &Connection, path: &Path) -> Result<(Core, u64), JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let mut before = i64::MAX;
    while let Some((seq, state)) = snapshot_before(conn, before).map_err(failed)? {
        match fold(conn, path, seq, Some(&state)) {
            Ok(core) => return Ok(since(core, seq)),
            Err(JournalError::Unreadable { cause, .. }) => {
                tracing::warn!(seq, cause, "a snapshot cannot be used; trying without it");
                before = seq;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(since(fold(conn, path, 0, None)?, 0))
}

fn since(core: Core, snapshot: i64) -> (Core, u64) {
    let Seq(last) = core.state().seq();
    let steps = last.saturating_sub(snapshot.cast_unsigned());
    (core, steps)
}

fn snapshot_before(conn: &Connection, seq: i64) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    conn.query_row(
        "SELECT seq, state FROM snapshots WHERE seq < ?1 ORDER BY seq DESC LIMIT 1",
        [seq],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .optional()
}

/// Folds the steps after `after` into a snapshot, one row at a time.
fn fold(
    conn: &Connection,
    path: &Path,
    after: i64,
    snapshot: Option<&[u8]>,
) -> Result<Core, JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let mut query = conn
        .prepare("SELECT seq, at, records FROM steps WHERE seq > ?1 ORDER BY seq")
        .map_err(failed)?;
    let mut rows = query.query([after]).map_err(failed)?;
    let mut stopped = None;
    let tail = std::iter::from_fn(|| match rows.next() {
        Ok(row) => match past(path, row?) {
            Ok(past) => Some(past),
            Err(error) => {
                stopped = Some(error);
                None
            }
        },
        Err(error) => {
            stopped = Some(failed(error));
            None
        }
    });
    let restored = Core::restore(snapshot, tail);
    match stopped {
        Some(error) => Err(error),
        None => restored.map_err(|unreadable| JournalError::Unreadable {
            path: path.to_owned(),
            cause: unreadable.to_string(),
        }),
    }
}

fn past(path: &Path, row: &Row<'_>) -> Result<Past, JournalError> {
    let failed = |error: rusqlite::Error| JournalError::database(path, &error);
    let seq: i64 = row.get(0).map_err(failed)?;
    let at: i64 = row.get(1).map_err(failed)?;
    let records = row
        .get_ref(2)
        .and_then(|value| Ok(value.as_str()?))
        .map_err(failed)?;
    Ok(Past {
        seq: Seq(seq.cast_unsigned()),
        at: Time::from_ms(at.cast_unsigned()),
        records: serde_json::from_str(records).map_err(|error| JournalError::Unreadable {
            path: path.to_owned(),
            cause: format!("journal step {seq}: {error}"),
        })?,
    })
}

/// The last step in the journal; zero for an empty one.
pub(super) fn last(conn: &Connection, path: &Path) -> Result<Seq, JournalError> {
    let last: i64 = conn
        .query_row(
            "SELECT coalesce(max(seq), ?1) FROM steps",
            [int(0)],
            |row| row.get(0),
        )
        .map_err(|error| JournalError::database(path, &error))?;
    Ok(Seq(last.cast_unsigned()))
}
