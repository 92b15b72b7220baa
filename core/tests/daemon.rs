//! What a daemon that is left running meets: people let in and shut out, numbered channels that
//! redeliver, answers that come late, messages taken back, and jobs under a clock that jumps.

use openpista_core::effect::deliver::Body;
use openpista_core::effect::model::{Finish, Reply, Usage};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::hint::Hint;
use openpista_core::id::{ApprovalId, SessionId};
use openpista_core::input::{Arrival, Boot, Decision, Input, Order};
use openpista_core::message::{ToolCall, ToolSpec};
use openpista_core::record::{Answer, Record, TurnEnd};
use openpista_core::recover::Past;
use openpista_core::replay::{Line, Replay};
use openpista_core::settings::{JobSpec, Missed, Mode, Settings};
use openpista_core::time::Time;
use openpista_core::{Core, schedule_tools};

/// 2023-11-14 22:13:20 UTC.
const EPOCH_MS: u64 = 1_700_000_000_000;

struct Bench {
    core: Core,
    gate: Gate,
    now: Time,
    settings: Settings,
    lines: Vec<Line>,
    effects: Vec<Effect>,
    hints: Vec<Hint>,
}

impl Bench {
    fn new(settings: impl FnOnce(&mut Settings)) -> Bench {
        let mut chosen = Settings {
            model: "m".into(),
            owners: ["cli:ann".to_string()].into(),
            tools: tools(),
            ..Settings::default()
        };
        settings(&mut chosen);
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            now: Time::ZERO,
            settings: chosen,
            lines: Vec::new(),
            effects: Vec::new(),
            hints: Vec::new(),
        };
        bench.boot(EPOCH_MS);
        bench
    }

    fn boot(&mut self, unix_ms: u64) {
        let settings = self.settings.clone();
        self.step(Input::Boot(Box::new(Boot { settings, unix_ms })));
    }

    fn step(&mut self, input: Input) -> Vec<Record> {
        let step = self.core.step(self.now, input.clone());
        let records = step.records.clone();
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
            match opened {
                Opened::Effect(cleared) => self.effects.push(cleared.into_parts().0),
                Opened::Hint(hint) => self.hints.push(hint),
            }
        }
        records
    }

    fn say(&mut self, origin: &str, key: &str, text: &str) -> Vec<Record> {
        self.arrive(origin, key, "cli:ann", text, None)
    }

    fn arrive(
        &mut self,
        origin: &str,
        key: &str,
        peer: &str,
        text: &str,
        serial: Option<u64>,
    ) -> Vec<Record> {
        self.step(Input::Arrive(Arrival {
            origin: origin.into(),
            key: key.into(),
            peer: peer.into(),
            session: None,
            text: text.into(),
            serial,
        }))
    }

    /// The model answers the call that is open.
    fn reply(&mut self, text: &str, calls: &[(&str, &str)]) -> Vec<Record> {
        let is_model = |e: &Effect| matches!(e.op, Op::Model(_));
        let at = self.effects.iter().position(is_model).expect("a call");
        let effect = self.effects.remove(at);
        let call = |(index, (tool, arguments)): (usize, &(&str, &str))| ToolCall {
            id: format!("c{index}"),
            tool: tool.to_string(),
            arguments: arguments.to_string(),
        };
        self.step(Input::Finish {
            effect: effect.id,
            attempt: effect.attempt,
            outcome: Outcome::Model(Ok(Reply {
                text: text.into(),
                calls: calls.iter().enumerate().map(call).collect(),
                finish: Finish::Stop,
                usage: Usage::default(),
            })),
        })
    }

    /// Ticks every timer that is due by `ms`.
    fn wait_until(&mut self, ms: u64) -> Vec<Record> {
        let mut records = Vec::new();
        while let Some((due, timer)) = self.core.deadline() {
            if due > Time::from_ms(ms) {
                break;
            }
            self.now = self.now.max(due);
            records.extend(self.step(Input::Tick(timer)));
        }
        self.now = Time::from_ms(ms);
        records
    }

    fn told(&self) -> Vec<&str> {
        let told = self.hints.iter().filter_map(|hint| match hint {
            Hint::Tell { text, .. } => Some(text.as_str()),
            _ => None,
        });
        told.collect()
    }

    /// Law 7, 8 and 11: it folds to what it is, and replays whole and by session.
    fn check(&self) {
        let past = |line: &Line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        };
        let folded = Core::restore(None, self.lines.iter().map(past)).expect("folds");
        assert_eq!(folded.snapshot(), self.core.snapshot());
        let sessions: Vec<Option<SessionId>> = self.lines.iter().map(|l| l.session).collect();
        for session in sessions {
            let own =
                |line: &&Line| session.is_none() || line.session.is_none_or(|s| Some(s) == session);
            let mut replay = Replay::new();
            for line in self.lines.iter().filter(own) {
                assert_eq!(replay.follow(line), Ok(()), "without the other sessions");
            }
        }
    }
}

fn tools() -> std::sync::Arc<[ToolSpec]> {
    let mut tools = schedule_tools();
    tools.push(ToolSpec {
        name: "system.run".into(),
        description: "runs".into(),
        parameters: "{}".into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    });
    tools.into()
}

fn job(name: &str, session: &str, missed: Missed) -> JobSpec {
    JobSpec {
        name: name.into(),
        cron: "* * * * *".into(),
        zone: "UTC".into(),
        text: "what is new?".into(),
        origin: session.into(),
        peer: "cli:ann".into(),
        session: None,
        missed,
    }
}

fn fired(records: &[Record]) -> Vec<u64> {
    let due = records.iter().filter_map(|record| match record {
        Record::JobFired { due_unix_ms, .. } => Some(*due_unix_ms),
        _ => None,
    });
    due.collect()
}

#[test]
fn law_03_letting_somebody_in_is_not_repeated_by_a_redelivery() {
    let mut bench = Bench::new(|_| {});
    bench.say("cli:a", "k1", "/allow cli:eve");
    bench.say("cli:a", "k2", "/forbid cli:eve");
    let again = bench.say("cli:a", "k1", "/allow cli:eve");
    assert_eq!(again, []);
    let eve = bench.arrive("cli:b", "k1", "cli:eve", "hello", None);
    assert_eq!(eve, [], "eve is in again");
    let shut = "cli:eve may not write to me any more.";
    assert_eq!(bench.told()[1..], [shut, shut], "how things stand");
    bench.check();
}

#[test]
fn whom_the_configuration_names_cannot_be_shut_out() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.say("cli:a", "k1", "/forbid cli:ann"), []);
    assert!(matches!(bench.hints[..], [Hint::Refuse { .. }]));
    bench.check();
}

#[test]
fn law_03_a_late_number_between_known_ones_is_new() {
    let mut bench = Bench::new(|settings| settings.limits.keys = 3);
    for serial in [10, 1, 2, 3, 4] {
        bench.arrive(
            "tg:1",
            &serial.to_string(),
            "cli:ann",
            "/status",
            Some(serial),
        );
    }
    let late = bench.arrive("tg:1", "5", "cli:ann", "/status", Some(5));
    assert!(!late.is_empty(), "5 was never seen and is lost");
    for serial in [1, 2, 3, 4, 5, 10] {
        let again = bench.arrive(
            "tg:1",
            &serial.to_string(),
            "cli:ann",
            "/status",
            Some(serial),
        );
        assert_eq!(again, [], "{serial} is taken twice");
    }
}

#[test]
fn law_11_a_full_house_leaves_no_record() {
    let mut bench = Bench::new(|settings| {
        settings.limits.sessions = 2;
        settings.schedule = vec![job("news", "cli:c", Missed::Skip)];
    });
    bench.say("cli:a", "k1", "hello");
    bench.say("cli:b", "k1", "hello");
    assert_eq!(bench.say("cli:d", "k1", "hello"), []);
    assert!(matches!(bench.hints.last(), Some(Hint::Refuse { .. })));
    let records = bench.wait_until(60_000);
    assert_eq!(
        fired(&records).len(),
        1,
        "the operator's own job has a seat"
    );
    bench.check();
}

#[test]
fn law_13_a_yes_after_the_time_is_a_denial_even_before_the_tick() {
    let mut bench = Bench::new(|_| {});
    bench.say("cli:a", "k1", "do it");
    let records = bench.reply("", &[("system.run", r#"{"command":"ls"}"#)]);
    let approval = records.iter().find_map(|record| match record {
        Record::Sought(sought) => Some(sought.approval),
        _ => None,
    });
    bench.now = Time::from_ms(bench.settings.limits.approval_ms);
    let decide = Order::Decide {
        approval: approval.expect("a question"),
        decision: Decision::Allow,
        by: "cli:ann".into(),
    };
    let records = bench.step(Input::Order(decide));
    let answer = records.iter().find_map(|record| match record {
        Record::Decided { answer, .. } => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(answer, Some(Answer::Expired));
    bench.check();
}

#[test]
fn law_14_taking_back_a_waiting_message_leaves_the_turn_alone() {
    let mut bench = Bench::new(|_| {});
    bench.say("cli:a", "k1", "first");
    bench.say("cli:a", "k2", "second");
    bench.say("cli:a", "k3", "third");
    let cancel = |key: &str| {
        Input::Order(Order::Cancel {
            origin: "cli:a".into(),
            key: key.into(),
            by: "cli:ann".into(),
        })
    };
    let ended = |records: &[Record]| match &records[0] {
        Record::TurnEnded {
            turn, end, ends, ..
        } => {
            assert_eq!(*end, TurnEnd::Stopped);
            let keys: Vec<String> = ends.iter().map(|end| end.key.clone()).collect();
            (turn.is_some(), keys)
        }
        record => panic!("{record:?}"),
    };
    let records = bench.step(cancel("k2"));
    assert_eq!(ended(&records), (false, vec!["k2".to_string()]));
    assert_eq!(bench.step(cancel("k2")), [], "it is gone already");
    let records = bench.step(cancel("k1"));
    assert_eq!(ended(&records), (true, vec!["k1".to_string()]));
    let joined = |r: &Record| matches!(r, Record::Joined { messages, .. } if messages.len() == 1);
    assert!(records.iter().any(joined), "the third has its turn");
    bench.check();
}

#[test]
fn law_16_a_clock_that_jumps_back_fires_nothing_twice() {
    let mut bench = Bench::new(|settings| {
        settings.schedule = vec![job("news", "cli:a", Missed::Once)];
    });
    let mut dues = fired(&bench.wait_until(61_000));
    for unix_ms in [
        EPOCH_MS,
        EPOCH_MS + 59_000,
        EPOCH_MS - 86_400_000,
        EPOCH_MS + 7_200_000,
    ] {
        bench.step(Input::Wall { unix_ms });
        let now = bench.now.as_ms();
        dues.extend(fired(&bench.wait_until(now + 90_000)));
        bench.boot(unix_ms);
        dues.extend(fired(&bench.wait_until(now + 180_000)));
    }
    let mut once = dues.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(dues, once, "fired in order, each once");
    assert!(dues.len() >= 3, "{dues:?}");
    bench.check();
}

#[test]
fn law_16_nobody_can_use_up_a_job_s_key() {
    let mut bench = Bench::new(|settings| {
        settings.schedule = vec![job("news", "cli:a", Missed::Once)];
    });
    bench.wait_until(1_000);
    let due = EPOCH_MS + 40_000;
    let records = bench.say("cli:a", &format!("job:1.0:{due}"), "hello");
    assert_eq!(records, []);
    assert_eq!(fired(&bench.wait_until(40_000)), [due]);
    bench.check();
}

#[test]
fn law_16_many_missed_times_count_as_one() {
    let mut bench = Bench::new(|settings| {
        let (once, skip) = (
            job("once", "cli:a", Missed::Once),
            job("skip", "cli:b", Missed::Skip),
        );
        settings.schedule = vec![once, skip];
    });
    bench.wait_until(1_000);
    bench.now = Time::from_ms(3_600_000);
    bench.boot(EPOCH_MS + 3_600_000);
    let records = bench.wait_until(3_600_000);
    let missed = records
        .iter()
        .filter(|r| matches!(r, Record::JobMissed { .. }));
    assert_eq!((fired(&records).len(), missed.count()), (1, 1));
    bench.check();
}

#[test]
fn law_16_a_job_whose_session_is_full_is_missed_aloud() {
    let mut bench = Bench::new(|settings| {
        settings.limits.queued_messages = 1;
        settings.schedule = vec![job("news", "cli:a", Missed::Once)];
    });
    bench.say("cli:a", "k1", "first");
    bench.say("cli:a", "k2", "second");
    let records = bench.wait_until(60_000);
    let missed = |r: &Record| matches!(r, Record::JobMissed { .. });
    let said = |r: &Record| matches!(r, Record::Queued { .. });
    assert!(
        records.iter().any(missed) && records.iter().any(said),
        "{records:?}"
    );
    assert!(fired(&records).is_empty());
    bench.check();
}

#[test]
fn law_11_how_many_may_write_depends_on_the_session_alone() {
    let mut bench = Bench::new(|settings| settings.limits.sessions = 2);
    let mut say = |origin: &str, key: &str, session: &str| {
        bench.step(Input::Arrive(Arrival {
            origin: origin.into(),
            key: key.into(),
            peer: "cli:ann".into(),
            session: Some(session.into()),
            text: "hello".into(),
            serial: None,
        }))
    };
    say("cli:c", "k1", "home");
    for (origin, key) in [("cli:a", "k1"), ("cli:b", "k1"), ("cli:c", "k2")] {
        assert!(!say(origin, key, "work").is_empty(), "{origin}");
    }
    for nth in 0..100 {
        say(&format!("cli:{nth}"), "k1", "work");
    }
    assert!(say("cli:zoe", "k1", "work").is_empty());
    bench.check();
}

#[test]
fn law_11_a_list_of_jobs_tells_of_its_own_session_alone() {
    let mut bench = Bench::new(|settings| {
        settings.policy.mode = openpista_core::settings::Mode::Full;
        settings.schedule = vec![
            job("news", "cli:a", Missed::Once),
            job("mine", "cli:b", Missed::Skip),
        ];
    });
    bench.wait_until(1_000);
    bench.say("cli:b", "k1", "what is planned?");
    bench.reply(
        "",
        &[
            (
                "schedule.add",
                r#"{"name":"a","cron":"@hourly","text":"t"}"#,
            ),
            ("schedule.list", "{}"),
        ],
    );
    bench.reply(
        "",
        &[
            ("schedule.list", "{}"),
            ("schedule.remove", r#"{"id":"1.0"}"#),
        ],
    );
    let served = bench
        .lines
        .iter()
        .flat_map(|line| &line.records)
        .filter_map(|r| match r {
            Record::Served { content, .. } => Some(content.as_str()),
            _ => None,
        });
    let lists: Vec<&str> = served.collect();
    assert!(lists.iter().any(|list| list.contains("mine")), "{lists:?}");
    assert!(!lists.iter().any(|list| list.contains("news")), "{lists:?}");
    bench.check();
}

fn by(who: &str) -> Order {
    Order::Stop {
        session: "cli:ann".into(),
        by: who.into(),
    }
}

/// A guest has a say where they have a part in it; the owner has one everywhere.
#[test]
fn a_guest_stops_and_answers_only_what_concerns_them() {
    let mut bench = Bench::new(|settings| settings.policy.mode = Mode::Ask);
    bench.say("cli:ann", "k1", "/allow cli:gus");
    bench.say("cli:ann", "k2", "go");
    bench.reply("", &[("system.run", "{}")]);
    let owners = approval(&bench.lines);
    for order in [
        by("cli:gus"),
        decide(owners, "cli:gus"),
        cancel("k2", "cli:gus"),
    ] {
        let refusal = bench.core.state().objection(&order).expect("they may not");
        assert!(refusal.reason().contains("owner"), "{refusal}");
        assert_eq!(bench.step(Input::Order(order)), []);
    }
    // Nor by a command, in a session that is not theirs.
    for command in ["/stop", "/new"] {
        let told = bench.step(Input::Arrive(Arrival {
            session: Some("cli:ann".into()),
            ..guest_writes(command)
        }));
        let notice = |r: &Record| matches!(r, Record::Queued { body: Body::Notice(text), .. } if text.contains("owner"));
        assert!(told.iter().any(notice), "{told:?}");
        assert!(!told.iter().any(|r| matches!(r, Record::Refreshed { .. })));
    }
    let session = bench.core.state().session("cli:ann").expect("it exists");
    assert!(bench.core.state().is_busy(session));

    bench.step(Input::Arrive(guest_writes("go")));
    bench.reply("", &[("system.run", "{}")]);
    let own = approval(&bench.lines);
    assert!(!bench.step(Input::Order(decide(own, "cli:gus"))).is_empty());
    bench.step(Input::Arrive(guest_writes("and this")));
    let waits = cancel_of("cli:gus", "and this", "cli:gus");
    assert!(!bench.step(Input::Order(waits)).is_empty());
    let owner_stops = Order::Stop {
        session: "cli:gus".into(),
        by: "cli:ann".into(),
    };
    assert!(!bench.step(Input::Order(owner_stops)).is_empty());
    assert!(
        !bench
            .step(Input::Order(decide(owners, "cli:ann")))
            .is_empty()
    );
    bench.check();
}

/// Whoever shows a question hears when it needs no answer any more.
#[test]
fn a_question_that_is_over_is_said_to_be() {
    let mut bench = Bench::new(|settings| settings.policy.mode = Mode::Ask);
    let over = |bench: &mut Bench| {
        let over = bench.hints.iter().filter_map(|hint| match hint {
            Hint::Answered { approval } => Some(*approval),
            _ => None,
        });
        let over: Vec<ApprovalId> = over.collect();
        bench.hints.clear();
        over
    };
    bench.say("cli:ann", "k1", "go");
    bench.reply(
        "",
        &[("system.run", "{}"), ("system.run", r#"{"command":"ls"}"#)],
    );
    let second = approval(&bench.lines);
    let first = ApprovalId { slot: 0, ..second };
    assert_eq!(over(&mut bench), []);
    bench.step(Input::Order(decide(first, "cli:ann")));
    assert_eq!(over(&mut bench), [first]);
    bench.step(Input::Order(by("cli:ann")));
    assert_eq!(over(&mut bench), [second]);
}

/// What the agent sends itself is no longer than what anybody may send it.
#[test]
fn a_jobs_message_has_the_bound_of_every_message() {
    let mut bench = Bench::new(|settings| {
        settings.limits.message_bytes = 30;
        settings.policy.mode = Mode::Full;
    });
    for (key, text, taken) in [("k1", "x".repeat(31), false), ("k2", "x".repeat(30), true)] {
        bench.say("cli:ann", key, "go");
        let arguments = format!(r#"{{"name":"n","cron":"@daily","text":"{text}"}}"#);
        let records = bench.reply("", &[("schedule.add", &arguments)]);
        let added = |r: &Record| matches!(r, Record::JobAdded { .. });
        assert_eq!(records.iter().any(added), taken, "{records:?}");
        let told = |r: &Record| matches!(r, Record::Served { content, .. } if content.contains("31 bytes"));
        assert_eq!(records.iter().any(told), !taken, "{records:?}");
        bench.reply("done", &[]);
    }
}

fn guest_writes(text: &str) -> Arrival {
    Arrival {
        origin: "cli:gus".into(),
        key: text.into(),
        peer: "cli:gus".into(),
        session: None,
        text: text.into(),
        serial: None,
    }
}

/// The latest question.
fn approval(lines: &[Line]) -> ApprovalId {
    let records = lines.iter().flat_map(|line| &line.records);
    let sought = records.filter_map(|record| match record {
        Record::Sought(sought) => Some(sought.approval),
        _ => None,
    });
    sought.max().expect("a question")
}

fn decide(approval: ApprovalId, by: &str) -> Order {
    Order::Decide {
        approval,
        decision: Decision::Allow,
        by: by.into(),
    }
}

fn cancel(key: &str, by: &str) -> Order {
    cancel_of("cli:ann", key, by)
}

fn cancel_of(origin: &str, key: &str, by: &str) -> Order {
    Order::Cancel {
        origin: origin.into(),
        key: key.into(),
        by: by.into(),
    }
}
