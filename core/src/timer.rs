//! What the core waits for when nothing arrives.

use crate::id::{ApprovalId, EffectId, JobId, SessionId};
use serde::{Deserialize, Serialize};

/// A moment that the core asked to be woken at, and for what.
///
/// The order of the variants breaks ties between timers of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// An effect was open when the program stopped: settle it by its recovery class.
    Recover(EffectId),
    /// An effect failed in a way that passes: try it again.
    Retry(EffectId),
    /// An effect has reported nothing for longer than it may take.
    Overdue(EffectId),
    /// Nobody answered a question: that is a denial.
    Approval(ApprovalId),
    /// The session's turn has used up its time.
    Turn(SessionId),
    /// A job is due, or its due time is to be found.
    Job(JobId),
}
