use openpista_shell_test::{law, plan::Plan, world};
use std::collections::BTreeMap;
#[test]
fn survey() {
    let n: u64 = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
    let mut by: BTreeMap<u8, Vec<(u64, String)>> = BTreeMap::new();
    let t = std::time::Instant::now();
    let (mut steps, mut jsteps) = (0, 0);
    let mut times: BTreeMap<u8, f64> = BTreeMap::new();
    for seed in 1..=n {
        let t0 = std::time::Instant::now();
        let story = world::run(&Plan::of(seed));
        *times.entry(0).or_default() += t0.elapsed().as_secs_f64();
        steps += story.steps(); jsteps += story.journaled();
        let e = law::Evidence { story: &story, journal: story.journal() };
        for (l, _, c) in law::LAWS {
            let t0 = std::time::Instant::now();
            let r = c(&e);
            *times.entry(*l).or_default() += t0.elapsed().as_secs_f64();
            if let Err(b) = r { by.entry(b.law).or_default().push((seed, b.to_string())); }
        }
    }
    println!("{n} seeds {:?} steps {} journaled {}", t.elapsed(), steps as u64 / n, jsteps / n);
    println!("{times:?}");
    for (l, v) in by { println!("law {l}: {} seeds", v.len()); for (s, b) in v.iter().take(4) { println!("   {s}: {}", b.chars().take(400).collect::<String>()); } }
}
