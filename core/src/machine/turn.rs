//! The turn: the loop of asking the model and running what it calls, one live turn a session
//! (law 12).
//!
//! Messages that arrive while a turn runs wait, and join it at the model's next call; its end is
//! theirs. Rounds, bytes, time and repetition are bounded, and each bound ends the turn with a
//! sentence. The transcript is always one that a provider takes: every call has its result.

mod conversation;
mod live;
mod transcript;

use crate::digest::Digest;
use crate::effect::Effect;
use crate::effect::deliver::End;
use crate::id::{Seq, SessionId, TurnId};
use crate::limit::Limits;
use crate::message::Entry;
use crate::record::{Record, TurnEnd};
use crate::say;
use crate::time::Time;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use conversation::Conversation;
use live::{Await, Call};
use serde::{Deserialize, Serialize};

pub(crate) use live::Turn;

/// All conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turns {
    sessions: BTreeMap<SessionId, Conversation>,
    /// When each live turn will have used up its time.
    live: BTreeMap<SessionId, Time>,
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

    /// How many turns are live, and how many messages wait for one.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let waiting = self.sessions.values().map(|c| c.waiting.len());
        (self.live.len(), waiting.sum())
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

    /// The channels of a session's live turn, or else of its latest.
    pub(crate) fn origins(&self, session: SessionId) -> Vec<String> {
        let Some(conversation) = self.sessions.get(&session) else {
            return Vec::new();
        };
        match &conversation.turn {
            Some(turn) => turn.origins().into_iter().map(String::from).collect(),
            None => conversation.last_origins.clone(),
        }
    }

    /// Somebody wrote a message that a session's live turn answers.
    pub(crate) fn answers(&self, session: SessionId, peer: &str) -> bool {
        let live = self.live(session);
        live.is_some_and(|turn| turn.peers().iter().any(|of| of == peer))
    }

    /// The session in which a message has not come to its end, and whether this peer wrote it and
    /// it only waits.
    pub(crate) fn find(&self, origin: &str, key: &str, peer: &str) -> Option<(SessionId, bool)> {
        let is = |end: &End| end.origin == origin && end.key == key;
        self.live.keys().find_map(|session| {
            let conversation = self.sessions.get(session)?;
            let turn = conversation.turn.as_ref()?;
            if turn.members.iter().any(is) {
                return Some((*session, false));
            }
            let found = conversation.waiting.iter().find(|w| is(&w.end))?;
            Some((*session, found.peer == peer))
        })
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

    /// When a session's turn runs out of time.
    pub(crate) fn due(&self, session: SessionId) -> Option<Time> {
        self.live.get(&session).copied()
    }

    /// Ends the live turn that this message is in, or drops it if it waits. What else waits goes
    /// on.
    pub(crate) fn cancel(&self, origin: &str, key: &str) -> Vec<Record> {
        let is = |end: &&End| end.origin == origin && end.key == key;
        let found = self.live.keys().find_map(|session| {
            let conversation = self.sessions.get(session)?;
            let turn = conversation.turn.as_ref()?;
            if turn.members.iter().any(|end| is(&end)) {
                return Some((*session, Some(turn.id), turn.members.clone()));
            }
            let mut waiting = conversation.waiting.iter().map(|w| &w.end);
            Some((*session, None, vec![waiting.find(is)?.clone()]))
        });
        let ended = found.map(|(session, turn, ends)| Record::TurnEnded {
            session,
            turn,
            end: TurnEnd::Stopped,
            ends,
        });
        Vec::from_iter(ended)
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
            Record::TurnEnded { turn: Some(_), .. } => {
                self.live.remove(&session);
            }
            _ => {}
        }
        if let Some(conversation) = self.sessions.get_mut(&session) {
            conversation.evolve(limits, record);
        }
    }
}
