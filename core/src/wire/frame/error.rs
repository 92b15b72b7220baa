//! What can be wrong with a frame, and who is to blame: the peer for what cannot be decoded, a
//! bound of ours for what cannot be sent.

use super::MAX_FRAME_BYTES;
use crate::refusal::Refusal;
use alloc::string::{String, ToString};
use core::fmt;

/// What a peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It announced a frame that is longer than it may send.
    TooLong {
        /// How long, in bytes.
        announced: u32,
        /// The bound, in bytes.
        max_frame_bytes: usize,
    },
    /// It announced a frame without content.
    Empty,
    /// It sent bytes that are not UTF-8.
    NotUtf8,
    /// It sent text that is not JSON.
    NotJson {
        /// What is wrong with it, and where.
        message: String,
    },
    /// It sent JSON that is not an object with a `type`.
    Untyped,
    /// It sent a frame that this side does not take.
    UnknownType {
        /// The beginning of the type's name.
        name: String,
    },
    /// It sent a frame whose fields are not what they should be.
    BadField {
        /// The frame's type.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
    /// It stopped in the middle of a frame.
    CutOff,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer ")?;
        match self {
            FrameError::TooLong {
                announced,
                max_frame_bytes,
            } => write!(
                f,
                "announced a frame of {announced} bytes; at most {max_frame_bytes} are taken"
            ),
            FrameError::Empty => f.write_str("announced a frame of no bytes"),
            FrameError::NotUtf8 => f.write_str("sent a frame that is not UTF-8"),
            FrameError::NotJson { message } => {
                write!(f, "sent a frame that is not JSON: {message}")
            }
            FrameError::Untyped => {
                f.write_str("sent a frame that is not a JSON object with a text as its `type`")
            }
            FrameError::UnknownType { name } => {
                write!(f, "sent a frame of the unknown type {name:?}")
            }
            FrameError::BadField { name, message } => {
                write!(f, "sent a bad `{name}` frame: {message}")
            }
            FrameError::CutOff => f.write_str("stopped in the middle of a frame"),
        }
    }
}

impl core::error::Error for FrameError {}

impl From<FrameError> for Refusal {
    fn from(error: FrameError) -> Refusal {
        Refusal::Peer(error.to_string())
    }
}

/// A frame of ours that is too long to be sent: what it carries has to be cut first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// How long its JSON is, in bytes.
    pub bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes;
        write!(
            f,
            "a frame of {bytes} bytes cannot be sent: at most {MAX_FRAME_BYTES} fit"
        )
    }
}

impl core::error::Error for TooLarge {}

impl From<TooLarge> for Refusal {
    fn from(error: TooLarge) -> Refusal {
        Refusal::Limit(error.to_string())
    }
}
