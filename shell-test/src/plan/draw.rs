//! Drawing a plan: who writes what, when, over which channel, and what the operator chose.
//!
//! Half of the channels have free keys, as a client over QUIC makes them; `tg` numbers its messages
//! and hands them over late, again and out of order, as a bot's server does. One world in four has
//! numbered channels alone and remembers few keys.

use super::{CANARY, GUEST, Item, OWNER, STRANGER, base_settings, job};
use crate::seed::Rng;
use openpista_core::input::{Arrival, Decision, Order};
use openpista_core::settings::{JobSpec, Missed, Mode, Settings};
use std::collections::BTreeSet;

/// The keys that are remembered where few are.
const FEW_KEYS: usize = 10;
/// Until when people and clocks do things, in milliseconds.
const BUSY_MS: u64 = 1_400_000;
/// Jobs that may lead to a question are so far apart that it has expired before the next.
const SELDOM: &str = "15,35,55 * * * *";

const DECISIONS: &[Decision] = &[
    Decision::Allow,
    Decision::Allow,
    Decision::AllowSession,
    Decision::Deny,
];
const ORIGINS: &[&str] = &["cli:a", "cli:a", "cli:b", "short:c", "tg:1", "tg:2"];
const NUMBERED: &[&str] = &["tg:1", "tg:1", "tg:2"];

/// What people do, and what clocks do.
pub(super) fn people(rng: &mut Rng, settings: &Settings) -> Vec<Item> {
    let mut items = Vec::new();
    let mut at_ms = 0;
    for nth in 1..=rng.between(45, 60) {
        at_ms += *rng.pick(&[0, 5, 400, 3_000, 20_000, 40_000]);
        let item = send(at_ms, nth, rng, settings);
        items.extend(again(&item, rng, settings));
        items.extend(take_back(&item, rng));
        items.push(item);
    }
    for nth in 1..=30 {
        if rng.chance(70) {
            items.push(Item::Answer {
                nth,
                after_ms: *rng.pick(&[0, 500, 5_000, 90_000, 700_000]),
                decision: *rng.pick(DECISIONS),
                by: rng
                    .pick(&[OWNER, OWNER, OWNER, GUEST, STRANGER])
                    .to_string(),
            });
        }
    }
    for _ in 0..rng.below(4) {
        items.push(Item::Away {
            origin: origin(rng, settings).into(),
            from_ms: rng.below(BUSY_MS),
            for_ms: *rng.pick(&[0, 1_500, 60_000, 900_000]),
        });
    }
    for _ in 0..rng.below(5) {
        let order = order(rng, settings);
        let at_ms = rng.below(at_ms + 1);
        items.push(Item::Order { at_ms, order });
    }
    if !settings.schedule.is_empty() {
        for _ in 0..rng.below(4) {
            items.push(clock(rng));
        }
        if rng.chance(30) {
            let at_ms = rng.below(BUSY_MS);
            let schedule = schedule(rng, settings);
            items.push(Item::Reschedule { at_ms, schedule });
        }
    }
    items
}

/// One world in three comes to have other owners, or none, and most often the first one again.
pub(super) fn owners(rng: &mut Rng) -> Vec<Item> {
    const OWNERS: &[&[&str]] = &[&[GUEST], &[GUEST], &[OWNER, GUEST], &[]];
    if !rng.chance(33) {
        return Vec::new();
    }
    let named = |at_ms, owners: &[&str]| Item::Owners {
        at_ms,
        owners: owners.iter().map(ToString::to_string).collect(),
    };
    let from_ms = rng.below(BUSY_MS);
    let back_ms = from_ms + *rng.pick(&[60_000, 200_000, 400_000, BUSY_MS]);
    vec![
        named(from_ms, rng.pick::<&[&str]>(OWNERS)),
        named(back_ms, &[OWNER]),
    ]
}

/// In one world of three a conversation goes on elsewhere, and most of what is written there is
/// written after that.
pub(super) fn moves(rng: &mut Rng, items: &mut Vec<Item>) {
    if !rng.chance(33) {
        return;
    }
    let (from, to) = *rng.pick(&[("cli:b", "cli:bb"), ("tg:2", "tg:22"), ("cli:b", "cli:a")]);
    let moved_ms = rng.below(BUSY_MS);
    let written_ms = moved_ms + *rng.pick(&[0, 0, 10_000, 90_000]);
    let later = |item: &Item| match item {
        Item::Send { at_ms, arrival } if arrival.origin == from && *at_ms >= written_ms => {
            Some(arrival.key.clone())
        }
        _ => None,
    };
    let keys: BTreeSet<String> = items.iter().filter_map(later).collect();
    for item in items.iter_mut() {
        let (origin, key) = match item {
            Item::Send { arrival, .. } => (&mut arrival.origin, &arrival.key),
            Item::Again { origin, key, .. } => (origin, &*key),
            Item::Order {
                order: Order::Cancel { origin, key, .. },
                ..
            } => (origin, &*key),
            _ => continue,
        };
        if origin == from && keys.contains(key) {
            *origin = to.into();
        }
    }
    items.push(Item::Move {
        at_ms: moved_ms,
        from: from.into(),
        to: to.into(),
    });
}

fn clock(rng: &mut Rng) -> Item {
    let by_ms = *rng.pick(&[20_000, 300_000, 3_600_000, 86_400_000, 120 * 86_400_000]);
    let back = rng.chance(50);
    Item::Clock {
        at_ms: rng.below(BUSY_MS),
        by_ms: if back { -by_ms } else { by_ms },
    }
}

fn numbered_alone(settings: &Settings) -> bool {
    settings.limits.keys == FEW_KEYS
}

fn origin(rng: &mut Rng, settings: &Settings) -> &'static str {
    match numbered_alone(settings) {
        true => rng.pick::<&str>(NUMBERED),
        false => rng.pick::<&str>(ORIGINS),
    }
}

fn order(rng: &mut Rng, settings: &Settings) -> Order {
    let by = rng
        .pick(&[OWNER, OWNER, OWNER, GUEST, STRANGER])
        .to_string();
    match rng.below(6) {
        0 | 1 => Order::Stop {
            session: rng.pick(&["cli:a", "tg:1", "work", "nobody"]).to_string(),
            by,
        },
        2 | 3 => Order::Cancel {
            origin: origin(rng, settings).into(),
            key: format!("k{}", rng.between(1, 50)),
            by,
        },
        4 => Order::Admit {
            peer: GUEST.into(),
            by,
        },
        _ => Order::Expel {
            peer: GUEST.into(),
            by,
        },
    }
}

fn send(at_ms: u64, nth: u64, rng: &mut Rng, settings: &Settings) -> Item {
    let origin = origin(rng, settings);
    let numbered = origin.starts_with("tg");
    let session = rng.chance(25).then(|| "work".to_string());
    let peer = match rng.below(20) {
        0 => STRANGER,
        1 | 2 => GUEST,
        _ => OWNER,
    };
    let text = match peer {
        STRANGER => format!("m{nth}. {CANARY}"),
        _ => words(nth, rng, settings),
    };
    Item::Send {
        // What is numbered may come out of order.
        at_ms: at_ms + if numbered { rng.below(9_000) } else { 0 },
        arrival: Arrival {
            origin: origin.into(),
            key: format!("k{nth}"),
            peer: peer.into(),
            session,
            text,
            serial: numbered.then_some(nth),
        },
    }
}

/// A server that ignores what was acknowledged, or a client that comes back and asks again.
fn again(item: &Item, rng: &mut Rng, settings: &Settings) -> Option<Item> {
    let Item::Send { at_ms, arrival } = item else {
        return None;
    };
    let numbered = arrival.serial.is_some();
    let chance = if numbered { 30 } else { 10 };
    if !rng.chance(chance) || (numbered_alone(settings) && !numbered) {
        return None;
    }
    Some(Item::Again {
        at_ms: at_ms + *rng.pick(&[1, 2_000, 60_000, 900_000]),
        origin: arrival.origin.clone(),
        key: arrival.key.clone(),
    })
}

/// Somebody thinks better of it.
fn take_back(item: &Item, rng: &mut Rng) -> Option<Item> {
    let Item::Send { at_ms, arrival } = item else {
        return None;
    };
    rng.chance(4).then(|| Item::Order {
        at_ms: at_ms + *rng.pick(&[1, 900, 5_000]),
        order: Order::Cancel {
            origin: arrival.origin.clone(),
            key: arrival.key.clone(),
            by: arrival.peer.clone(),
        },
    })
}

/// What somebody writes: a marker, and what the pretended model is to do about it
/// (see [`crate::effect::model`]).
fn words(nth: u64, rng: &mut Rng, settings: &Settings) -> String {
    match rng.below(48) {
        0 => "/help".into(),
        1 => "/status".into(),
        2 => "/stop".into(),
        3 => "/new".into(),
        4 => format!("m{nth}. loop"),
        5 => format!("m{nth}. deep"),
        6 => format!("m{nth}. {}", "long ".repeat(40)),
        7 | 8 => format!("/allow {GUEST}"),
        9 => format!("/forbid {GUEST}"),
        10 => format!("m{nth}. plan run\n! m{nth}.0.0"),
        11 | 12 if !settings.schedule.is_empty() => plan_a_job(nth, rng, settings),
        13 | 14 => format!("m{nth}. plan jobs;unjob"),
        15..=24 => format!("m{nth}. say"),
        _ => {
            let rounds: Vec<String> = (0..rng.between(1, 3)).map(|_| round(rng)).collect();
            format!("m{nth}. plan {}", rounds.join(";"))
        }
    }
}

fn plan_a_job(nth: u64, rng: &mut Rng, settings: &Settings) -> String {
    let cron = cron(rng, settings);
    let text = job_words(&format!("j{nth}."), cron, rng).replace('\n', "\\n");
    let missed = rng.pick(&["skip", "once"]);
    format!(
        r#"m{nth}. do schedule.add {{"cron":"{cron}","missed":"{missed}","name":"j{nth}","text":"{text}"}}"#
    )
}

fn job_words(marker: &str, cron: &str, rng: &mut Rng) -> String {
    let plans = ["say", "say", "plan read", "/status"];
    let plan = match cron {
        SELDOM if rng.chance(50) => *rng.pick(&["plan same", "plan same,run\n! j.0.1"]),
        SELDOM => return format!("{marker} plan run\n! {marker}0.0"),
        _ => *rng.pick(&plans),
    };
    match plan.starts_with('/') {
        true => plan.into(),
        false => format!("{marker} {plan}"),
    }
}

fn cron(rng: &mut Rng, settings: &Settings) -> &'static str {
    match settings.policy.mode {
        Mode::Ask => SELDOM,
        _ => rng.pick::<&str>(&[SELDOM, "*/5 * * * *", "*/7 22,23 * * *"]),
    }
}

fn schedule(rng: &mut Rng, settings: &Settings) -> Vec<JobSpec> {
    let mut jobs = Vec::new();
    for nth in 1..=rng.between(1, 3) {
        let cron = cron(rng, settings);
        let missed = *rng.pick(&[Missed::Skip, Missed::Once]);
        let text = job_words(&format!("c{nth}."), cron, rng);
        let mut made = job(
            &format!("c{nth}"),
            cron,
            origin(rng, settings),
            &text,
            missed,
        );
        made.zone = rng
            .pick(&["UTC", "Europe/Berlin", "America/New_York"])
            .to_string();
        made.session = rng.chance(25).then(|| "work".to_string());
        if rng.chance(10) {
            made.peer = GUEST.into();
        }
        jobs.push(made);
    }
    jobs
}

fn round(rng: &mut Rng) -> String {
    const CALLS: &[&str] = &[
        "read",
        "look",
        "run",
        "run",
        "run",
        "write",
        "bad",
        "ghost",
        "wipe",
        "same",
        "same",
        "jobs",
        "jobs;unjob",
        "box",
        "box",
        "box",
        "work",
        "work",
        "code",
        "code",
        "jail",
        "skill",
    ];
    let calls: Vec<&str> = (0..rng.between(1, 3)).map(|_| *rng.pick(CALLS)).collect();
    calls.join(",")
}

/// The operator's choices, drawn.
pub(super) fn settings(rng: &mut Rng) -> Settings {
    let mut settings = base_settings();
    settings.policy.mode = *rng.pick(&[
        Mode::Full,
        Mode::Full,
        Mode::Full,
        Mode::Ask,
        Mode::ReadOnly,
    ]);
    settings.limits.queued_messages = *rng.pick(&[2, 8, 64]);
    settings.limits.model_attempts = *rng.pick(&[1, 3, 5]);
    settings.limits.turn_ms = *rng.pick(&[200_000, 3_600_000]);
    settings.limits.calls_per_round = *rng.pick(&[2, 16]);
    settings.limits.keys = *rng.pick(&[FEW_KEYS, 1_024, 1_024, 1_024]);
    settings.limits.grants = *rng.pick(&[1, 64]);
    settings.limits.sessions = *rng.pick(&[3, 64, 64]);
    settings.limits.sandboxes = *rng.pick(&[1, 3, 64, 64]);
    if rng.chance(20) {
        settings.policy.channels = [("tg".to_string(), Mode::Ask)].into();
    }
    if rng.chance(60) && settings.policy.channels.is_empty() {
        settings.schedule = schedule(rng, &settings);
    }
    settings
}
