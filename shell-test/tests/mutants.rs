//! Every check can fail: breaking law N on purpose turns law N's check red.

use openpista_core::effect::Op;
use openpista_shell_test::exhaustive::{crashed, script};
use openpista_shell_test::fault::Cut;
use openpista_shell_test::law::{self, LAWS};
use openpista_shell_test::mutant::{Break, MUTANTS, Meddling};
use openpista_shell_test::plan::Plan;
use openpista_shell_test::story::Event;
use openpista_shell_test::world;

/// The script, with a crash at the step that lets a doubtful tool run.
fn plan() -> Plan {
    let script = script();
    let story = world::run(&script);
    let runs = |event: &&Event| {
        matches!(event, Event::Started { effect, .. }
        if matches!(&effect.op, Op::Tool(run) if run.tool == "system.run"))
    };
    let ran = story
        .events
        .iter()
        .rfind(runs)
        .expect("the script runs a command");
    let Event::Started { effect, .. } = ran else {
        unreachable!()
    };
    crashed(&script, &[(effect.id.seq.0, Cut::BeforeReport)])
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
