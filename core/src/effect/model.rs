//! A call to a language model: the request by its digest, and the reply.

use crate::digest::Digest;
use crate::id::{SessionId, TurnId};
use crate::limit::Limits;
use crate::message::ToolCall;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Ask the model. The prompt itself travels beside the effect (see
/// [`crate::gate::Cleared::prompt`]); the journal keeps its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallModel {
    /// For which session.
    pub session: SessionId,
    /// For which turn.
    pub turn: TurnId,
    /// Which round of the turn, from 1.
    pub round: u16,
    /// What is sent.
    pub prompt: Digest,
    /// How long the whole call may take, in milliseconds.
    pub timeout_ms: u64,
}

/// A model's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Its words.
    pub text: String,
    /// The tools it wants run, in order.
    pub calls: Vec<ToolCall>,
    /// Why it stopped.
    pub finish: Finish,
    /// What it cost.
    pub usage: Usage,
}

impl Reply {
    /// The reply within the bounds, with a mark where words were cut. Calls beyond the bound on
    /// one round are kept up to four times that, so that each can be answered with an error.
    pub(crate) fn bounded(mut self, limits: &Limits) -> Reply {
        let left = limits.reply_bytes;
        if self.text.len() > left {
            let cut = self.text.len() - truncate(&mut self.text, left);
            self.text
                .push_str(&format!("\n[{cut} more bytes were cut off]"));
        }
        self.calls.truncate(usize::from(limits.calls_per_round) * 4);
        for call in &mut self.calls {
            truncate(&mut call.id, 256);
            truncate(&mut call.tool, 256);
            truncate(&mut call.arguments, left);
        }
        self
    }
}

/// Shortens a text to at most `bytes`, at a character's boundary. Returns its new length.
fn truncate(text: &mut String, bytes: usize) -> usize {
    text.truncate(text.floor_char_boundary(bytes));
    text.len()
}

impl ModelFault {
    /// How long the provider asks us to wait before another try, in milliseconds; none when
    /// another try is of no use.
    pub(crate) fn retry_after_ms(&self) -> Option<u64> {
        match self {
            ModelFault::RateLimited { retry_after_ms, .. } => Some(retry_after_ms.unwrap_or(0)),
            ModelFault::Server { .. }
            | ModelFault::Network { .. }
            | ModelFault::TimedOut
            | ModelFault::Empty
            | ModelFault::Garbled { .. } => Some(0),
            ModelFault::Rejected { .. } | ModelFault::Cancelled => None,
        }
    }
}

/// Why a model stopped writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done, or it waits for tools.
    #[default]
    Stop,
    /// It reached the provider's limit: text or arguments may be cut off.
    Length,
    /// The provider's content filter cut it off.
    Filter,
}

/// Tokens, as far as the provider reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt: u64,
    /// Tokens written.
    pub completion: u64,
}

/// Why a model call gave no reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelFault {
    /// HTTP 429: too much, for now.
    RateLimited {
        /// How long the provider asks us to wait, in milliseconds.
        retry_after_ms: Option<u64>,
        /// The provider's words.
        message: String,
    },
    /// HTTP 5xx, or an error object inside a stream: the provider's trouble.
    Server {
        /// The HTTP status; 200 for an error inside a stream.
        status: u16,
        /// The provider's words.
        message: String,
    },
    /// The provider was not reached, or the connection broke.
    Network {
        /// What happened.
        message: String,
    },
    /// The call took longer than it may.
    TimedOut,
    /// A success without a reply in it.
    Empty,
    /// A success that cannot be understood.
    Garbled {
        /// What could not be read.
        message: String,
    },
    /// HTTP 4xx other than 408 and 429: the operator has to change something.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The provider's words.
        message: String,
    },
    /// We stopped it ourselves.
    Cancelled,
}
