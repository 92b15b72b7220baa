//! The laws about what may follow what inside a session: 12, 17 and 18.

use super::picture::pictures_are_shown;
use super::sandbox::sandboxes_are_bounded;
use super::{Evidence, Verdict, broken};
use crate::disk::records;
use crate::story::{Event, Stepped};
use openpista_core::effect::deliver::{Body, DeliverFault};
use openpista_core::effect::sandbox::Action;
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{ApprovalId, Attempt, EffectId, MessageId, Seq, SessionId, TurnId};
use openpista_core::input::{Input, Order};
use openpista_core::record::{Record, TurnEnd, Verdict as May};
use openpista_core::timer::Timer;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Law 12: one live turn per session; messages join and replies go out in order, over each channel
/// one at a time. What a person sees is what comes over theirs.
pub fn law_12_one_turn_in_order(evidence: &Evidence<'_>) -> Verdict {
    let mut sessions: BTreeMap<SessionId, Order12> = BTreeMap::new();
    for (seq, record) in records(&evidence.journal) {
        let Some(id) = record.session() else { continue };
        let session = sessions.entry(id).or_default();
        if let Err(why) = session.follow(record) {
            return broken(12, seq, format!("session {id}: {why}"));
        }
    }
    pictures_are_shown(evidence)
}

#[derive(Debug, Default)]
struct Order12 {
    live: Option<TurnId>,
    joined: Option<MessageId>,
    queues: BTreeMap<String, VecDeque<Body>>,
    sending: BTreeMap<String, (EffectId, Body)>,
}

impl Order12 {
    fn follow(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::TurnBegan { turn, .. } => match self.live.replace(*turn) {
                Some(live) => Err(format!("turn {turn} began while {live} lives")),
                None => Ok(()),
            },
            // Only messages that waited were taken back.
            Record::TurnEnded { turn: None, .. } => Ok(()),
            Record::TurnEnded { turn, .. } if *turn != self.live => {
                Err(format!("turn {turn:?} ended while {:?} lives", self.live))
            }
            Record::TurnEnded { .. } => {
                self.withdraw(|_| true);
                self.live = None;
                Ok(())
            }
            Record::Joined { messages, .. } => {
                for message in messages {
                    if self.joined.replace(*message) >= Some(*message) {
                        return Err(format!("message {message} joined out of order"));
                    }
                }
                Ok(())
            }
            Record::Queued { origin, body, .. } => {
                let queue = self.queues.entry(origin.clone()).or_default();
                queue.push_back(body.clone());
                Ok(())
            }
            Record::Decided { approval, .. } => {
                self.withdraw(|of| of == *approval);
                Ok(())
            }
            Record::Intended(effect) => self.intend(effect),
            Record::Settled { effect, .. } | Record::Doubted { effect, .. } => {
                self.sending.retain(|_, (id, _)| id != effect);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn intend(&mut self, effect: &Effect) -> Result<(), String> {
        let Op::Deliver(delivery) = &effect.op else {
            return Ok(());
        };
        let origin = &delivery.origin;
        if let Some((sending, body)) = self.sending.get(origin) {
            let again = *sending == effect.id && *body == delivery.body;
            return again
                .then_some(())
                .ok_or_else(|| format!("{} goes out beside {sending}", effect.id));
        }
        // The same text goes out again, plain, when its formatting was refused.
        let queue = self.queues.entry(origin.clone()).or_default();
        if delivery.rich && queue.pop_front().as_ref() != Some(&delivery.body) {
            return Err(format!("{} goes out before its turn", effect.id));
        }
        let sending = (effect.id, delivery.body.clone());
        self.sending.insert(origin.clone(), sending);
        Ok(())
    }

    /// Questions that need no answer any more are not asked.
    fn withdraw(&mut self, over: impl Fn(ApprovalId) -> bool) {
        let asked = |body: &Body| match body {
            Body::Question(question) => !over(question.approval),
            _ => true,
        };
        let queues = self.queues.values_mut();
        queues.for_each(|queue| queue.retain(asked));
    }
}

/// Law 17: early or repeated ticks do nothing; a handled deadline advances.
pub fn law_17_ticks_do_what_is_due(evidence: &Evidence<'_>) -> Verdict {
    let mut before = None;
    for event in &evidence.story.events {
        match event {
            Event::Restored { state, .. } => before = Some(*state),
            Event::Stepped(step) => {
                if let Input::Tick(timer) = step.line.input {
                    tick(step, timer, before)?;
                }
                if step.state.is_some() || !step.line.records.is_empty() {
                    before = step.state;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn tick(step: &Stepped, timer: Timer, before: Option<u64>) -> Verdict {
    let (seq, line) = (step.line.seq, &step.line);
    let any_due = step.before.is_some_and(|(at, _)| at <= line.at);
    let due = any_due && step.before.is_some_and(|(_, next)| next == timer);
    if due && (line.records.is_empty() || step.after == step.before) {
        return broken(17, seq, format!("a tick left {:?} as it was", step.before));
    }
    let moved = !line.records.is_empty() || step.after != step.before;
    let changed = before.is_some() && step.state.is_some() && before != step.state;
    if !any_due && (moved || changed) {
        return broken(17, seq, "a tick did something although nothing was due");
    }
    Ok(())
}

/// Law 18: every queue, retry, turn and transcript is bounded, and nobody is turned away in
/// silence.
pub fn law_18_bounded_aloud(evidence: &Evidence<'_>) -> Verdict {
    let limits = &evidence.story.plan.rules.settings.limits;
    let lives = evidence.story.lives() as u16;
    let mut waiting: BTreeMap<SessionId, BTreeSet<MessageId>> = BTreeMap::new();
    let mut absent: BTreeMap<EffectId, u16> = BTreeMap::new();
    let records = evidence.journal.iter().flat_map(|line| {
        let of_line = line.records.iter();
        of_line.map(move |record| (line, record))
    });
    for (line, record) in records {
        let excess = match record {
            Record::Accepted(a) if a.command.is_none() => {
                let queue = waiting.entry(a.session).or_default();
                queue.insert(a.message);
                queue.len() > limits.queued_messages
            }
            Record::Joined { session, messages } => {
                let queue = waiting.entry(*session).or_default();
                queue.retain(|message| !messages.contains(message));
                false
            }
            Record::TurnEnded {
                session, ends, end, ..
            } => {
                let queue = waiting.entry(*session).or_default();
                queue.retain(|message| !ends.iter().any(|end| end.message == *message));
                // Taking one message back leaves the others.
                let one = matches!(line.input, Input::Order(Order::Cancel { .. }));
                *end == TurnEnd::Stopped && !one && !queue.is_empty()
            }
            Record::Postponed {
                effect,
                outcome: Outcome::Deliver(Err(DeliverFault::Absent)),
                ..
            } => {
                *absent.entry(*effect).or_default() += 1;
                false
            }
            Record::Asked { round, .. } => *round > limits.max_tool_rounds + 1,
            Record::Intended(effect) => {
                let tries = match &effect.op {
                    Op::Model(_) => limits.model_attempts,
                    Op::Deliver(_) => limits.deliver_attempts,
                    Op::Sandbox(used) if used.action == Action::Destroy => limits.deliver_attempts,
                    Op::Sandbox(_) | Op::Tool(_) | Op::Cancel(_) => 1,
                };
                // A crash costs a try that is not counted against the world, and so does
                // whoever is not there.
                let absent = absent.get(&effect.id).unwrap_or(&0);
                effect.attempt > Attempt(tries + lives + absent)
            }
            Record::Judged {
                call,
                verdict: May::Allow { .. } | May::Ask { .. },
                ..
            } => *call >= limits.calls_per_round,
            _ => false,
        };
        if excess {
            return broken(18, line.seq, format!("beyond the bounds: {record:?}"));
        }
    }
    sandboxes_are_bounded(evidence)?;
    silence(evidence)
}

/// Every message is acknowledged or declined, and no prompt is larger than it may be.
fn silence(evidence: &Evidence<'_>) -> Verdict {
    let limits = &evidence.story.plan.rules.settings.limits;
    let most = limits.context_bytes + limits.turn_bytes + limits.reply_bytes;
    let mut unheard: BTreeSet<(&str, &str)> = BTreeSet::new();
    for event in &evidence.story.events {
        match event {
            Event::Sent(arrival) => drop(unheard.insert((&arrival.origin, &arrival.key))),
            Event::Acked { origin, key } | Event::Declined { origin, key, .. } => {
                unheard.remove(&(origin.as_str(), key.as_str()));
            }
            Event::Started {
                effect,
                prompt: Some(prompt),
            } => {
                let bytes: usize = prompt.messages.iter().map(|e| e.message.weight()).sum();
                if bytes > most {
                    let why = format!("{} sends {bytes} bytes", effect.id);
                    return broken(18, effect.id.seq, why);
                }
            }
            _ => {}
        }
    }
    match unheard.first() {
        Some((origin, key)) => broken(18, None::<Seq>, format!("{origin} {key} never heard back")),
        None => Ok(()),
    }
}
