//! Shrinking: a plan that fails is reduced to the few things that make it fail.
//!
//! Delta debugging over the plan's items, which works because a world draws its luck by key:
//! leaving one item out changes nothing about the others but what follows from it.

use crate::plan::{Item, Plan};

/// The smallest plan found that still fails: no item of it can be left out.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut best = simpler_rules(plan, &fails);
    let mut size = best.items.len().div_ceil(2).max(1);
    loop {
        let before = best.items.len();
        best = without_chunks(best, size, &fails);
        match (size, before == best.items.len()) {
            (1, true) => return best,
            (1, false) => {}
            _ => size = size.div_ceil(2),
        }
    }
}

/// Leaves out every run of `size` items that is not needed.
fn without_chunks(mut best: Plan, size: usize, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut from = 0;
    while from < best.items.len() {
        let to = (from + size).min(best.items.len());
        let mut items: Vec<Item> = best.items.clone();
        items.drain(from..to);
        let rules = best.rules.clone();
        let smaller = Plan { rules, items };
        if fails(&smaller) {
            best = smaller;
        } else {
            from = to;
        }
    }
    best
}

fn simpler_rules(plan: &Plan, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let changes: [fn(&mut Plan); 3] = [
        |plan| plan.rules.batch = 1,
        |plan| plan.rules.snapshot_every = 0,
        |plan| plan.rules.look_every = 1,
    ];
    for change in changes {
        let mut simpler = best.clone();
        change(&mut simpler);
        if fails(&simpler) {
            best = simpler;
        }
    }
    best
}
