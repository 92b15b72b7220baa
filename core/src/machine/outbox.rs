//! The outbox: what waits to be shown, first in first out for each channel of a session, one
//! delivery at a time. A text that is longer than its channel takes is split here; the messages
//! that it ends are named on its last part. When a channel refuses the formatting, the same text
//! goes out plain; a picture goes out as a file.
//!
//! Law 12 is about what one person sees, so each channel has a queue of its own: where nobody is
//! there to be shown anything, nobody else has to wait. A question that has come to its answer
//! leaves the queue.

mod split;

use crate::effect::Op;
use crate::effect::Outcome;
use crate::effect::deliver::{Body, Deliver, DeliverFault, End};
use crate::id::{ApprovalId, EffectId, SessionId};
use crate::record::Record;
use crate::settings::Settings;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The queues that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outbox {
    lanes: BTreeMap<SessionId, BTreeMap<String, Queue>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Queue {
    waiting: VecDeque<Deliver>,
    sending: Option<EffectId>,
}

impl Outbox {
    /// How many deliveries a session has waiting for a channel.
    pub(crate) fn waiting(&self, session: SessionId, origin: &str) -> usize {
        let queue = self.lanes.get(&session).and_then(|of| of.get(origin));
        queue.map_or(0, |queue| queue.waiting.len())
    }

    /// How many deliveries wait in all.
    pub(crate) fn depth(&self) -> usize {
        let queues = self.lanes.values().flat_map(BTreeMap::values);
        queues.map(|queue| queue.waiting.len()).sum()
    }

    /// The next deliveries of a session: one for each channel that has none on its way.
    pub(crate) fn next(&self, session: SessionId) -> impl Iterator<Item = &Deliver> {
        let queues = self.lanes.get(&session).into_iter().flatten();
        queues.filter_map(|(_, queue)| match queue.sending {
            None => queue.waiting.front(),
            Some(_) => None,
        })
    }

    pub(crate) fn evolve(&mut self, record: &Record) {
        match record {
            Record::Queued {
                session,
                origin,
                body,
                ends,
            } => {
                let queues = self.lanes.entry(*session).or_default();
                let queue = queues.entry(origin.clone()).or_default();
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
                    && let Some(queues) = self.lanes.get_mut(&delivery.session)
                    && let Some(queue) = queues.get_mut(&delivery.origin)
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
            Record::Decided {
                session, approval, ..
            } => self.withdraw(*session, |of| of == *approval),
            Record::TurnEnded {
                session,
                turn: Some(_),
                ..
            } => self.withdraw(*session, |_| true),
            _ => {}
        }
    }

    fn settled(&mut self, session: SessionId, effect: EffectId, fault: Option<&DeliverFault>) {
        let Some(queues) = self.lanes.get_mut(&session) else {
            return;
        };
        let mut sending = queues.values_mut();
        let Some(queue) = sending.find(|queue| queue.sending == Some(effect)) else {
            return;
        };
        queue.sending = None;
        match (fault, queue.waiting.front_mut()) {
            (Some(DeliverFault::Unformatted), Some(head)) if head.rich => head.rich = false,
            _ => {
                queue.waiting.pop_front();
            }
        }
        self.tidy(session);
    }

    /// Questions that need no answer any more are not asked, unless they are on their way.
    fn withdraw(&mut self, session: SessionId, over: impl Fn(ApprovalId) -> bool) {
        let Some(queues) = self.lanes.get_mut(&session) else {
            return;
        };
        for queue in queues.values_mut() {
            let mut on_its_way = queue.sending.is_some();
            queue.waiting.retain(|delivery| {
                let keep = core::mem::take(&mut on_its_way);
                match &delivery.body {
                    Body::Question(question) => keep || !over(question.approval),
                    Body::Reply(_) | Body::Failure(_) | Body::Notice(_) | Body::Picture(_) => true,
                }
            });
        }
        self.tidy(session);
    }

    fn tidy(&mut self, session: SessionId) {
        if let Some(queues) = self.lanes.get_mut(&session) {
            queues.retain(|_, queue| !queue.waiting.is_empty());
            if queues.is_empty() {
                self.lanes.remove(&session);
            }
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
        (None, _) | (_, Body::Question(_) | Body::Picture(_)) => Vec::from([body]),
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
