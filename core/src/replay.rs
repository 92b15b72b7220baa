//! Replay: a fresh core steps through an exported journal and must decide the same (law 8).
//!
//! An export is JSON Lines: a [`Header`], then a [`Line`] for each step. One session's export
//! keeps its positions, gaps and all, and replays at them (law 11).

use crate::id::{Seq, SessionId};
use crate::input::Input;
use crate::record::Record;
use crate::step::Core;
use crate::time::Time;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// [`Header::format`].
pub const FORMAT: &str = "openpista-journal";
/// The newest [`Header::version`] that this code writes and reads.
pub const VERSION: u32 = 1;

/// The first line of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// When the journal began: milliseconds since 1970 in UTC. A line's `at` counts from here.
    pub began_unix_ms: u64,
    /// The one session that was exported, by name; none for the whole journal.
    #[serde(default)]
    pub session: Option<String>,
    /// What people and commands said was taken out, so only `--fold` is possible.
    #[serde(default)]
    pub redacted: bool,
}

/// One step of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its position.
    pub seq: Seq,
    /// When it was taken.
    pub at: Time,
    /// The one session it touches.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// What happened.
    pub input: Input,
    /// What was decided.
    pub records: Vec<Record>,
}

/// A fresh core that follows a journal.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    core: Core,
}

/// The first record that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The step.
    pub seq: Seq,
    /// Which of the step's records, from zero.
    pub index: usize,
    /// What the journal says; none when it has fewer records.
    pub expected: Option<Box<Record>>,
    /// What this core decided; none when it decided fewer.
    pub actual: Option<Box<Record>>,
}

impl Replay {
    /// A replay that starts from an empty state.
    pub fn new() -> Replay {
        Replay::default()
    }

    /// Steps through one line at its position and compares.
    ///
    /// # Errors
    /// The first record that differs. The replay is of no use after that.
    pub fn follow(&mut self, line: &Line) -> Result<(), Box<Difference>> {
        let step = self.core.step_at(line.seq, line.at, line.input.clone());
        let (expected, actual) = (&line.records, &step.records);
        let longest = expected.len().max(actual.len());
        match (0..longest).find(|&at| expected.get(at) != actual.get(at)) {
            None => Ok(()),
            Some(index) => Err(Box::new(Difference {
                seq: line.seq,
                index,
                expected: expected.get(index).cloned().map(Box::new),
                actual: actual.get(index).cloned().map(Box::new),
            })),
        }
    }

    /// The core as it stands.
    pub fn core(&self) -> &Core {
        &self.core
    }
}
