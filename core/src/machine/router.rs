//! The router: which session a message belongs to, who may speak, and that each (origin, key) is
//! taken once (law 3).
//!
//! It remembers the latest [`crate::limit::Limits::keys`] keys of each origin. A channel that numbers
//! its messages may redeliver from as far back as it likes: what is not above the forgotten
//! numbers is known. Without numbers, a key that is older than the latest is taken for new.
//! Strangers leave no trace at all.

use crate::id::{MessageId, Seq, SessionId};
use crate::input::Arrival;
use crate::record::{Accepted, Asked, Command, Record};
use crate::refusal::Refusal;
use crate::say;
use crate::settings::Settings;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The most origins that may write in one session.
const PLACES: usize = 64;
/// The longest name of a session, origin, peer or key, in bytes.
const NAME_BYTES: usize = 256;

/// How the keys of jobs' messages begin. Nobody else may use such a key, and a job uses each once
/// (law 16), so they take no room among those that are remembered.
pub(crate) const JOB_KEY: &str = "job:";

/// What the router remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Router {
    sessions: BTreeMap<String, SessionId>,
    names: BTreeMap<SessionId, String>,
    /// The names that sessions had before, each with the one that it has now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    moved: BTreeMap<String, String>,
    origins: BTreeMap<String, Keys>,
    /// The origins that wrote in each session.
    places: BTreeMap<SessionId, BTreeSet<String>>,
    /// People who were let in beside those whom the configuration names, as `channel:user`.
    guests: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Keys {
    /// Each key, and whether its message was turned away.
    known: BTreeMap<String, bool>,
    oldest_first: VecDeque<(String, Option<u64>)>,
    /// The highest number that was forgotten: it and all below it are known.
    floor: Option<u64>,
}

/// How much waits in a session already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    /// Over the channel that the message came over.
    pub(crate) deliveries: usize,
}

/// Who makes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Somebody, over a channel.
    Person,
    /// The operator, by a job in the configuration: that bounds how many there are.
    Operator,
    /// The agent, by a job that it made.
    Agent,
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
    /// Routes an arrival.
    pub(crate) fn arrive(
        &self,
        settings: &Settings,
        seq: Seq,
        (arrival, sender): (&Arrival, Sender),
        load: impl Fn(SessionId) -> Load,
    ) -> Routed {
        if let Err(refusal) = self.check(settings, arrival, sender) {
            return Routed::Refused(refusal);
        }
        match self.known(arrival) {
            Some(true) => return Routed::Refused(Refusal::Limit(say::turned_away().to_string())),
            Some(false) => return Routed::Duplicate,
            None => {}
        }
        let name = arrival.session.as_ref().unwrap_or(&arrival.origin);
        let known = self.session(name);
        // Other sessions make it so: on the record it would not replay without them (law 11).
        let seat = self.seats(settings, &arrival.origin, known);
        if let (Sender::Person, Err(refusal)) = (sender, seat) {
            return Routed::Refused(refusal);
        }
        let by_agent = sender == Sender::Agent;
        let command = command(&arrival.text).filter(|_| !by_agent);
        if let Err(refusal) = self.room(settings, arrival, command, known.map(load)) {
            return Routed::Records(vec![Record::Refused {
                session: known,
                origin: arrival.origin.clone(),
                key: arrival.key.clone(),
                serial: arrival.serial,
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
            serial: arrival.serial,
            by_agent,
            command,
        }));
        Routed::Records(records)
    }

    /// May this be looked at at all?
    fn check(&self, settings: &Settings, arrival: &Arrival, sender: Sender) -> Result<(), Refusal> {
        if !self.may_speak(settings, &arrival.peer) {
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
            if !fits(name) {
                return Err(Refusal::Peer(format!(
                    "The {what} must have 1 to {NAME_BYTES} bytes and no control characters."
                )));
            }
        }
        if sender == Sender::Person && arrival.key.starts_with(JOB_KEY) {
            return Err(Refusal::Peer(format!(
                "The key must not begin with {JOB_KEY:?}: jobs have such keys."
            )));
        }
        if arrival.text.trim().is_empty() {
            return Err(Refusal::Peer("The message is empty.".to_string()));
        }
        Ok(())
    }

    /// May there be another session, or another origin in this one?
    fn seats(
        &self,
        settings: &Settings,
        origin: &str,
        session: Option<SessionId>,
    ) -> Result<(), Refusal> {
        let most = settings.limits.sessions;
        let Some(session) = session else {
            if self.sessions.len() < most {
                return Ok(());
            }
            return Err(Refusal::Limit(format!(
                "There are {most} sessions already, as many as [limits] sessions allows."
            )));
        };
        match self.places.get(&session) {
            Some(places) if places.len() >= PLACES && !places.contains(origin) => {
                Err(Refusal::Limit(format!(
                    "{PLACES} others write in this session already, and there cannot be more."
                )))
            }
            _ => Ok(()),
        }
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
                "{} replies wait to be delivered here already. Try again when they got through.",
                load.deliveries
            )));
        }
        Ok(())
    }

    /// Whether a known key's message was turned away; none for a new key.
    fn known(&self, arrival: &Arrival) -> Option<bool> {
        let keys = self.origins.get(&arrival.origin)?;
        let forgotten = arrival.serial.is_some() && arrival.serial <= keys.floor;
        keys.known
            .get(&arrival.key)
            .copied()
            .or(forgotten.then_some(false))
    }

    /// Is this somebody whom the operator named, or whom such a one let in?
    pub(crate) fn may_speak(&self, settings: &Settings, peer: &str) -> bool {
        settings.owners.contains(peer) || self.guests.contains(peer)
    }

    /// Carries out a text that lets somebody in or shuts them out. That uses up its key, so that
    /// what is redelivered later cannot undo what was said since.
    pub(crate) fn admission(
        &self,
        settings: &Settings,
        arrival: &Arrival,
        (peer, let_in): (&str, bool),
    ) -> Routed {
        let by = &arrival.peer;
        if let Err(refusal) = self.check(settings, arrival, Sender::Person) {
            return Routed::Refused(refusal);
        }
        if self.known(arrival).is_some() {
            return Routed::Duplicate;
        }
        match self.may_admit(settings, peer, by, let_in) {
            Err(refusal) => Routed::Refused(refusal),
            Ok(_) => {
                let asked = Asked {
                    origin: arrival.origin.clone(),
                    key: arrival.key.clone(),
                    serial: arrival.serial,
                };
                Routed::Records(vec![admitted(peer, by, let_in, Some(asked))])
            }
        }
    }

    /// Carries out an order that lets somebody in or shuts them out. Nothing, if that is how it is
    /// already, or who says so has no right to.
    pub(crate) fn admit(
        &self,
        settings: &Settings,
        peer: &str,
        by: &str,
        let_in: bool,
    ) -> Option<Record> {
        let changes = self.may_admit(settings, peer, by, let_in);
        matches!(changes, Ok(true)).then(|| admitted(peer, by, let_in, None))
    }

    /// May that be said, and does it change anything?
    fn may_admit(
        &self,
        settings: &Settings,
        peer: &str,
        by: &str,
        let_in: bool,
    ) -> Result<bool, Refusal> {
        if !settings.owners.contains(by) {
            return Err(Refusal::Peer(
                "Only those whom the configuration names can let people in.".to_string(),
            ));
        }
        let fits = peer.len() <= NAME_BYTES && !peer.chars().any(char::is_control);
        let named = matches!(peer.split_once(':'), Some((_, user)) if !user.is_empty());
        if !(fits && named) {
            return Err(Refusal::Peer(
                "A person is named as CHANNEL:USER, for example telegram:12345.".to_string(),
            ));
        }
        if !let_in && settings.owners.contains(peer) {
            return Err(Refusal::Operator(format!(
                "The configuration names {peer}: take them out there."
            )));
        }
        if self.guests.contains(peer) == let_in {
            return Ok(false);
        }
        if let_in && self.guests.len() >= settings.limits.guests {
            return Err(Refusal::Limit(format!(
                "{} people were let in already, as many as [limits] guests allows.",
                self.guests.len()
            )));
        }
        Ok(true)
    }

    /// A conversation goes on under another name.
    pub(crate) fn move_on(&self, settings: &Settings, from: &str, to: &str) -> Option<Record> {
        let session = self.session(from)?;
        let free = fits(to) && self.session(to).is_none();
        let room = self.moved.len() < settings.limits.sessions;
        (free && room).then(|| Record::Moved {
            session,
            from: self.name(session).to_string(),
            to: to.to_string(),
        })
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.names.len()
    }

    /// The session that has that name, or had it.
    pub(crate) fn session(&self, name: &str) -> Option<SessionId> {
        let name = self.moved.get(name).map_or(name, String::as_str);
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
            Record::Moved { session, from, to } => {
                self.sessions.remove(from);
                self.sessions.insert(to.clone(), *session);
                self.names.insert(*session, to.clone());
                let before = self.moved.values_mut().filter(|now| *now == from);
                before.for_each(|now| now.clone_from(to));
                self.moved.insert(from.clone(), to.clone());
            }
            Record::Accepted(accepted) => {
                let places = self.places.entry(accepted.session).or_default();
                places.insert(accepted.origin.clone());
                self.remember(
                    settings,
                    (&accepted.origin, &accepted.key),
                    accepted.serial,
                    false,
                );
            }
            Record::Refused {
                origin,
                key,
                serial,
                ..
            } => self.remember(settings, (origin, key), *serial, true),
            Record::Admitted { peer, asked, .. } => {
                self.guests.insert(peer.clone());
                self.remember_asked(settings, asked.as_ref());
            }
            Record::Expelled { peer, asked, .. } => {
                self.guests.remove(peer);
                self.remember_asked(settings, asked.as_ref());
            }
            _ => {}
        }
    }

    fn remember_asked(&mut self, settings: &Settings, asked: Option<&Asked>) {
        if let Some(asked) = asked {
            self.remember(settings, (&asked.origin, &asked.key), asked.serial, false);
        }
    }

    fn remember(
        &mut self,
        settings: &Settings,
        (origin, key): (&str, &str),
        serial: Option<u64>,
        refused: bool,
    ) {
        let keys = self.origins.entry(origin.to_string()).or_default();
        if key.starts_with(JOB_KEY) {
            return;
        }
        if keys.known.insert(key.to_string(), refused).is_none() {
            keys.oldest_first.push_back((key.to_string(), serial));
        }
        while keys.oldest_first.len() > settings.limits.keys {
            if let Some((forgotten, serial)) = keys.oldest_first.remove(keys.dispensable()) {
                keys.known.remove(&forgotten);
                keys.floor = keys.floor.max(serial);
            }
        }
    }
}

impl Keys {
    /// The place of the key to forget: the oldest, or of numbered ones the lowest. A late message
    /// with a number between those that are known is then still taken for new.
    fn dispensable(&self) -> usize {
        let numbered = self.oldest_first.iter().enumerate();
        let lowest = numbered.filter_map(|(at, (_, serial))| Some(((*serial)?, at)));
        match self.oldest_first.front() {
            Some((_, Some(_))) => lowest.min().map_or(0, |(_, at)| at),
            _ => 0,
        }
    }
}

/// Can that be a name?
fn fits(name: &str) -> bool {
    let length = 1..=NAME_BYTES;
    length.contains(&name.len()) && !name.chars().any(char::is_control)
}

fn admitted(peer: &str, by: &str, let_in: bool, asked: Option<Asked>) -> Record {
    let (peer, by) = (peer.to_string(), by.to_string());
    match let_in {
        true => Record::Admitted { peer, by, asked },
        false => Record::Expelled { peer, by, asked },
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

/// Whom a text asks to let in (true) or shut out (false).
pub(crate) fn admission(text: &str) -> Option<(&str, bool)> {
    let (command, peer) = text.trim().split_once(char::is_whitespace)?;
    match command {
        "/allow" => Some((peer.trim(), true)),
        "/forbid" => Some((peer.trim(), false)),
        _ => None,
    }
}
