//! One turn by hand, through the public surface: what a shell sees, step by step.

use openpista_core::effect::deliver::{Body, DeliverFault, Delivered};
use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::hint::Hint;
use openpista_core::id::Seq;
use openpista_core::input::{Arrival, Boot, Decision, Input, Order};
use openpista_core::message::{Picture, Prompt, ToolCall, ToolSpec};
use openpista_core::record::{Record, Verdict};
use openpista_core::recover::Past;
use openpista_core::replay::{Line, Replay};
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_core::time::Time;
use openpista_core::{Core, Step};

/// A shell that does nothing by itself.
struct Bench {
    core: Core,
    gate: Gate,
    now: Time,
    lines: Vec<Line>,
    effects: Vec<Effect>,
    /// What the last model call says.
    prompt: Option<Prompt>,
    hints: Vec<Hint>,
}

fn settings(mode: Mode) -> Settings {
    Settings {
        provider: "test".into(),
        model: "m".into(),
        system: "be brief".into(),
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
            mode,
            ..Policy::default()
        },
        owners: ["cli:local".to_string()].into(),
        images: true,
        ..Settings::default()
    }
}

impl Bench {
    fn new(mode: Mode) -> Bench {
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            now: Time::ZERO,
            lines: Vec::new(),
            effects: Vec::new(),
            prompt: None,
            hints: Vec::new(),
        };
        bench.boot(mode);
        bench
    }

    fn boot(&mut self, mode: Mode) {
        self.step(Input::Boot(Box::new(Boot {
            settings: settings(mode),
            unix_ms: 1_000_000,
        })));
    }

    /// Steps, commits, and collects what the gate lets out.
    fn step(&mut self, input: Input) -> Vec<Record> {
        let step: Step = self.core.step(self.now, input.clone());
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
                Opened::Effect(cleared) => {
                    let (effect, prompt) = cleared.into_parts();
                    self.effects.push(effect);
                    self.prompt = prompt.or(self.prompt.take());
                }
                Opened::Hint(hint) => self.hints.push(hint),
            }
        }
        records
    }

    fn say(&mut self, key: &str, text: &str) -> Vec<Record> {
        self.step(Input::Arrive(Arrival {
            origin: "cli:local".into(),
            key: key.into(),
            peer: "cli:local".into(),
            session: None,
            text: text.into(),
            serial: None,
        }))
    }

    fn finish(&mut self, outcome: Outcome) -> Vec<Record> {
        let effect = self.effects.remove(0);
        self.step(Input::Finish {
            effect: effect.id,
            attempt: effect.attempt,
            outcome,
        })
    }

    /// Waits for the next timer and ticks.
    fn tick(&mut self) -> Vec<Record> {
        let (due, timer) = self.core.deadline().expect("a timer");
        self.now = self.now.max(due);
        self.step(Input::Tick(timer))
    }

    fn body(&self) -> &Body {
        match &self.effects[0].op {
            Op::Deliver(delivery) => &delivery.body,
            op => panic!("expected a delivery, not {op:?}"),
        }
    }

    /// Laws 7, 8 and 9: every way to the state leads to the same one.
    fn check(&self) {
        let live = self.core.snapshot();
        let past = |line: &Line| Past {
            seq: line.seq,
            at: line.at,
            records: line.records.clone(),
        };
        let folded = Core::restore(None, self.lines.iter().map(past)).expect("folds");
        assert_eq!(folded.snapshot(), live);
        for cut in 0..self.lines.len() {
            let (head, tail) = self.lines.split_at(cut);
            let half = Core::restore(None, head.iter().map(past)).expect("folds");
            let whole = Core::restore(Some(&half.snapshot()), tail.iter().map(past));
            assert_eq!(whole.expect("folds").snapshot(), live);
        }
        let mut replay = Replay::new();
        for line in &self.lines {
            let json = serde_json::to_string(line).expect("writes");
            let line: Line = serde_json::from_str(&json).expect("reads");
            replay.follow(&line).expect("no difference");
        }
        assert_eq!(replay.core().snapshot(), live);
    }
}

fn reply(text: &str, calls: &[(&str, &str)]) -> Outcome {
    let call = |(index, (tool, arguments)): (usize, &(&str, &str))| ToolCall {
        id: format!("call_{index}"),
        tool: tool.to_string(),
        arguments: arguments.to_string(),
    };
    Outcome::Model(Ok(Reply {
        text: text.into(),
        calls: calls.iter().enumerate().map(call).collect(),
        ..Reply::default()
    }))
}

fn ran(stdout: &str) -> Outcome {
    Outcome::Tool(Ok(Ran {
        exit: Exit::Code(0),
        stdout: Clip {
            text: stdout.into(),
            cut_chars: 0,
        },
        stderr: Clip::default(),
        took_ms: 3,
        pictures: Vec::new(),
    }))
}

const SHOWN: Outcome = Outcome::Deliver(Ok(Delivered));

#[test]
fn a_reply_takes_three_steps() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    bench.finish(reply("hi", &[]));
    assert_eq!(bench.body(), &Body::Reply("hi".into()));
    bench.finish(SHOWN);
    assert_eq!(bench.lines.len(), 1 + 3);
    assert!(bench.core.deadline().is_none(), "all is quiet");
    bench.check();
}

#[test]
fn a_tool_turn_takes_five_steps() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "which system?");
    bench.finish(reply("", &[("system.run", r#"{"command":"uname"}"#)]));
    bench.finish(ran("Linux\n"));
    bench.finish(reply("Linux", &[]));
    bench.finish(SHOWN);
    assert_eq!(bench.lines.len(), 1 + 5);
    bench.check();
}

#[test]
fn law_03_a_key_is_accepted_once_and_acknowledged_again() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    assert!(bench.say("1", "hello").is_empty());
    let acks = bench.hints.iter().filter(|h| matches!(h, Hint::Ack { .. }));
    assert_eq!(acks.count(), 2);
}

#[test]
fn law_13_what_the_person_typed_needs_no_second_yes() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "! uname -a");
    let records = bench.finish(reply("", &[("system.run", r#"{"command":"uname -a"}"#)]));
    assert!(matches!(
        &records[1],
        Record::Judged {
            verdict: Verdict::Allow { .. },
            ..
        }
    ));
    bench.check();
}

#[test]
fn law_13_another_directory_is_not_what_the_person_typed() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "! ls");
    let wanted = r#"{"command":"ls","working_dir":"/root"}"#;
    let records = bench.finish(reply("", &[("system.run", wanted)]));
    assert!(matches!(
        &records[1],
        Record::Judged {
            verdict: Verdict::Ask { .. },
            ..
        }
    ));
}

#[test]
fn law_13_a_question_is_answered_once_and_not_asked_again_after_a_no() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "tidy up");
    let wanted = r#"{"command":"rm x"}"#;
    bench.finish(reply("", &[("system.run", wanted)]));
    let Body::Question(question) = bench.body().clone() else {
        panic!("a question")
    };
    assert_eq!(question.arguments, wanted);
    bench.finish(SHOWN);
    let no = Input::Order(Order::Decide {
        approval: question.approval,
        decision: Decision::Deny,
        by: "cli:local".into(),
    });
    assert!(!bench.step(no.clone()).is_empty());
    assert!(
        bench.step(no).is_empty(),
        "the second answer changes nothing"
    );
    let records = bench.finish(reply("", &[("system.run", r#"{"command":"rm y"}"#)]));
    assert!(matches!(
        &records[1],
        Record::Judged {
            verdict: Verdict::Deny { .. },
            ..
        }
    ));
    bench.check();
}

#[test]
fn law_05_a_command_in_flight_at_a_crash_is_doubted_and_never_run_again() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    bench.finish(reply("", &[("system.run", r#"{"command":"make"}"#)]));
    bench.effects.clear();
    bench.boot(Mode::Full);
    let records = bench.tick();
    assert!(records.iter().any(|r| matches!(r, Record::Doubted { .. })));
    let ops: Vec<_> = bench.effects.iter().map(|e| &e.op).collect();
    assert!(!ops.iter().any(|op| matches!(op, Op::Tool(_))), "{ops:?}");
    assert!(
        ops.iter().any(|op| matches!(op, Op::Model(_))),
        "the model is told"
    );
    bench.check();
}

#[test]
fn a_busy_provider_is_asked_again_when_it_says() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    let busy = ModelFault::RateLimited {
        retry_after_ms: Some(7_000),
        message: "slow down".into(),
    };
    bench.finish(Outcome::Model(Err(busy)));
    let (due, timer) = bench.core.deadline().expect("a retry");
    assert_eq!(due, Time::from_ms(7_000));
    let early = bench.step(Input::Tick(timer));
    assert!(early.is_empty(), "law 17: an early tick");
    bench.tick();
    assert!(bench.step(Input::Tick(timer)).is_empty(), "law 17: again");
    bench.finish(reply("hi", &[]));
    bench.finish(SHOWN);
    bench.check();
}

#[test]
fn a_wrong_key_ends_the_turn_with_what_to_fix() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    bench.finish(Outcome::Model(Err(ModelFault::Rejected {
        status: 401,
        message: "bad key".into(),
    })));
    let Body::Failure(text) = bench.body() else {
        panic!("a failure")
    };
    assert!(text.contains("OPENPISTACRAB_API_KEY"), "{text}");
    bench.check();
}

#[test]
fn law_14_after_a_stop_nothing_new_begins() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    bench.finish(reply("", &[("system.run", r#"{"command":"sleep 9"}"#)]));
    bench.say("2", "and then?");
    let records = bench.say("3", "/stop");
    let Some(Record::TurnEnded { ends, .. }) = records
        .iter()
        .find(|r| matches!(r, Record::TurnEnded { .. }))
    else {
        panic!("{records:?}")
    };
    assert_eq!(ends.len(), 3);
    let intended = |r: &&Record| matches!(r, Record::Intended(e) if matches!(e.op, Op::Model(_) | Op::Tool(_)));
    assert_eq!(records.iter().filter(intended).count(), 0);
    assert!(
        records
            .iter()
            .any(|r| matches!(r, Record::Intended(e) if matches!(e.op, Op::Cancel(_))))
    );
    bench.check();
}

#[test]
fn messages_that_arrive_mid_turn_join_it_at_the_next_call() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    bench.finish(reply("", &[("system.run", r#"{"command":"ls"}"#)]));
    bench.say("2", "hurry");
    let records = bench.finish(ran("x"));
    assert!(records.iter().any(|r| matches!(r, Record::Joined { .. })));
    bench.finish(reply("done", &[]));
    let Op::Deliver(delivery) = &bench.effects[0].op else {
        panic!()
    };
    assert_eq!(delivery.ends.len(), 2);
    bench.check();
}

#[test]
fn the_same_call_with_the_same_result_three_times_ends_the_turn() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    for _ in 0..3 {
        bench.finish(reply("", &[("system.run", r#"{"command":"ls"}"#)]));
        bench.finish(ran("x"));
    }
    let Body::Failure(text) = bench.body() else {
        panic!("a failure")
    };
    assert!(text.contains("3 times"), "{text}");
    bench.check();
}

#[test]
fn rounds_are_bounded() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    for round in 0..10 {
        let command = format!(r#"{{"command":"echo {round}"}}"#);
        bench.finish(reply("", &[("system.run", &command)]));
        bench.finish(ran("x"));
    }
    bench.finish(reply("", &[("system.run", r#"{"command":"once more"}"#)]));
    let Body::Failure(text) = bench.body() else {
        panic!("a failure")
    };
    assert!(text.contains("10 rounds"), "{text}");
    bench.check();
}

#[test]
fn broken_arguments_and_unknown_tools_are_told_to_the_model() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    let calls = [("system.run", r#"{"command": "ls"#), ("magic", "{}")];
    let records = bench.finish(reply("", &calls));
    let invalid = |r: &&Record| {
        matches!(
            r,
            Record::Judged {
                verdict: Verdict::Invalid { .. },
                ..
            }
        )
    };
    assert_eq!(records.iter().filter(invalid).count(), 2);
    assert!(
        matches!(bench.effects[0].op, Op::Model(_)),
        "it is asked again"
    );
    bench.check();
}

#[test]
fn an_altered_record_is_found_where_it_stands() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    bench.finish(reply("hi", &[]));
    bench.finish(SHOWN);
    let mut lines = bench.lines.clone();
    let Record::TurnEnded { ends, .. } = &mut lines[2].records[1] else {
        panic!("{:?}", lines[2].records)
    };
    ends[0].key = "other".into();
    let mut replay = Replay::new();
    let found = lines.iter().find_map(|line| replay.follow(line).err());
    let difference = found.expect("a difference");
    assert_eq!((difference.seq, difference.index), (Seq(3), 1));
}

#[test]
fn law_02_a_duplicate_waits_for_the_original_to_be_durable() {
    let mut core = Core::new();
    let mut gate = Gate::new();
    let boot = Input::Boot(Box::new(Boot {
        settings: settings(Mode::Ask),
        unix_ms: 0,
    }));
    gate.hold(core.step(Time::ZERO, boot));
    let hello = Input::Arrive(Arrival {
        origin: "cli:local".into(),
        key: "1".into(),
        peer: "cli:local".into(),
        session: None,
        text: "hello".into(),
        serial: None,
    });
    gate.hold(core.step(Time::ZERO, hello.clone()));
    gate.hold(core.step(Time::ZERO, hello));
    assert!(gate.open(Receipt::durable_through(Seq(1))).is_empty());
    let opened = gate.open(Receipt::durable_through(Seq(2)));
    let acks = opened
        .iter()
        .filter(|o| matches!(o, Opened::Hint(Hint::Ack { .. })));
    assert_eq!(acks.count(), 2);
}

#[test]
fn law_05_a_command_in_doubt_is_told_also_when_its_turn_was_stopped() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "go");
    bench.finish(reply("", &[("system.run", r#"{"command":"make"}"#)]));
    bench.effects.clear();
    bench.boot(Mode::Full);
    // The stop comes between the start and the recovery of the command.
    let records = bench.say("2", "/stop");
    assert!(records.iter().any(|r| matches!(r, Record::Doubted { .. })));
    let told = |r: &Record| matches!(r, Record::Queued { body: Body::Notice(text), .. } if text.contains("may have run"));
    assert!(records.iter().any(told), "{records:?}");
    bench.check();
}

#[test]
fn a_message_that_was_turned_away_is_turned_away_again() {
    let mut bench = Bench::new(Mode::Ask);
    let long = "x".repeat(200_000);
    bench.say("1", &long);
    bench.hints.clear();
    assert!(bench.say("1", &long).is_empty());
    assert!(matches!(bench.hints[..], [Hint::Refuse { .. }]));
    bench.check();
}

#[test]
fn what_may_have_been_seen_stays_so_when_it_goes_out_plain() {
    let mut bench = Bench::new(Mode::Ask);
    bench.say("1", "hello");
    bench.finish(reply("hi", &[]));
    let unreachable = DeliverFault::Unreachable {
        message: "down".into(),
    };
    bench.finish(Outcome::Deliver(Err(unreachable)));
    bench.tick();
    bench.finish(Outcome::Deliver(Err(DeliverFault::Unformatted)));
    let Op::Deliver(delivery) = &bench.effects[0].op else {
        panic!("a delivery")
    };
    assert_eq!((delivery.rich, delivery.repeated), (false, true));
    bench.check();
}

fn picture(name: &str) -> Picture {
    Picture {
        path: format!("/{name}.png"),
        width: 640,
        height: 480,
        small: Some(format!("/{name}-small.png")),
    }
}

fn made(pictures: &[&str]) -> Outcome {
    let Outcome::Tool(Ok(mut ran)) = ran("done") else {
        unreachable!()
    };
    ran.pictures = pictures.iter().map(|name| picture(name)).collect();
    Outcome::Tool(Ok(ran))
}

const CAPTURE: (&str, &str) = ("system.run", r#"{"command":"capture"}"#);

#[test]
fn pictures_reach_the_person_and_the_model_up_to_their_bound() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "what is on the screen?");
    bench.finish(reply("", &[CAPTURE]));
    // One too many.
    bench.finish(made(&["a", "b", "c"]));
    let looked_at = bench.prompt.iter().flat_map(Prompt::pictures);
    let looked_at: Vec<&str> = looked_at.map(Picture::for_models).collect();
    assert_eq!(looked_at, ["/a-small.png", "/b-small.png"]);
    // The model is asked while the first is on its way; the second waits for that.
    assert_eq!(bench.body(), &Body::Picture(picture("a")));
    bench.finish(SHOWN);
    bench.effects.rotate_left(1);
    assert_eq!(bench.body(), &Body::Picture(picture("b")));
    bench.finish(SHOWN);
    bench.finish(reply("a desktop", &[]));
    assert_eq!(bench.body(), &Body::Reply("a desktop".into()));
    bench.finish(SHOWN);
    assert_eq!(bench.effects, []);
    bench.check();
}

#[test]
fn a_picture_that_a_channel_refuses_goes_out_as_a_file() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "show me");
    bench.finish(reply("", &[CAPTURE]));
    bench.finish(made(&["a"]));
    bench.finish(Outcome::Deliver(Err(DeliverFault::Unformatted)));
    let again = bench.effects.iter().find_map(|effect| match &effect.op {
        Op::Deliver(delivery) => Some(delivery.clone()),
        _ => None,
    });
    let again = again.expect("another try");
    assert!(!again.rich);
    assert_eq!(again.body, Body::Picture(picture("a")));
    bench.check();
}

#[test]
fn what_a_stopped_turn_makes_is_not_shown() {
    let mut bench = Bench::new(Mode::Full);
    bench.say("1", "show me");
    bench.finish(reply("", &[CAPTURE]));
    let running = bench.effects.remove(0);
    bench.say("2", "/stop");
    bench.step(Input::Finish {
        effect: running.id,
        attempt: running.attempt,
        outcome: made(&["a"]),
    });
    let queued = bench.lines.iter().flat_map(|line| &line.records);
    let pictures = queued.filter(|record| {
        matches!(
            record,
            Record::Queued {
                body: Body::Picture(_),
                ..
            }
        )
    });
    assert_eq!(pictures.count(), 0);
    bench.check();
}
