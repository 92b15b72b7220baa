//! Everything that can happen to the core.

use crate::digest::Digest;
use crate::effect::sandbox::Ended;
use crate::effect::{Chunk, Outcome};
use crate::id::{ApprovalId, Attempt, EffectId};
use crate::settings::Settings;
use crate::skill::Skill;
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
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
    /// What runs in a sandbox says how it ended. It may say so again until it is heard.
    Report {
        /// The digest of the token that it showed.
        token: Digest,
        /// How it ended.
        ended: Ended,
    },
    /// The moment of a timer has come. Nothing, if that timer does not run or is not due: an early
    /// or repeated tick is harmless (law 17).
    Tick(Timer),
    /// The wall clock shows this: milliseconds since 1970 in UTC. Schedules follow it when it jumps.
    Wall {
        /// The time shown.
        unix_ms: u64,
    },
    /// The workspace has these skills now, and no others.
    Learn {
        /// All of them. Those which the bounds leave no room for are ignored.
        skills: Vec<Skill>,
    },
    /// A person gave an order outside the text of a message.
    Order(Order),
    /// A channel's conversation goes on under another name: a group became a supergroup. What is
    /// written there continues its session. Nothing, if it has none, or there is one under the new
    /// name already.
    Move {
        /// The origin that it had.
        from: String,
        /// The origin that it has now.
        to: String,
    },
    /// Somebody is there now who can be shown what waits for this origin. One delivery is tried
    /// again, because a step touches one session: a shell repeats it until nothing comes of it.
    Present {
        /// The channel and the conversation in it, for example `cli:local`.
        origin: String,
    },
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
    /// The channel's own rising number of this message, if it has one. What is not above the
    /// numbers that were forgotten counts as known, however late it is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
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
    /// End the turn that a message is in, or drop it if it waits.
    Cancel {
        /// The channel that the message came over.
        origin: String,
        /// The channel's key of it.
        key: String,
        /// Who says so, as `channel:user`.
        by: String,
    },
    /// Let somebody in. Only those whom the operator named may.
    Admit {
        /// Whom, as `channel:user`.
        peer: String,
        /// Who says so, as `channel:user`.
        by: String,
    },
    /// Shut somebody out again whom [`Order::Admit`] let in.
    Expel {
        /// Whom, as `channel:user`.
        peer: String,
        /// Who says so, as `channel:user`.
        by: String,
    },
    /// Answer a question. Late and repeated answers change nothing.
    Decide {
        /// Which question.
        approval: ApprovalId,
        /// What they say.
        decision: Decision,
        /// Who says so, as `channel:user`.
        by: String,
    },
}

/// What a person says to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes, this once.
    Allow,
    /// Yes, and to this exact call for the rest of the session.
    AllowSession,
    /// No.
    Deny,
}
