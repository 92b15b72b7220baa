//! Nobody is there to be shown anything: what waits is neither given up nor in anybody's way, and
//! whoever comes is shown it.

use openpista_core::Core;
use openpista_core::effect::deliver::{Body, Deliver, DeliverFault, Delivered};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::gate::{Gate, Opened, Receipt};
use openpista_core::input::{Arrival, Boot, Input};
use openpista_core::record::Record;
use openpista_core::settings::Settings;
use openpista_core::time::Time;

struct Bench {
    core: Core,
    gate: Gate,
    now: Time,
    /// What is on its way to people.
    deliveries: Vec<(Effect, Deliver)>,
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            core: Core::new(),
            gate: Gate::new(),
            now: Time::ZERO,
            deliveries: Vec::new(),
        };
        bench.boot();
        bench
    }

    fn boot(&mut self) {
        let mut settings = Settings {
            owners: ["cli:ann".to_string()].into(),
            ..Settings::default()
        };
        settings.limits.deliver_attempts = 2;
        self.deliveries.clear();
        self.step(Input::Boot(Box::new(Boot {
            settings,
            unix_ms: 1_700_000_000_000,
        })));
    }

    fn step(&mut self, input: Input) -> Vec<Record> {
        let step = self.core.step(self.now, input);
        let (records, through) = (step.records.clone(), step.seq);
        self.gate.hold(step);
        for opened in self.gate.open(Receipt::durable_through(through)) {
            if let Opened::Effect(cleared) = opened
                && let (effect, _) = cleared.into_parts()
                && let Op::Deliver(delivery) = effect.op.clone()
            {
                self.deliveries.push((effect, delivery));
            }
        }
        records
    }

    /// A command, which the daemon answers itself, in one session for all.
    fn say(&mut self, origin: &str, key: &str, text: &str) {
        self.step(Input::Arrive(Arrival {
            origin: origin.into(),
            key: key.into(),
            peer: "cli:ann".into(),
            session: Some("work".into()),
            text: text.into(),
            serial: None,
        }));
    }

    /// The oldest delivery over a channel comes to this.
    fn finish(&mut self, origin: &str, result: Result<Delivered, DeliverFault>) -> Deliver {
        let mut deliveries = self.deliveries.iter();
        let found = deliveries.position(|(_, delivery)| delivery.origin == origin);
        let (effect, delivery) = self
            .deliveries
            .remove(found.expect("something is on its way"));
        self.step(Input::Finish {
            effect: effect.id,
            attempt: effect.attempt,
            outcome: Outcome::Deliver(result),
        });
        delivery
    }

    fn present(&mut self, origin: &str) -> Vec<Record> {
        let origin = origin.into();
        self.step(Input::Present { origin })
    }

    fn wait(&mut self) -> u64 {
        let before = self.now;
        let (due, timer) = self.core.deadline().expect("something is waited for");
        self.now = due;
        self.step(Input::Tick(timer));
        due.since_ms(before)
    }

    fn on_their_way(&self) -> Vec<&str> {
        let origins = self.deliveries.iter().map(|(_, d)| d.origin.as_str());
        origins.collect()
    }
}

#[test]
fn whoever_is_not_there_is_waited_for_without_end() {
    let mut bench = Bench::new();
    bench.say("cli:a", "k1", "/help");
    let mut waits = Vec::new();
    for _ in 0..30 {
        bench.finish("cli:a", Err(DeliverFault::Absent));
        waits.push(bench.wait());
    }
    let hour = 3_600_000;
    assert!(waits[0] <= 500 && waits[1] > waits[0], "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= hour), "{waits:?}");
    assert!(waits[29] > hour / 2, "{waits:?}");
    // What fails otherwise has its tries all the same.
    let down = || DeliverFault::Unreachable {
        message: "down".into(),
    };
    bench.finish("cli:a", Err(down()));
    bench.wait();
    let shown = bench.finish("cli:a", Err(down()));
    assert!(shown.repeated, "it may have been seen when it was down");
    assert_eq!(bench.core.deadline(), None, "its tries are used up");
}

#[test]
fn whoever_comes_is_shown_at_once_what_waits_and_nothing_else_is_held_up() {
    let mut bench = Bench::new();
    bench.say("cli:a", "k1", "/help");
    bench.say("cli:a", "k2", "/status");
    bench.finish("cli:a", Err(DeliverFault::Absent));
    bench.say("tg:1", "k3", "/help");
    assert_eq!(
        bench.on_their_way(),
        ["tg:1"],
        "nobody waits for the absent"
    );
    bench.finish("tg:1", Ok(Delivered));
    assert_eq!(bench.present("tg:1"), []);
    assert_eq!(bench.on_their_way(), Vec::<&str>::new());

    assert!(!bench.present("cli:a").is_empty());
    assert_eq!(bench.present("cli:a"), [], "it is on its way");
    let first = bench.finish("cli:a", Ok(Delivered));
    assert!(!first.repeated, "where nobody was nobody has seen it");
    assert!(matches!(first.body, Body::Notice(text) if text.contains("/stop")));
    let second = bench.finish("cli:a", Ok(Delivered));
    assert!(matches!(second.body, Body::Notice(text) if text.contains("idle")));
    assert_eq!(bench.core.deadline(), None);
}

#[test]
fn a_start_looks_again() {
    let mut bench = Bench::new();
    bench.say("cli:a", "k1", "/help");
    for _ in 0..20 {
        bench.finish("cli:a", Err(DeliverFault::Absent));
        bench.wait();
    }
    bench.finish("cli:a", Err(DeliverFault::Absent));
    bench.boot();
    assert_eq!(bench.wait(), 0);
    assert!(!bench.finish("cli:a", Ok(Delivered)).repeated);
}
