//! Virtual time: an agenda of what will happen, and a clock that jumps to the next of it.
//!
//! Entries of the same moment happen in the order in which they were put down. What belongs to
//! the process dies with it; what belongs to the world outside does not.

use openpista_core::time::Time;
use std::collections::BTreeMap;

/// Whose entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The process: a crash wipes it out.
    Process,
    /// People, channels and the machine's own starting again.
    Outside,
}

/// The clock on the wall: it goes on with time, from where it was last set to.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    ahead_ms: i64,
    began_unix_ms: u64,
}

impl Wall {
    /// A clock that showed this when time began.
    pub fn new(began_unix_ms: u64) -> Wall {
        Wall {
            ahead_ms: 0,
            began_unix_ms,
        }
    }

    /// Somebody sets it.
    pub fn set(&mut self, by_ms: i64) {
        self.ahead_ms = self.ahead_ms.saturating_add(by_ms);
    }

    /// What it shows: milliseconds since 1970 in UTC.
    pub fn unix_ms(self, now: Time) -> u64 {
        let shown = self.began_unix_ms.saturating_add(now.as_ms());
        shown.saturating_add_signed(self.ahead_ms)
    }
}

/// What is to come.
#[derive(Debug)]
pub struct Agenda<T> {
    now: Time,
    made: u64,
    entries: BTreeMap<(Time, u64), (Owner, T)>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Agenda {
            now: Time::ZERO,
            made: 0,
            entries: BTreeMap::new(),
        }
    }
}

impl<T> Agenda<T> {
    /// The moment.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Puts an entry down. A moment that has passed means now.
    pub fn put(&mut self, owner: Owner, at: Time, entry: T) {
        self.made += 1;
        self.entries
            .insert((at.max(self.now), self.made), (owner, entry));
    }

    /// When the next entry happens.
    pub fn next(&self) -> Option<Time> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock on; never back.
    pub fn advance(&mut self, to: Time) {
        self.now = self.now.max(to);
    }

    /// Takes the next entry that is due.
    pub fn take_due(&mut self) -> Option<T> {
        let entry = self.entries.first_entry()?;
        if entry.key().0 > self.now {
            return None;
        }
        Some(entry.remove().1)
    }

    /// The process died.
    pub fn crash(&mut self) {
        self.entries
            .retain(|_, (owner, _)| *owner == Owner::Outside);
    }
}
