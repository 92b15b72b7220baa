//! What a person may see while things go on. By definition a hint may be lost: nothing depends on
//! it, and it is made anew from what happens next.

use crate::digest::Digest;
use crate::effect::Chunk;
use crate::effect::tool::Exit;
use crate::id::{ApprovalId, Attempt, SessionId};
use crate::refusal::Refusal;
use alloc::string::String;

/// Something to show or acknowledge, if anybody is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The message is durably ours; the channel may forget it (law 2). Also given for a duplicate.
    Ack {
        /// The channel.
        origin: String,
        /// The channel's key.
        key: String,
    },
    /// The message was not taken.
    Refuse {
        /// The channel.
        origin: String,
        /// The channel's key.
        key: String,
        /// Why.
        refusal: Refusal,
    },
    /// An answer to an order about the daemon itself. Asking again gives it again.
    Tell {
        /// The channel.
        origin: String,
        /// The channel's key of the order.
        key: String,
        /// The answer.
        text: String,
    },
    /// What became of a report that came with this token.
    Heard {
        /// The token's digest.
        token: Digest,
        /// It is durably ours, now or since an earlier time; else the token is nobody's, or was
        /// used up or revoked before.
        taken: bool,
    },
    /// A question needs no answer any more: it has one, has expired, or its turn is over.
    Answered {
        /// Which.
        approval: ApprovalId,
    },
    /// A turn is getting on.
    Show {
        /// In which session.
        session: SessionId,
        /// That session's name.
        name: String,
        /// What goes on.
        activity: Activity,
    },
}

/// What a turn is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The model is being asked.
    Asking {
        /// Which round of the turn, from 1.
        round: u16,
        /// Which try of the call.
        attempt: Attempt,
    },
    /// Something failed and will be tried again.
    Waiting {
        /// What failed, in a few words.
        why: String,
        /// In how long, in milliseconds.
        retry_in_ms: u64,
    },
    /// A tool is running.
    Running {
        /// Which.
        tool: String,
        /// With which arguments, as JSON text.
        arguments: String,
    },
    /// A tool has ended; none when it did not start.
    Ran {
        /// How.
        exit: Option<Exit>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// It may or may not have run before a crash.
    InDoubt,
    /// More of what an effect gives while it runs.
    Chunk(Chunk),
}
