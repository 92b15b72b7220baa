//! A snapshot on its way to the database, in pieces.
//!
//! A state of many conversations has some megabytes. Made as one, it would need room for twice as
//! much while it grows, and SQLite copies of it on top; and the allocator keeps for good what was
//! once so large.

use super::int;
use openpista_core::Core;
use openpista_core::id::Seq;
use rusqlite::blob::ZeroBlob;
use rusqlite::{Connection, MAIN_DB, TransactionBehavior, params};
use std::io;

/// How large a piece is, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The bytes of a snapshot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// All but the last are full.
    pieces: Vec<Vec<u8>>,
}

impl Snapshot {
    pub(super) fn of(core: &Core) -> Snapshot {
        let mut snapshot = Snapshot::default();
        // It has no map whose keys are not strings, and to write to memory never fails.
        let _ = serde_json::to_writer(&mut snapshot, &core.to_snapshot());
        snapshot
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// Saves it as that of step `seq` and forgets all but the latest two.
    pub(super) fn replace(&self, conn: &mut Connection, seq: Seq) -> rusqlite::Result<()> {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let room = ZeroBlob(self.len() as u64);
        tx.execute(
            "INSERT OR REPLACE INTO snapshots (seq, state) VALUES (?1, ?2)",
            params![int(seq.0), room],
        )?;
        let mut blob = tx.blob_open(MAIN_DB, "snapshots", "state", int(seq.0), false)?;
        let mut at = 0;
        for piece in &self.pieces {
            blob.write_at(piece, at)?;
            at += piece.len();
        }
        blob.close()?;
        tx.execute(
            "DELETE FROM snapshots WHERE seq NOT IN \
             (SELECT seq FROM snapshots ORDER BY seq DESC LIMIT 2)",
            [],
        )?;
        tx.commit()
    }
}

impl io::Write for Snapshot {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let full = |piece: &Vec<u8>| piece.len() == PIECE_BYTES;
        if self.pieces.last().is_none_or(full) {
            self.pieces.push(Vec::with_capacity(PIECE_BYTES));
        }
        let Some(piece) = self.pieces.last_mut() else {
            return Ok(0);
        };
        let taken = bytes.len().min(PIECE_BYTES - piece.len());
        piece.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE_BYTES, Snapshot};
    use openpista_core::Core;
    use std::io::Write;

    #[test]
    fn the_pieces_are_what_the_core_would_write_at_once() {
        let core = Core::new();
        assert_eq!(Snapshot::of(&core).pieces.concat(), core.snapshot());
    }

    #[test]
    fn nothing_is_lost_between_pieces() {
        let bytes: Vec<u8> = (0..3 * PIECE_BYTES + 7).map(|n| n as u8).collect();
        let mut snapshot = Snapshot::default();
        snapshot.write_all(&bytes[..100]).unwrap();
        snapshot.write_all(&bytes[100..]).unwrap();
        assert_eq!(snapshot.pieces.len(), 4);
        assert_eq!(snapshot.len(), bytes.len());
        assert_eq!(snapshot.pieces.concat(), bytes);
    }
}
