//! Everything that can happen to the core.

use crate::effect::{Chunk, Outcome};
use crate::id::{ApprovalId, Attempt, EffectId};
use crate::settings::Settings;
use alloc::boxed::Box;
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The program started. Must be the first input of every life.
    Boot(Box<Boot>),
    /// A message came in.
    Arrive(Arrival),
    /// An effect ended.
    Finish {
        /// Which.
        effect: EffectId,
        /// Which try of it.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
    },
    /// An effect is getting on. Changes nothing; may be lost.
    Progress {
        /// Which.
        effect: EffectId,
        /// What was seen.
        chunk: Chunk,
    },
    /// Time has passed. Handles the earliest timer if it is due, and nothing otherwise.
    Tick,
    /// A person gave an order outside the text of a message.
    Order(Order),
}

/// What the program knows when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The operator's choices.
    pub settings: Settings,
    /// The wall clock: milliseconds since 1970 in UTC.
    pub unix_ms: u64,
}

/// A message from a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The channel and the conversation in it, for example `cli:local`: replies go there.
    pub origin: String,
    /// The channel's idempotency key. The same (origin, key) is accepted once.
    pub key: String,
    /// Who wrote, as `channel:user`; looked up among [`Settings::owners`].
    pub peer: String,
    /// The session's name; a session per origin when none is named.
    pub session: Option<String>,
    /// The words.
    pub text: String,
}

/// A person's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// End what the session is doing, and drop what waits in it.
    Stop {
        /// The session's name.
        session: String,
        /// Who says so, as `channel:user`.
        by: String,
    },
    /// Answer a question. Late and repeated answers change nothing.
    Decide {
        /// Which question.
        approval: ApprovalId,
        /// Yes or no.
        allow: bool,
        /// Who says so, as `channel:user`.
        by: String,
    },
}
