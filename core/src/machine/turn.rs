//! The turn: the loop of asking the model and running what it calls, one live turn a session
//! (law 12).
//!
//! Messages that arrive while a turn runs wait, and join it at the model's next call; its end is
//! theirs. Rounds, bytes, time and repetition are bounded, and each bound ends the turn with a
//! sentence. The transcript is always one that a provider takes: every call has its result.

mod transcript;

use crate::digest::Digest;
use crate::effect::deliver::End;
use crate::effect::model::Finish;
use crate::effect::tool::render;
use crate::effect::{Effect, Op, Outcome};
use crate::id::{ApprovalId, EffectId, MessageId, Seq, SessionId, TurnId};
use crate::limit::Limits;
use crate::message::{Entry, Message, ToolCall};
use crate::record::{Accepted, Answer, Record, TurnEnd, Verdict};
use crate::say;
use crate::time::Time;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use transcript::Transcript;

/// All conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns {
    sessions: BTreeMap<SessionId, Conversation>,
    /// When each live turn will have used up its time.
    live: BTreeMap<SessionId, Time>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Conversation {
    transcript: Transcript,
    waiting: VecDeque<Waiting>,
    turn: Option<Turn>,
}

/// A message that has not joined a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    end: End,
    text: String,
}

/// A live turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    /// The rounds begun so far.
    pub(crate) round: u16,
    awaits: Await,
    /// The messages that end with it.
    members: Vec<End>,
    /// What people wrote in it.
    texts: Vec<String>,
    /// A person has said no in it.
    denied: bool,
    /// The reply of this round was cut off.
    cut_off: bool,
    /// How large the transcript was before it.
    bytes_before: usize,
    /// How often each call gave each result.
    seen: BTreeMap<Digest, u16>,
}

/// What a live turn waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Await {
    /// Being asked: it has nothing to wait for yet.
    Round,
    /// The model's reply.
    Reply(EffectId),
    /// The results of these calls.
    Results(Vec<Call>),
    /// The end: the model replied without calls.
    End(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    call: ToolCall,
    awaits: AwaitCall,
}

/// What a call waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AwaitCall {
    /// To be judged.
    Verdict,
    /// To be run: it may.
    Start,
    /// A person.
    Answer(ApprovalId),
    /// The tool.
    Outcome(EffectId),
    /// Nothing more: this is what the model reads.
    Nothing(String),
}

/// What comes after a round.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Something is still being waited for, or there is no turn.
    Wait,
    /// Ask the model again.
    Ask,
    /// The turn is over.
    End(TurnEnd),
}

impl Turns {
    /// The live turn of a session.
    pub(crate) fn live(&self, session: SessionId) -> Option<&Turn> {
        self.sessions.get(&session)?.turn.as_ref()
    }

    /// Is the turn that this effect serves still live? An effect without a turn always is.
    pub(crate) fn lives(&self, effect: &Effect) -> bool {
        let live = || self.live(effect.session()).map(|turn| turn.id);
        effect.turn().is_none() || effect.turn() == live()
    }

    /// How many messages wait in a session.
    pub(crate) fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, |c| c.waiting.len())
    }

    /// How many entries a session's transcript has, for `/status`.
    pub(crate) fn remembered(&self, session: SessionId) -> usize {
        let found = self.sessions.get(&session);
        found.map_or(0, |c| c.transcript.len())
    }

    /// What a prompt for this session carries, and its digest.
    pub(crate) fn window(&self, session: SessionId) -> Option<(Vec<Arc<Entry>>, Digest)> {
        Some(self.sessions.get(&session)?.transcript.window())
    }

    /// Begins a turn, if the session is idle and something waits.
    pub(crate) fn begin(&self, session: SessionId, seq: Seq) -> Vec<Record> {
        match self.sessions.get(&session) {
            Some(c) if c.turn.is_none() && !c.waiting.is_empty() => vec![Record::TurnBegan {
                session,
                turn: TurnId(seq),
            }],
            _ => Vec::new(),
        }
    }

    /// Begins a round: what waits joins, and the model is to be asked.
    pub(crate) fn ask(&self, session: SessionId) -> Vec<Record> {
        let Some(conversation) = self.sessions.get(&session) else {
            return Vec::new();
        };
        let Some(turn) = &conversation.turn else {
            return Vec::new();
        };
        let mut records = Vec::with_capacity(2);
        if !conversation.waiting.is_empty() {
            let waiting = conversation.waiting.iter();
            records.push(Record::Joined {
                session,
                messages: waiting.map(|w| w.end.message).collect(),
            });
        }
        records.push(Record::Asked {
            session,
            round: turn.round + 1,
        });
        records
    }

    /// What comes next, once nothing of the round is open.
    pub(crate) fn next(&self, limits: &Limits, session: SessionId) -> Next {
        let Some(conversation) = self.sessions.get(&session) else {
            return Next::Wait;
        };
        let Some(turn) = &conversation.turn else {
            return Next::Wait;
        };
        let end = |text: String| Next::End(TurnEnd::Failed(text));
        match &turn.awaits {
            Await::End(text) => Next::End(TurnEnd::Replied(text.clone())),
            Await::Results(calls) if !calls.iter().all(Call::is_over) => Next::Wait,
            Await::Results(_) => {
                let bytes = conversation.transcript.bytes();
                let added = bytes.saturating_sub(turn.bytes_before);
                if turn.seen.values().any(|&times| times >= limits.same_result) {
                    end(say::no_progress(limits.same_result))
                } else if added > limits.turn_bytes {
                    end(say::turn_too_large(limits.turn_bytes))
                } else {
                    Next::Ask
                }
            }
            Await::Round | Await::Reply(_) => Next::Wait,
        }
    }

    /// The model wants tools although the turn has had its rounds.
    pub(crate) fn out_of_rounds(&self, limits: &Limits, session: SessionId) -> Option<TurnEnd> {
        let turn = self.live(session)?;
        let wants = matches!(turn.awaits, Await::Results(_));
        (wants && turn.round > limits.max_tool_rounds)
            .then(|| TurnEnd::Failed(say::out_of_rounds(limits.max_tool_rounds)))
    }

    /// Ends the live turn. A stop ends what waits as well, and the message that said so.
    pub(crate) fn end(
        &self,
        session: SessionId,
        end: TurnEnd,
        stopper: Option<End>,
    ) -> Vec<Record> {
        let Some(conversation) = self.sessions.get(&session) else {
            return Vec::new();
        };
        let turn = conversation.turn.as_ref();
        let mut ends: Vec<End> = turn.map(|t| t.members.clone()).unwrap_or_default();
        if end == TurnEnd::Stopped {
            ends.extend(conversation.waiting.iter().map(|w| w.end.clone()));
        }
        if turn.is_none() && ends.is_empty() {
            return Vec::new();
        }
        ends.extend(stopper);
        vec![Record::TurnEnded {
            session,
            turn: turn.map(|t| t.id),
            end,
            ends,
        }]
    }

    /// The next live turn to run out of time.
    pub(crate) fn deadline(&self) -> Option<(Time, SessionId)> {
        self.live.iter().map(|(id, at)| (*at, *id)).min()
    }

    pub(crate) fn evolve(&mut self, limits: &Limits, at: Time, record: &Record) {
        let Some(session) = record.session() else {
            return;
        };
        match record {
            Record::Opened { .. } => {
                self.sessions.insert(session, Conversation::default());
            }
            Record::TurnBegan { .. } => {
                self.live.insert(session, at.after_ms(limits.turn_ms));
            }
            Record::TurnEnded { .. } => {
                self.live.remove(&session);
            }
            _ => {}
        }
        if let Some(conversation) = self.sessions.get_mut(&session) {
            conversation.evolve(limits, record);
        }
    }
}

impl Turn {
    /// Is it this reply that the turn waits for?
    pub(crate) fn awaits_reply(&self, effect: EffectId) -> bool {
        self.awaits == Await::Reply(effect)
    }

    /// The calls of this round that nobody has judged yet.
    pub(crate) fn unjudged(&self) -> impl Iterator<Item = (u16, &ToolCall)> {
        let verdict = |call: &Call| call.awaits == AwaitCall::Verdict;
        self.calls()
            .filter(move |(_, call)| verdict(call))
            .map(|(index, call)| (index, &call.call))
    }

    /// A call that may run, or that a person is to be asked about.
    pub(crate) fn call(&self, index: u16) -> Option<&ToolCall> {
        let found = self.calls().find(|(at, _)| *at == index);
        found.map(|(_, call)| &call.call)
    }

    fn calls(&self) -> impl Iterator<Item = (u16, &Call)> {
        let calls = match &self.awaits {
            Await::Results(calls) => calls.as_slice(),
            _ => &[],
        };
        (0..).zip(calls)
    }

    /// The channels that its messages came over, each once, in their order.
    pub(crate) fn origins(&self) -> Vec<&str> {
        let mut origins: Vec<&str> = Vec::new();
        for end in &self.members {
            if !origins.contains(&end.origin.as_str()) {
                origins.push(&end.origin);
            }
        }
        origins
    }

    /// What people wrote in it.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// A person has said no in it.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// The reply of this round was cut off.
    pub(crate) fn cut_off(&self) -> bool {
        self.cut_off
    }

    fn call_mut(&mut self, found: impl Fn(u16, &AwaitCall) -> bool) -> Option<&mut Call> {
        let Await::Results(calls) = &mut self.awaits else {
            return None;
        };
        let mut numbered = (0..).zip(calls);
        let call = numbered.find(|(index, call)| found(*index, &call.awaits));
        call.map(|(_, call)| call)
    }
}

impl Call {
    fn is_over(&self) -> bool {
        matches!(self.awaits, AwaitCall::Nothing(_))
    }
}

impl Conversation {
    fn evolve(&mut self, limits: &Limits, record: &Record) {
        match record {
            Record::Accepted(accepted) if accepted.command.is_none() => self.wait(accepted),
            Record::Refreshed { .. } => self.transcript = Transcript::default(),
            Record::TurnBegan { turn, .. } => self.turn = Some(Turn::new(*turn, &self.transcript)),
            Record::Joined { messages, .. } => self.join(messages),
            Record::TurnEnded { ends, .. } => self.close(limits, ends),
            _ => self.advance(record),
        }
    }

    fn wait(&mut self, accepted: &Accepted) {
        self.waiting.push_back(Waiting {
            end: End {
                message: accepted.message,
                origin: accepted.origin.clone(),
                key: accepted.key.clone(),
            },
            text: accepted.text.clone(),
        });
    }

    fn join(&mut self, messages: &[MessageId]) {
        let Some(turn) = &mut self.turn else { return };
        for waiting in core::mem::take(&mut self.waiting) {
            if messages.contains(&waiting.end.message) {
                turn.members.push(waiting.end);
                turn.texts.push(waiting.text.clone());
                self.transcript.push(Message::User { text: waiting.text });
            } else {
                self.waiting.push_back(waiting);
            }
        }
    }

    /// The records of a round.
    fn advance(&mut self, record: &Record) {
        let Some(turn) = &mut self.turn else { return };
        match record {
            Record::Asked { round, .. } => {
                turn.round = *round;
                turn.awaits = Await::Round;
            }
            Record::Intended(effect) if effect.turn() == Some(turn.id) => match &effect.op {
                Op::Model(_) => turn.awaits = Await::Reply(effect.id),
                Op::Tool(run) => {
                    if let Some(call) = turn.call_mut(|index, _| index == run.call) {
                        call.awaits = AwaitCall::Outcome(effect.id);
                    }
                }
                Op::Deliver(_) | Op::Cancel(_) => {}
            },
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
                let awaits = AwaitCall::Nothing(render(outcome));
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
            Answer::Allowed(_) => AwaitCall::Start,
            Answer::Denied(_) => AwaitCall::Nothing(say::denied_by_person().to_string()),
            Answer::Expired => AwaitCall::Nothing(say::nobody_answered().to_string()),
        };
        if let Some(turn) = &mut self.turn {
            turn.denied |= !matches!(answer, Answer::Allowed(_));
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

    fn close(&mut self, limits: &Limits, ends: &[End]) {
        if let Some(turn) = self.turn.take()
            && let Await::Results(calls) = &turn.awaits
            && !calls.iter().all(Call::is_over)
        {
            conclude(&mut self.transcript, calls);
        }
        let ended = |w: &Waiting| ends.iter().any(|end| end.message == w.end.message);
        self.waiting.retain(|waiting| !ended(waiting));
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
        });
    }
}

impl Call {
    fn new(call: &ToolCall) -> Call {
        Call {
            call: call.clone(),
            awaits: AwaitCall::Verdict,
        }
    }
}

impl Turn {
    fn new(id: TurnId, transcript: &Transcript) -> Turn {
        Turn {
            id,
            round: 0,
            awaits: Await::Round,
            members: Vec::new(),
            texts: Vec::new(),
            denied: false,
            cut_off: false,
            bytes_before: transcript.bytes(),
            seen: BTreeMap::new(),
        }
    }
}
