//! Effects: what the core wants done in the world, and what came of it.
//!
//! An [`Effect`] exists only inside a [`crate::record::Record::Intended`], so what is not journaled
//! cannot run. Each kind has a module here that describes it; the module of the same name in each
//! shell performs or pretends it.

pub mod cancel;
pub mod deliver;
pub mod model;
pub mod sandbox;
pub mod tool;

use crate::id::{Attempt, EffectId, SessionId, TurnId};
use alloc::string::String;
use serde::{Deserialize, Serialize};

/// One thing to be done in the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Its identity over all attempts.
    pub id: EffectId,
    /// Which try this is.
    pub attempt: Attempt,
    /// What to do.
    pub op: Op,
    /// What a crash in the middle of it leaves behind.
    pub recovery: Recovery,
}

impl Effect {
    /// The session on whose behalf this is done.
    pub fn session(&self) -> SessionId {
        match &self.op {
            Op::Model(call) => call.session,
            Op::Tool(run) => run.session,
            Op::Sandbox(used) => used.session,
            Op::Deliver(delivery) => delivery.session,
            Op::Cancel(cancel) => cancel.session,
        }
    }

    /// The turn that waits for this, if one does.
    pub fn turn(&self) -> Option<TurnId> {
        match &self.op {
            Op::Model(call) => Some(call.turn),
            Op::Tool(run) => Some(run.turn),
            Op::Sandbox(used) => used.serves_turn().then_some(used.turn),
            Op::Deliver(_) | Op::Cancel(_) => None,
        }
    }
}

/// A request to the world. Its reply is the variant of [`Outcome`] with the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Ask the model.
    Model(model::CallModel),
    /// Run a tool.
    Tool(tool::RunTool),
    /// Make, use or remove a sandbox.
    Sandbox(sandbox::UseSandbox),
    /// Show something to a person.
    Deliver(deliver::Deliver),
    /// Stop an effect that is running.
    Cancel(cancel::Cancel),
}

/// The world's reply to an [`Op`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What the model said, or why it said nothing.
    Model(Result<model::Reply, model::ModelFault>),
    /// What the tool did, or why it did not start.
    Tool(Result<tool::Ran, tool::ToolFault>),
    /// What came of it, or why nothing did.
    Sandbox(Result<sandbox::Done, sandbox::SandboxFault>),
    /// Whether the person could be reached.
    Deliver(Result<deliver::Delivered, deliver::DeliverFault>),
    /// Whether there was anything left to stop.
    Cancel(cancel::Cancelled),
}

/// What to do with an effect that was open when the program died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// Do it again: a repetition harms less than a loss.
    Repeat,
    /// Find out what became of it: it outlives the program, and can be asked.
    Probe,
    /// Never do it again: say that it may have happened.
    Doubt,
}

/// Something seen while an effect runs. It may be lost, repeated or shuffled (law 10).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chunk {
    /// More of the model's words.
    Text(String),
    /// More of a command's output.
    Output(String),
}
