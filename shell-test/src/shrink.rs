//! Shrinking: a plan that fails is reduced to the few things that make it fail.
//!
//! Delta debugging over the plan's items, which works because a world draws its luck by key:
//! leaving one item out changes nothing about the others but what follows from it.

use crate::fault::Fault;
use crate::plan::{Item, Plan};

/// The smallest plan found that still fails: no item of it can be left out, even if crashes come
/// sooner.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut best = fewer_items(simpler_rules(plan, &fails), &fails);
    loop {
        let sooner = sooner_crashes(&best, &fails);
        if sooner == best {
            return best;
        }
        best = fewer_items(sooner, &fails);
    }
}

fn fewer_items(mut best: Plan, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut size = best.items.len().div_ceil(2).max(1);
    loop {
        let before = best.items.len();
        best = without_chunks(best, size, fails);
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

/// A crash counts steps: it may have to come sooner before what led to earlier steps can go.
fn sooner_crashes(plan: &Plan, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    for index in 0..plan.items.len() {
        let Item::Fault(Fault::Crash { step: last, cut }) = plan.items[index] else {
            continue;
        };
        let mut sooner = (1..last).map(|step| {
            let mut plan = best.clone();
            plan.items[index] = Item::Fault(Fault::Crash { step, cut });
            plan
        });
        let found = sooner.find(|plan| fails(plan));
        best = found.unwrap_or(best);
    }
    best
}

fn simpler_rules(plan: &Plan, fails: &impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let changes: [fn(&mut Plan); 4] = [
        |plan| plan.rules.batch = 1,
        |plan| plan.rules.snapshot_every = 0,
        |plan| plan.rules.look_every = 1,
        |plan| plan.rules.settings.schedule.clear(),
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
