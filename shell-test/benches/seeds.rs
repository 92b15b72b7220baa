//! How many worlds a minute: run, checked against every law, on two threads. Then the exhaustive
//! crash run.
//!
//! `OPENPISTA_SEEDS=N` chooses how many; the default is 400.

use openpista_shell_test::exhaustive::{crashes, run, script};
use openpista_shell_test::law;
use openpista_shell_test::plan::Plan;
use openpista_shell_test::world;
use std::ops::RangeInclusive;
use std::time::Instant;

fn many(seeds: RangeInclusive<u64>) -> u64 {
    seeds.map(one).sum()
}

fn one(seed: u64) -> u64 {
    let story = world::run(&Plan::of(seed));
    if let Some(broken) = law::check(&story).first() {
        println!("{}", broken.report(&story));
    }
    story.steps() as u64
}

fn main() {
    let asked = std::env::var("OPENPISTA_SEEDS").ok();
    let seeds: u64 = asked.and_then(|text| text.parse().ok()).unwrap_or(400);
    let began = Instant::now();
    let steps = std::thread::scope(|scope| {
        let left = scope.spawn(|| many(1..=seeds / 2));
        many(seeds / 2 + 1..=seeds) + left.join().unwrap_or_default()
    });
    let took = began.elapsed().as_secs_f64();
    println!("| what | how much |");
    println!("|---|---|");
    println!("| seeds a minute | {:.0} |", seeds as f64 * 60.0 / took);
    println!("| steps a seed | {} |", steps / seeds.max(1));

    let plan = script();
    let crashes = crashes(&plan);
    let began = Instant::now();
    let failed = run(&plan, &crashes).is_some();
    let took = began.elapsed().as_secs_f64();
    println!("| ways to crash the script | {} |", crashes.len());
    println!("| all of them, in seconds | {took:.1} |");
    if failed {
        println!(
            "A crash breaks a law: see `cargo test -p openpista-shell-test --test exhaustive`."
        );
    }
}
