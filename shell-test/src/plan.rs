//! A plan: everything about a world that is chosen, as plain data.
//!
//! Running a plan draws nothing further, so a plan can be written to a file, shrunk and run again.
//! As a file it is JSON Lines: the rules, then an item a line.

use crate::fault::{self, Fault};
use crate::seed::Rng;
use openpista_core::effect::Recovery;
use openpista_core::input::{Arrival, Decision};
use openpista_core::limit::Limits;
use openpista_core::message::ToolSpec;
use openpista_core::settings::{Mode, Policy, Settings};
use serde::{Deserialize, Serialize};

/// A text that strangers write. It must never be seen again (law 22).
pub const CANARY: &str = "sk-canary-5ca1ab1e";
/// The one who may give orders.
pub const OWNER: &str = "cli:ann";

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
    /// Somebody orders a stop.
    Stop {
        /// When, in milliseconds.
        at_ms: u64,
        /// Of which session.
        session: String,
        /// Who.
        by: String,
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
        let mut items = people(&mut rng);
        let faults = rng.between(0, 30);
        items.extend((0..faults).map(|_| Item::Fault(fault::draw(&mut rng))));
        Plan {
            rules: Rules {
                seed,
                batch: rng.between(1, 6) as usize,
                snapshot_every: *rng.pick(&[0, 7, 40]),
                look_every: rng.between(15, 40),
                heal_ms: 1_500_000,
                settings: settings(&mut rng),
            },
            items,
        }
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

const DECISIONS: &[Decision] = &[
    Decision::Allow,
    Decision::Allow,
    Decision::AllowSession,
    Decision::Deny,
];

fn people(rng: &mut Rng) -> Vec<Item> {
    let mut items = Vec::new();
    let mut at_ms = 0;
    for nth in 1..=rng.between(45, 60) {
        at_ms += *rng.pick(&[0, 5, 400, 3_000, 20_000, 40_000]);
        items.push(send(at_ms, nth, rng));
    }
    for nth in 1..=30 {
        if rng.chance(70) {
            let by = if rng.chance(90) { OWNER } else { "cli:eve" };
            items.push(Item::Answer {
                nth,
                after_ms: *rng.pick(&[0, 500, 5_000, 90_000, 700_000]),
                decision: *rng.pick(DECISIONS),
                by: by.into(),
            });
        }
    }
    if rng.chance(50) {
        items.push(Item::Stop {
            at_ms: rng.below(at_ms + 1),
            session: rng.pick(&["cli:a", "work", "nobody"]).to_string(),
            by: rng.pick(&[OWNER, OWNER, "cli:eve"]).to_string(),
        });
    }
    items
}

fn send(at_ms: u64, nth: u64, rng: &mut Rng) -> Item {
    let stranger = rng.chance(5);
    let origin = *rng.pick(&["cli:a", "cli:a", "cli:b", "short:c"]);
    let session = rng.chance(25).then(|| "work".to_string());
    Item::Send {
        at_ms,
        arrival: Arrival {
            origin: origin.into(),
            key: format!("k{nth}"),
            peer: if stranger { "cli:eve" } else { OWNER }.into(),
            session,
            text: if stranger {
                format!("m{nth}. {CANARY}")
            } else {
                words(nth, rng)
            },
            serial: None,
        },
    }
}

/// What somebody writes: a marker, and what the pretended model is to do about it
/// (see [`crate::effect::model`]).
fn words(nth: u64, rng: &mut Rng) -> String {
    match rng.below(40) {
        0 => "/help".into(),
        1 => "/status".into(),
        2 => "/stop".into(),
        3 => "/new".into(),
        4 => format!("m{nth}. loop"),
        5 => format!("m{nth}. deep"),
        6 => format!("m{nth}. {}", "long ".repeat(40)),
        7..=16 => format!("m{nth}. say"),
        _ => {
            let rounds: Vec<String> = (0..rng.between(1, 3)).map(|_| round(rng)).collect();
            format!("m{nth}. plan {}", rounds.join(";"))
        }
    }
}

fn round(rng: &mut Rng) -> String {
    const CALLS: &[&str] = &[
        "read", "read", "run", "run", "run", "write", "bad", "ghost", "wipe",
    ];
    let calls: Vec<&str> = (0..rng.between(1, 3)).map(|_| *rng.pick(CALLS)).collect();
    calls.join(",")
}

/// The operator's choices, drawn.
fn settings(rng: &mut Rng) -> Settings {
    let mut settings = base_settings();
    settings.policy.mode = *rng.pick(&[
        Mode::Full,
        Mode::Full,
        Mode::Full,
        Mode::Ask,
        Mode::ReadOnly,
    ]);
    settings.limits.queued_messages = *rng.pick(&[2, 8, 64]);
    settings.limits.model_attempts = *rng.pick(&[1, 3, 5]);
    settings.limits.turn_ms = *rng.pick(&[200_000, 3_600_000]);
    settings.limits.calls_per_round = *rng.pick(&[2, 16]);
    settings
}

/// The operator's choices of the scripted worlds.
pub fn base_settings() -> Settings {
    Settings {
        provider: "pretended".into(),
        model: "pretend-1".into(),
        system: "You are a test.".into(),
        tools: [
            spec("file.read", Recovery::Repeat, true),
            spec("system.run", Recovery::Doubt, false),
            spec("file.write", Recovery::Doubt, false),
            spec("disk.wipe", Recovery::Doubt, false),
        ]
        .into(),
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
        zone: "UTC".into(),
        channel_chars: [("short".to_string(), 80)].into(),
        limits: Limits {
            max_tool_rounds: 4,
            ..Limits::default()
        },
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
    }
}
