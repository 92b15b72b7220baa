//! What an operator watches: counts and times of what happens, and depths of the moment.
//!
//! Everything here is counted where it happens and decides nothing. Labels are names of our own
//! vocabulary, so their number is bounded: no session, no person, no path, and nothing that
//! somebody wrote. Names and units follow the conventions of Prometheus, whose text format
//! [`serve`] gives to whoever asks over HTTP.

mod serve;
mod vocabulary;

pub use self::serve::{METRICS_PATH, serve};

use self::vocabulary::{channel, delivery_end, model_code, sandbox_end, tool_end, turn_end};
use openpista_core::depth::{Depths, Stage};
use openpista_core::effect::sandbox::Engine;
use openpista_core::effect::{Op, Outcome};
use openpista_core::record::Record;
use openpista_core::replay::Line;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Upper ends of buckets, in seconds, for what asks a disk.
const DISK: [f64; 10] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0,
];
/// For what asks a model, a program or a person's screen.
const WORK: [f64; 11] = [
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0,
];

/// The measures. A clone measures the same.
#[derive(Clone)]
pub struct Metrics(Arc<Measures>);

struct Measures {
    registry: Registry,
    /// The tools that have a name of their own here.
    tools: BTreeSet<String>,
    provider: String,
    steps: IntCounter,
    messages: IntCounterVec,
    turns: IntCounterVec,
    in_doubt: IntCounter,
    commits: Histogram,
    syncs: Histogram,
    polls: IntCounterVec,
    effects: Effects,
    gauges: Gauges,
}

/// Of what is done in the world.
struct Effects {
    model_calls: HistogramVec,
    tokens: IntCounterVec,
    tool_calls: HistogramVec,
    sandbox_uses: HistogramVec,
    deliveries: IntCounterVec,
}

/// Of the moment.
struct Gauges {
    inputs: IntGauge,
    queues: IntGaugeVec,
    sessions: IntGauge,
    sandboxes: IntGaugeVec,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new("none", BTreeSet::new())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing has happened yet. `tools` are those that are told apart: every other is a skill's.
    pub fn new(provider: &str, tools: BTreeSet<String>) -> Metrics {
        let make = Maker(Registry::new());
        let build = make.gauges(
            "openpista_build_info",
            "What runs: always 1, the labels say it.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Metrics(Arc::new(Measures {
            tools,
            provider: provider.to_owned(),
            steps: make.counter(
                "openpista_steps_total",
                "Steps of the core that left records.",
            ),
            messages: make.counters(
                "openpista_messages_total",
                "Messages of people, by channel and by what became of them at the door.",
                &["channel", "result"],
            ),
            turns: make.counters("openpista_turns_total", "Turns by their end.", &["end"]),
            in_doubt: make.counter(
                "openpista_effects_in_doubt_total",
                "Effects that may or may not have happened before a crash.",
            ),
            commits: make.time(
                "openpista_journal_commit_duration_seconds",
                "From the decision until the journal has it on disk.",
            ),
            syncs: make.time(
                "openpista_journal_sync_duration_seconds",
                "The part of a commit that writes the log and waits for the disk.",
            ),
            polls: make.counters(
                "openpista_channel_polls_total",
                "Times a channel's server was asked for messages, by channel and result.",
                &["channel", "result"],
            ),
            effects: Effects::new(&make),
            gauges: Gauges::new(&make),
            registry: make.0,
        }))
    }

    /// Facts that are about to be durable.
    pub(crate) fn decided(&self, lines: &[Line]) {
        self.0.steps.inc_by(lines.len() as u64);
        for record in lines.iter().flat_map(|line| &line.records) {
            self.0.decided(record);
        }
    }

    /// A commit took so long, of which the disk took so long.
    pub(crate) fn committed(&self, took: Duration, sync: Duration) {
        self.0.commits.observe(took.as_secs_f64());
        self.0.syncs.observe(sync.as_secs_f64());
    }

    /// An effect was carried out, whatever came of it.
    pub(crate) fn performed(&self, kind: &Kind, outcome: &Outcome, took: Duration) {
        self.0.performed(kind, outcome, took.as_secs_f64());
    }

    /// A channel's server was asked for messages.
    pub(crate) fn polled(&self, channel: &str, result: &str) {
        self.0.polls.with_label_values(&[channel, result]).inc();
    }

    /// Everything, in the text format of Prometheus, with the depths of this moment.
    pub(crate) fn text(&self, moment: &Moment) -> String {
        self.0.set(moment);
        let mut text = Vec::new();
        // Only a metric without a name or a value fails, and each has both.
        let _ = TextEncoder::new().encode(&self.0.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

/// What is only known by looking.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Inputs and outcomes that wait for the loop.
    pub inputs: usize,
    /// What the core has.
    pub depths: Depths,
}

/// Of an effect, as much as is counted.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A model call.
    Model,
    /// A tool.
    Tool(String),
    /// A sandbox: its engine, what is done with it, and for which tool, if that runs.
    Sandbox(Engine, &'static str, Option<String>),
    /// A delivery over this channel.
    Deliver(&'static str),
    /// Nothing that is counted.
    Other,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Model => f.write_str("model call"),
            Kind::Tool(tool) => write!(f, "{tool}"),
            Kind::Sandbox(engine, action, _) => write!(f, "{} sandbox: {action}", engine.name()),
            Kind::Deliver(channel) => write!(f, "delivery over {channel}"),
            Kind::Other => f.write_str("cancelling"),
        }
    }
}

impl From<&Op> for Kind {
    fn from(op: &Op) -> Kind {
        match op {
            Op::Model(_) => Kind::Model,
            Op::Tool(run) => Kind::Tool(run.tool.clone()),
            Op::Sandbox(used) => {
                let task = used.task().filter(|_| used.runs());
                let tool = task.map(|task| task.tool.clone());
                Kind::Sandbox(used.engine, used.action.name(), tool)
            }
            Op::Deliver(delivery) => Kind::Deliver(channel(&delivery.origin)),
            Op::Cancel(_) => Kind::Other,
        }
    }
}

impl Effects {
    fn new(make: &Maker) -> Effects {
        Effects {
            model_calls: make.times(
                "openpista_model_call_duration_seconds",
                "Calls of the model, by provider and by the HTTP status or what came instead.",
                &["provider", "code"],
                &WORK,
            ),
            tokens: make.counters(
                "openpista_model_tokens_total",
                "Tokens as the provider counts them.",
                &["provider", "direction"],
            ),
            tool_calls: make.times(
                "openpista_tool_call_duration_seconds",
                "Calls of tools that run as programs or in sandboxes, by tool and end.",
                &["tool", "end"],
                &WORK,
            ),
            sandbox_uses: make.times(
                "openpista_sandbox_use_duration_seconds",
                "Making, using and removing sandboxes, by engine, action and end.",
                &["engine", "action", "end"],
                &WORK,
            ),
            deliveries: make.counters(
                "openpista_deliveries_total",
                "Tries to show something to a person, by channel and end.",
                &["channel", "end"],
            ),
        }
    }
}

impl Gauges {
    fn new(make: &Maker) -> Gauges {
        Gauges {
            inputs: make.gauge(
                "openpista_inputs_waiting",
                "What came in and was not looked at yet.",
            ),
            queues: make.gauges(
                "openpista_queue_depth",
                "How much waits or goes on, by what it is.",
                &["queue"],
            ),
            sessions: make.gauge("openpista_sessions", "Sessions that were ever opened."),
            sandboxes: make.gauges(
                "openpista_sandboxes",
                "Sandboxes that stand, by engine and state.",
                &["engine", "state"],
            ),
        }
    }
}

impl Measures {
    fn decided(&self, record: &Record) {
        match record {
            Record::Accepted(accepted) => self.message(&accepted.origin, "accepted"),
            Record::Refused { origin, .. } => self.message(origin, "refused"),
            Record::TurnEnded {
                turn: Some(_), end, ..
            } => {
                self.turns.with_label_values(&[turn_end(end)]).inc();
            }
            Record::Answered { reply, .. } => {
                let directions = [("in", reply.usage.prompt), ("out", reply.usage.completion)];
                for (direction, tokens) in directions {
                    let labels = [self.provider.as_str(), direction];
                    self.effects
                        .tokens
                        .with_label_values(&labels)
                        .inc_by(tokens);
                }
            }
            Record::Doubted { .. } => self.in_doubt.inc(),
            _ => {}
        }
    }

    fn message(&self, origin: &str, result: &str) {
        self.messages
            .with_label_values(&[channel(origin), result])
            .inc();
    }

    fn performed(&self, kind: &Kind, outcome: &Outcome, seconds: f64) {
        match (kind, outcome) {
            (Kind::Model, Outcome::Model(outcome)) => {
                let code = model_code(outcome);
                let labels = [self.provider.as_str(), &code];
                self.effects
                    .model_calls
                    .with_label_values(&labels)
                    .observe(seconds);
            }
            (Kind::Tool(tool), Outcome::Tool(outcome)) => {
                self.tool(tool, tool_end(outcome), seconds);
            }
            (Kind::Sandbox(engine, action, tool), Outcome::Sandbox(outcome)) => {
                let end = sandbox_end(outcome);
                let labels = [engine.name(), action, end];
                self.effects
                    .sandbox_uses
                    .with_label_values(&labels)
                    .observe(seconds);
                if let Some(tool) = tool {
                    self.tool(tool, end, seconds);
                }
            }
            (Kind::Deliver(channel), Outcome::Deliver(outcome)) => {
                let labels = [*channel, delivery_end(outcome)];
                self.effects.deliveries.with_label_values(&labels).inc();
            }
            _ => {}
        }
    }

    fn tool(&self, tool: &str, end: &str, seconds: f64) {
        let name = self.tools.get(tool).map_or("skill", String::as_str);
        self.effects
            .tool_calls
            .with_label_values(&[name, end])
            .observe(seconds);
    }

    fn set(&self, moment: &Moment) {
        let depths = &moment.depths;
        self.gauges.inputs.set(int(moment.inputs));
        self.gauges.sessions.set(int(depths.sessions));
        for (queue, depth) in [
            ("turns", depths.turns),
            ("messages", depths.messages),
            ("questions", depths.questions),
            ("effects", depths.effects),
            ("deliveries", depths.deliveries),
        ] {
            self.gauges
                .queues
                .with_label_values(&[queue])
                .set(int(depth));
        }
        for engine in Engine::ALL {
            for stage in Stage::ALL {
                let count = depths.sandboxes.get(&(engine, stage)).copied();
                let labels = [engine.name(), stage.name()];
                self.gauges
                    .sandboxes
                    .with_label_values(&labels)
                    .set(int(count.unwrap_or(0)));
            }
        }
    }
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Makes measures that the registry knows.
struct Maker(Registry);

impl Maker {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn time(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(DISK.into());
        self.register(Histogram::with_opts(opts))
    }

    fn times(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.into());
        self.register(HistogramVec::new(opts, labels))
    }

    /// Names and labels stand in this file, so it is a fault of ours when one is no name.
    fn register<M>(&self, made: prometheus::Result<M>) -> M
    where
        M: prometheus::core::Collector + Clone + 'static,
    {
        let measure = made.expect("a metric's name and labels are well-formed");
        let registered = self.0.register(Box::new(measure.clone()));
        registered.expect("a metric's name is used once");
        measure
    }
}
