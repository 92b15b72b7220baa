//! A failing plan shrinks to what makes it fail, and can be written down and run again
//! (`OPENPISTA_WRITE_FIXTURES=1` does, for `tests/fixtures.rs`).

use openpista_shell_test::fault::Fault;
use openpista_shell_test::law;
use openpista_shell_test::mutant::Meddling;
use openpista_shell_test::plan::{Item, Plan};
use openpista_shell_test::shrink::shrink;
use openpista_shell_test::world;

/// A bug, planted: a daemon that runs commands again after a crash.
fn fails(plan: &Plan) -> bool {
    let story = world::run_with(plan, Meddling::RepeatsDoubt);
    let evidence = law::Evidence {
        journal: story.journal(),
        story: &story,
    };
    law::law_05_doubt_starts_once(&evidence).is_err()
}

fn crashes_alone(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let other =
        |item: &Item| matches!(item, Item::Fault(fault) if !matches!(fault, Fault::Crash { .. }));
    plan.items.retain(|item| !other(item));
    plan
}

#[test]
fn a_planted_bug_shrinks_to_a_message_and_a_crash() {
    // Leaving out one thing after the other may end where no single one can be left out, though
    // several could: then another seed that finds the bug is shrunk as well. Those that find it
    // without other faults are the likely ones.
    let alone = |plan: &Plan| fails(plan) && fails(&crashes_alone(plan));
    let plans = (1..).map(Plan::of).filter(alone).take(4);
    let mut shrunk = plans.map(|plan| (plan.items.len(), shrink(&plan, fails)));
    let found = shrunk.find(|(_, small)| small.items.len() <= 4);
    let (before, small) = found.expect("a plan of four things at the most");
    assert!(before > 40, "{before}");
    let sent = |item: &Item| matches!(item, Item::Send { .. });
    let crash = |item: &Item| matches!(item, Item::Fault(Fault::Crash { .. }));
    assert!(small.items.iter().any(sent) && small.items.iter().any(crash));

    let text = small.to_jsonl();
    if std::env::var_os("OPENPISTA_WRITE_FIXTURES").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/doubt.plan.jsonl");
        std::fs::write(path, &text).expect("a fixture is written");
    }
    let read = Plan::from_jsonl(&text).expect("what we write we can read");
    assert_eq!(read, small);
    assert!(fails(&read));
    let healthy = world::run(&read);
    assert_eq!(law::check(&healthy), [], "without the bug the laws hold");
}
