//! The router: which session a message belongs to, who may speak, and that each (origin, key) is
//! taken once (law 3).
//!
//! It remembers the latest [`crate::limit::Limits::keys`] keys of each origin. A key that is older
//! than those is taken for new, so a channel must not redeliver from further back. Strangers leave
//! no trace at all.

use crate::id::{MessageId, Seq, SessionId};
use crate::input::Arrival;
use crate::record::{Accepted, Command, Record};
use crate::refusal::Refusal;
use crate::say;
use crate::settings::Settings;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The longest name of a session, origin, peer or key, in bytes.
const NAME_BYTES: usize = 256;

/// What the router remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Router {
    sessions: BTreeMap<String, SessionId>,
    names: BTreeMap<SessionId, String>,
    origins: BTreeMap<String, Keys>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Keys {
    /// Each key, and whether its message was turned away.
    known: BTreeMap<String, bool>,
    oldest_first: VecDeque<String>,
}

/// How much waits in a session already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    pub(crate) deliveries: usize,
}

/// What becomes of an arrival.
#[derive(Debug)]
pub(crate) enum Routed {
    /// Taken, or turned away on the record.
    Records(Vec<Record>),
    /// Known already.
    Duplicate,
    /// Turned away without a trace.
    Refused(Refusal),
}

impl Router {
    pub(crate) fn arrive(
        &self,
        settings: &Settings,
        seq: Seq,
        arrival: &Arrival,
        load: impl Fn(SessionId) -> Load,
    ) -> Routed {
        if let Err(refusal) = self.admit(settings, arrival) {
            return Routed::Refused(refusal);
        }
        match self.known(&arrival.origin, &arrival.key) {
            Some(true) => return Routed::Refused(Refusal::Limit(say::turned_away().to_string())),
            Some(false) => return Routed::Duplicate,
            None => {}
        }
        let name = arrival.session.as_ref().unwrap_or(&arrival.origin);
        let known = self.sessions.get(name).copied();
        let command = command(&arrival.text);
        if let Err(refusal) = self.room(settings, arrival, command, known.map(load)) {
            return Routed::Records(vec![Record::Refused {
                session: known,
                origin: arrival.origin.clone(),
                key: arrival.key.clone(),
                refusal,
            }]);
        }
        let mut records = Vec::with_capacity(6);
        let session = known.unwrap_or(SessionId(seq));
        if known.is_none() {
            records.push(Record::Opened {
                session,
                name: name.clone(),
            });
        }
        records.push(Record::Accepted(Accepted {
            session,
            message: MessageId(seq),
            origin: arrival.origin.clone(),
            key: arrival.key.clone(),
            peer: arrival.peer.clone(),
            text: arrival.text.clone(),
            command,
        }));
        Routed::Records(records)
    }

    /// May this be looked at at all?
    fn admit(&self, settings: &Settings, arrival: &Arrival) -> Result<(), Refusal> {
        if !settings.owners.contains(&arrival.peer) {
            return Err(Refusal::Peer(
                "You are not known here. The owner can let you in.".to_string(),
            ));
        }
        let session = arrival.session.as_deref().unwrap_or("-");
        for (what, name) in [
            ("session name", session),
            ("origin", arrival.origin.as_str()),
            ("key", arrival.key.as_str()),
        ] {
            if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
                return Err(Refusal::Peer(format!(
                    "The {what} must have 1 to {NAME_BYTES} bytes and no control characters."
                )));
            }
        }
        if arrival.text.trim().is_empty() {
            return Err(Refusal::Peer("The message is empty.".to_string()));
        }
        let full = self.origins.len() >= settings.limits.sessions;
        if full && !self.origins.contains_key(&arrival.origin) {
            return Err(Refusal::Limit(format!(
                "There are {} conversations already, as many as [limits] sessions allows.",
                settings.limits.sessions
            )));
        }
        Ok(())
    }

    /// Is there room for it?
    fn room(
        &self,
        settings: &Settings,
        arrival: &Arrival,
        command: Option<Command>,
        load: Option<Load>,
    ) -> Result<(), Refusal> {
        let limits = &settings.limits;
        let bytes = arrival.text.len();
        if bytes > limits.message_bytes {
            return Err(Refusal::Limit(format!(
                "The message has {bytes} bytes; at most {} are taken. Send it in parts, or as a file.",
                limits.message_bytes
            )));
        }
        let Some(load) = load else {
            if self.sessions.len() >= limits.sessions {
                return Err(Refusal::Limit(format!(
                    "There are {} sessions already, as many as [limits] sessions allows.",
                    limits.sessions
                )));
            }
            return Ok(());
        };
        if load.messages >= limits.queued_messages && command.is_none() {
            return Err(Refusal::Limit(format!(
                "{} messages wait in this session already. Wait for the reply, or send /stop.",
                load.messages
            )));
        }
        if load.deliveries >= limits.queued_deliveries {
            return Err(Refusal::Limit(format!(
                "{} replies wait to be delivered in this session. Try again when they got through.",
                load.deliveries
            )));
        }
        Ok(())
    }

    /// Whether a known key's message was turned away; none for a new key.
    fn known(&self, origin: &str, key: &str) -> Option<bool> {
        self.origins.get(origin)?.known.get(key).copied()
    }

    /// The session of that name.
    pub(crate) fn session(&self, name: &str) -> Option<SessionId> {
        self.sessions.get(name).copied()
    }

    /// The name of that session.
    pub(crate) fn name(&self, session: SessionId) -> &str {
        self.names.get(&session).map_or("", String::as_str)
    }

    pub(crate) fn evolve(&mut self, settings: &Settings, record: &Record) {
        match record {
            Record::Opened { session, name } => {
                self.sessions.insert(name.clone(), *session);
                self.names.insert(*session, name.clone());
            }
            Record::Accepted(accepted) => {
                self.remember(settings, &accepted.origin, &accepted.key, false);
            }
            Record::Refused { origin, key, .. } => self.remember(settings, origin, key, true),
            _ => {}
        }
    }

    fn remember(&mut self, settings: &Settings, origin: &str, key: &str, refused: bool) {
        let keys = self.origins.entry(origin.to_string()).or_default();
        if keys.known.insert(key.to_string(), refused).is_none() {
            keys.oldest_first.push_back(key.to_string());
        }
        while keys.oldest_first.len() > settings.limits.keys {
            if let Some(oldest) = keys.oldest_first.pop_front() {
                keys.known.remove(&oldest);
            }
        }
    }
}

/// The command that a text is, if it is one.
fn command(text: &str) -> Option<Command> {
    match text.trim() {
        "/help" | "/start" => Some(Command::Help),
        "/new" => Some(Command::New),
        "/stop" => Some(Command::Stop),
        "/status" => Some(Command::Status),
        _ => None,
    }
}
