//! The disk: a journal whose unsynced end a crash takes away, and snapshots that may be torn.

use openpista_core::Core;
use openpista_core::id::Seq;
use openpista_core::record::Record;
use openpista_core::recover::{Past, Unreadable};
use openpista_core::replay::Line;

/// What survives a crash, and what may not.
#[derive(Debug, Default)]
pub struct Disk {
    lines: Vec<Line>,
    synced: usize,
    snapshots: Vec<(Seq, Vec<u8>)>,
}

/// What a start found on the disk.
#[derive(Debug)]
pub struct Found {
    /// The state.
    pub core: Core,
    /// The position of the snapshot that was used.
    pub snapshot: Option<Seq>,
    /// How many snapshots could not be read.
    pub torn: usize,
}

impl Disk {
    /// Writes a step, not yet durably.
    pub fn append(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Makes everything written durable, as one transaction. Returns the last durable position.
    pub fn sync(&mut self) -> Seq {
        self.synced = self.lines.len();
        self.through()
    }

    /// The last durable position; zero when there is none.
    pub fn through(&self) -> Seq {
        let last = self.synced.checked_sub(1);
        last.map_or(Seq(0), |index| self.lines[index].seq)
    }

    /// How many steps are written but not durable.
    pub fn pending(&self) -> usize {
        self.lines.len() - self.synced
    }

    /// Keeps a snapshot of a durable state.
    pub fn keep(&mut self, at: Seq, snapshot: Vec<u8>) {
        self.snapshots.push((at, snapshot));
    }

    /// Tears the newest snapshot: only its first half is left.
    pub fn tear(&mut self) {
        if let Some((_, bytes)) = self.snapshots.last_mut() {
            bytes.truncate(bytes.len() / 2);
        }
    }

    /// The power goes: everything that was not durable is gone.
    pub fn crash(&mut self) {
        self.lines.truncate(self.synced);
    }

    /// Restores from the newest snapshot that can be read, or from the records alone.
    ///
    /// # Errors
    /// When the records alone cannot be restored either.
    pub fn restore(&self) -> Result<Found, Unreadable> {
        for (torn, (at, bytes)) in self.snapshots.iter().rev().enumerate() {
            let tail = self.lines.iter().filter(|line| line.seq > *at).map(past);
            if let Ok(core) = Core::restore(Some(bytes), tail) {
                let snapshot = Some(*at);
                return Ok(Found {
                    core,
                    snapshot,
                    torn,
                });
            }
        }
        let core = Core::restore(None, self.lines.iter().map(past))?;
        let torn = self.snapshots.len();
        Ok(Found {
            core,
            snapshot: None,
            torn,
        })
    }

    /// The durable journal.
    pub fn into_lines(mut self) -> Vec<Line> {
        self.crash();
        self.lines
    }

    /// The durable journal, to meddle with (see [`crate::mutant`]).
    pub fn lines_mut(&mut self) -> &mut [Line] {
        &mut self.lines
    }
}

/// A line as recovery needs it.
pub fn past(line: &Line) -> Past {
    Past {
        seq: line.seq,
        at: line.at,
        records: line.records.clone(),
    }
}

/// The records of some lines, each with its position, oldest first.
pub fn records(lines: &[Line]) -> impl Iterator<Item = (Seq, &Record)> {
    lines
        .iter()
        .flat_map(|line| line.records.iter().map(move |record| (line.seq, record)))
}
