//! The companion that touches a display: what the daemon and it say to each other.
//!
//! The daemon links no library of a display. What sees and touches one is the program
//! `openpista-desktop`, a [companion](crate::companion) built only with the feature `desktop`. It
//! serves one call at a time, since there is one desktop: whoever asks waits for the end of a call
//! before the next, and may say [`Ask::Stop`] meanwhile. The program itself says which tools it
//! has here and now, so that nothing is offered that cannot work.
//!
//! Beside this file lies what the program alone is made of: see `parts.rs`.

pub mod geometry;

use openpista_core::message::ToolSpec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The program's name.
pub const PROGRAM: &str = "openpista-desktop";

/// The longest side of a picture as a model sees it, in pixels.
pub const SMALL_SIDE: u32 = 1_568;
/// The most bytes of a picture as a model sees it.
pub const SMALL_BYTES: usize = 1_000_000;

/// What the daemon says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Which tools are there? Answered by [`Told::Abilities`].
    Abilities,
    /// Release what programs hold down: whoever pressed it is gone. It is not answered.
    Release,
    /// Do this. Answered by [`Told::Ended`].
    Call(Call),
    /// End the call of this number early; its end still comes.
    Stop {
        /// Which.
        id: u64,
    },
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Its number, which no other call of this companion has.
    pub id: u64,
    /// For which session: what it saw last is remembered.
    pub session: String,
    /// Which tool.
    pub tool: String,
    /// A JSON object, as text.
    pub arguments: String,
    /// The session's folder, where pictures are put. It may not exist yet.
    pub folder: PathBuf,
    /// The model sees pictures, made small: its coordinates are in their pixels.
    pub shown: bool,
    /// How long it may take, in milliseconds. The program ends it by itself then.
    pub timeout_ms: u64,
}

/// What the companion says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// All its tools.
    Abilities(Vec<Ability>),
    /// More of what a call gives.
    Progress {
        /// Which call.
        id: u64,
        /// For a person to see.
        text: String,
    },
    /// A call is over.
    Ended {
        /// Which.
        id: u64,
        /// How.
        end: End,
    },
}

/// A tool, and whether it can be used on this machine as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ability {
    /// The tool's name.
    pub tool: String,
    /// What the model is told of it, or why it is not offered.
    pub offer: Result<ToolSpec, Lack>,
}

/// Why a tool is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What is missing.
    pub why: String,
    /// What to do about it, in one line.
    pub mend: String,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It did what was asked.
    Done(Done),
    /// The arguments make no sense. Nothing was done.
    Refused {
        /// What is wrong with them, for the model.
        message: String,
    },
    /// It cannot be done here and now. Nothing was done.
    Unable {
        /// Why, and what would help.
        message: String,
    },
    /// It failed; some of it may have been done.
    Failed {
        /// What happened.
        message: String,
    },
    /// It was stopped, as was asked; some of it may have been done.
    Stopped {
        /// How far it came.
        message: String,
    },
    /// It took too long; some of it may have been done.
    TimedOut {
        /// How far it came.
        message: String,
    },
}

/// What a call gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// For the model.
    pub text: String,
    /// What was seen.
    pub pictures: Vec<Shot>,
}

/// A picture in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shot {
    /// Where it is.
    pub path: PathBuf,
    /// Its size in pixels.
    pub width: u32,
    /// Its size in pixels.
    pub height: u32,
    /// The same within [`SMALL_SIDE`] and [`SMALL_BYTES`], when it is not so itself.
    pub small: Option<PathBuf>,
}

impl From<String> for Done {
    fn from(text: String) -> Done {
        let pictures = Vec::new();
        Done { text, pictures }
    }
}
