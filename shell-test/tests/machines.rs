//! The core under any sequence of inputs: nonsense ids, wrong attempts, wrong kinds of outcome,
//! huge texts, clocks that run backwards. It never panics, folds to what it is, and replays.

use openpista_core::Core;
use openpista_core::digest::Digest;
use openpista_core::effect::cancel::Cancelled;
use openpista_core::effect::deliver::{DeliverFault, Delivered};
use openpista_core::effect::model::{Finish, ModelFault, Reply, Usage};
use openpista_core::effect::sandbox::{Action, Done, Ended, SandboxFault};
use openpista_core::effect::tool::{Clip, Exit, Ran, ToolFault};
use openpista_core::effect::{Chunk, Op, Outcome};
use openpista_core::id::{ApprovalId, Attempt, EffectId, Seq};
use openpista_core::input::{Arrival, Boot, Decision, Input, Order};
use openpista_core::message::ToolCall;
use openpista_core::record::Record;
use openpista_core::replay::{Line, Replay};
use openpista_core::time::Time;
use openpista_core::timer::Timer;
use openpista_shell_test::disk::past;
use openpista_shell_test::plan::{OWNER, base_settings};
use proptest::prelude::*;

/// An input whose ids are chosen when the core is known.
#[derive(Clone, Debug)]
enum Poke {
    Say(u8, u8, bool, String),
    /// The effect, the attempt's error, the outcome.
    Finish(u8, i8, Outcome),
    Nonsense(u64, u16, Outcome),
    Progress(u8),
    /// The next timer; or another one.
    Tick(bool),
    Decide(u8, Decision, bool),
    Stop(u8),
    Cancel(u8, u8),
    Wall(u64),
    Present(u8),
    /// A conversation goes on under another name.
    Move(u8, u8),
    /// Something reports with the token of this number, which may be anybody's.
    Report(u8),
    Boot,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let text = prop_oneof![
        Just(String::new()),
        "[ -~]{0,40}",
        Just("é".repeat(15_000)),
        Just("\u{0}\u{202e}\n".into())
    ];
    let tool = prop_oneof![
        Just("system.run".to_string()),
        Just("file.read".into()),
        Just("file.write".into()),
        Just("disk.wipe".into()),
        Just("container.run".into()),
        Just("worker.run".into()),
        Just("code.run".into()),
        Just("skill.hello".into()),
        "[a-z.]{0,9}"
    ];
    let arguments = prop_oneof![
        Just("{}".to_string()),
        Just(r#"{"command":"ls"}"#.into()),
        Just(r#"{"a":1,"a":2}"#.into()),
        "[ -~]{0,20}"
    ];
    let call = ("[a-z0-9]{0,4}", tool, arguments).prop_map(|(id, tool, arguments)| ToolCall {
        id,
        tool,
        arguments,
    });
    let finish = prop_oneof![
        Just(Finish::Stop),
        Just(Finish::Length),
        Just(Finish::Filter)
    ];
    let reply = (text, prop::collection::vec(call, 0..20), finish);
    prop_oneof![
        4 => reply.prop_map(|(text, calls, finish)| {
            Outcome::Model(Ok(Reply { text, calls, finish, usage: Usage::default() }))
        }),
        2 => prop_oneof![
            any::<Option<u64>>().prop_map(|retry_after_ms| ModelFault::RateLimited {
                retry_after_ms,
                message: "wait".into(),
            }),
            Just(ModelFault::Empty),
            Just(ModelFault::TimedOut),
            Just(ModelFault::Cancelled),
            Just(ModelFault::Rejected { status: 401, message: "no".into() }),
        ]
        .prop_map(|fault| Outcome::Model(Err(fault))),
        3 => any::<i32>().prop_map(|code| Outcome::Tool(Ok(Ran {
            exit: Exit::Code(code),
            stdout: Clip { text: "done".into(), cut_chars: u64::MAX },
            stderr: Clip::default(),
            took_ms: u64::MAX, pictures: Vec::new(), }))),
        1 => Just(Outcome::Tool(Err(ToolFault::Cancelled))),
        3 => Just(Outcome::Deliver(Ok(Delivered))),
        1 => prop_oneof![
            Just(DeliverFault::Unformatted),
            Just(DeliverFault::Absent),
            Just(DeliverFault::RateLimited { retry_after_ms: Some(u64::MAX) }),
            Just(DeliverFault::Unreachable { message: "down".into() }),
            Just(DeliverFault::Gone { message: "gone".into() }),
        ]
        .prop_map(|fault| Outcome::Deliver(Err(fault))),
        1 => Just(Outcome::Cancel(Cancelled::Stopped)),
        4 => sandboxed().prop_map(Outcome::Sandbox),
    ]
}

fn sandboxed() -> impl Strategy<Value = Result<Done, SandboxFault>> {
    let message = || "no".to_string();
    prop_oneof![
        3 => (0..3u8).prop_map(|n| Ok(Done::Created { token: Some(Digest([n; 32])) })),
        2 => Just(Ok(Done::Created { token: None })),
        3 => Just(Ok(Done::Ended(ended()))),
        3 => Just(Ok(Done::Destroyed)),
        1 => Just(Err(SandboxFault::Unavailable { message: message() })),
        1 => Just(Err(SandboxFault::Arguments { message: message() })),
        1 => Just(Err(SandboxFault::Failed { message: message() })),
        1 => Just(Err(SandboxFault::Lost)),
        1 => Just(Err(SandboxFault::TimedOut)),
        1 => Just(Err(SandboxFault::Cancelled)),
    ]
}

fn ended() -> Ended {
    Ended {
        ran: Ran {
            exit: Exit::Code(0),
            stdout: Clip {
                text: "done".into(),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms: 3,
            pictures: Vec::new(),
        },
        note: Some("somehow".into()),
    }
}

fn poke() -> impl Strategy<Value = Poke> {
    let words = prop_oneof![
        "[a-z ]{1,12}",
        Just("! ls".to_string()),
        Just("/stop".into()),
        Just("/new".into()),
        Just("/status".into()),
        Just("/help".into()),
        Just(" ".into()),
        Just("x".repeat(100_001)),
    ];
    let say = (0..4u8, 0..30u8, prop::bool::weighted(0.9), words);
    prop_oneof![
        6 => say.prop_map(|(origin, key, owner, text)| Poke::Say(origin, key, owner, text)),
        12 => (any::<u8>(), prop_oneof![9 => Just(0i8), 1 => -1..2i8], outcome())
            .prop_map(|(nth, off, outcome)| Poke::Finish(nth, off, outcome)),
        1 => (any::<u64>(), any::<u16>(), outcome())
            .prop_map(|(seq, slot, outcome)| Poke::Nonsense(seq, slot, outcome)),
        1 => any::<u8>().prop_map(Poke::Progress),
        6 => prop::bool::weighted(0.9).prop_map(Poke::Tick),
        2 => (any::<u8>(), decision(), prop::bool::weighted(0.8))
            .prop_map(|(nth, decision, owner)| Poke::Decide(nth, decision, owner)),
        1 => (0..4u8).prop_map(Poke::Stop),
        1 => (0..4u8, 0..30u8).prop_map(|(origin, key)| Poke::Cancel(origin, key)),
        1 => any::<u64>().prop_map(Poke::Wall),
        1 => (0..3_000_000_000_000u64).prop_map(Poke::Wall),
        1 => (0..4u8).prop_map(Poke::Present),
        1 => (0..4u8, 0..6u8).prop_map(|(from, to)| Poke::Move(from, to)),
        2 => (0..5u8).prop_map(Poke::Report),
        1 => Just(Poke::Boot),
    ]
}

fn decision() -> impl Strategy<Value = Decision> {
    const ALL: &[Decision] = &[Decision::Allow, Decision::AllowSession, Decision::Deny];
    prop::sample::select(ALL)
}

const ORIGINS: [&str; 4] = ["cli:a", "cli:b", "short:c", ""];

/// What is known from outside, to choose ids from.
#[derive(Default)]
struct Known {
    effects: Vec<(EffectId, Attempt, Op)>,
    questions: Vec<ApprovalId>,
}

impl Known {
    fn input(&self, poke: Poke, deadline: Option<(Time, Timer)>) -> Input {
        let nonsense = EffectId {
            seq: Seq(9_999),
            slot: 9,
        };
        let from_end = |nth: u8| self.effects.iter().rev().nth(usize::from(nth) % 4);
        let who = |owner: bool| if owner { OWNER } else { "cli:eve" }.to_string();
        match poke {
            Poke::Say(origin, key, owner, text) => Input::Arrive(Arrival {
                origin: ORIGINS[usize::from(origin)].into(),
                key: format!("k{key}"),
                peer: who(owner),
                session: (key % 5 == 0).then(|| "work".into()),
                text,
                serial: (origin == 1).then_some(key.into()),
            }),
            Poke::Finish(nth, off, outcome) => {
                let first = (nonsense, Attempt::FIRST, None);
                let found = from_end(nth).map(|(id, attempt, op)| (*id, *attempt, Some(op)));
                let (effect, attempt, op) = found.unwrap_or(first);
                let attempt = Attempt(attempt.0.saturating_add_signed(off.into()));
                let outcome = match op {
                    Some(op) if off == 0 => fit(op, outcome),
                    _ => outcome,
                };
                Input::Finish {
                    effect,
                    attempt,
                    outcome,
                }
            }
            Poke::Nonsense(seq, slot, outcome) => Input::Finish {
                effect: EffectId {
                    seq: Seq(seq),
                    slot,
                },
                attempt: Attempt(slot),
                outcome,
            },
            Poke::Progress(nth) => Input::Progress {
                effect: from_end(nth).map_or(nonsense, |(id, _, _)| *id),
                chunk: Chunk::Output("…".into()),
            },
            Poke::Tick(next) => {
                let other = Timer::Retry(nonsense);
                let next = deadline.filter(|_| next);
                Input::Tick(next.map_or(other, |(_, timer)| timer))
            }
            Poke::Decide(nth, decision, owner) => {
                let question = self.questions.iter().rev().nth(usize::from(nth) % 3);
                let none = ApprovalId {
                    seq: Seq(77),
                    slot: 7,
                };
                Input::Order(Order::Decide {
                    approval: *question.unwrap_or(&none),
                    decision,
                    by: who(owner),
                })
            }
            Poke::Stop(origin) => Input::Order(Order::Stop {
                session: ORIGINS[usize::from(origin)].into(),
                by: who(true),
            }),
            Poke::Cancel(origin, key) => Input::Order(Order::Cancel {
                origin: ORIGINS[usize::from(origin)].into(),
                key: format!("k{key}"),
                by: who(true),
            }),
            Poke::Wall(unix_ms) => Input::Wall { unix_ms },
            Poke::Move(from, to) => {
                let origin = |n: u8| match ORIGINS.get(usize::from(n)) {
                    Some(origin) => origin.to_string(),
                    None => format!("cli:new-{n}"),
                };
                Input::Move {
                    from: origin(from),
                    to: origin(to),
                }
            }
            Poke::Present(origin) => Input::Present {
                origin: ORIGINS[usize::from(origin)].into(),
            },
            Poke::Report(n) => Input::Report {
                token: Digest([n; 32]),
                ended: ended(),
            },
            Poke::Boot => boot(),
        }
    }

    fn learn(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Intended(effect) => {
                    let known = (effect.id, effect.attempt, effect.op.clone());
                    self.effects.push(known);
                }
                Record::Sought(sought) => self.questions.push(sought.approval),
                _ => {}
            }
        }
    }
}

/// Mostly the outcome has to be of its effect's kind, or nothing would ever happen.
fn fit(op: &Op, outcome: Outcome) -> Outcome {
    match (op, outcome) {
        (Op::Deliver(_), Outcome::Model(_) | Outcome::Cancel(_)) => Outcome::Deliver(Ok(Delivered)),
        (Op::Model(_), Outcome::Deliver(_)) => Outcome::Model(Ok(Reply {
            text: "hello".into(),
            ..Reply::default()
        })),
        (Op::Sandbox(used), Outcome::Tool(_) | Outcome::Model(_)) => {
            Outcome::Sandbox(Ok(match used.action {
                Action::Create(_) => Done::Created { token: None },
                Action::Run(_) | Action::Resume(_) => Done::Ended(ended()),
                Action::Destroy => Done::Destroyed,
            }))
        }
        (_, outcome) => outcome,
    }
}

fn boot() -> Input {
    let mut settings = base_settings();
    settings.limits.queued_messages = 3;
    settings.limits.reply_bytes = 20_000;
    settings.limits.sandboxes = 3;
    settings.limits.deliver_attempts = 4;
    settings.limits.queued_deliveries = 6;
    settings.limits.context_bytes = 400_000;
    Input::Boot(Box::new(Boot {
        settings,
        unix_ms: u64::MAX,
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn laws_7_8_17_and_18_hold_under_any_inputs(
        pokes in prop::collection::vec((poke(), 0..3u8, 0..100_000u64), 1..120),
        booted in prop::bool::weighted(0.95),
    ) {
        let mut core = Core::new();
        let mut known = Known::default();
        let mut lines: Vec<Line> = Vec::new();
        let mut now = Time::ZERO;
        let first = booted.then_some((Poke::Boot, 0, 0));
        for (poke, clock, ms) in first.into_iter().chain(pokes) {
            let deadline = core.deadline();
            now = match (clock, deadline) {
                (0, _) => now,
                // Jump to what is due, as a driver does; or let the clock run backwards.
                (1, Some((due, _))) => due.max(now),
                (1, None) => now.after_ms(ms),
                _ => Time::from_ms(now.as_ms().saturating_sub(ms)),
            };
            let input = known.input(poke, deadline);
            let ticked = match input {
                Input::Tick(timer) => Some((timer, core.snapshot())),
                _ => None,
            };
            let step = core.step(now, input.clone());
            prop_assert!(step.at >= now);
            if let Some((timer, before)) = ticked {
                let due = deadline.is_some_and(|(due, next)| due <= step.at && next == timer);
                prop_assert_eq!(due, !step.records.is_empty(), "{:?}", deadline);
                prop_assert!(due || core.snapshot() == before, "an early tick changed something");
                prop_assert!(!due || core.deadline() != deadline, "{:?} stays", deadline);
            }
            known.learn(&step.records);
            if !step.records.is_empty() {
                let (seq, at, session) = (step.seq, step.at, step.session);
                lines.push(Line { seq, at, session, input, records: step.records });
            }
        }
        let folded = Core::restore(None, lines.iter().map(past));
        prop_assert_eq!(folded.expect("a journal restores").snapshot(), core.snapshot());
        let mut replay = Replay::new();
        for line in &lines {
            prop_assert_eq!(replay.follow(line), Ok(()));
        }
        prop_assert_eq!(replay.core().snapshot(), core.snapshot());
        // Whatever happened, a start heals it within bounds.
        let _ = core.step(now, boot());
        let mut ticks = 0;
        while let Some((due, timer)) = core.deadline() {
            let step = core.step(due, Input::Tick(timer));
            prop_assert!(!step.records.is_empty());
            ticks += 1;
            prop_assert!(ticks < 50_000, "never quiet");
        }
    }
}
