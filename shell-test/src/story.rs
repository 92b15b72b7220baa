//! What happened in a world, in order: the evidence on which the laws are checked.

use crate::fault::Cut;
use crate::mutant::Meddling;
use crate::plan::Plan;
use openpista_core::digest::Digest;
use openpista_core::effect::deliver::Deliver;
use openpista_core::effect::model::Reply;
use openpista_core::effect::sandbox::{Engine, Task};
use openpista_core::effect::{Effect, Outcome};
use openpista_core::id::{Attempt, EffectId, SandboxId, Seq};
use openpista_core::input::{Arrival, Input};
use openpista_core::message::Prompt;
use openpista_core::refusal::Refusal;
use openpista_core::replay::Line;
use openpista_core::time::Time;
use openpista_core::timer::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody wrote; their channel keeps it until it is acknowledged.
    Sent(Arrival),
    /// A life began: the state was restored.
    Restored {
        /// When.
        at: Time,
        /// The last position on the disk.
        through: Seq,
        /// The snapshot that was used.
        snapshot: Option<Seq>,
        /// The fingerprint of the state.
        state: u64,
        /// Whom the configuration names as owners in it.
        owners: BTreeSet<String>,
    },
    /// The disk could not be restored.
    Unrestorable(String),
    /// The core took an input.
    Stepped(Stepped),
    /// Everything up to a position is durable.
    Committed(Seq),
    /// The program died.
    Crashed {
        /// Where in a commit.
        cut: Cut,
        /// The last durable position.
        through: Seq,
    },
    /// A channel was told that a message is ours.
    Acked {
        /// The channel.
        origin: String,
        /// Its key.
        key: String,
    },
    /// A channel was told that a message is not taken.
    Declined {
        /// The channel.
        origin: String,
        /// Its key.
        key: String,
        /// Why.
        refusal: Refusal,
    },
    /// An effect really began.
    Started {
        /// Which.
        effect: Effect,
        /// What the model was sent.
        prompt: Option<Prompt>,
    },
    /// The model really answered something, heard or not.
    Modelled(Modelled),
    /// Something appeared before a person.
    Shown {
        /// By which effect.
        effect: EffectId,
        /// By which try of it.
        attempt: Attempt,
        /// What.
        delivery: Deliver,
    },
    /// An outcome was on its way to the core.
    Reported {
        /// Of which effect.
        effect: EffectId,
        /// Of which try.
        attempt: Attempt,
        /// What.
        outcome: Outcome,
    },
    /// Something happened to a sandbox in the world.
    Sandbox {
        /// Which.
        sandbox: SandboxId,
        /// What it is made of.
        engine: Engine,
        /// What.
        what: Happened,
    },
    /// Something that reported with a token was told what became of the report.
    Heard {
        /// The token's digest.
        token: Digest,
        /// It was taken.
        taken: bool,
    },
    /// Faults have stopped.
    Healed(Time),
    /// Nothing happens any more, or the patience is at its end.
    Ended {
        /// When.
        at: Time,
        /// Nothing happens any more.
        quiet: bool,
        /// What the core still waits for.
        deadline: Option<(Time, Timer)>,
    },
}

/// What happened to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It stands from here on, with the token of this digest in it.
    Made(Option<Digest>),
    /// Its task was started.
    Ran(Task),
    /// A later life looked what became of its task.
    Resumed(Found),
    /// It is gone, with everything in it.
    Gone,
}

/// What a later life found of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// Nothing: its sandbox is not there.
    Nothing,
    /// It never was started.
    Made,
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// What a model call came to in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Modelled {
    /// Which call.
    pub effect: EffectId,
    /// Which try of it.
    pub attempt: Attempt,
    /// What it answers.
    pub prompt: Prompt,
    /// What the model had in mind, when nothing is wrong with the call.
    pub meant: Option<Reply>,
    /// The response's status.
    pub status: u16,
    /// The bytes that came over the wire, in the pieces in which they came.
    pub chunks: Vec<Vec<u8>>,
    /// What the codec made of them; none when nothing was heard.
    pub heard: Option<Outcome>,
}

/// A step of the core.
#[derive(Clone, Debug, PartialEq)]
pub struct Stepped {
    /// What would be journaled: the input and the records.
    pub line: Arc<Line>,
    /// When the shell thought it was.
    pub at: Time,
    /// What the core waited for before.
    pub before: Option<(Time, Timer)>,
    /// What it waits for now.
    pub after: Option<(Time, Timer)>,
    /// The fingerprint of the state now, where somebody looked.
    pub state: Option<u64>,
}

/// A world's whole course.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// What was planned.
    pub plan: Arc<Plan>,
    /// How the shell was broken on purpose.
    pub meddling: Meddling,
    /// What happened.
    pub events: Vec<Event>,
}

impl Story {
    /// The durable journal at the end.
    pub fn journal(&self) -> Vec<Line> {
        let mut lines: Vec<Arc<Line>> = Vec::new();
        for event in &self.events {
            match event {
                Event::Stepped(step) if !step.line.records.is_empty() => {
                    lines.push(step.line.clone());
                }
                Event::Crashed { through, .. } => lines.retain(|line| line.seq <= *through),
                _ => {}
            }
        }
        let through = self.durable_through();
        let durable = lines.iter().filter(|line| line.seq <= through);
        durable.map(|line| Line::clone(line)).collect()
    }

    /// The last position that was ever made durable.
    fn durable_through(&self) -> Seq {
        let ends = self.events.iter().rev().find_map(|event| match event {
            Event::Committed(through) | Event::Crashed { through, .. } => Some(*through),
            _ => None,
        });
        ends.unwrap_or(Seq(0))
    }

    /// Whom the configuration named as owners, by the step of each boot.
    pub fn owners(&self) -> BTreeMap<Seq, &BTreeSet<String>> {
        let mut named = None;
        let mut owners = BTreeMap::new();
        for event in &self.events {
            match event {
                Event::Restored { owners, .. } => named = Some(owners),
                Event::Stepped(step) if matches!(step.line.input, Input::Boot(_)) => {
                    owners.extend(named.map(|named| (step.line.seq, named)));
                }
                _ => {}
            }
        }
        owners
    }

    /// How many steps the core took, over all lives.
    pub fn steps(&self) -> usize {
        let stepped = |event: &&Event| matches!(event, Event::Stepped(_));
        self.events.iter().filter(stepped).count()
    }

    /// How many of them left records.
    pub fn journaled(&self) -> u64 {
        let left =
            |event: &&Event| matches!(event, Event::Stepped(step) if !step.line.records.is_empty());
        self.events.iter().filter(left).count() as u64
    }

    /// How often the program started.
    pub fn lives(&self) -> usize {
        let began = |event: &&Event| matches!(event, Event::Restored { .. });
        self.events.iter().filter(began).count()
    }

    /// Changes the recorded steps, as if the core had decided so.
    pub fn tamper(&mut self, mut change: impl FnMut(&mut Line)) {
        for event in &mut self.events {
            if let Event::Stepped(step) = event {
                change(Arc::make_mut(&mut step.line));
            }
        }
    }

    /// The story for a person: what happened around a position, or all of it.
    pub fn tell(&self, around: Option<Seq>) -> String {
        let mut told = String::new();
        for (index, event) in self.events.iter().enumerate() {
            let near = match (around, event) {
                (None, _) => true,
                (Some(seq), Event::Stepped(step)) => step.line.seq.0.abs_diff(seq.0) <= 4,
                (Some(_), _) => false,
            };
            if near {
                tell(&mut told, index, event);
            }
        }
        told
    }
}

fn tell(told: &mut String, index: usize, event: &Event) {
    let _ = match event {
        Event::Stepped(step) => {
            let line = &step.line;
            let input = format!("{:?}", line.input);
            let _ = writeln!(
                told,
                "{index:>5}  step {} at {} ms: {}",
                line.seq,
                line.at.as_ms(),
                clip(&input)
            );
            line.records.iter().try_for_each(|record| {
                writeln!(told, "         -> {}", clip(&format!("{record:?}")))
            })
        }
        other => writeln!(told, "{index:>5}  {}", clip(&format!("{other:?}"))),
    };
}

fn clip(text: &str) -> String {
    let kept: String = text.chars().take(300).collect();
    if kept.len() < text.len() {
        kept + " …"
    } else {
        kept
    }
}

/// What is durable, and what was decided in this life, as a story goes on.
#[derive(Debug, Default)]
pub struct Lines {
    lines: BTreeMap<Seq, Arc<Line>>,
    through: Seq,
}

impl Lines {
    /// Takes in an event. Returns the lines that became durable by it.
    pub fn follow(&mut self, event: &Event) -> Vec<Arc<Line>> {
        match event {
            Event::Stepped(step) if !step.line.records.is_empty() => {
                self.lines.insert(step.line.seq, step.line.clone());
                Vec::new()
            }
            Event::Committed(through) => self.durable(*through),
            Event::Crashed { through, .. } => {
                let landed = self.durable(*through);
                self.lines.retain(|seq, _| seq <= through);
                landed
            }
            _ => Vec::new(),
        }
    }

    fn durable(&mut self, through: Seq) -> Vec<Arc<Line>> {
        let from = self.through.next();
        if through < from {
            return Vec::new();
        }
        self.through = through;
        let landed = self.lines.range(from..=through);
        landed.map(|(_, line)| line.clone()).collect()
    }

    /// The steps of the present life, durable or not.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Line>> {
        self.lines.values()
    }
}
