//! The schedule through the public surface: a simulated clock, restarts, and a wall clock that
//! jumps. Law 16: each (job, due time) fires at most once.

use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::model::Reply;
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::id::JobId;
use openpista_core::input::{Arrival, Boot, Decision, Input, Order};
use openpista_core::message::{ToolCall, ToolSpec};
use openpista_core::record::{Record, Verdict};
use openpista_core::recover::Past;
use openpista_core::replay::{Line, Replay};
use openpista_core::settings::{JobSpec, Missed, Mode, Policy, Settings};
use openpista_core::time::Time;
use openpista_core::timer::Timer;
use openpista_core::{Core, schedule_tools};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// A Monday, at midnight in UTC: 2026-03-23.
const MONDAY: u64 = 1_774_224_000_000;

fn job(cron: &str) -> JobSpec {
    JobSpec {
        name: "job".into(),
        cron: cron.into(),
        zone: "UTC".into(),
        text: "do it".into(),
        origin: "cli:local".into(),
        peer: "cli:local".into(),
        session: None,
        missed: Missed::Skip,
    }
}

/// A shell in which models reply at once, and in whose journal every due time can be looked up.
struct World {
    core: Core,
    gate: Gate,
    now: Time,
    /// What the wall clock shows at journal time zero, and so how it stands to the journal's.
    wall_at_zero: i128,
    schedule: Vec<JobSpec>,
    mode: Mode,
    jobs_fire: bool,
    lines: Vec<Line>,
    effects: Vec<Effect>,
    /// What the model says next; without, it says that it is done.
    replies: Vec<Reply>,
    fired: BTreeMap<(JobId, u64), u32>,
    missed: Vec<u64>,
}

impl World {
    fn new(schedule: Vec<JobSpec>) -> World {
        let mut world = World {
            core: Core::new(),
            gate: Gate::new(),
            now: Time::ZERO,
            wall_at_zero: i128::from(MONDAY),
            schedule,
            mode: Mode::Full,
            jobs_fire: true,
            lines: Vec::new(),
            effects: Vec::new(),
            replies: Vec::new(),
            fired: BTreeMap::new(),
            missed: Vec::new(),
        };
        world.boot();
        world
    }

    fn wall(&self) -> u64 {
        u64::try_from(self.wall_at_zero + i128::from(self.now.as_ms())).unwrap()
    }

    fn boot(&mut self) {
        let shell = ToolSpec {
            name: "system.run".into(),
            description: "runs".into(),
            parameters: "{}".into(),
            recovery: Recovery::Doubt,
            read_only: false,
            timeout_ms: 30_000,
            sandbox: None,
        };
        let tools: Vec<ToolSpec> = schedule_tools().into_iter().chain([shell]).collect();
        let settings = Settings {
            tools: tools.into(),
            policy: Policy {
                mode: self.mode,
                ..Policy::default()
            },
            owners: BTreeSet::from(["cli:local".to_string()]),
            schedule: self.schedule.clone(),
            jobs_fire: self.jobs_fire,
            ..Settings::default()
        };
        self.step(Input::Boot(Box::new(Boot {
            settings,
            unix_ms: self.wall(),
        })));
    }

    fn step(&mut self, input: Input) -> Vec<Record> {
        let step = self.core.step(self.now, input.clone());
        let records = step.records.clone();
        for record in &records {
            match record {
                Record::JobFired {
                    job, due_unix_ms, ..
                } => *self.fired.entry((*job, *due_unix_ms)).or_default() += 1,
                Record::JobMissed { due_unix_ms, .. } => self.missed.push(*due_unix_ms),
                _ => {}
            }
        }
        if !records.is_empty() {
            self.lines.push(Line {
                seq: step.seq,
                at: step.at,
                session: step.session,
                input,
                records: records.clone(),
            });
        }
        let through = step.seq;
        self.gate.hold(step);
        for opened in self.gate.open(Receipt::durable_through(through)) {
            if let Opened::Effect(cleared) = opened {
                self.effects.push(cleared.into_parts().0);
            }
        }
        records
    }

    /// Performs everything that is to be done, but no tool: a test does that itself.
    fn settle(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some(index) = self
            .effects
            .iter()
            .position(|e| !matches!(e.op, Op::Tool(_)))
        {
            let effect = self.effects.remove(index);
            let outcome = match &effect.op {
                Op::Model(_) => Outcome::Model(Ok(match self.replies.is_empty() {
                    true => says("done"),
                    false => self.replies.remove(0),
                })),
                Op::Deliver(_) => Outcome::Deliver(Ok(Delivered)),
                op => panic!("unexpected: {op:?}"),
            };
            records.extend(self.step(Input::Finish {
                effect: effect.id,
                attempt: effect.attempt,
                outcome,
            }));
        }
        records
    }

    /// Lets time pass, and every timer in it.
    fn pass(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        while let Some((due, timer)) = self.core.deadline()
            && due <= until
        {
            self.now = self.now.max(due);
            self.step(Input::Tick(timer));
            self.settle();
        }
        self.now = until;
    }

    /// Somebody sets the wall clock, and the shell sees it.
    fn set_wall(&mut self, by_ms: i64) {
        self.wall_at_zero += i128::from(by_ms);
        let unix_ms = self.wall();
        self.step(Input::Wall { unix_ms });
        self.settle();
    }

    /// The program dies, and starts again after a while.
    fn restart_after(&mut self, ms: u64) {
        let past = self.lines.iter().map(|line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        });
        self.core = Core::restore(None, past).expect("folds");
        self.gate = Gate::new();
        self.effects.clear();
        self.now = self.now.after_ms(ms);
        self.boot();
        self.settle();
    }

    fn say(&mut self, text: &str) -> Vec<Record> {
        let mut records = self.step(Input::Arrive(Arrival {
            origin: "cli:local".into(),
            key: format!("k{}", self.lines.len()),
            peer: "cli:local".into(),
            session: None,
            text: text.into(),
            serial: None,
        }));
        records.extend(self.settle());
        records
    }

    /// When jobs fired, in hours since [`MONDAY`]. Law 16 holds.
    fn hours(&self) -> Vec<u64> {
        assert!(
            self.fired.values().all(|times| *times == 1),
            "{:?}",
            self.fired
        );
        let mut hours: Vec<u64> = self
            .fired
            .keys()
            .map(|(_, due)| (due - MONDAY) / HOUR)
            .collect();
        hours.sort();
        hours
    }

    /// Law 8: the same journal decides the same.
    fn check(&self) {
        let mut replay = Replay::new();
        for line in &self.lines {
            replay.follow(line).expect("the same records");
        }
    }
}

fn says(text: &str) -> Reply {
    Reply {
        text: text.into(),
        ..Reply::default()
    }
}

fn calls(tool: &str, arguments: &str) -> Reply {
    Reply {
        calls: vec![ToolCall {
            id: "c1".into(),
            tool: tool.into(),
            arguments: arguments.into(),
        }],
        ..Reply::default()
    }
}

fn served(records: &[Record]) -> &str {
    let content = records.iter().find_map(|record| match record {
        Record::Served { content, .. } => Some(content.as_str()),
        _ => None,
    });
    content.expect("the core answered a call")
}

#[test]
fn law_16_each_due_time_fires_once_and_restarts_repeat_none() {
    let mut world = World::new(vec![job("0 * * * *")]);
    world.pass(3 * HOUR);
    assert_eq!(world.hours(), [1, 2, 3]);
    // Died right after it fired, and three times in a row within the same minute.
    for _ in 0..3 {
        world.restart_after(5_000);
    }
    world.pass(2 * HOUR);
    assert_eq!(world.hours(), [1, 2, 3, 4, 5]);
    assert!(world.missed.is_empty(), "{:?}", world.missed);
    world.check();
}

#[test]
fn law_16_a_due_time_that_was_journaled_alone_is_used_up() {
    let mut world = World::new(vec![job("0 * * * *")]);
    let (due, timer) = {
        world.pass(HOUR - 1);
        world.core.deadline().expect("the job")
    };
    world.now = due;
    let records = world.step(Input::Tick(timer));
    assert!(records.iter().any(|r| matches!(r, Record::JobFired { .. })));
    assert!(
        records
            .iter()
            .any(|r| matches!(r, Record::TurnBegan { .. }))
    );
    // It died before anything of the turn happened: the turn goes on, the job does not fire again.
    world.restart_after(1_000);
    world.pass(MINUTE);
    assert_eq!(world.hours(), [1]);
    let ended = world.lines.iter().flat_map(|line| &line.records);
    assert_eq!(
        ended
            .filter(|r| matches!(r, Record::TurnEnded { .. }))
            .count(),
        1
    );
}

#[test]
fn what_was_missed_is_skipped_or_done_once() {
    let once = JobSpec {
        name: "once".into(),
        missed: Missed::Once,
        session: Some("once".into()),
        ..job("0 * * * *")
    };
    let mut world = World::new(vec![job("0 * * * *"), once]);
    world.pass(MINUTE);
    // Down from 00:01 to 05:31: five due times of each have passed.
    world.restart_after(5 * HOUR + 30 * MINUTE);
    world.pass(MINUTE);
    assert_eq!(world.hours(), [1], "one job made up for its first due time");
    assert_eq!(world.missed, [MONDAY + HOUR], "the other left it out");
    world.pass(HOUR);
    assert_eq!(world.fired.len(), 3, "both go on at 06:00");
    assert_eq!(world.hours(), [1, 6, 6]);
    world.check();
}

#[test]
fn no_job_fires_in_a_life_that_is_there_for_a_conversation_alone() {
    let once = JobSpec {
        missed: Missed::Once,
        ..job("0 * * * *")
    };
    let mut world = World::new(vec![once]);
    world.pass(MINUTE);
    world.jobs_fire = false;
    world.restart_after(2 * HOUR);
    assert_eq!(world.core.deadline(), None, "nothing is waited for");
    let records = world.lines.iter().flat_map(|line| &line.records);
    let mut armed = records.filter_map(|record| match record {
        Record::JobArmed { job, .. } => Some(*job),
        _ => None,
    });
    let timer = Timer::Job(armed.next_back().expect("it was armed"));
    assert!(
        world.step(Input::Tick(timer)).is_empty(),
        "not even when it is said"
    );
    world.jobs_fire = true;
    world.restart_after(MINUTE);
    world.pass(MINUTE);
    assert_eq!(world.hours(), [1], "it is made up for by the daemon");
    world.check();
}

#[test]
fn a_clock_that_jumps_ahead_makes_late_and_one_that_jumps_back_repeats_nothing() {
    let mut world = World::new(vec![job("0 * * * *")]);
    world.pass(2 * HOUR + MINUTE);
    assert_eq!(world.hours(), [1, 2]);
    // 02:01 becomes 04:31: 03:00 has passed, nobody was there.
    world.set_wall(150 * MINUTE as i64);
    world.pass(MINUTE);
    assert_eq!(world.missed, [MONDAY + 3 * HOUR]);
    world.pass(HOUR);
    assert_eq!(world.hours(), [1, 2, 5]);
    // 05:32 becomes 00:32: 01:00 to 05:00 come again, and fire no second time.
    world.set_wall(-5 * HOUR as i64);
    world.pass(5 * HOUR);
    assert_eq!(world.hours(), [1, 2, 5]);
    world.pass(HOUR);
    assert_eq!(world.hours(), [1, 2, 5, 6]);
    world.check();
}

#[test]
fn a_clock_that_is_right_leaves_no_records() {
    let mut world = World::new(vec![job("0 * * * *")]);
    world.pass(MINUTE);
    let unix_ms = world.wall();
    for drift in [0, 1_000] {
        let records = world.step(Input::Wall {
            unix_ms: unix_ms + drift,
        });
        assert_eq!(records, []);
    }
    let records = world.step(Input::Wall {
        unix_ms: unix_ms + 1_001,
    });
    assert_eq!(records.len(), 1);
}

#[test]
fn jobs_follow_daylight_saving() {
    let berlin = JobSpec {
        zone: "Europe/Berlin".into(),
        ..job("30 2 * * *")
    };
    let mut world = World::new(vec![berlin]);
    world.pass(8 * DAY);
    // 02:30 is 01:30 in UTC until Saturday the 28th; on Sunday clocks leap from 02:00 to 03:00,
    // which is 01:00 in UTC; from Monday on 02:30 is 00:30.
    assert_eq!(world.hours(), [1, 25, 49, 73, 97, 121, 145, 168]);
    let sunday = world
        .fired
        .keys()
        .find(|(_, due)| (due - MONDAY) / DAY == 6);
    assert_eq!(sunday.map(|(_, due)| due - MONDAY), Some(6 * DAY + HOUR));
    world.check();
}

#[test]
fn a_configured_job_keeps_its_due_time_over_a_restart_unless_it_changed() {
    let mut world = World::new(vec![JobSpec {
        missed: Missed::Once,
        ..job("0 6 * * *")
    }]);
    world.pass(HOUR);
    // Another job is added beside it, while it is down over 06:00.
    world.schedule.push(JobSpec {
        name: "other".into(),
        session: Some("other".into()),
        ..job("0 7 * * *")
    });
    world.restart_after(5 * HOUR + 10 * MINUTE);
    world.pass(MINUTE);
    assert_eq!(world.hours(), [6]);
    // A job that is taken out is gone, and one that is changed begins anew.
    world.schedule = vec![job("0 8 * * *")];
    world.restart_after(3 * HOUR);
    world.pass(DAY);
    assert_eq!(world.hours(), [6, 32]);
}

#[test]
fn the_model_adds_lists_and_removes_jobs() {
    let mut world = World::new(Vec::new());
    world.replies = vec![calls(
        "schedule.add",
        r#"{"name":"water","cron":"0 * * * *","text":"tell me to drink"}"#,
    )];
    let told = world.say("remind me to drink every hour");
    assert!(served(&told).contains("tell me to drink"), "{told:?}");
    world.pass(2 * HOUR);
    assert_eq!(world.hours(), [1, 2]);
    // It is still there after a restart: no configuration names it.
    world.restart_after(MINUTE);
    world.replies = vec![calls("schedule.list", "{}")];
    let told = world.say("what is planned?");
    let list = served(&told).to_string();
    let id = list.split(' ').next().unwrap();
    assert!(
        list.contains("water") && id.parse::<JobId>().is_ok(),
        "{list}"
    );
    world.replies = vec![calls("schedule.remove", &format!(r#"{{"id":"{id}"}}"#))];
    world.say("no more of that");
    world.pass(5 * HOUR);
    assert_eq!(world.hours(), [1, 2]);
    world.check();
}

#[test]
fn what_the_model_asks_for_wrongly_is_told_and_adds_nothing() {
    let mut world = World::new(vec![job("0 0 1 1 *")]);
    let wrong = [
        (
            r#"{"name":"x","cron":"61 * * * *","text":"t"}"#,
            "out of range",
        ),
        (
            r#"{"name":"x","cron":"@daily","zone":"Mars","text":"t"}"#,
            "time zone",
        ),
        (r#"{"name":"x","cron":"@daily","text":" "}"#, "empty"),
        (r#"{"name":"x","text":"t"}"#, "cron"),
    ];
    for (arguments, why) in wrong {
        world.replies = vec![calls("schedule.add", arguments)];
        let told = world.say("do it");
        let content = served(&told);
        assert!(
            content.contains("did not work") && content.contains(why),
            "{content}"
        );
        assert!(!told.iter().any(|r| matches!(r, Record::JobAdded { .. })));
    }
    // A job of the configuration is the owner's.
    world.replies = vec![calls("schedule.list", "{}")];
    let told = world.say("what is planned?");
    let id = served(&told).split(' ').next().unwrap().to_string();
    world.replies = vec![calls("schedule.remove", &format!(r#"{{"id":"{id}"}}"#))];
    let told = world.say("remove it");
    assert!(served(&told).contains("configuration"), "{told:?}");
}

/// A person who types `! cmd` has said yes to it. Nobody typed what a job of the agent's says.
#[test]
fn law_13_a_job_of_the_agents_making_has_nobodys_yes() {
    let command = r#"{"command":"rm -r x"}"#;
    let run = |world: &mut World| {
        world.replies = vec![calls("system.run", command)];
        world.pass(HOUR);
        let records: Vec<Record> = world.lines.iter().flat_map(|l| l.records.clone()).collect();
        let judged = records.iter().rev().find_map(|record| match record {
            Record::Judged { verdict, .. } => Some(verdict.clone()),
            _ => None,
        });
        judged.expect("the call was judged")
    };
    let text = "! rm -r x";
    let mut owners = World::new(vec![JobSpec {
        text: text.into(),
        ..job("0 * * * *")
    }]);
    owners.mode = Mode::Ask;
    owners.restart_after(1);
    assert!(
        matches!(run(&mut owners), Verdict::Allow { .. }),
        "the owner wrote it"
    );

    let mut agents = World::new(Vec::new());
    agents.replies = vec![calls(
        "schedule.add",
        &format!(r#"{{"name":"x","cron":"0 * * * *","text":"{text}"}}"#),
    )];
    agents.say("do something");
    agents.mode = Mode::Ask;
    agents.restart_after(1);
    assert!(
        matches!(run(&mut agents), Verdict::Ask { .. }),
        "nobody said it"
    );
    assert!(agents.effects.is_empty(), "nothing runs");
    // With a yes, it runs.
    let approval = agents.lines.iter().flat_map(|line| &line.records);
    let approval = approval.filter_map(|record| match record {
        Record::Sought(sought) => Some(sought.approval),
        _ => None,
    });
    let approval = approval.collect::<Vec<_>>().pop().expect("a question");
    agents.step(Input::Order(Order::Decide {
        approval,
        decision: Decision::Allow,
        by: "cli:local".into(),
    }));
    assert!(matches!(
        agents.effects[..],
        [Effect {
            op: Op::Tool(_),
            ..
        }]
    ));
    agents.check();
}

/// The text of an agent's job is no command to the daemon either.
#[test]
fn a_job_of_the_agents_making_gives_no_orders() {
    let mut world = World::new(Vec::new());
    world.replies = vec![calls(
        "schedule.add",
        r#"{"name":"x","cron":"0 * * * *","text":"/allow telegram:666"}"#,
    )];
    world.say("do something");
    world.pass(HOUR);
    assert_eq!(world.hours(), [1]);
    let all = world.lines.iter().flat_map(|line| &line.records);
    assert!(
        !all.into_iter()
            .any(|r| matches!(r, Record::Admitted { .. }))
    );
}
