//! The pretended channels and the people behind them: they keep a message until it is
//! acknowledged, hand it over again after a crash, and answer questions as planned.

use crate::plan::{Item, Plan};
use openpista_core::id::ApprovalId;
use openpista_core::input::{Arrival, Decision, Order};
use openpista_core::time::Time;
use std::collections::BTreeMap;
use std::ops::Range;

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
    /// When nobody is there.
    away: BTreeMap<String, Vec<Range<u64>>>,
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
        let mut away: BTreeMap<String, Vec<Range<u64>>> = BTreeMap::new();
        for item in &plan.items {
            if let Item::Away {
                origin,
                from_ms,
                for_ms,
            } = item
            {
                let while_ = *from_ms..from_ms.saturating_add(*for_ms);
                away.entry(origin.clone()).or_default().push(while_);
            }
        }
        Channels {
            away,
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

    /// Is nobody there at that moment?
    pub fn is_away(&self, origin: &str, now: Time) -> bool {
        let mut away = self.away.get(origin).into_iter().flatten();
        away.any(|while_| while_.contains(&now.as_ms()))
    }

    /// Everybody is there from now on. Returns who was away at some time.
    pub fn heal(&mut self) -> Vec<String> {
        std::mem::take(&mut self.away).into_keys().collect()
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
