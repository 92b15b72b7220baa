//! The outbox: what waits to be shown, first in first out for each session, one delivery at a
//! time. A text that is longer than its channel takes is split here; the messages that it ends are
//! named on its last part. When a channel refuses the formatting, the same text goes out plain.

mod split;

use crate::effect::Op;
use crate::effect::Outcome;
use crate::effect::deliver::{Body, Deliver, DeliverFault, End};
use crate::id::{EffectId, SessionId};
use crate::record::Record;
use crate::settings::Settings;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The queues that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outbox {
    queues: BTreeMap<SessionId, Queue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    waiting: VecDeque<Deliver>,
    sending: Option<EffectId>,
}

impl Outbox {
    /// How many deliveries a session has waiting.
    pub(crate) fn waiting(&self, session: SessionId) -> usize {
        self.queues.get(&session).map_or(0, |q| q.waiting.len())
    }

    /// The next delivery of a session, unless one is on its way.
    pub(crate) fn next(&self, session: SessionId) -> Option<&Deliver> {
        let queue = self.queues.get(&session)?;
        match queue.sending {
            None => queue.waiting.front(),
            Some(_) => None,
        }
    }

    pub(crate) fn evolve(&mut self, record: &Record) {
        match record {
            Record::Queued {
                session,
                origin,
                body,
                ends,
            } => {
                let queue = self.queues.entry(*session).or_default();
                queue.waiting.push_back(Deliver {
                    session: *session,
                    origin: origin.clone(),
                    body: body.clone(),
                    ends: ends.clone(),
                    rich: true,
                    repeated: false,
                });
            }
            Record::Intended(effect) => {
                if let Op::Deliver(delivery) = &effect.op
                    && let Some(queue) = self.queues.get_mut(&delivery.session)
                {
                    queue.sending = Some(effect.id);
                    // What may have been seen stays so, also when it goes out again as plain text.
                    if let Some(head) = queue.waiting.front_mut() {
                        head.repeated = delivery.repeated;
                    }
                }
            }
            Record::Settled {
                session,
                effect,
                outcome: Outcome::Deliver(result),
            } => self.settled(*session, *effect, result.as_ref().err()),
            _ => {}
        }
    }

    fn settled(&mut self, session: SessionId, effect: EffectId, fault: Option<&DeliverFault>) {
        let Some(queue) = self.queues.get_mut(&session) else {
            return;
        };
        if queue.sending != Some(effect) {
            return;
        }
        queue.sending = None;
        match (fault, queue.waiting.front_mut()) {
            (Some(DeliverFault::Unformatted), Some(head)) if head.rich => head.rich = false,
            _ => {
                queue.waiting.pop_front();
            }
        }
        if queue.waiting.is_empty() {
            self.queues.remove(&session);
        }
    }
}

/// Puts a body into the queue, in as many parts as its channel needs.
pub(crate) fn queue(
    settings: &Settings,
    session: SessionId,
    origin: &str,
    body: Body,
    ends: Vec<End>,
) -> Vec<Record> {
    let channel = origin.split(':').next().unwrap_or_default();
    let parts = match (settings.channel_chars.get(channel), &body) {
        (Some(&max), Body::Reply(text)) => same(split::split(text, max), Body::Reply),
        (Some(&max), Body::Failure(text)) => same(split::split(text, max), Body::Failure),
        (Some(&max), Body::Notice(text)) => same(split::split(text, max), Body::Notice),
        (None, _) | (_, Body::Question(_)) => Vec::from([body]),
    };
    let last = parts.len().saturating_sub(1);
    let mut ends = Some(ends);
    let queued = |(index, body)| Record::Queued {
        session,
        origin: origin.to_string(),
        body,
        ends: match index == last {
            true => ends.take().unwrap_or_default(),
            false => Vec::new(),
        },
    };
    parts.into_iter().enumerate().map(queued).collect()
}

fn same(parts: Vec<String>, body: fn(String) -> Body) -> Vec<Body> {
    parts.into_iter().map(body).collect()
}
