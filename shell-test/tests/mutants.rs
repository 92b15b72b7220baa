//! Every check can fail: breaking law N on purpose turns law N's check red.

use openpista_core::effect::Op;
use openpista_core::effect::sandbox::UseSandbox;
use openpista_shell_test::exhaustive::{crashed, script};
use openpista_shell_test::fault::Cut;
use openpista_shell_test::law::{self, LAWS};
use openpista_shell_test::mutant::{Break, MUTANTS, Meddling};
use openpista_shell_test::plan::Plan;
use openpista_shell_test::story::Event;
use openpista_shell_test::world;

/// The script, with a crash at the step that lets a doubtful tool run, and another at the one that
/// lets a container run.
fn plan() -> Plan {
    let script = script();
    let tool = |op: &Op| matches!(op, Op::Tool(run) if run.tool == "system.run");
    let first = (last_start(&script, tool), Cut::BeforeReport);
    let container = |op: &Op| {
        let is = |used: &UseSandbox| {
            used.runs() && used.task().is_some_and(|t| t.tool == "container.run")
        };
        matches!(op, Op::Sandbox(used) if is(used))
    };
    let second = last_start(&crashed(&script, &[first]), container);
    crashed(&script, &[first, (second, Cut::BeforeReport)])
}

/// The step that lets the last such effect start.
fn last_start(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> u64 {
    let story = world::run(plan);
    let mut started = story.events.iter().rev().filter_map(|event| match event {
        Event::Started { effect, .. } if wanted(&effect.op) => Some(effect.id.seq.0),
        _ => None,
    });
    started.next().expect("the script starts such a one")
}

#[test]
fn an_unbroken_world_keeps_every_law() {
    let story = world::run(&plan());
    let broken = law::check(&story);
    assert!(broken.is_empty(), "{}", broken[0].report(&story));
}

#[test]
fn breaking_a_law_turns_its_own_check_red() {
    let plan = plan();
    let mut survived = Vec::new();
    for (law, name, how) in MUTANTS {
        let story = match how {
            Break::World(meddling) => world::run_with(&plan, *meddling),
            Break::Story(change) => {
                let mut story = world::run_with(&plan, Meddling::None);
                change(&mut story);
                story
            }
        };
        let red: Vec<u8> = law::check(&story).iter().map(|broken| broken.law).collect();
        println!("law {law:>2}: {name}: red are {red:?}");
        if !red.contains(law) {
            survived.push((law, name));
        }
    }
    assert!(survived.is_empty(), "nobody noticed: {survived:?}");
}

#[test]
fn every_law_has_a_mutant() {
    for (law, name, _) in LAWS {
        let found = MUTANTS.iter().any(|(of, _, _)| of == law);
        assert!(found, "law {law} ({name}) is never broken on purpose");
    }
}
