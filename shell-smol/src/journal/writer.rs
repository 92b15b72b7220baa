//! The one place that writes the database.
//!
//! After a commit that failed, every further commit is refused: the state in memory is ahead of the
//! disk, and the process is to end.

use super::error::JournalError;
use super::snapshot::Snapshot;
use super::{int, projection};
use openpista_core::gate::Receipt;
use openpista_core::id::Seq;
use openpista_core::replay::Line;
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The writing end of the database.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) began_unix_ms: u64,
    /// The last step that is durable.
    pub(super) durable: Seq,
    pub(super) poisoned: bool,
    pub(super) commits: Arc<AtomicU64>,
    /// How long the latest sync took.
    pub(super) last_sync: Duration,
}

impl Writer {
    /// Writes the lines and what they mean for the projections, all or nothing.
    pub(super) fn commit(&mut self, lines: &[Line]) -> Result<Receipt, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if let Some(last) = lines.last() {
            match write(&mut self.conn, self.began_unix_ms, lines) {
                Ok(sync) => self.last_sync = sync,
                Err(error) => {
                    self.poisoned = true;
                    return Err(JournalError::database(&self.path, &error));
                }
            }
            self.durable = last.seq;
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Receipt::durable_through(self.durable))
    }

    /// Writes a snapshot and forgets all but the latest two. A failure harms nothing: the records
    /// are the truth.
    pub(super) fn save_snapshot(
        &mut self,
        seq: Seq,
        snapshot: &Snapshot,
    ) -> Result<(), JournalError> {
        if seq > self.durable {
            return Err(JournalError::EarlySnapshot(seq));
        }
        snapshot
            .replace(&mut self.conn, seq)
            .map_err(|error| JournalError::database(&self.path, &error))
    }
}

/// Gives how long the disk took: all else here is done in memory.
fn write(conn: &mut Connection, began_unix_ms: u64, lines: &[Line]) -> rusqlite::Result<Duration> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for line in lines {
        tx.prepare_cached(
            "INSERT INTO steps (seq, at, session, input, records) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            int(line.seq.0),
            int(line.at.as_ms()),
            line.session.map(|session| int(session.0.0)),
            json(&line.input)?,
            json(&line.records)?,
        ])?;
        projection::project(&tx, began_unix_ms, line.seq, line.at, &line.records)?;
    }
    let began = Instant::now();
    tx.commit()?;
    Ok(began.elapsed())
}

pub(super) fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
