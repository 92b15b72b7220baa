//! The exhaustive mode: one scripted conversation, crashed at every cut of every step.
//!
//! The script has two sessions and a third that both channels share, a channel that numbers its
//! messages, a person who is away for a while, a guest who becomes the owner, a conversation that
//! goes on elsewhere, a job, a clock that is set, tools of either class, pictures, a container, a
//! worker that reports from one, a guest in WebAssembly, an approval, a denial, a yes for a session, a
//! cancel, a scheduled retry, a queue that overflows, a stranger, and a model that answers 429, 500,
//! nonsense and nothing. Each crash is healed, and every law is checked.

use crate::fault::{CUTS, Cut, DeliverTrouble, Fault, ModelTrouble, SandboxTrouble};
use crate::law::{self, Broken};
use crate::plan::{CANARY, GUEST, Item, OWNER, Plan, Rules, STRANGER, base_settings, job};
use crate::story::Story;
use crate::world;
use openpista_core::input::{Arrival, Decision, Order};
use openpista_core::settings::Missed;

/// The scripted conversation, without a crash.
pub fn script() -> Plan {
    let mut settings = base_settings();
    settings.limits.queued_messages = 2;
    let news = job("news", "14 * * * *", "tg:1", "c1. plan read", Missed::Once);
    settings.schedule = vec![news];
    let mut items = vec![
        say(0, "cli:a", None, "k1", "m1. plan run,read"),
        say(10, "cli:b", None, "k2", "m2. plan write"),
        say(15_000, "cli:a", None, "k3", "m3. say"),
        say(30_000, "cli:b", None, "k4", "m4. plan run;read"),
        say(45_000, "cli:a", Some("work"), "k5", "m5. plan write,write"),
        say(45_010, "cli:b", Some("work"), "k6", "m6. say"),
        say(45_020, "cli:b", Some("work"), "k7", "m7. say"),
        say(45_030, "cli:b", Some("work"), "k8", "m8. say"),
        say(70_000, "cli:a", None, "k9", "m9. plan run"),
        say(76_500, "cli:b", None, "k10", "m10. plan run"),
        say(77_000, "cli:b", None, "k11", "/stop"),
        say(152_000, "cli:b", None, "k16", "m25. plan box,work,skill"),
        say(140_000, "cli:a", None, "k17", "m26. plan look,look"),
        say(90_000, "short:c", None, "k12", "m12. say"),
        say(90_000, "cli:a", None, "k13", "/status"),
        Item::Order {
            at_ms: 72_000,
            order: Order::Stop {
                session: "cli:a".into(),
                by: OWNER.into(),
            },
        },
        answer(1, 1_000, Decision::Allow),
        answer(2, 900, Decision::Deny),
        stranger(80_000),
    ];
    items.extend(channels());
    items.extend(away());
    items.extend(other_owner());
    items.extend(elsewhere());
    items.extend(faults().map(Item::Fault));
    Plan {
        rules: Rules {
            seed: 7,
            batch: 1,
            snapshot_every: 16,
            look_every: 12,
            passing_every: 0,
            heal_ms: 200_000,
            settings,
        },
        items,
    }
}

/// Two people are away while they are answered, one in a session with somebody who is there. One
/// of them goes and comes while a delivery finds nobody.
fn away() -> [Item; 3] {
    let away = |origin: &str, from_ms, for_ms| Item::Away {
        origin: origin.into(),
        from_ms,
        for_ms,
    };
    [
        away("cli:a", 45_100, 9_000),
        away("short:c", 89_000, 1_700),
        away("short:c", 90_800, 30_000),
    ]
}

/// The operator names somebody else in the configuration, which the next start reads, if there is
/// one. The first owner goes on as if nothing had happened: answers, writes, stops and lets in.
fn other_owner() -> [Item; 8] {
    let order = |at_ms, order| Item::Order { at_ms, order };
    let mut of_the_next = say(187_000, "tg:2", None, "k21", "m29. say");
    if let Item::Send { arrival, .. } = &mut of_the_next {
        arrival.peer = GUEST.into();
    }
    [
        say(147_000, "cli:a", None, "k18", "m27. plan write"),
        answer(5, 37_000, Decision::Allow),
        Item::Owners {
            at_ms: 150_000,
            owners: [GUEST.to_string()].into(),
        },
        say(180_000, "tg:2", None, "k19", "m28. say"),
        order(
            181_000,
            Order::Stop {
                session: "cli:a".into(),
                by: OWNER.into(),
            },
        ),
        order(
            182_000,
            Order::Admit {
                peer: "cli:hal".into(),
                by: OWNER.into(),
            },
        ),
        say(183_000, "cli:a", None, "k20", "/stop"),
        of_the_next,
    ]
}

/// A conversation goes on elsewhere, and then where it was.
fn elsewhere() -> [Item; 3] {
    [
        Item::Move {
            at_ms: 142_000,
            from: "cli:b".into(),
            to: "cli:bb".into(),
        },
        say(143_000, "cli:bb", None, "k22", "m30. say"),
        say(144_500, "cli:b", None, "k23", "m31. say"),
    ]
}

/// What goes wrong in it.
fn faults() -> [Fault; 11] {
    [
        Fault::Model {
            nth: 3,
            how: ModelTrouble::RateLimited,
        },
        Fault::Model {
            nth: 6,
            how: ModelTrouble::Server,
        },
        Fault::Model {
            nth: 7,
            how: ModelTrouble::Garbled,
        },
        Fault::Model {
            nth: 9,
            how: ModelTrouble::Empty,
        },
        Fault::Deliver {
            nth: 2,
            how: DeliverTrouble::ShownUnreachable,
        },
        Fault::Deliver {
            nth: 4,
            how: DeliverTrouble::Unformatted,
        },
        Fault::Resend { nth: 3 },
        Fault::Again { nth: 4 },
        Fault::LoseAck { nth: 1 },
        Fault::Tick { step: 12 },
        Fault::Sandbox {
            nth: 8,
            how: SandboxTrouble::Stuck,
        },
    ]
}

/// What comes over a channel that numbers its messages, out of order and again; a guest who comes
/// and goes; a yes for the session; and a clock that is set.
fn channels() -> Vec<Item> {
    let numbered = |at_ms, serial: u64, peer: &str, text: &str| {
        let mut item = say(at_ms, "tg:1", None, &format!("t{serial}"), text);
        if let Item::Send { arrival, .. } = &mut item {
            arrival.serial = Some(serial);
            arrival.peer = peer.into();
        }
        item
    };
    let order = |at_ms, order| Item::Order { at_ms, order };
    let clock = |at_ms, by_ms| Item::Clock { at_ms, by_ms };
    vec![
        say(60_000, "cli:b", None, "k14", "/allow cli:gus"),
        order(
            70_300,
            Order::Stop {
                session: "cli:a".into(),
                by: GUEST.into(),
            },
        ),
        numbered(100_000, 3, OWNER, "m20. plan same"),
        answer(4, 800, Decision::AllowSession),
        numbered(115_000, 2, OWNER, "m21. plan same"),
        Item::Again {
            at_ms: 118_000,
            origin: "tg:1".into(),
            key: "t3".into(),
        },
        numbered(126_000, 4, GUEST, "m22. say"),
        numbered(126_010, 5, GUEST, "m23. say"),
        order(
            126_020,
            Order::Cancel {
                origin: "tg:1".into(),
                key: "t5".into(),
                by: GUEST.into(),
            },
        ),
        say(133_000, "cli:b", None, "k15", "/forbid cli:gus"),
        numbered(134_000, 6, GUEST, "m24. say"),
        clock(135_000, -3_600_000),
        clock(136_000, 3_600_000),
        clock(137_000, 3_505_000),
    ]
}

fn say(at_ms: u64, origin: &str, session: Option<&str>, key: &str, text: &str) -> Item {
    Item::Send {
        at_ms,
        arrival: Arrival {
            origin: origin.into(),
            key: key.into(),
            peer: OWNER.into(),
            session: session.map(Into::into),
            text: text.into(),
            serial: None,
        },
    }
}

fn answer(nth: u64, after_ms: u64, decision: Decision) -> Item {
    Item::Answer {
        nth,
        after_ms,
        decision,
        by: OWNER.into(),
    }
}

fn stranger(at_ms: u64) -> Item {
    Item::Send {
        at_ms,
        arrival: Arrival {
            origin: "cli:b".into(),
            key: "k99".into(),
            peer: STRANGER.into(),
            session: None,
            text: format!("m99. {CANARY}"),
            serial: None,
        },
    }
}

/// The plan with crashes put in.
pub fn crashed(plan: &Plan, crashes: &[(u64, Cut)]) -> Plan {
    let mut plan = plan.clone();
    let crashes = crashes
        .iter()
        .map(|&(step, cut)| Fault::Crash { step, cut });
    plan.items.extend(crashes.map(Item::Fault));
    plan
}

/// Every way in which the script is crashed: at every cut of every step, and once more in the
/// start and recovery that follow a crash after the commit.
pub fn crashes(plan: &Plan) -> Vec<Vec<(u64, Cut)>> {
    let steps = world::run(plan).journaled();
    let mut all = Vec::new();
    for step in 1..=steps {
        all.extend(CUTS.map(|cut| vec![(step, cut)]));
        let first = (step, Cut::MidRun);
        all.push(vec![first, (step + 1, Cut::BeforeCommit)]);
        all.push(vec![first, (step + 1, Cut::AfterCommit)]);
        all.push(vec![first, (step + 2, Cut::BeforeReport)]);
    }
    all
}

/// A crash after which a law does not hold.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub story: Story,
    /// What does not hold.
    pub broken: Vec<Broken>,
}

/// Runs a plan with every set of crashes, on two threads. Returns the first failure.
pub fn run(plan: &Plan, crashes: &[Vec<(u64, Cut)>]) -> Option<Failure> {
    let (left, right) = crashes.split_at(crashes.len() / 2);
    let each = |half: &[Vec<(u64, Cut)>]| half.iter().find_map(|set| one(&crashed(plan, set)));
    std::thread::scope(|scope| {
        let left = scope.spawn(|| each(left));
        let right = each(right);
        left.join().ok().flatten().or(right)
    })
}

fn one(plan: &Plan) -> Option<Failure> {
    let story = world::run(plan);
    let broken = law::check(&story);
    (!broken.is_empty()).then_some(Failure { story, broken })
}
