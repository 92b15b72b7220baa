//! Many worlds, each from a seed, each checked against every law.
//!
//! `OPENPISTA_SEEDS=N` runs N of them, `OPENPISTA_SEED=x` runs that one and tells its story.

use openpista_shell_test::law;
use openpista_shell_test::plan::Plan;
use openpista_shell_test::world;

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
        steps += story.steps();
        if let Some(broken) = law::check(&story).first() {
            panic!("{}", broken.report(&story));
        }
    }
    println!("{seeds} seeds, {} steps each on average", steps as u64 / seeds.max(1));
}
