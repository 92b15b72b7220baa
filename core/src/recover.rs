//! Recovery: the state of an earlier life from its snapshot and the records after it.
//!
//! Folding decides nothing. It reads no input and asks no machine, so what an old version wrote
//! restores whatever the new one would decide (laws 7, 9 and 21).

use crate::id::Seq;
use crate::record::Record;
use crate::state::State;
use crate::step::Core;
use crate::time::Time;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use serde::{Deserialize, Serialize};

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

/// What a snapshot is.
#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    format: u32,
    state: S,
}

/// The newest snapshot format that this code writes and reads.
const FORMAT: u32 = 1;

impl Core {
    /// The state of the moment as bytes: `{"format":1,"state":…}`. Equal states give equal bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        // Only a map whose keys are not strings fails to be written, and the state has none.
        serde_json::to_vec(&self.to_snapshot()).unwrap_or_default()
    }

    /// The same, for whoever writes it as JSON piece by piece.
    pub fn to_snapshot(&self) -> impl Serialize {
        Snapshot {
            format: FORMAT,
            state: &self.state,
        }
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
        let mut core = match snapshot {
            Some(bytes) => Core::from_snapshot(bytes)?,
            None => Core::new(),
        };
        for past in tail {
            core.fold(&past)?;
        }
        Ok(core)
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Core, Unreadable> {
        let unreadable = |message: String| Unreadable { seq: None, message };
        let snapshot: Snapshot<State> =
            serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        if snapshot.format != FORMAT {
            return Err(unreadable(format!(
                "it has format {}, and this version reads format {FORMAT}",
                snapshot.format
            )));
        }
        Ok(Core {
            state: snapshot.state,
        })
    }

    fn fold(&mut self, past: &Past) -> Result<(), Unreadable> {
        let (seq, at) = (self.state.seq, self.state.at);
        if past.seq <= seq || past.at < at {
            return Err(Unreadable {
                seq: Some(past.seq),
                message: format!(
                    "it stands at {} ms, after step {seq} at {} ms: positions and times must rise",
                    past.at.as_ms(),
                    at.as_ms()
                ),
            });
        }
        for record in &past.records {
            self.state.evolve(past.seq, past.at, record);
        }
        Ok(())
    }
}
