//! Identities. Each is a position in the journal, so none is ever allocated, drawn or reused:
//! the step that first spoke of a thing names it.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The position of a step in the journal. The first step is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    pub const fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! step_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Seq);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

step_id! {
    /// A conversation, named by the step that opened it.
    SessionId
}
step_id! {
    /// One run of the agent loop, named by the step that began it. A step touches one session
    /// and a session has one live turn, so a step begins at most one.
    TurnId
}
step_id! {
    /// An accepted message, named by the step that accepted it.
    MessageId
}

macro_rules! slot_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name {
            /// The step.
            pub seq: Seq,
            /// Which one of that step's, from zero.
            pub slot: u16,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}", self.seq, self.slot)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let (seq, slot) = text.split_once('.').ok_or(BadId)?;
                Ok($name {
                    seq: Seq(seq.parse().map_err(|_| BadId)?),
                    slot: slot.parse().map_err(|_| BadId)?,
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    };
}

slot_id! {
    /// A sandbox, named by the effect that creates it.
    SandboxId
}
slot_id! {
    /// An effect: the step that first intended it, and which of that step's intents it was.
    /// Written `SEQ.SLOT`.
    EffectId
}
slot_id! {
    /// A question to a person: the step that asked, and which of the round's calls it is about.
    /// Written `SEQ.SLOT`.
    ApprovalId
}

slot_id! {
    /// A job on the schedule: the step that added it, and which of that step's. Written `SEQ.SLOT`.
    JobId
}

/// Text that is not `SEQ.SLOT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is written SEQ.SLOT, for example 12.0")
    }
}

impl core::error::Error for BadId {}

/// Which try of an effect this is, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u16);

impl Attempt {
    /// The first try.
    pub const FIRST: Attempt = Attempt(1);

    /// The try after this one.
    pub const fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}
