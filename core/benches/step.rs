//! How long one step takes, and how long a recovery: `cargo bench -p openpista-core`.
//!
//! Prints a table. Thresholds are written in `BENCHMARKS.md`, not checked here: a busy machine is
//! no failure.

use openpista_core::Core;
use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::model::Reply;
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::input::{Arrival, Boot, Input};
use openpista_core::message::{ToolCall, ToolSpec};
use openpista_core::recover::Past;
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_core::time::Time;
use std::time::{Duration, Instant};

/// A shell whose world answers at once.
struct Bench {
    core: Core,
    gate: Gate,
    keys: u64,
    taken: Vec<Duration>,
    past: Vec<Past>,
    keep: bool,
}

impl Bench {
    fn new(mode: Mode) -> Bench {
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            keys: 0,
            taken: Vec::new(),
            past: Vec::new(),
            keep: false,
        };
        bench.run(Input::Boot(Box::new(Boot {
            settings: settings(mode),
            unix_ms: 0,
        })));
        bench
    }

    /// One input, and whatever follows from it.
    fn run(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let began = Instant::now();
            let step = self.core.step(Time::ZERO, input);
            self.taken.push(began.elapsed());
            if self.keep {
                self.past.push(Past {
                    seq: step.seq,
                    at: step.at,
                    records: step.records.clone(),
                });
            }
            let receipt = Receipt::durable_through(step.seq);
            self.gate.hold(step);
            for opened in self.gate.open(receipt) {
                if let Opened::Effect(cleared) = opened {
                    let (effect, prompt) = cleared.into_parts();
                    let last = prompt.and_then(|p| p.messages.last().map(|m| m.message.clone()));
                    inputs.push(Input::Finish {
                        effect: effect.id,
                        attempt: effect.attempt,
                        outcome: outcome(&effect.op, last),
                    });
                }
            }
        }
    }

    fn say(&mut self, session: &str, text: &str) {
        self.keys += 1;
        self.run(Input::Arrive(Arrival {
            origin: format!("cli:{session}"),
            key: self.keys.to_string(),
            peer: "cli:local".into(),
            session: None,
            text: text.into(),
            serial: None,
        }));
    }

    fn measure(&mut self, name: &str, work: impl FnOnce(&mut Bench)) {
        self.taken.clear();
        work(self);
        report(name, std::mem::take(&mut self.taken));
    }
}

/// Prints what the steps took, and returns their median.
fn report(name: &str, mut taken: Vec<Duration>) -> Duration {
    taken.sort_unstable();
    let total: Duration = taken.iter().sum();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<44} {:>8} {:>9.2} {:>9.2} {:>12.0}",
        taken.len(),
        micros(at(0.5)),
        micros(at(0.99)),
        taken.len() as f64 / total.as_secs_f64(),
    );
    at(0.5)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn settings(mode: Mode) -> Settings {
    Settings {
        provider: "bench".into(),
        model: "m".into(),
        system: "You are an agent. ".repeat(40).into(),
        tools: [ToolSpec {
            name: "system.run".into(),
            description: "runs a command".into(),
            parameters: r#"{"type":"object"}"#.into(),
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
        ..Settings::default()
    }
}

/// What the world answers: a message that starts with `!` gets a tool call first.
fn outcome(op: &Op, last: Option<openpista_core::message::Message>) -> Outcome {
    use openpista_core::message::Message;
    match op {
        Op::Model(_) => {
            let wants = matches!(&last, Some(Message::User { text }) if text.starts_with('!'));
            let call = ToolCall {
                id: "call_0".into(),
                tool: "system.run".into(),
                arguments: r#"{"command":"uname -a"}"#.into(),
            };
            Outcome::Model(Ok(Reply {
                text: "All of it is done, and here is what I found. ".repeat(4),
                calls: if wants { vec![call] } else { Vec::new() },
                ..Reply::default()
            }))
        }
        Op::Tool(_) => Outcome::Tool(Ok(Ran {
            exit: Exit::Code(0),
            stdout: Clip {
                text: "Linux host 6.1.0 x86_64 GNU/Linux\n".repeat(4),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms: 3,
            pictures: Vec::new(),
        })),
        Op::Deliver(_) => Outcome::Deliver(Ok(Delivered)),
        Op::Sandbox(_) | Op::Cancel(_) => unreachable!("only words and tools are used here"),
    }
}

fn main() {
    println!(
        "{:<44} {:>8} {:>9} {:>9} {:>12}",
        "step", "steps", "p50 µs", "p99 µs", "steps/s"
    );
    let mut bench = Bench::new(Mode::Full);
    bench.say("warm", "hello");
    bench.measure("text turns, 1 session", |b| {
        (0..20_000).for_each(|_| b.say("one", "what do you think of this?"));
    });
    bench.measure("tool turns, 1 session", |b| {
        (0..10_000).for_each(|_| b.say("one", "! uname -a"));
    });
    bench.measure("text turns, 1,000 sessions in turn", |b| {
        (0..20_000).for_each(|i| b.say(&format!("s{}", i % 1_000), "what of this?"));
    });

    let (short, long) = short_and_long();
    let short = report("text turns, session of 100 messages", short);
    let long = report("text turns, session of 100,000 messages", long);
    println!(
        "100,000 messages against 100: {:.2} ×",
        long.as_secs_f64() / short.as_secs_f64()
    );
    restore();
}

/// What is measured in a session with a long past and in short ones, by turns, so that whatever
/// else the machine does meets both alike.
fn short_and_long() -> (Vec<Duration>, Vec<Duration>) {
    let turn = |bench: &mut Bench| bench.say("one", "what do you think of this?");
    let mut long = Bench::new(Mode::Full);
    (0..50_000).for_each(|_| turn(&mut long));
    long.taken.clear();
    let mut all_short = Vec::new();
    for _ in 0..40 {
        let mut short = Bench::new(Mode::Full);
        (0..50).for_each(|_| turn(&mut short));
        short.taken.clear();
        (0..50).for_each(|_| {
            turn(&mut short);
            turn(&mut long);
        });
        all_short.append(&mut short.taken);
    }
    (all_short, long.taken)
}

/// Folding a tail, and reading a snapshot.
fn restore() {
    let mut bench = Bench::new(Mode::Full);
    bench.keep = true;
    (0..30_000).for_each(|i| bench.say(&format!("s{}", i % 100), "! uname -a"));
    let records: usize = bench.past.iter().map(|p| p.records.len()).sum();
    let past = std::mem::take(&mut bench.past);
    let began = Instant::now();
    let core = Core::restore(None, past).expect("restores");
    let fold = began.elapsed();
    let bytes = core.snapshot();
    let began = Instant::now();
    Core::restore(Some(&bytes), []).expect("restores");
    println!(
        "fold: {records} records in {:.0} ms; snapshot of 100 sessions: {} KiB, read in {:.1} ms",
        fold.as_secs_f64() * 1e3,
        bytes.len() / 1024,
        began.elapsed().as_secs_f64() * 1e3
    );
}
