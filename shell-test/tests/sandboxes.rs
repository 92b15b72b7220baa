//! What the worlds do with sandboxes: each rare thing happens in some of them, or no law about it
//! could ever fail. `OPENPISTA_SEEDS=N` looks at N worlds; `--nocapture` shows how often.

use openpista_core::digest::Digest;
use openpista_core::effect::sandbox::{Action, Done, Engine, SandboxFault, UseSandbox};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{Attempt, EffectId, SandboxId, TurnId};
use openpista_core::input::Input;
use openpista_core::record::Record;
use openpista_shell_test::plan::Plan;
use openpista_shell_test::story::{Event, Found, Happened, Stepped};
use openpista_shell_test::world;
use std::collections::{BTreeMap, BTreeSet};

/// What must be seen in sixty worlds.
const WANTED: &[&str] = &[
    "another engine did",
    "container found created",
    "container found ended",
    "container found running",
    "container found gone",
    "container went on while the program was down",
    "creation repeated after a crash",
    "creation of an ended turn",
    "creation timed out",
    "guest ran again",
    "lost, in doubt",
    "outcome after the report",
    "process in doubt",
    "removal given another try",
    "report of nobody",
    "report repeated",
    "report taken",
    "report taken before its run was recovered",
    "report used up",
    "stopped while it ran",
    "too many sandboxes",
];

#[derive(Default)]
struct Seen {
    counts: BTreeMap<&'static str, u64>,
    uses: BTreeMap<EffectId, UseSandbox>,
    recovering: BTreeSet<EffectId>,
    ended: BTreeSet<TurnId>,
    runs: BTreeMap<SandboxId, u64>,
    told: BTreeSet<Digest>,
    reported: BTreeSet<EffectId>,
}

impl Seen {
    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Stepped(step) => self.step(step),
            Event::Started { effect, .. } => self.start(effect),
            Event::Sandbox {
                sandbox,
                engine,
                what,
            } => self.sandbox(*sandbox, *engine, what),
            Event::Heard { token, taken } => {
                let first = self.told.insert(*token);
                self.count(match (taken, first) {
                    (true, true) => "report taken",
                    (true, false) => "report repeated",
                    (false, true) => "report of nobody",
                    (false, false) => "report used up",
                });
            }
            _ => {}
        }
    }

    fn start(&mut self, effect: &Effect) {
        let Op::Sandbox(used) = &effect.op else {
            return;
        };
        let again = effect.attempt > Attempt::FIRST;
        match &used.action {
            Action::Create(_) if again => self.count("creation repeated after a crash"),
            Action::Destroy if again => self.count("removal given another try"),
            _ => {}
        }
    }

    fn sandbox(&mut self, sandbox: SandboxId, engine: Engine, what: &Happened) {
        match what {
            Happened::Ran(_) => {
                let runs = self.runs.entry(sandbox).or_default();
                *runs += 1;
                if *runs > 1 && engine == Engine::Wasm {
                    self.count("guest ran again");
                }
            }
            Happened::Resumed(found) => self.count(match found {
                Found::Nothing => "container found gone",
                Found::Made => "container found created",
                Found::Running => "container found running",
                Found::Ended => "container found ended",
            }),
            Happened::Made(_) | Happened::Gone => {}
        }
    }

    fn step(&mut self, step: &Stepped) {
        let line = &step.line;
        if let Input::Finish { effect, .. } = &line.input
            && line.records.is_empty()
            && self.reported.contains(effect)
        {
            self.count("outcome after the report");
        }
        for record in &line.records {
            match record {
                Record::Booted { .. } => self.recovering = self.uses.keys().copied().collect(),
                Record::TurnEnded { turn, .. } => self.ended.extend(turn),
                Record::Intended(effect) => {
                    self.recovering.remove(&effect.id);
                    if let Op::Sandbox(used) = &effect.op {
                        self.uses.insert(effect.id, used.clone());
                        let fell_back = used.engine == Engine::Subprocess
                            && used.task().is_some_and(|t| t.tool == "code.run");
                        if fell_back && effect.attempt == Attempt::FIRST {
                            self.count("another engine did");
                        }
                    }
                }
                Record::Served { content, .. } if content.contains("sandboxes of this session") => {
                    self.count("too many sandboxes");
                }
                Record::Settled {
                    effect,
                    outcome: Outcome::Sandbox(outcome),
                    ..
                } => self.settled(*effect, outcome, &line.input),
                Record::Doubted { effect, .. } => self.doubted(*effect, &line.input),
                _ => {}
            }
        }
    }

    fn settled(&mut self, id: EffectId, outcome: &Result<Done, SandboxFault>, input: &Input) {
        let Some(used) = self.uses.remove(&id) else {
            return;
        };
        let over = self.ended.contains(&used.turn);
        match (&used.action, outcome, input) {
            (Action::Create(_), Err(SandboxFault::TimedOut), _) => self.count("creation timed out"),
            (Action::Create(_), Ok(_), _) if over => self.count("creation of an ended turn"),
            (Action::Run(_) | Action::Resume(_), _, Input::Report { .. }) => {
                self.reported.insert(id);
                if self.recovering.contains(&id) {
                    self.count("report taken before its run was recovered");
                }
            }
            (Action::Run(_) | Action::Resume(_), Ok(_), _) if over => {
                self.count("stopped while it ran");
            }
            (Action::Resume(_), Ok(_), _) => {
                self.count("container went on while the program was down");
            }
            _ => {}
        }
    }

    fn doubted(&mut self, id: EffectId, input: &Input) {
        let Some(used) = self.uses.remove(&id) else {
            return;
        };
        if used.engine == Engine::Subprocess {
            self.count("process in doubt");
        }
        if matches!(input, Input::Finish { .. }) {
            self.count("lost, in doubt");
        }
    }
}

#[test]
fn the_worlds_have_every_fate_of_a_sandbox_in_them() {
    let asked = std::env::var("OPENPISTA_SEEDS").ok();
    let seeds = asked.and_then(|text| text.parse().ok()).unwrap_or(90);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 1..=seeds {
        let mut seen = Seen::default();
        let story = world::run(&Plan::of(seed));
        story.events.iter().for_each(|event| seen.event(event));
        for (what, times) in seen.counts {
            *counts.entry(what).or_default() += times;
        }
    }
    for (what, times) in &counts {
        println!("{times:>6}  {what}");
    }
    let missing = WANTED.iter().filter(|what| !counts.contains_key(*what));
    let missing: Vec<&&str> = missing.collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}
