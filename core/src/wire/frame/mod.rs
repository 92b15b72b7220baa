//! The frames of the gateway: a 4-byte big-endian length, and that many bytes of UTF-8 JSON, an
//! object whose `type` names it.
//!
//! It owns the frames' shapes and their bytes. Who may send what, and when, is the gateway's
//! affair. Fields that a frame does not have are passed over, so that newer peers can say more.
//!
//! Law 19: where chunks break changes nothing, no bytes panic, and a length beyond the bound is
//! refused before a byte of the frame is kept. Every error of decoding is the peer's.

mod decode;
mod error;

use crate::effect::tool::{Exit, Ran};
use crate::id::{ApprovalId, Attempt};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use decode::Decoder;
pub use error::{FrameError, TooLarge};

/// The longest JSON of a frame, in bytes; its length prefix comes on top.
pub const MAX_FRAME_BYTES: usize = 1_048_576;

const PREFIX_BYTES: usize = 4;

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The first frame of a connection: who is there.
    Auth {
        /// What the operator gave the client.
        token: Token,
        /// The client's name.
        client: String,
        /// What it is, unless a person's client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<Role>,
    },
    /// Words for the model.
    Message {
        /// The client's idempotency key.
        id: String,
        /// The words.
        text: String,
        /// In which session, by name; the client's own unless it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// The answer to a question.
    Approval {
        /// Which question.
        approval: ApprovalId,
        /// The answer.
        decision: Decision,
    },
    /// Stop the turn of a message.
    Cancel {
        /// The message's key.
        id: String,
    },
    /// Are you there?
    Ping,
    /// More of what a worker's command prints. May be lost.
    Output {
        /// Where it prints it.
        stream: Stream,
        /// What it prints.
        text: String,
    },
    /// A worker's command has ended. It is sent again, over new connections too, until it is
    /// answered with [`ServerFrame::Heard`].
    Report {
        /// How it ended, and what it printed, cut to a bound.
        #[serde(flatten)]
        ran: Ran,
    },
}

/// What the gateway sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The client is known.
    AuthOk {
        /// The session of its messages, by name.
        session: String,
        /// The provider of the model, as people are told of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<String>,
        /// The model's name, as people are told of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// The client is not known; the connection closes.
    AuthError {
        /// Why.
        message: String,
    },
    /// The message is durably ours.
    Accepted {
        /// The message's key.
        id: String,
    },
    /// The turn is getting on. May be lost.
    Progress {
        /// The message's key.
        id: String,
        /// What goes on.
        #[serde(flatten)]
        progress: Progress,
    },
    /// May this run?
    ApprovalRequest {
        /// The message's key.
        id: String,
        /// What to answer to.
        approval: ApprovalId,
        /// The tool.
        tool: String,
        /// The exact arguments that would be used, as JSON text.
        arguments: String,
        /// Why a person is asked.
        reason: String,
    },
    /// The message's visible end.
    Response {
        /// The message's key.
        id: String,
        /// The reply, or what went wrong.
        content: String,
        /// Something went wrong.
        is_error: bool,
    },
    /// The answer to a ping.
    Pong,
    /// The answer to a worker's report. There is nothing more for it to do.
    Heard {
        /// The report is durable, now or since an earlier time; else the task is over without it.
        taken: bool,
    },
    /// The peer did something that cannot be carried out.
    Error {
        /// What, and what to do about it.
        message: String,
    },
}

/// What a turn is doing: [`crate::hint::Activity`] for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Progress {
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
    /// A tool has ended.
    Ran {
        /// How; none when it did not start.
        exit: Option<Exit>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A tool may or may not have run before a crash.
    InDoubt,
    /// More of the model's words.
    Text {
        /// The words.
        text: String,
    },
    /// More of a command's output.
    Output {
        /// The output.
        text: String,
    },
    /// A tool has made a picture: where it is on the daemon's computer. Like a notice, it ends no
    /// message.
    Picture {
        /// The file, a PNG.
        path: String,
        /// How wide it is, in pixels.
        width: u32,
        /// How high it is, in pixels.
        height: u32,
    },
    /// A word of the daemon's own, which ends no message. It concerns the client's session, and
    /// its `id` is empty when it comes outside a message's exchange.
    Notice {
        /// The word.
        text: String,
    },
}

/// What a client is, unless a person's client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sandboxed work that reports to the session of its orchestrator. Its token is that of its
    /// task alone, and it sends nothing but [`ClientFrame::Output`] and [`ClientFrame::Report`],
    /// over the first stream of its connection. What it is to do it was told when it was made, by
    /// its command line: it works on while the daemon is away.
    Worker,
}

/// Where a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A person's answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may run, this once.
    Allow,
    /// It may run, and so may this exact call for the rest of the session.
    AllowSession,
    /// It may not.
    Deny,
}

/// A client's secret. It is sent and compared, and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ClientFrame {}
    impl Sealed for super::ServerFrame {}
}

/// A direction's frames: [`ClientFrame`] or [`ServerFrame`].
pub trait Frame: Serialize + DeserializeOwned + sealed::Sealed {
    /// The names that `type` can have.
    const TYPES: &'static [&'static str];
}

impl Frame for ClientFrame {
    const TYPES: &'static [&'static str] = &[
        "auth", "message", "approval", "cancel", "ping", "output", "report",
    ];
}

impl Frame for ServerFrame {
    const TYPES: &'static [&'static str] = &[
        "auth_ok",
        "auth_error",
        "accepted",
        "progress",
        "approval_request",
        "response",
        "pong",
        "heard",
        "error",
    ];
}

/// A frame's bytes, its length first.
///
/// # Errors
/// The frame is longer than [`MAX_FRAME_BYTES`].
pub fn encode<F: Frame>(frame: &F) -> Result<Vec<u8>, TooLarge> {
    let json = serde_json::to_vec(frame).expect("text and numbers always serialise");
    let bytes = json.len();
    let length = u32::try_from(bytes).map_err(|_| TooLarge { bytes })?;
    if bytes > MAX_FRAME_BYTES {
        return Err(TooLarge { bytes });
    }
    let mut frame = Vec::with_capacity(PREFIX_BYTES + bytes);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&json);
    Ok(frame)
}
