//! Why an input was not taken, and who is to blame. Each becomes a sentence that a person sees.

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// An input that the core would not take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "blame", content = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// The one who sent it has no right to, or sent nonsense.
    Peer(String),
    /// The model did something that cannot be carried out.
    Model(String),
    /// Whoever runs the daemon has to change something.
    Operator(String),
    /// A bound was reached; it passes.
    Limit(String),
}

impl Refusal {
    /// The sentence for a person.
    pub fn reason(&self) -> &str {
        match self {
            Refusal::Peer(reason)
            | Refusal::Model(reason)
            | Refusal::Operator(reason)
            | Refusal::Limit(reason) => reason,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Refusal {}
