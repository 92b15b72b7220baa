//! Asking for updates, on a thread of its own.
//!
//! The server forgets what is below the offset of a poll, so the offset never passes an update
//! that is not settled: a message that the journal does not hold yet, or was not turned away
//! (law 2). What comes again, late, or in spite of the offset is looked up among the latest; the
//! core knows the rest (law 3). Nothing that goes wrong makes it poll faster: it waits longer each
//! time, and as long as the server asks for. What the operator has to know is said once.

use super::api::{Api, Fault};
use super::update::{self, Me, Update};
use super::{CHANNEL, Pace};
use crate::metrics::Metrics;
use async_channel::{Receiver, Sender};
use async_io::Timer;
use frankenstein::types::BotCommand;
use futures_lite::FutureExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

/// How long one batch is waited for before the next poll.
const PATIENCE: Duration = Duration::from_secs(1);
/// The wait between polls that bring nothing but what is known.
const STALE: Duration = Duration::from_secs(1);
/// After so long an update that nobody settled is handed on again.
const AGAIN: Duration = Duration::from_secs(30);
/// How many updates are remembered.
const SEEN: usize = 4_096;
/// The longest wait of our own choice after an error.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;

/// What becomes of an update.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    /// It may be acknowledged.
    Settled(i64),
    /// It could not be dealt with now: hand it on again.
    Again(i64),
}

/// What the poller speaks to.
pub(super) struct Lines {
    /// Where updates go.
    pub(super) updates: Sender<Update>,
    /// What became of them.
    pub(super) words: Receiver<Word>,
    /// Closed when it is to stop.
    pub(super) stop: Receiver<Infallible>,
}

/// Asks for updates until it is told to stop.
pub(super) struct Poller {
    api: Api,
    pace: Pace,
    lines: Lines,
    seen: Seen,
    trouble: Option<Trouble>,
    backoff: Duration,
    metrics: Metrics,
}

/// What keeps updates from coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Unauthorized,
    Conflict,
    RateLimited,
    Refused,
    Unreachable,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Trouble::Unauthorized => "unauthorized",
            Trouble::Conflict => "conflict",
            Trouble::RateLimited => "rate_limited",
            Trouble::Refused => "refused",
            Trouble::Unreachable => "unreachable",
        }
    }
}

impl Poller {
    pub(super) fn new(api: Api, pace: Pace, lines: Lines, metrics: Metrics) -> Poller {
        Poller {
            api,
            pace,
            lines,
            seen: Seen::default(),
            trouble: None,
            backoff: Duration::from_millis(pace.backoff_ms),
            metrics,
        }
    }

    pub(super) fn run(mut self) {
        let Some(me) = self.identify() else {
            return;
        };
        while !self.is_stopped() {
            self.hear();
            match self.api.updates(self.seen.offset()) {
                Ok(values) => {
                    self.metrics.polled(CHANNEL, "ok");
                    self.well();
                    self.hand_on(&values, &me);
                }
                Err(fault) => self.suffer(fault),
            }
        }
    }

    /// Learns who the bot is, and tells people's apps its commands.
    fn identify(&mut self) -> Option<Me> {
        while !self.is_stopped() {
            match self.api.me() {
                Ok(user) => {
                    self.well();
                    if let Err(fault) = self.api.set_commands(commands()) {
                        tracing::warn!("telegram: the commands are not in the menu: {fault:?}");
                    }
                    let username = user.username.unwrap_or_default();
                    tracing::info!("telegram: listening as @{username}");
                    return Some(Me {
                        id: user.id,
                        username,
                    });
                }
                Err(fault) => self.suffer(fault),
            }
        }
        None
    }

    /// Passes on what is new, and waits for it to be settled, but not for ever.
    fn hand_on(&mut self, values: &[Value], me: &Me) {
        let mut fresh = false;
        for value in values {
            let Some(update) = update::read(value, me) else {
                tracing::warn!("telegram: an update without a number was passed over");
                continue;
            };
            if self.seen.admit(update.id) {
                fresh = true;
                if self.lines.updates.send_blocking(update).is_err() {
                    return;
                }
            }
        }
        let until = match (fresh, values.is_empty()) {
            (true, _) => Instant::now() + PATIENCE,
            (false, false) => Instant::now() + STALE,
            (false, true) => return,
        };
        if fresh {
            while self.seen.waits() && self.wait_for_word(until) {}
        } else {
            // Everything is known: the server does not heed the offset, or something takes long.
            self.wait_for_word(until);
            self.sleep_until(until);
        }
    }

    /// Takes in the words that have come.
    fn hear(&mut self) {
        while let Ok(word) = self.lines.words.try_recv() {
            self.seen.take(word);
        }
    }

    /// Waits for one word. False when none came until then, or it is time to stop.
    fn wait_for_word(&mut self, until: Instant) -> bool {
        let words = self.lines.words.clone();
        let word = async { words.recv().await.ok() };
        let word = smol::block_on(word.or(self.interruption(until)));
        if let Some(word) = word {
            self.seen.take(word);
        }
        word.is_some()
    }

    fn sleep_until(&self, until: Instant) {
        smol::block_on(self.interruption::<()>(until));
    }

    /// Nothing, at that moment or when it is time to stop.
    async fn interruption<T>(&self, until: Instant) -> Option<T> {
        let time = async {
            Timer::at(until).await;
        };
        let stop = async {
            let _ = self.lines.stop.recv().await;
        };
        time.or(stop).await;
        None
    }

    fn is_stopped(&self) -> bool {
        // Without a front end nothing could be settled.
        self.lines.stop.is_closed() || self.lines.updates.is_closed()
    }

    /// The server answers.
    fn well(&mut self) {
        self.backoff = Duration::from_millis(self.pace.backoff_ms);
        if self.trouble.take().is_some() {
            tracing::info!("telegram: the server answers again");
        }
    }

    /// Says what is wrong, if that is news, and waits.
    fn suffer(&mut self, fault: Fault) {
        let (trouble, asked_ms) = match &fault {
            Fault::RateLimited { retry_after_ms } => (Trouble::RateLimited, *retry_after_ms),
            Fault::Unauthorized => (Trouble::Unauthorized, None),
            Fault::Conflict(_) => (Trouble::Conflict, None),
            Fault::Unsent(_) | Fault::Unreachable(_) => (Trouble::Unreachable, None),
            _ => (Trouble::Refused, None),
        };
        self.metrics.polled(CHANNEL, trouble.name());
        if self.trouble.replace(trouble) != Some(trouble) {
            complain(&fault);
        }
        let wait = match asked_ms {
            Some(ms) => Duration::from_millis(ms.min(RETRY_AFTER_MAX_MS)),
            None => self.backoff,
        };
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        self.sleep_until(Instant::now() + wait);
    }
}

/// Tells the operator what is wrong, and what to do.
fn complain(fault: &Fault) {
    match fault {
        Fault::Unauthorized => tracing::error!(
            "telegram: the server does not know the bot's token; set TELEGRAM_BOT_TOKEN or \
             [channels.telegram] token to the one that @BotFather gives, then start again"
        ),
        Fault::Conflict(said) => tracing::error!(
            "telegram: somebody else gets this bot's messages ({said}); stop the other program \
             that uses its token, or delete its webhook"
        ),
        Fault::RateLimited { .. } => {
            tracing::warn!("telegram: the server asks for patience; polling goes on later");
        }
        Fault::Unsent(why) | Fault::Unreachable(why) => tracing::error!(
            "telegram: the server cannot be reached ({why}); check the network and \
             [channels.telegram] api_url; it is tried again, and no message is lost"
        ),
        fault => tracing::error!(
            "telegram: the server refuses to give updates ({fault:?}); check \
             [channels.telegram] api_url"
        ),
    }
}

fn commands() -> Vec<BotCommand> {
    let commands = [
        ("help", "What I can do"),
        ("new", "Start afresh, with nothing remembered"),
        ("stop", "End what is going on"),
        ("status", "What is going on"),
    ];
    let command = |(name, does): (&str, &str)| {
        let command = BotCommand::builder().command(name);
        command.description(does).build()
    };
    commands.map(command).into()
}

/// The latest updates: when each was handed on, or none when it is settled.
#[derive(Debug, Default)]
struct Seen {
    updates: BTreeMap<i64, Option<Instant>>,
    offset: Option<i64>,
}

impl Seen {
    /// Is this one to be handed on?
    fn admit(&mut self, id: i64) -> bool {
        let now = Instant::now();
        let known = match self.updates.get(&id) {
            None => false,
            Some(None) => true,
            Some(Some(handed)) => now.duration_since(*handed) < AGAIN,
        };
        if !known {
            self.updates.insert(id, Some(now));
        }
        !known
    }

    fn take(&mut self, word: Word) {
        match word {
            Word::Settled(id) => {
                self.updates.insert(id, None);
            }
            Word::Again(id) => {
                self.updates.remove(&id);
                // It is still to be held back for.
                self.updates.insert(id, Instant::now().checked_sub(AGAIN));
            }
        }
        while self.updates.len() > SEEN {
            let settled = self.updates.iter().find(|(_, handed)| handed.is_none());
            let Some((&id, _)) = settled else { break };
            self.updates.remove(&id);
        }
    }

    /// Something was handed on and is not settled.
    fn waits(&self) -> bool {
        self.updates.values().any(Option::is_some)
    }

    /// The first update that the server is to give: below it everything is settled.
    fn offset(&mut self) -> Option<i64> {
        let mut open = self.updates.iter().filter(|(_, handed)| handed.is_some());
        let first = open.next().map(|(&id, _)| id);
        let last = self.updates.keys().next_back();
        let next = first.or(last.map(|id| id.saturating_add(1)));
        self.offset = self.offset.max(next);
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, Word};

    #[test]
    fn the_offset_never_passes_what_is_not_settled() {
        let mut seen = Seen::default();
        assert_eq!(seen.offset(), None);
        assert!(seen.admit(7) && seen.admit(5) && seen.admit(6));
        assert!(!seen.admit(5), "it is on its way");
        seen.take(Word::Settled(5));
        seen.take(Word::Settled(7));
        assert_eq!(seen.offset(), Some(6));
        seen.take(Word::Settled(6));
        assert_eq!(seen.offset(), Some(8));
        assert!(!seen.admit(6), "it is settled");
    }

    #[test]
    fn a_late_update_below_the_offset_is_taken() {
        let mut seen = Seen::default();
        seen.take(Word::Settled(12));
        assert_eq!(seen.offset(), Some(13));
        assert!(seen.admit(11));
        assert_eq!(seen.offset(), Some(13), "the offset never goes back");
    }

    #[test]
    fn what_was_put_off_is_held_back_for_and_handed_on_again() {
        let mut seen = Seen::default();
        assert!(seen.admit(3));
        seen.take(Word::Again(3));
        seen.take(Word::Settled(4));
        assert_eq!(seen.offset(), Some(3));
        assert!(seen.admit(3));
    }

    #[test]
    fn memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.admit(0));
        for id in 1..10_000 {
            seen.take(Word::Settled(id));
        }
        assert_eq!(seen.updates.len(), super::SEEN);
        assert_eq!(seen.offset(), Some(0));
    }
}
