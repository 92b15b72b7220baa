//! The journal's own thread: the one place that writes the database.
//!
//! Requests are carried out in the order in which they were made. After a commit that failed,
//! every further commit is refused: the state in memory is ahead of the disk, and the process is
//! to end.

use super::error::JournalError;
use super::snapshot::Snapshot;
use super::{int, projection};
use async_channel::{Receiver, Sender};
use openpista_core::gate::Receipt;
use openpista_core::id::Seq;
use openpista_core::replay::Line;
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the thread is asked to do, and where the answer goes.
pub(super) enum Request {
    Commit(Vec<Line>, Sender<Result<Receipt, JournalError>>),
    Snapshot(Seq, Snapshot, Sender<Result<(), JournalError>>),
}

/// The writing end of the database.
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
    pub(super) began_unix_ms: u64,
    /// The last step that is durable.
    pub(super) durable: Seq,
    pub(super) poisoned: bool,
    pub(super) commits: Arc<AtomicU64>,
}

impl Writer {
    /// Serves requests until nobody can make one any more.
    pub(super) fn serve(mut self, requests: &Receiver<Request>) {
        // An answer that nobody waits for is dropped.
        while let Ok(request) = requests.recv_blocking() {
            match request {
                Request::Commit(lines, answer) => {
                    let _ = answer.try_send(self.commit(&lines));
                }
                Request::Snapshot(seq, snapshot, answer) => {
                    let _ = answer.try_send(self.save_snapshot(seq, &snapshot));
                }
            }
        }
    }

    /// Writes the lines and what they mean for the projections, all or nothing.
    pub(super) fn commit(&mut self, lines: &[Line]) -> Result<Receipt, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        if let Some(last) = lines.last() {
            if let Err(error) = write(&mut self.conn, self.began_unix_ms, lines) {
                self.poisoned = true;
                return Err(JournalError::database(&self.path, &error));
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

fn write(conn: &mut Connection, began_unix_ms: u64, lines: &[Line]) -> rusqlite::Result<()> {
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
    tx.commit()
}

pub(super) fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
