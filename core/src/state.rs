//! The whole state: what each machine remembers, and the position in the journal.
use crate::id::Seq;
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// Everything that the core remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The last step that left records.
    pub seq: Seq,
    /// When that was.
    pub at: Time,
}
