//! A core that writes to a real journal, and whose effects a test carries out by hand.

use openpista_core::Core;
use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::model::Reply;
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened as Passed};
use openpista_core::id::Seq;
use openpista_core::input::{Arrival, Boot, Input};
use openpista_core::message::{ToolCall, ToolSpec};
use openpista_core::replay::Line;
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_core::time::Time;
use openpista_shell_smol::journal::{Journal, JournalError, Opened};
use std::path::{Path, PathBuf};

/// A data directory that goes with its test.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("memory.db")
    }
}

/// A daemon without a loop.
pub(crate) struct Bench {
    pub(crate) journal: Journal,
    pub(crate) core: Core,
    gate: Gate,
    now: Time,
    keys: u64,
}

impl Bench {
    /// Opens the journal, and does not boot.
    pub(crate) fn open(database: &Path) -> Result<Bench, JournalError> {
        let Opened { journal, core, .. } = Journal::open(database)?;
        let now = core.state().at();
        Ok(Bench {
            journal,
            core,
            gate: Gate::new(),
            now,
            keys: now.as_ms(),
        })
    }

    pub(crate) fn booted(database: &Path) -> Bench {
        let mut bench = Bench::open(database).unwrap();
        let boot = Boot {
            settings: settings(),
            unix_ms: 1_700_000_000_000,
        };
        bench.run(vec![Input::Boot(Box::new(boot))]);
        bench
    }

    /// A message, and all that follows from it: a text that begins with `!` makes the model run
    /// it as a command, and all else is answered at once.
    pub(crate) fn say(&mut self, session: &str, text: &str) {
        self.keys += 1;
        let arrival = Input::Arrive(Arrival {
            origin: format!("cli:{session}"),
            key: format!("key-{}", self.keys),
            peer: "cli:local".into(),
            session: Some(session.into()),
            text: text.into(),
            serial: None,
        });
        self.run(vec![arrival]);
    }

    /// Steps the inputs, commits them together, acts, and goes on until all is quiet.
    fn run(&mut self, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            let effects = self.step(std::mem::take(&mut inputs));
            inputs = effects.into_iter().map(perform).collect();
        }
    }

    fn step(&mut self, inputs: Vec<Input>) -> Vec<(Effect, Option<String>)> {
        let mut lines = Vec::new();
        for input in inputs {
            self.now = self.now.after_ms(7);
            let step = self.core.step(self.now, input.clone());
            if !step.records.is_empty() {
                lines.push(Line {
                    seq: step.seq,
                    at: step.at,
                    session: step.session,
                    input,
                    records: step.records.clone(),
                });
            }
            self.gate.hold(step);
        }
        if lines.is_empty() {
            return Vec::new();
        }
        let commit = self.journal.commit(lines);
        let receipt = futures_lite::future::block_on(commit).unwrap();
        let passed = self.gate.open(receipt).into_iter();
        passed
            .filter_map(|passed| match passed {
                Passed::Effect(cleared) => {
                    let (effect, prompt) = cleared.into_parts();
                    let last = prompt.and_then(|prompt| prompt.messages.last().cloned());
                    Some((effect, last.map(|entry| format!("{:?}", entry.message))))
                }
                Passed::Hint(_) => None,
            })
            .collect()
    }

    /// Saves a snapshot of this moment.
    pub(crate) fn snapshot(&self) -> Seq {
        let seq = self.core.state().seq();
        let saved = self.journal.save_snapshot(&self.core);
        futures_lite::future::block_on(saved).unwrap();
        seq
    }
}

fn perform((effect, last): (Effect, Option<String>)) -> Input {
    let outcome = match &effect.op {
        Op::Model(_) => Outcome::Model(Ok(reply(&last.unwrap_or_default()))),
        Op::Tool(run) => Outcome::Tool(Ok(Ran {
            exit: Exit::Code(0),
            stdout: Clip {
                text: format!("ran {}\n", run.arguments),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms: 3,
            pictures: Vec::new(),
        })),
        Op::Deliver(_) => Outcome::Deliver(Ok(Delivered)),
        Op::Sandbox(_) | Op::Cancel(_) => unreachable!("nothing is stopped here"),
    };
    Input::Finish {
        effect: effect.id,
        attempt: effect.attempt,
        outcome,
    }
}

fn reply(last: &str) -> Reply {
    let wants_tool = last.starts_with("User") && last.contains('!');
    let call = ToolCall {
        id: "call-1".into(),
        tool: "system.run".into(),
        arguments: r#"{"command":"canary-arguments"}"#.into(),
    };
    Reply {
        text: if wants_tool { "" } else { "canary-reply" }.into(),
        calls: wants_tool.then_some(call).into_iter().collect(),
        ..Reply::default()
    }
}

fn settings() -> Settings {
    Settings {
        provider: "test".into(),
        model: "m".into(),
        system: "canary-system".into(),
        tools: [ToolSpec {
            name: "system.run".into(),
            description: "runs".into(),
            parameters: "{}".into(),
            recovery: Recovery::Doubt,
            read_only: false,
            timeout_ms: 30_000,
            sandbox: None,
        }]
        .into(),
        policy: Policy {
            mode: Mode::Full,
            ..Policy::default()
        },
        owners: ["cli:local".to_string()].into(),
        ..Settings::default()
    }
}
