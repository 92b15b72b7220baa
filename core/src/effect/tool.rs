//! Running a tool: the call with its exact arguments, and what it did.

use crate::id::{SessionId, TurnId};
use crate::message::Picture;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// Run a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTool {
    /// For which session.
    pub session: SessionId,
    /// For which turn.
    pub turn: TurnId,
    /// Which of the round's calls, from zero.
    pub call: u16,
    /// Which tool.
    pub tool: String,
    /// A JSON object, as text: exactly what was judged and, where a person was asked, shown.
    pub arguments: String,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What a tool did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// How it ended.
    pub exit: Exit,
    /// What it printed on standard output, or its result.
    pub stdout: Clip,
    /// What it printed on standard error.
    pub stderr: Clip,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Pictures that it made, for people and for models that take them; those beyond
    /// [`crate::limit::Limits::pictures`] are passed over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
}

/// How a tool ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long and was killed.
    TimedOut,
    /// A person stopped it.
    Cancelled,
}

/// Text that was cut to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clip {
    /// What was kept. Bytes that are not UTF-8 are shown as U+FFFD.
    pub text: String,
    /// How many characters were left out, from the place where `text` carries the mark.
    pub cut_chars: u64,
}

/// Why a tool did nothing. The shell promises that it did not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFault {
    /// The arguments do not make sense to the tool: the model is told.
    Arguments {
        /// What is wrong with them.
        message: String,
    },
    /// The system would not start it.
    Start {
        /// What the system said.
        message: String,
    },
    /// It was stopped before it started.
    Cancelled,
}

/// The pictures of a run, as many as are looked at.
pub(crate) fn pictures(outcome: &Result<Ran, ToolFault>, most: usize) -> &[Picture] {
    let pictures = outcome.as_ref().map_or(&[][..], |ran| &ran.pictures);
    &pictures[..pictures.len().min(most)]
}

/// What the model reads of a tool's run: how it ended on the first line, then each stream that is
/// not empty under its name.
pub fn render(outcome: &Result<Ran, ToolFault>) -> String {
    let ran = match outcome {
        Ok(ran) => ran,
        Err(ToolFault::Arguments { message }) => return format!("did not run: {message}"),
        Err(ToolFault::Start { message }) => return format!("could not be started: {message}"),
        Err(ToolFault::Cancelled) => return "stopped before it started".to_string(),
    };
    let mut text = match ran.exit {
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::TimedOut => "timed out and was killed".to_string(),
        Exit::Cancelled => "stopped by a person".to_string(),
    };
    for (name, clip) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if !clip.text.is_empty() {
            text.push_str(&format!("\n{name}:\n{}", clip.text));
        }
    }
    text
}
