//! Recovery: the state of an earlier life from its snapshot and the records after it.
//!
//! Folding decides nothing. It reads no input and asks no machine, so what an old version wrote
//! restores whatever the new one would decide (laws 7, 9 and 21).

use crate::id::Seq;
use crate::record::Record;
use crate::step::Core;
use crate::time::Time;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A journaled step, as far as recovery needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its position.
    pub seq: Seq,
    /// When it was taken.
    pub at: Time,
    /// What it decided.
    pub records: Vec<Record>,
}

/// A journal or snapshot that cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The position that could not be read; none for the snapshot.
    pub seq: Option<Seq>,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "journal step {seq}: {}", self.message),
            None => write!(f, "snapshot: {}", self.message),
        }
    }
}

impl core::error::Error for Unreadable {}

impl Core {
    /// The state of the moment as bytes: `{"format":1,"state":…}`. Equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        todo!()
    }

    /// Rebuilds the core from a snapshot (or nothing) and the steps after it, oldest first.
    /// Positions must rise; they may have gaps.
    ///
    /// # Errors
    /// When the snapshot is not one of ours, or positions or times run backwards.
    pub fn restore(
        snapshot: Option<&[u8]>,
        tail: impl IntoIterator<Item = Past>,
    ) -> Result<Core, Unreadable> {
        let _ = (snapshot, tail.into_iter().count());
        todo!()
    }
}
