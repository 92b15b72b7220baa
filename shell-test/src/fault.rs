//! What goes wrong in a world, as a list of things that can each be left out.
//!
//! Every fault names the occasion it strikes at by counting: the third model call, the fortieth
//! step. So a plan is plain data, a shrinker can drop any fault, and the exhaustive mode can put a
//! crash at every place there is.

use crate::seed::Rng;
use openpista_core::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The program dies.
    Crash {
        /// At the commit of this step, counted over all lives from 1.
        step: u64,
        /// Where in it.
        cut: Cut,
    },
    /// The model does not answer as it should.
    Model {
        /// Which call, from 1.
        nth: u64,
        /// How.
        how: ModelTrouble,
    },
    /// A tool does not run as it should.
    Tool {
        /// Which run, from 1.
        nth: u64,
        /// How.
        how: ToolTrouble,
    },
    /// Something with a sandbox does not go as it should.
    Sandbox {
        /// Which action, from 1.
        nth: u64,
        /// How.
        how: SandboxTrouble,
    },
    /// The program dies at the commit of a step that intends something with a sandbox.
    CrashAtSandbox {
        /// Which such step, from 1.
        nth: u64,
        /// Where in it.
        cut: Cut,
    },
    /// A channel does not show what it should.
    Deliver {
        /// Which delivery, from 1.
        nth: u64,
        /// How.
        how: DeliverTrouble,
    },
    /// Nothing gets over a channel for a while.
    Outage {
        /// Which channel.
        origin: String,
        /// From when, in milliseconds.
        from_ms: u64,
        /// For how long, in milliseconds.
        for_ms: u64,
        /// How.
        how: DeliverTrouble,
    },
    /// The program is not started again at once.
    Down {
        /// Before this life, from 2.
        life: u64,
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// An outcome is reported a second time, later.
    Again {
        /// Which report, from 1.
        nth: u64,
    },
    /// A channel hands over a message twice.
    Resend {
        /// Which message, from 1.
        nth: u64,
    },
    /// An acknowledgement does not reach its channel.
    LoseAck {
        /// Which, from 1.
        nth: u64,
    },
    /// The clock ticks although nothing is due.
    Tick {
        /// After this step.
        step: u64,
    },
    /// The clock runs behind by this much.
    Behind {
        /// At this step.
        step: u64,
        /// How far.
        ms: u64,
    },
    /// The newest snapshot is torn.
    Tear {
        /// At the start of this life, from 2.
        life: u64,
    },
}

/// Where in a commit the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Nothing of the transaction is on the disk.
    BeforeCommit,
    /// The transaction is on the disk; nothing came of it yet.
    AfterCommit,
    /// Half of what the gate let out was begun.
    MidGate,
    /// All of it was begun and nothing finished.
    MidRun,
    /// All of it was done, and nothing reported.
    BeforeReport,
}

/// Every cut.
pub const CUTS: [Cut; 5] = [
    Cut::BeforeCommit,
    Cut::AfterCommit,
    Cut::MidGate,
    Cut::MidRun,
    Cut::BeforeReport,
];

/// How a model fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelTrouble {
    /// HTTP 429, with a wait.
    RateLimited,
    /// HTTP 500.
    Server,
    /// HTTP 401.
    Rejected,
    /// The connection breaks.
    Network,
    /// A success that says nothing.
    Empty,
    /// A success that makes no sense.
    Garbled,
    /// It takes too long, and says so.
    TimedOut,
    /// It is never heard of again.
    Hang,
    /// It answers after it has counted as lost.
    Late,
}

/// How a tool fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolTrouble {
    /// Exit code 1.
    Fails,
    /// It was killed because it took too long.
    TimedOut,
    /// It could not be started.
    NoStart,
    /// It is never heard of again.
    Hang,
    /// It reports after it has counted as lost.
    Late,
}

/// How an action on a sandbox fails. What it means for an action that it does not fit is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxTrouble {
    /// The engine is not there.
    Unavailable,
    /// The arguments make no sense.
    Arguments,
    /// The engine refuses, and something may be left; of a task, exit code 1.
    Fails,
    /// It takes too long, and says so.
    TimedOut,
    /// It is never heard of again.
    Hang,
    /// It reports after it has counted as lost.
    Late,
    /// An image has to be fetched first.
    Slow,
    /// Somebody removes it, or does while the program is down.
    Vanish,
    /// Removing it fails a few times.
    Stuck,
}

/// How a delivery fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverTrouble {
    /// The channel wants patience.
    RateLimited,
    /// The channel refuses the formatting.
    Unformatted,
    /// The channel is not reached.
    Unreachable,
    /// It was shown, and then the connection broke.
    ShownUnreachable,
    /// Nobody is there.
    Absent,
    /// The person is gone for good.
    Gone,
    /// Not shown, and never heard of again.
    Hang,
    /// Shown, and never heard of again.
    ShownHang,
}

const MODEL: &[ModelTrouble] = &[
    ModelTrouble::RateLimited,
    ModelTrouble::Server,
    ModelTrouble::Network,
    ModelTrouble::Empty,
    ModelTrouble::Garbled,
    ModelTrouble::TimedOut,
    ModelTrouble::Hang,
    ModelTrouble::Late,
    ModelTrouble::Rejected,
];
const TOOL: &[ToolTrouble] = &[
    ToolTrouble::Fails,
    ToolTrouble::TimedOut,
    ToolTrouble::NoStart,
    ToolTrouble::Hang,
    ToolTrouble::Late,
];
const SANDBOX: &[SandboxTrouble] = &[
    SandboxTrouble::Unavailable,
    SandboxTrouble::Unavailable,
    SandboxTrouble::Arguments,
    SandboxTrouble::Fails,
    SandboxTrouble::TimedOut,
    SandboxTrouble::Hang,
    SandboxTrouble::Late,
    SandboxTrouble::Slow,
    SandboxTrouble::Slow,
    SandboxTrouble::Vanish,
    SandboxTrouble::Vanish,
    SandboxTrouble::Stuck,
];
const DELIVER: &[DeliverTrouble] = &[
    DeliverTrouble::RateLimited,
    DeliverTrouble::Unformatted,
    DeliverTrouble::Unreachable,
    DeliverTrouble::ShownUnreachable,
    DeliverTrouble::Absent,
    DeliverTrouble::Hang,
    DeliverTrouble::ShownHang,
    DeliverTrouble::Gone,
];

const OUTAGE: &[DeliverTrouble] = &[
    DeliverTrouble::RateLimited,
    DeliverTrouble::Unformatted,
    DeliverTrouble::Unreachable,
    DeliverTrouble::Gone,
];

/// Draws a fault.
pub fn draw(rng: &mut Rng) -> Fault {
    match rng.below(22) {
        0..=4 => Fault::Crash {
            step: rng.between(1, 300),
            cut: *rng.pick(&CUTS),
        },
        5..=8 => Fault::Model {
            nth: rng.between(1, 60),
            how: *rng.pick(MODEL),
        },
        9..=11 => Fault::Tool {
            nth: rng.between(1, 30),
            how: *rng.pick(TOOL),
        },
        12..=14 => Fault::Deliver {
            nth: rng.between(1, 50),
            how: *rng.pick(DELIVER),
        },
        20 => Fault::Outage {
            origin: rng.pick(&["tg:1", "cli:a", "short:c"]).to_string(),
            from_ms: rng.below(900_000),
            for_ms: *rng.pick(&[20_000, 300_000]),
            how: *rng.pick(OUTAGE),
        },
        21 => Fault::Down {
            life: rng.between(2, 5),
            ms: *rng.pick(&[45_000, 600_000, 3_600_000]),
        },
        15 => Fault::Again {
            nth: rng.between(1, 120),
        },
        16 => Fault::Resend {
            nth: rng.between(1, 40),
        },
        17 => Fault::LoseAck {
            nth: rng.between(1, 40),
        },
        18 => match rng.below(2) {
            0 => Fault::Tick {
                step: rng.between(1, 300),
            },
            _ => Fault::Tear {
                life: rng.between(2, 6),
            },
        },
        _ => Fault::Behind {
            step: rng.between(1, 300),
            ms: rng.between(1, 5_000),
        },
    }
}

/// Draws something that goes wrong with a sandbox.
pub fn draw_sandbox(rng: &mut Rng) -> Fault {
    match rng.chance(35) {
        true => Fault::CrashAtSandbox {
            nth: rng.between(1, 40),
            cut: *rng.pick(&CUTS),
        },
        false => Fault::Sandbox {
            nth: rng.between(1, 50),
            how: *rng.pick(SANDBOX),
        },
    }
}

/// The faults of a plan, by occasion.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    healed: bool,
    crashes: BTreeMap<u64, Cut>,
    model: BTreeMap<u64, ModelTrouble>,
    tool: BTreeMap<u64, ToolTrouble>,
    sandbox: BTreeMap<u64, SandboxTrouble>,
    sandbox_crashes: BTreeMap<u64, Cut>,
    deliver: BTreeMap<u64, DeliverTrouble>,
    again: BTreeMap<u64, ()>,
    resend: BTreeMap<u64, ()>,
    lose_ack: BTreeMap<u64, ()>,
    tick: BTreeMap<u64, ()>,
    outages: BTreeMap<String, Vec<(Range<u64>, DeliverTrouble)>>,
    down: BTreeMap<u64, u64>,
    tear: BTreeMap<u64, ()>,
    behind: BTreeMap<u64, u64>,
}

impl Faults {
    /// Sorts faults by occasion.
    pub fn new<'a>(faults: impl Iterator<Item = &'a Fault>) -> Faults {
        let mut all = Faults::default();
        for fault in faults {
            match fault.clone() {
                Fault::Outage {
                    origin,
                    from_ms,
                    for_ms,
                    how,
                } => {
                    let outage = (from_ms..from_ms.saturating_add(for_ms), how);
                    all.outages.entry(origin).or_default().push(outage);
                }
                Fault::Down { life, ms } => drop(all.down.insert(life, ms)),
                Fault::Crash { step, cut } => drop(all.crashes.insert(step, cut)),
                Fault::Model { nth, how } => drop(all.model.insert(nth, how)),
                Fault::Tool { nth, how } => drop(all.tool.insert(nth, how)),
                Fault::Sandbox { nth, how } => drop(all.sandbox.insert(nth, how)),
                Fault::CrashAtSandbox { nth, cut } => drop(all.sandbox_crashes.insert(nth, cut)),
                Fault::Deliver { nth, how } => drop(all.deliver.insert(nth, how)),
                Fault::Again { nth } => drop(all.again.insert(nth, ())),
                Fault::Resend { nth } => drop(all.resend.insert(nth, ())),
                Fault::LoseAck { nth } => drop(all.lose_ack.insert(nth, ())),
                Fault::Tick { step } => drop(all.tick.insert(step, ())),
                Fault::Tear { life } => drop(all.tear.insert(life, ())),
                Fault::Behind { step, ms } => drop(all.behind.insert(step, ms)),
            }
        }
        all
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.healed = true;
    }

    /// They have stopped.
    pub fn healed(&self) -> bool {
        self.healed
    }

    fn at<T: Copy>(&self, map: &BTreeMap<u64, T>, nth: u64) -> Option<T> {
        map.get(&nth).copied().filter(|_| !self.healed)
    }

    /// Does the program die at this step's commit?
    pub fn crash(&self, step: u64) -> Option<Cut> {
        self.at(&self.crashes, step)
    }

    /// What is wrong with this model call?
    pub fn model(&self, nth: u64) -> Option<ModelTrouble> {
        self.at(&self.model, nth)
    }

    /// What is wrong with this run of a tool?
    pub fn tool(&self, nth: u64) -> Option<ToolTrouble> {
        self.at(&self.tool, nth)
    }

    /// What is wrong with this action on a sandbox?
    pub fn sandbox(&self, nth: u64) -> Option<SandboxTrouble> {
        self.at(&self.sandbox, nth)
    }

    /// Does the program die at the commit of this step about sandboxes?
    pub fn crash_at_sandbox(&self, nth: u64) -> Option<Cut> {
        self.at(&self.sandbox_crashes, nth)
    }

    /// What is wrong with this delivery, over this channel at this moment?
    pub fn deliver(&self, nth: u64, origin: &str, now: Time) -> Option<DeliverTrouble> {
        let outages = self.outages.get(origin).into_iter().flatten();
        let mut now = outages.filter(|(while_, _)| while_.contains(&now.as_ms()));
        let outage = now.next().map(|(_, how)| *how).filter(|_| !self.healed);
        outage.or_else(|| self.at(&self.deliver, nth))
    }

    /// For how long is the program not started again before this life, in milliseconds?
    pub fn down(&self, life: u64) -> u64 {
        self.at(&self.down, life).unwrap_or(0)
    }

    /// Is this outcome reported twice?
    pub fn again(&self, nth: u64) -> bool {
        self.at(&self.again, nth).is_some()
    }

    /// Is this message handed over twice?
    pub fn resend(&self, nth: u64) -> bool {
        self.at(&self.resend, nth).is_some()
    }

    /// Is this acknowledgement lost?
    pub fn lose_ack(&self, nth: u64) -> bool {
        self.at(&self.lose_ack, nth).is_some()
    }

    /// Does a tick come after this step?
    pub fn tick(&self, step: u64) -> bool {
        self.at(&self.tick, step).is_some()
    }

    /// Is the newest snapshot torn at the start of this life?
    pub fn tear(&self, life: u64) -> bool {
        self.at(&self.tear, life).is_some()
    }

    /// How far is the clock behind at this step, in milliseconds? It is put right at once.
    pub fn behind(&mut self, step: u64) -> u64 {
        let behind = self.at(&self.behind, step);
        self.behind.remove(&step);
        behind.unwrap_or(0)
    }
}
