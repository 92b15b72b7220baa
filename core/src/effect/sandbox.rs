//! Sandboxed work: a place made for one task, used once, and destroyed.
//!
//! One shape for three engines. A sandbox is made ([`Action::Create`]), the task runs in it once
//! ([`Action::Run`]), and it is destroyed whatever happened ([`Action::Destroy`]). It is named by
//! the effect that made it, so it can be found again after a crash, and reaped (law 15).

use super::tool::{Ran, render};
use super::{Op, Outcome};
use crate::digest::Digest;
use crate::id::{SandboxId, SessionId, TurnId};
use alloc::format;
use alloc::string::{String, ToString};
use serde::{Deserialize, Serialize};

/// Do something with a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseSandbox {
    /// For which session.
    pub session: SessionId,
    /// For which turn.
    pub turn: TurnId,
    /// Which of the round's calls, from zero.
    pub call: u16,
    /// Which sandbox: the effect that creates it has the same number.
    pub sandbox: SandboxId,
    /// What it is made of.
    pub engine: Engine,
    /// What to do.
    pub action: Action,
    /// How long this may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What a sandbox is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// A container of its own, through the Docker API. It survives the daemon.
    Docker,
    /// A WebAssembly instance in a process of ours, which sees the workspace and cannot change it. It
    /// ends with the daemon.
    Wasm,
    /// A process that the kernel confines. It ends with the daemon.
    Subprocess,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 3] = [Engine::Docker, Engine::Wasm, Engine::Subprocess];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Wasm => "wasm",
            Engine::Subprocess => "subprocess",
        }
    }
}

/// What is done with a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make it, ready to run. A second attempt first removes what the first one left.
    Create(Task),
    /// Start the task and wait for its end. It is asked for once in a sandbox's life.
    Run(Task),
    /// The program died while the task may have been running: find out what became of it. Wait for
    /// it if it runs, collect what it left if it has ended, start it if it never was started; what
    /// cannot be found out is [`SandboxFault::Lost`]. Nothing is ever started twice.
    Resume(Task),
    /// End what runs in it, revoke its token, and remove it. Nothing, when it is gone already.
    Destroy,
}

impl Action {
    /// As people know it.
    pub const fn name(&self) -> &'static str {
        match self {
            Action::Create(_) => "create",
            Action::Run(_) => "run",
            Action::Resume(_) => "resume",
            Action::Destroy => "destroy",
        }
    }
}

/// What is to run in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The tool that was called.
    pub tool: String,
    /// A JSON object, as text: exactly what was judged and, where a person was asked, shown.
    pub arguments: String,
    /// Which program that is.
    pub program: Program,
    /// How long it may run, in milliseconds; arguments may ask for less.
    pub timeout_ms: u64,
}

/// Which program runs in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// The command that the arguments name, in the image that they name.
    Command,
    /// The same under our worker, which reports over the gateway with the sandbox's token.
    Worker,
    /// A skill's own program. It reads the arguments as JSON from its standard input.
    Skill {
        /// The skill's name.
        name: String,
        /// Its folder, relative to the workspace.
        folder: String,
        /// The program's file in that folder: `run.sh`, `main.py` or `main.wasm`.
        entry: String,
        /// The image it asks for, if it runs in a container.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        image: Option<String>,
    },
}

/// A tool that runs in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandboxed {
    /// What it is made of.
    pub engine: Engine,
    /// What else will do where that engine is not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Engine>,
    /// What runs in it.
    pub program: Program,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It stands, and nothing has run in it.
    Created {
        /// The digest of the token that was put into it, where the task needs one: SHA-256 of the
        /// token's text. The token itself is known inside the sandbox alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Digest>,
    },
    /// The task was started, and has ended.
    Ended(Ended),
    /// It is gone, with everything in it.
    Destroyed,
}

/// What a task came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended and what it printed.
    pub ran: Ran,
    /// What the model should know of the place it ran in, in one sentence: how it was confined,
    /// for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why an action came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxFault {
    /// The engine cannot be used here: no daemon answers, the kernel cannot confine.
    Unavailable {
        /// What is missing, and what to do about it.
        message: String,
    },
    /// The arguments do not make sense to the tool: the model is told.
    Arguments {
        /// What is wrong with them.
        message: String,
    },
    /// The engine refused, or the program is not one it can run. Nothing has run.
    Failed {
        /// What happened.
        message: String,
    },
    /// It is not there any more, and nobody can say how far it came.
    Lost,
    /// It took too long, and nothing has run.
    TimedOut,
    /// It was stopped before anything ran.
    Cancelled,
}

impl UseSandbox {
    /// The task, where the action has one.
    pub fn task(&self) -> Option<&Task> {
        match &self.action {
            Action::Create(task) | Action::Run(task) | Action::Resume(task) => Some(task),
            Action::Destroy => None,
        }
    }

    /// The action serves the turn that asked for it. Removing serves nobody: it has to be done.
    pub fn serves_turn(&self) -> bool {
        !matches!(self.action, Action::Destroy)
    }

    /// The task may be running, or have run.
    pub fn runs(&self) -> bool {
        matches!(self.action, Action::Run(_) | Action::Resume(_))
    }
}

/// What the model reads of a sandboxed run.
pub fn render_sandboxed(outcome: &Result<Done, SandboxFault>) -> String {
    match outcome {
        Ok(Done::Ended(Ended { ran, note })) => {
            let ran = render(&Ok(ran.clone()));
            match note {
                Some(note) => format!("{ran}\n({note})"),
                None => ran,
            }
        }
        Ok(Done::Created { .. } | Done::Destroyed) => "nothing ran".to_string(),
        Err(fault) => fault.to_string(),
    }
}

impl core::fmt::Display for SandboxFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SandboxFault::Unavailable { message } => write!(f, "did not run: {message}"),
            SandboxFault::Arguments { message } => write!(f, "did not run: {message}"),
            SandboxFault::Failed { message } => write!(f, "could not be started: {message}"),
            SandboxFault::Lost => f.write_str("may have run: what became of it is not known"),
            SandboxFault::TimedOut => f.write_str("did not run: its sandbox was not ready in time"),
            SandboxFault::Cancelled => f.write_str("stopped before it started"),
        }
    }
}

/// The use of a sandbox and its outcome, when that is what these are.
pub fn both<'a>(
    op: &'a Op,
    outcome: &'a Outcome,
) -> Option<(&'a UseSandbox, &'a Result<Done, SandboxFault>)> {
    match (op, outcome) {
        (Op::Sandbox(used), Outcome::Sandbox(outcome)) => Some((used, outcome)),
        _ => None,
    }
}
