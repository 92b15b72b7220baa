//! A journal as a test reads it: beside the program, from the database alone, and what must hold
//! of it whatever happened to the processes that wrote it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::tool::RunTool;
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{Attempt, EffectId, Seq};
use openpista_core::record::{Accepted, Record};
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Everything that was decided, oldest first.
#[derive(Debug)]
pub struct History {
    records: Vec<(Seq, Record)>,
}

/// An effect over all its tries.
#[derive(Debug)]
pub struct Life<'a> {
    /// As it was first intended.
    pub effect: &'a Effect,
    /// The tries, in order.
    pub attempts: Vec<Attempt>,
    /// The records that ended it: there is to be one.
    pub ends: Vec<&'a Record>,
}

impl Life<'_> {
    /// It is a tool's run.
    pub fn tool(&self) -> Option<&RunTool> {
        match &self.effect.op {
            Op::Tool(run) => Some(run),
            _ => None,
        }
    }

    /// It may have happened, and nobody knows.
    pub fn is_doubted(&self) -> bool {
        matches!(self.ends[..], [Record::Doubted { .. }])
    }

    fn was_shown(&self) -> bool {
        let shown = Outcome::Deliver(Ok(Delivered));
        matches!(self.ends[..], [Record::Settled { outcome, .. }] if *outcome == shown)
    }
}

/// Opens a database for reading alone, beside the program that may be writing it.
pub fn open(database: &Path) -> Connection {
    let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the database opens");
    conn.busy_timeout(Duration::from_secs(30))
        .expect("a timeout");
    conn
}

impl History {
    /// Reads the journal in this database.
    pub fn read(database: &Path) -> History {
        let conn = open(database);
        let mut query = conn
            .prepare("SELECT seq, records FROM steps ORDER BY seq")
            .expect("the journal has steps");
        let rows = query.query_map([], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        });
        let mut records = Vec::new();
        for row in rows.expect("the steps can be read") {
            let (seq, text) = row.expect("the step can be read");
            let step: Vec<Record> = serde_json::from_str(&text).expect("records");
            records.extend(
                step.into_iter()
                    .map(|record| (Seq(seq.cast_unsigned()), record)),
            );
        }
        History { records }
    }

    /// Every record with its position.
    pub fn records(&self) -> impl Iterator<Item = (Seq, &Record)> {
        self.records.iter().map(|(seq, record)| (*seq, record))
    }

    /// The messages that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &Accepted> {
        self.records().filter_map(|(_, record)| match record {
            Record::Accepted(accepted) => Some(accepted),
            _ => None,
        })
    }

    /// The texts that were to be shown, questions aside.
    pub fn queued(&self) -> impl Iterator<Item = &str> {
        self.queued_for("")
    }

    /// The same, for the origins that begin so.
    pub fn queued_for<'a>(&'a self, origins: &'a str) -> impl Iterator<Item = &'a str> {
        self.records().filter_map(move |(_, record)| match record {
            Record::Queued { body, origin, .. } if origin.starts_with(origins) => body.text(),
            _ => None,
        })
    }

    /// Every effect, by its identity.
    pub fn effects(&self) -> BTreeMap<EffectId, Life<'_>> {
        let mut effects: BTreeMap<EffectId, Life<'_>> = BTreeMap::new();
        for (_, record) in self.records() {
            match record {
                Record::Intended(effect) => {
                    let life = effects.entry(effect.id).or_insert(Life {
                        effect,
                        attempts: Vec::new(),
                        ends: Vec::new(),
                    });
                    life.attempts.push(effect.attempt);
                }
                Record::Answered { effect, .. }
                | Record::Settled { effect, .. }
                | Record::Doubted { effect, .. } => {
                    if let Some(life) = effects.get_mut(effect) {
                        life.ends.push(record);
                    }
                }
                _ => {}
            }
        }
        effects
    }

    /// What is wrong with a journal whose program has come to rest; nothing is to be.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults_of_messages();
        faults.extend(self.faults_of_effects());
        faults.extend(self.faults_of_showing(""));
        faults
    }

    /// Laws 1 and 3: each message is accepted once and has one end, which is told once.
    pub fn faults_of_messages(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut keys = BTreeSet::new();
        let (mut ended, mut told) = (BTreeMap::new(), BTreeMap::new());
        for (seq, record) in self.records() {
            let (count, ends) = match record {
                Record::TurnEnded { ends, .. } => (&mut ended, ends),
                Record::Queued { ends, .. } => (&mut told, ends),
                Record::Refused { refusal, .. } => {
                    faults.push(format!("step {seq} refused a message: {refusal:?}"));
                    continue;
                }
                _ => continue,
            };
            for end in ends {
                *count.entry(end.message).or_insert(0) += 1;
            }
        }
        for Accepted {
            key,
            text,
            message,
            command,
            ..
        } in self.accepted()
        {
            if !keys.insert(key) {
                faults.push(format!("message {message} ({text:?}) was accepted twice"));
            }
            let ended = ended.remove(message).unwrap_or(0);
            if command.is_none() && ended != 1 {
                faults.push(format!("message {message} ({text:?}) ended {ended} times"));
            }
            let told = told.remove(message).unwrap_or(0);
            if told != 1 {
                faults.push(format!(
                    "the end of message {message} ({text:?}) was told {told} times"
                ));
            }
        }
        for message in ended.keys().chain(told.keys()) {
            faults.push(format!(
                "message {message} ended without having been accepted"
            ));
        }
        faults
    }

    /// Laws 5 and 6: each effect is tried in order and ends once, and a tool is tried once.
    pub fn faults_of_effects(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let effects = self.effects();
        for (id, life) in &effects {
            let tries = (1..=life.attempts.len()).map(|n| Attempt(u16::try_from(n).unwrap_or(0)));
            if !tries.eq(life.attempts.iter().copied()) {
                faults.push(format!("effect {id} was tried as {:?}", life.attempts));
            }
            if life.tool().is_some() && life.attempts.len() > 1 {
                faults.push(format!("tool {id} ran {} times", life.attempts.len()));
            }
            if life.ends.len() != 1 {
                faults.push(format!(
                    "effect {id} ended {} times: {:?}",
                    life.ends.len(),
                    life.effect
                ));
            }
        }
        faults
    }

    /// What was queued for the origins that begin so was shown.
    pub fn faults_of_showing(&self, origins: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let effects = self.effects();
        let shown = effects.values().filter(|life| life.was_shown());
        let shown = shown.filter_map(|life| match &life.effect.op {
            Op::Deliver(delivery) if delivery.origin.starts_with(origins) => delivery.body.text(),
            _ => None,
        });
        let mut missing: BTreeMap<&str, i64> = BTreeMap::new();
        self.queued_for(origins)
            .for_each(|text| *missing.entry(text).or_default() += 1);
        shown.for_each(|text| *missing.entry(text).or_default() -= 1);
        for (text, count) in missing.into_iter().filter(|(_, count)| *count != 0) {
            faults.push(format!("queued {count} times more than shown: {text:?}"));
        }
        faults
    }
}
