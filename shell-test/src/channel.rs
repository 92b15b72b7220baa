//! The pretended channels and the people behind them: they keep a message until it is
//! acknowledged, hand it over again after a crash, and answer questions as planned.

use crate::plan::{Item, Plan};
use openpista_core::id::ApprovalId;
use openpista_core::input::{Arrival, Decision, Order};
use std::collections::BTreeMap;

/// How long a channel waits before it hands a message over again, in milliseconds.
pub const REDELIVER_MS: u64 = 120_000;

/// What a person will say, and when.
#[derive(Clone, Debug)]
pub struct Said {
    /// After how long, in milliseconds.
    pub after_ms: u64,
    /// What.
    pub order: Order,
}

/// All channels and people of a world.
#[derive(Debug, Default)]
pub struct Channels {
    sent: BTreeMap<(String, String), Arrival>,
    unacknowledged: BTreeMap<(String, String), Arrival>,
    answers: BTreeMap<u64, (u64, Decision, String)>,
    questions: BTreeMap<ApprovalId, u64>,
}

impl Channels {
    /// The people of a plan.
    pub fn new(plan: &Plan) -> Channels {
        let answers = plan.items.iter().filter_map(|item| match item {
            Item::Answer {
                nth,
                after_ms,
                decision,
                by,
            } => Some((*nth, (*after_ms, *decision, by.clone()))),
            _ => None,
        });
        Channels {
            answers: answers.collect(),
            ..Channels::default()
        }
    }

    /// Somebody wrote.
    pub fn send(&mut self, arrival: &Arrival) {
        let key = (arrival.origin.clone(), arrival.key.clone());
        self.sent.insert(key.clone(), arrival.clone());
        self.unacknowledged.insert(key, arrival.clone());
    }

    /// What was sent under that key, acknowledged or not.
    pub fn sent(&self, origin: &str, key: &str) -> Option<&Arrival> {
        self.sent.get(&(origin.to_string(), key.to_string()))
    }

    /// A message need not be kept any more.
    pub fn forget(&mut self, origin: &str, key: &str) {
        let key = (origin.to_string(), key.to_string());
        self.unacknowledged.remove(&key);
    }

    /// Is a message still kept?
    pub fn keeps(&self, arrival: &Arrival) -> bool {
        let key = (arrival.origin.clone(), arrival.key.clone());
        self.unacknowledged.contains_key(&key)
    }

    /// What is handed over again after a crash: what is numbered, in that order.
    pub fn unacknowledged(&self) -> Vec<Arrival> {
        let mut kept: Vec<Arrival> = self.unacknowledged.values().cloned().collect();
        kept.sort_by_key(|arrival| arrival.serial);
        kept
    }

    /// A question appeared before a person: what they will say to it.
    pub fn ask(&mut self, approval: ApprovalId) -> Option<Said> {
        let next = self.questions.len() as u64 + 1;
        let nth = *self.questions.entry(approval).or_insert(next);
        let (after_ms, decision, by) = self.answers.get(&nth)?.clone();
        let order = Order::Decide {
            approval,
            decision,
            by,
        };
        Some(Said { after_ms, order })
    }
}
