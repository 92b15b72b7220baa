//! Law 14: what was stopped or taken back goes on no more.

use super::{Evidence, Verdict, broken};
use crate::story::{Event, Lines};
use openpista_core::id::{MessageId, SessionId, TurnId};
use openpista_core::input::{Input, Order};
use openpista_core::record::{Command, Record};
use openpista_core::replay::Line;
use std::collections::{BTreeMap, BTreeSet};

/// Law 14: after a stop, the turn ends at once, and no new intent serves a turn that has ended; a
/// message that is taken back ends at once, in its turn or in the queue.
pub fn law_14_nothing_new_after_a_cancel(evidence: &Evidence<'_>) -> Verdict {
    let mut named = &BTreeSet::new();
    let mut lines = Lines::default();
    let mut sessions = Sessions::default();
    for event in &evidence.story.events {
        lines.follow(event);
        match event {
            Event::Restored { owners, .. } => named = owners,
            Event::Stepped(step) => {
                let heard = sessions.may_order(named, &step.line);
                if let Err(why) = sessions.follow(&step.line) {
                    return broken(14, step.line.seq, why);
                }
                if let Err(why) = sessions.obeyed(&step.line, heard) {
                    return broken(14, step.line.seq, why);
                }
            }
            Event::Crashed { .. } => {
                sessions = Sessions::default();
                for line in lines.iter() {
                    if let Err(why) = sessions.follow(line) {
                        return broken(14, line.seq, why);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Sessions {
    names: BTreeMap<String, SessionId>,
    live: BTreeMap<SessionId, TurnId>,
    ended: BTreeSet<TurnId>,
    open: BTreeMap<(String, String), MessageId>,
    guests: BTreeSet<String>,
    /// The session, the origin and the writer of each message.
    written: BTreeMap<MessageId, (SessionId, String, String)>,
    /// Those of the messages that each live turn, or else the latest, answers.
    parts: BTreeMap<SessionId, BTreeSet<(String, String)>>,
}

impl Sessions {
    fn follow(&mut self, line: &Line) -> Result<(), String> {
        for record in &line.records {
            self.take_part(record);
            match record {
                Record::Opened { session, name } => {
                    self.names.insert(name.clone(), *session);
                }
                Record::Moved { session, to, .. } => {
                    self.names.insert(to.clone(), *session);
                }
                Record::Admitted { peer, .. } => drop(self.guests.insert(peer.clone())),
                Record::Expelled { peer, .. } => drop(self.guests.remove(peer)),
                Record::Accepted(a) if a.command.is_none() => {
                    let key = (a.origin.clone(), a.key.clone());
                    self.open.insert(key, a.message);
                }
                Record::TurnBegan { session, turn } => drop(self.live.insert(*session, *turn)),
                Record::TurnEnded {
                    session,
                    turn,
                    ends,
                    ..
                } => {
                    self.ended.extend(turn);
                    if turn.is_some() {
                        self.live.remove(session);
                    }
                    let over = |message: &MessageId| ends.iter().any(|e| e.message == *message);
                    self.open.retain(|_, message| !over(message));
                }
                Record::Intended(effect)
                    if effect.turn().is_some_and(|turn| self.ended.contains(&turn)) =>
                {
                    return Err(format!("{} serves an ended turn", effect.id));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Who wrote what, and which messages a turn answers.
    fn take_part(&mut self, record: &Record) {
        match record {
            Record::Accepted(a) => {
                let by = (a.session, a.origin.clone(), a.peer.clone());
                self.written.insert(a.message, by);
            }
            Record::TurnBegan { session, .. } => drop(self.parts.remove(session)),
            Record::Joined { session, messages } => {
                let written = messages.iter().filter_map(|m| self.written.get(m));
                let parts = self.parts.entry(*session).or_default();
                parts.extend(written.map(|(_, origin, peer)| (origin.clone(), peer.clone())));
            }
            _ => {}
        }
    }

    /// May whoever gives an order with this step? The operator's own always; a guest where they
    /// have a part in it; nobody else ever.
    fn may_order(&self, owners: &BTreeSet<String>, line: &Line) -> bool {
        let typed = line.records.iter().find_map(|record| match record {
            Record::Accepted(a) if stops(a.command) => Some(a),
            _ => None,
        });
        let opens = |r: &Record| matches!(r, Record::Opened { .. });
        if line.records.iter().any(opens) {
            // Where there was nothing there is nothing to end.
            return true;
        }
        let (session, by, origin, own) = match (&line.input, typed) {
            (Input::Order(Order::Stop { session, by }), _) => {
                (self.names.get(session).copied(), by, by, false)
            }
            (Input::Order(Order::Cancel { origin, key, by }), _) => {
                let message = self.open.get(&(origin.clone(), key.clone()));
                let written = message.and_then(|m| self.written.get(m));
                let own = written.is_none_or(|(_, _, peer)| peer == by);
                (written.map(|(session, ..)| *session), by, by, own)
            }
            (_, Some(typed)) => (Some(typed.session), &typed.peer, &typed.origin, false),
            _ => return true,
        };
        let known = self.guests.contains(by);
        owners.contains(by) || known && (own || self.concerns(session, by, origin))
    }

    fn concerns(&self, session: Option<SessionId>, by: &str, origin: &str) -> bool {
        let Some(session) = session else { return true };
        let parts = self.parts.get(&session).into_iter().flatten();
        let lives = self.live.contains_key(&session);
        let mut parts = parts.map(|(of, peer)| of == origin || (lives && peer == by));
        parts.any(|has| has) || self.names.get(origin) == Some(&session)
    }

    /// What this step was told to end has ended; or, if whoever said so had no right to, nothing
    /// has.
    fn obeyed(&self, line: &Line, heard: bool) -> Result<(), String> {
        if !heard {
            let ends =
                |r: &Record| matches!(r, Record::TurnEnded { .. } | Record::Refreshed { .. });
            let nothing = !line.records.iter().any(ends);
            return nothing.then_some(()).ok_or("obeyed was who may not".into());
        }
        let stopped = match &line.input {
            Input::Order(Order::Cancel { origin, key, .. }) => {
                let open = self.open.get(&(origin.clone(), key.clone()));
                return match open {
                    Some(message) => Err(format!("message {message} survived being taken back")),
                    None => Ok(()),
                };
            }
            Input::Order(Order::Stop { session, .. }) => self.names.get(session).copied(),
            _ => line.records.iter().find_map(|record| match record {
                Record::Accepted(a) if stops(a.command) => Some(a.session),
                _ => None,
            }),
        };
        let survivor = stopped.and_then(|session| self.live.get(&session));
        match survivor.filter(|turn| turn.0 != line.seq) {
            Some(turn) => Err(format!("turn {turn} survived a stop")),
            None => Ok(()),
        }
    }
}

fn stops(command: Option<Command>) -> bool {
    matches!(command, Some(Command::Stop | Command::New))
}
