//! A plan: everything about a world that is chosen, as plain data.
//!
//! Running a plan draws nothing further, so a plan can be written to a file, shrunk and run again.
//! As a file it is JSON Lines: the rules, then an item a line.

mod draw;

use crate::fault::{self, Fault};
use crate::seed::Rng;
use openpista_core::effect::Recovery;
use openpista_core::effect::sandbox::{Engine, Program, Sandboxed};
use openpista_core::input::{Arrival, Decision, Order};
use openpista_core::limit::Limits;
use openpista_core::message::ToolSpec;
use openpista_core::schedule_tools;
use openpista_core::settings::{JobSpec, Missed, Mode, Policy, Settings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A text that strangers write. It must never be seen again (law 22).
pub const CANARY: &str = "sk-canary-5ca1ab1e";
/// The one who may give orders, unless the operator names others.
pub const OWNER: &str = "cli:ann";
/// One whom the owner lets in, or not, and whom the operator may name later.
pub const GUEST: &str = "cli:gus";
/// One whom nobody lets in.
pub const STRANGER: &str = "cli:eve";
/// What the wall clock shows when a world begins, as long as nobody sets it: milliseconds since
/// 1970 in UTC.
pub const BEGAN_UNIX_MS: u64 = 1_700_000_000_000;

/// A world before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rules.
    pub rules: Rules,
    /// What people do and what goes wrong.
    pub items: Vec<Item>,
}

/// What holds for the whole world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Decides delays and all other small luck, by key.
    pub seed: u64,
    /// How many steps share a commit at the most.
    pub batch: usize,
    /// A snapshot after so many steps; zero for never.
    pub snapshot_every: u64,
    /// The state is looked at after every so many steps.
    pub look_every: u64,
    /// Every so many lives is one in which no job fires; zero for none.
    #[serde(default)]
    pub passing_every: u64,
    /// When faults stop, in milliseconds.
    pub heal_ms: u64,
    /// The operator's choices.
    pub settings: Settings,
}

/// One thing that people do, or that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// Somebody writes.
    Send {
        /// When, in milliseconds.
        at_ms: u64,
        /// What.
        arrival: Arrival,
    },
    /// A channel hands over again what was sent over it before, acknowledged or not.
    Again {
        /// When, in milliseconds.
        at_ms: u64,
        /// Which channel.
        origin: String,
        /// The message's key.
        key: String,
    },
    /// Somebody gives an order.
    Order {
        /// When, in milliseconds.
        at_ms: u64,
        /// Which.
        order: Order,
    },
    /// The wall clock is set.
    Clock {
        /// When, in milliseconds.
        at_ms: u64,
        /// By how much, in milliseconds.
        by_ms: i64,
    },
    /// The operator writes another schedule into the configuration: the next start reads it.
    Reschedule {
        /// When, in milliseconds.
        at_ms: u64,
        /// The jobs.
        schedule: Vec<JobSpec>,
    },
    /// The operator names other owners in the configuration: the next start reads them.
    Owners {
        /// When, in milliseconds.
        at_ms: u64,
        /// Whom.
        owners: BTreeSet<String>,
    },
    /// A conversation goes on elsewhere: a group has become a supergroup.
    Move {
        /// When, in milliseconds.
        at_ms: u64,
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
    /// Nobody is there to be shown anything over a channel. Then somebody is, and says so.
    Away {
        /// Which channel.
        origin: String,
        /// From when, in milliseconds.
        from_ms: u64,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// What somebody answers to a question. A question without one is never answered.
    Answer {
        /// To which question, in the order in which they were first seen, from 1.
        nth: u64,
        /// How long after it was seen, in milliseconds.
        after_ms: u64,
        /// Yes or no.
        decision: Decision,
        /// Who.
        by: String,
    },
    /// Something goes wrong.
    Fault(Fault),
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let settings = draw::settings(&mut rng);
        let mut items = draw::people(&mut rng, &settings);
        let faults = rng.between(0, 30);
        items.extend((0..faults).map(|_| Item::Fault(fault::draw(&mut rng))));
        let faults = rng.below(16);
        items.extend((0..faults).map(|_| Item::Fault(fault::draw_sandbox(&mut rng))));
        let rules = Rules {
            seed,
            batch: rng.between(1, 6) as usize,
            snapshot_every: *rng.pick(&[0, 7, 40]),
            look_every: rng.between(15, 40),
            passing_every: *rng.pick(&[0, 0, 2, 3]),
            heal_ms: 1_500_000,
            settings,
        };
        items.extend(draw::owners(&mut rng));
        draw::moves(&mut rng, &mut items);
        Plan { rules, items }
    }

    /// The faults.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.items.iter().filter_map(|item| match item {
            Item::Fault(fault) => Some(fault),
            _ => None,
        })
    }

    /// The plan as JSON Lines.
    pub fn to_jsonl(&self) -> String {
        let mut text = line(&self.rules);
        self.items.iter().for_each(|item| text += &line(item));
        text
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// When a line is not what it should be.
    pub fn from_jsonl(text: &str) -> Result<Plan, serde_json::Error> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let rules = serde_json::from_str(lines.next().unwrap_or_default())?;
        let items = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Plan { rules, items })
    }
}

fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.push('\n');
    text
}

/// The operator's choices of the scripted worlds.
pub fn base_settings() -> Settings {
    Settings {
        provider: "pretended".into(),
        model: "pretend-1".into(),
        system: "You are a test.".into(),
        tools: tools(),
        images: true,
        policy: Policy {
            mode: Mode::Full,
            channels: Default::default(),
            tools: [
                ("file.write".to_string(), Mode::Ask),
                ("disk.wipe".to_string(), Mode::ReadOnly),
            ]
            .into(),
        },
        owners: [OWNER.to_string()].into(),
        schedule: Vec::new(),
        jobs_fire: true,
        zone: "UTC".into(),
        channel_chars: [("short".to_string(), 80), ("tg".to_string(), 400)].into(),
        limits: Limits {
            max_tool_rounds: 4,
            ..Limits::default()
        },
    }
}

fn tools() -> Arc<[ToolSpec]> {
    let mut tools = schedule_tools();
    tools.extend([
        spec("file.read", Recovery::Repeat, true),
        spec("screen.capture", Recovery::Repeat, false),
        spec("system.run", Recovery::Doubt, false),
        spec("file.write", Recovery::Doubt, false),
        spec("disk.wipe", Recovery::Doubt, false),
    ]);
    let skill = Program::Skill {
        name: "hello".into(),
        folder: "skills/hello".into(),
        entry: "main.wasm".into(),
        image: None,
    };
    let otherwise = Some(Engine::Subprocess);
    tools.extend([
        sandboxed("container.run", Engine::Docker, None, Program::Command),
        sandboxed("worker.run", Engine::Docker, None, Program::Worker),
        sandboxed("code.run", Engine::Docker, otherwise, Program::Command),
        sandboxed("confined.run", Engine::Subprocess, None, Program::Command),
        sandboxed("skill.hello", Engine::Wasm, None, skill),
    ]);
    tools.into()
}

/// A job of the owner's.
pub fn job(name: &str, cron: &str, origin: &str, text: &str, missed: Missed) -> JobSpec {
    JobSpec {
        name: name.into(),
        cron: cron.into(),
        zone: "UTC".into(),
        text: text.into(),
        origin: origin.into(),
        peer: OWNER.into(),
        session: None,
        missed,
    }
}

fn spec(name: &str, recovery: Recovery, read_only: bool) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: format!("Pretends to be {name}."),
        parameters: r#"{"type":"object"}"#.into(),
        recovery,
        read_only,
        timeout_ms: 30_000,
        sandbox: None,
    }
}

fn sandboxed(name: &str, engine: Engine, otherwise: Option<Engine>, program: Program) -> ToolSpec {
    ToolSpec {
        sandbox: Some(Sandboxed {
            engine,
            otherwise,
            program,
        }),
        ..spec(name, Recovery::Doubt, false)
    }
}
