//! What a session remembers: its transcript, the messages that wait, and the live turn. It changes
//! by records alone.

use super::live::{Await, AwaitCall, Call, Turn};
use super::transcript::Transcript;
use crate::digest::Digest;
use crate::effect::Outcome;
use crate::effect::deliver::End;
use crate::effect::model::Finish;
use crate::effect::sandbox::render_sandboxed;
use crate::effect::tool::{pictures, render};
use crate::id::{ApprovalId, MessageId};
use crate::limit::Limits;
use crate::message::Message;
use crate::record::{Accepted, Answer, Record, Verdict};
use crate::say;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Conversation {
    pub(super) transcript: Transcript,
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) turn: Option<Turn>,
    /// The channels of the latest turn that ended: what comes to light later is told there.
    pub(super) last_origins: Vec<String>,
}

/// A message that has not joined a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) end: End,
    pub(super) peer: String,
    pub(super) text: String,
    /// No person wrote it.
    by_agent: bool,
}

impl Conversation {
    pub(super) fn evolve(&mut self, limits: &Limits, record: &Record) {
        match record {
            Record::Accepted(accepted) if accepted.command.is_none() => self.wait(accepted),
            Record::Refreshed { .. } => self.transcript = Transcript::default(),
            Record::TurnBegan { turn, .. } => self.turn = Some(Turn::new(*turn, &self.transcript)),
            Record::Joined { messages, .. } => self.join(messages),
            Record::TurnEnded { turn, ends, .. } => {
                self.drop_waiting(ends);
                if turn.is_some() {
                    self.close(limits);
                }
            }
            _ => self.advance(limits, record),
        }
    }

    fn wait(&mut self, accepted: &Accepted) {
        self.waiting.push_back(Waiting {
            end: End {
                message: accepted.message,
                origin: accepted.origin.clone(),
                key: accepted.key.clone(),
            },
            peer: accepted.peer.clone(),
            text: accepted.text.clone(),
            by_agent: accepted.by_agent,
        });
    }

    fn join(&mut self, messages: &[MessageId]) {
        let Some(turn) = &mut self.turn else { return };
        for waiting in core::mem::take(&mut self.waiting) {
            if messages.contains(&waiting.end.message) {
                turn.members.push(waiting.end);
                if !turn.peers.contains(&waiting.peer) {
                    turn.peers.push(waiting.peer);
                }
                if !waiting.by_agent {
                    turn.texts.push(waiting.text.clone());
                }
                self.transcript.push(Message::User { text: waiting.text });
            } else {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// The records of a round.
    fn advance(&mut self, limits: &Limits, record: &Record) {
        let Some(turn) = &mut self.turn else { return };
        match record {
            Record::Asked { round, .. } => {
                turn.round = *round;
                turn.awaits = Await::Round;
            }
            Record::Intended(effect) if effect.turn() == Some(turn.id) => turn.intended(effect),
            Record::Answered { effect, reply, .. } if turn.awaits_reply(*effect) => {
                self.transcript.push(Message::Assistant {
                    text: reply.text.clone(),
                    calls: reply.calls.clone(),
                });
                turn.cut_off = reply.finish == Finish::Length;
                turn.awaits = match reply.calls.is_empty() {
                    true => Await::End(reply.text.clone()),
                    false => Await::Results(reply.calls.iter().map(Call::new).collect()),
                };
            }
            Record::Judged { call, verdict, .. } => {
                let awaits = match verdict {
                    Verdict::Allow { .. } => AwaitCall::Start,
                    Verdict::Ask { .. } => AwaitCall::Verdict,
                    Verdict::Deny { reason } => AwaitCall::Nothing(say::denied_by_policy(reason)),
                    Verdict::Invalid { reason } => AwaitCall::Nothing(reason.clone()),
                };
                self.result(|index, _| index == *call, awaits);
            }
            Record::Served { call, content, .. } => {
                let awaits = AwaitCall::Nothing(content.clone());
                self.result(|index, _| index == *call, awaits);
            }
            Record::Sought(sought) => {
                let awaits = AwaitCall::Answer(sought.approval);
                self.result(|index, _| index == sought.call, awaits);
            }
            Record::Decided {
                approval, answer, ..
            } => self.decided(*approval, answer),
            Record::Settled {
                effect,
                outcome: Outcome::Tool(outcome),
                ..
            } => {
                if let Some(call) = turn.call_mut(|_, a| *a == AwaitCall::Outcome(*effect)) {
                    call.pictures = pictures(outcome, limits.pictures).to_vec();
                }
                let awaits = AwaitCall::Nothing(render(outcome));
                self.result(|_, a| *a == AwaitCall::Outcome(*effect), awaits);
            }
            Record::Settled {
                effect,
                outcome: Outcome::Sandbox(outcome),
                ..
            } => {
                let awaits = AwaitCall::Nothing(render_sandboxed(outcome));
                self.result(|_, a| *a == AwaitCall::Outcome(*effect), awaits);
            }
            Record::Doubted { effect, .. } => {
                let awaits = AwaitCall::Nothing(say::may_have_run().to_string());
                self.result(|_, a| *a == AwaitCall::Outcome(*effect), awaits);
            }
            _ => {}
        }
    }

    fn decided(&mut self, approval: ApprovalId, answer: &Answer) {
        let awaits = match answer {
            Answer::Allowed(_) | Answer::AllowedForSession(_) => AwaitCall::Start,
            Answer::Denied(_) => AwaitCall::Nothing(say::denied_by_person().to_string()),
            Answer::Expired => AwaitCall::Nothing(say::nobody_answered().to_string()),
        };
        if let Some(turn) = &mut self.turn {
            turn.denied |= !answer.is_yes();
        }
        self.result(|_, a| *a == AwaitCall::Answer(approval), awaits);
    }

    /// A call moves on. With the last result of the round, all go to the transcript, in order.
    fn result(&mut self, found: impl Fn(u16, &AwaitCall) -> bool, awaits: AwaitCall) {
        let Some(turn) = &mut self.turn else { return };
        let Some(call) = turn.call_mut(found) else {
            return;
        };
        if call.is_over() {
            return;
        }
        call.awaits = awaits;
        let AwaitCall::Nothing(content) = &call.awaits else {
            return;
        };
        let parts = [&call.call.tool, &call.call.arguments, content];
        let digest = Digest::of(&parts.map(|part| part.as_bytes()));
        *turn.seen.entry(digest).or_default() += 1;
        if let Await::Results(calls) = &turn.awaits
            && calls.iter().all(Call::is_over)
        {
            conclude(&mut self.transcript, calls);
        }
    }

    fn drop_waiting(&mut self, ends: &[End]) {
        let ended = |w: &Waiting| ends.iter().any(|end| end.message == w.end.message);
        self.waiting.retain(|waiting| !ended(waiting));
    }

    fn close(&mut self, limits: &Limits) {
        if let Some(turn) = self.turn.take() {
            self.last_origins = turn.origins().into_iter().map(String::from).collect();
            if let Await::Results(calls) = &turn.awaits
                && !calls.iter().all(Call::is_over)
            {
                conclude(&mut self.transcript, calls);
            }
        }
        self.transcript.trim(limits);
    }
}

/// Adds the result of every call, so that none is left without one.
fn conclude(transcript: &mut Transcript, calls: &[Call]) {
    for call in calls {
        let content = match &call.awaits {
            AwaitCall::Nothing(content) => content.clone(),
            _ => say::stopped_before_end().to_string(),
        };
        transcript.push(Message::Tool {
            call_id: call.call.id.clone(),
            content,
            pictures: call.pictures.clone(),
        });
    }
}
