//! Many worlds, each from a seed, each checked against every law.
//!
//! `OPENPISTA_SEEDS=N` runs N of them, `OPENPISTA_SEED=x` runs that one and tells its story. A seed
//! that fails is shrunk to a fixture, which from then on is run by `tests/fixtures.rs`.

use openpista_core::effect::Outcome;
use openpista_core::effect::deliver::DeliverFault;
use openpista_core::record::{Answer, Record, TurnEnd, Verdict};
use openpista_shell_test::law::{self, Broken};
use openpista_shell_test::plan::{OWNER, Plan};
use openpista_shell_test::shrink::shrink;
use openpista_shell_test::story::Story;
use openpista_shell_test::world;
use std::collections::BTreeSet;
use std::path::Path;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_law_holds_in_every_world() {
    if let Some(seed) = number("OPENPISTA_SEED") {
        let story = world::run(&Plan::of(seed));
        println!("{}", story.tell(None));
        let broken = law::check(&story);
        assert!(broken.is_empty(), "{}", broken[0].report(&story));
        return;
    }
    let mut steps = 0;
    let seeds = number("OPENPISTA_SEEDS").unwrap_or(200);
    for seed in 1..=seeds {
        let story = world::run(&Plan::of(seed));
        steps += story.steps() as u64;
        if let Some(broken) = law::check(&story).first() {
            panic!("{}\n{}", broken.report(&story), keep(&story, broken));
        }
    }
    println!(
        "{seeds} seeds, {} steps each on average",
        steps / seeds.max(1)
    );
    assert!(
        steps / seeds.max(1) >= 200,
        "the worlds have become too small"
    );
}

#[test]
fn the_worlds_have_everything_in_them() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in 1..=60 {
        let journal = world::run(&Plan::of(seed)).journal();
        let records = journal.iter().flat_map(|line| &line.records);
        seen.extend(records.filter_map(what));
    }
    let wanted = [
        "call allowed for the session",
        "clock set",
        "conversation that moved",
        "guest",
        "guest shut out",
        "job fired",
        "job had no room or no right",
        "job of the agent",
        "job of the agent fired",
        "job removed",
        "job was late",
        "message taken back",
        "nobody was there",
        "other owners",
        "yes for the session",
    ];
    assert_eq!(seen, BTreeSet::from(wanted));
}

/// Which of the rarer things a record is.
fn what(record: &Record) -> Option<&'static str> {
    Some(match record {
        Record::Judged {
            verdict: Verdict::Allow { reason },
            ..
        } if reason.contains("for the session") => "call allowed for the session",
        Record::ClockSet { .. } => "clock set",
        Record::Moved { .. } => "conversation that moved",
        Record::Booted { settings, .. } if !settings.owners.contains(OWNER) => "other owners",
        Record::Admitted { .. } => "guest",
        Record::Expelled { .. } => "guest shut out",
        Record::JobFired { .. } => "job fired",
        Record::JobMissed { reason, .. } => match reason.contains("was not running") {
            true => "job was late",
            false => "job had no room or no right",
        },
        Record::Postponed {
            outcome: Outcome::Deliver(Err(DeliverFault::Absent)),
            ..
        } => "nobody was there",
        Record::JobAdded { .. } => "job of the agent",
        Record::JobRemoved { .. } => "job removed",
        Record::Accepted(accepted) if accepted.by_agent => "job of the agent fired",
        Record::TurnEnded {
            end: TurnEnd::Stopped,
            turn: None,
            ..
        } => "message taken back",
        Record::Decided {
            answer: Answer::AllowedForSession(_),
            ..
        } => "yes for the session",
        _ => return None,
    })
}

/// Writes the few things that make it fail into a fixture.
fn keep(story: &Story, broken: &Broken) -> String {
    let fails = |plan: &Plan| {
        let story = world::run(plan);
        law::check(&story).iter().any(|b| b.law == broken.law)
    };
    let small = shrink(&story.plan, fails);
    let name = format!("fixtures/seed-{}.plan.jsonl", story.plan.rules.seed);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
    match std::fs::write(path, small.to_jsonl()) {
        Ok(()) => format!("shrunk to {} items in {name}", small.items.len()),
        Err(error) => format!("{name} could not be written: {error}\n{}", small.to_jsonl()),
    }
}
