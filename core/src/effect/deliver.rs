//! Showing something to a person, over the channel that they wrote from.

use crate::id::{ApprovalId, MessageId, SessionId};
use crate::message::Picture;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Show something to a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    /// From which session.
    pub session: SessionId,
    /// Over which channel, for example `cli:local`.
    pub origin: String,
    /// What to show.
    pub body: Body,
    /// The accepted messages whose visible end this is; empty for a notice, a question, and every
    /// part of a long text but the last.
    pub ends: Vec<End>,
    /// The text may be shown with its Markdown rendered, the picture as one. False once a channel
    /// refused it so.
    pub rich: bool,
    /// An earlier try may have been seen already.
    pub repeated: bool,
}

/// An accepted message that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its identity.
    pub message: MessageId,
    /// The channel it came over.
    pub origin: String,
    /// The key that the channel gave it.
    pub key: String,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The model's reply, in Markdown.
    Reply(String),
    /// The turn failed: what happened, and what to do about it.
    Failure(String),
    /// An answer of the daemon itself, for example to `/status`.
    Notice(String),
    /// May this run?
    Question(Question),
    /// What a tool made for the eye. Once a channel refused it as a picture, it goes out as a file.
    Picture(Picture),
}

impl Body {
    /// The text of a reply, failure or notice; none for a question or picture.
    pub fn text(&self) -> Option<&str> {
        match self {
            Body::Reply(text) | Body::Failure(text) | Body::Notice(text) => Some(text),
            Body::Question(_) | Body::Picture(_) => None,
        }
    }
}

/// A request for a person's permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What to answer to.
    pub approval: ApprovalId,
    /// The tool.
    pub tool: String,
    /// The exact arguments that would be used.
    pub arguments: String,
    /// Why a person is asked.
    pub reason: String,
    /// How long the question stays open, in milliseconds.
    pub expires_ms: u64,
}

/// It was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered;

/// Why something could not be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverFault {
    /// The channel asks for patience.
    RateLimited {
        /// How long, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The channel refuses the formatting, not the text.
    Unformatted,
    /// The channel cannot be reached now.
    Unreachable {
        /// What happened.
        message: String,
    },
    /// Nobody is there to be shown anything, and nothing was shown. It waits until somebody is
    /// ([`crate::input::Input::Present`]), and is never given up.
    Absent,
    /// The person cannot be reached this way any more.
    Gone {
        /// What happened.
        message: String,
    },
}
