//! What one conversation sees of a turn that runs: that the bot is typing, and the reply as it
//! grows. All of it may be lost, so all of it is in memory, and bounded.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// How often the typing indicator is renewed: it goes out after five seconds.
const TYPING: Duration = Duration::from_secs(4);
/// How soon something is tried again that could not be done.
const SOON: Duration = Duration::from_millis(250);
/// How much of a growing reply is shown, in characters; the rest comes with the whole.
const SHOWN_CHARS: usize = 2_000;

/// What is to be done for a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Show that the bot is typing.
    Typing,
    /// Show how far the reply is.
    Grown,
}

/// How many messages may be on their way to their end; of more, the oldest are not waited for.
const OPEN: usize = 256;

/// A conversation in which something goes on.
#[derive(Debug)]
pub(super) struct Chat {
    every: Duration,
    /// The messages that have not come to their end, by their updates.
    open: BTreeSet<i64>,
    /// The messages of jobs that have not come to their end, by their keys, oldest first.
    jobs: VecDeque<String>,
    /// A turn runs, and does not wait for a person.
    working: bool,
    typing_at: Instant,
    /// The beginning of the reply so far.
    text: String,
    room: usize,
    /// It has grown since it was shown.
    grown: bool,
    grown_at: Instant,
    /// The message that shows it.
    pub(super) message: Option<i32>,
    /// What a delivery was about that certainly failed, and how many of its parts were shown before
    /// that: trying the others again repeats nothing.
    pub(super) unsent: Option<(u64, usize)>,
}

impl Chat {
    /// A conversation that is shown a growing reply `every` so often.
    pub(super) fn new(every: Duration) -> Chat {
        let now = Instant::now();
        Chat {
            every,
            open: BTreeSet::new(),
            jobs: VecDeque::new(),
            working: false,
            typing_at: now,
            text: String::new(),
            room: SHOWN_CHARS,
            grown: false,
            grown_at: now,
            message: None,
            unsent: None,
        }
    }

    /// A message was accepted.
    pub(super) fn accepted(&mut self, update: i64) {
        self.open.insert(update);
        if self.open.len() > OPEN {
            self.open.pop_first();
        }
    }

    /// A job has sent its message.
    pub(super) fn job_began(&mut self, key: String) {
        self.jobs.push_back(key);
        if self.jobs.len() > OPEN {
            self.jobs.pop_front();
        }
    }

    /// The messages of these keys have come to their end.
    pub(super) fn ended<'a>(&mut self, keys: impl Iterator<Item = &'a str>) {
        let before = self.is_busy();
        for key in keys {
            match key.parse() {
                Ok(update) => drop(self.open.remove(&update)),
                Err(_) => self.jobs.retain(|job| job != key),
            }
        }
        if before && !self.is_busy() {
            self.working = false;
            self.begin_text();
        }
    }

    /// The turn goes on.
    pub(super) fn works(&mut self) {
        self.working = self.is_busy();
    }

    /// The turn waits for a person: nobody types, and what was shown of the reply stays.
    pub(super) fn rests(&mut self) {
        self.working = false;
        self.message = None;
        self.begin_text();
    }

    /// The model is asked: a reply begins anew.
    pub(super) fn begin_text(&mut self) {
        self.text.clear();
        self.room = SHOWN_CHARS;
        self.grown = false;
    }

    /// The reply grows.
    pub(super) fn grow(&mut self, more: &str, now: Instant) {
        if !self.is_busy() || self.room == 0 {
            return;
        }
        if self.text.is_empty() {
            // A reply that comes at once is shown as a whole.
            self.grown_at = self.grown_at.max(now + self.every);
        }
        for c in more.chars().take(self.room) {
            self.text.push(c);
            self.room -= 1;
        }
        self.grown = true;
    }

    /// What is to be shown of the reply; none when there is nothing new.
    pub(super) fn shown(&mut self) -> Option<String> {
        let news = std::mem::take(&mut self.grown) && !self.text.trim().is_empty();
        news.then(|| format!("{} …", self.text.trim()))
    }

    /// When there is something to be done.
    pub(super) fn next(&self) -> Option<Instant> {
        let typing = self.working.then_some(self.typing_at);
        let grown = self.grown.then_some(self.grown_at);
        typing.into_iter().chain(grown).min()
    }

    /// What is to be done now. It then counts as done.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.grown && self.grown_at <= now {
            self.grown_at = now + self.every;
            return Some(Due::Grown);
        }
        if self.working && self.typing_at <= now {
            self.typing_at = now + TYPING;
            return Some(Due::Typing);
        }
        None
    }

    /// Nothing can be done just now.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.wait_until(now + SOON);
    }

    /// Nothing is to be done before that.
    pub(super) fn wait_until(&mut self, until: Instant) {
        self.typing_at = self.typing_at.max(until);
        self.grown_at = self.grown_at.max(until);
    }

    /// A message has not come to its end.
    pub(super) fn is_busy(&self) -> bool {
        !self.open.is_empty() || !self.jobs.is_empty()
    }

    /// Nothing goes on any more.
    pub(super) fn is_over(&self) -> bool {
        !self.is_busy() && self.message.is_none() && self.unsent.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chat, Due, SHOWN_CHARS};
    use std::time::{Duration, Instant};

    const SECOND: Duration = Duration::from_secs(1);

    fn busy() -> (Chat, Instant) {
        let mut chat = Chat::new(SECOND);
        chat.accepted(5);
        chat.works();
        (chat, Instant::now())
    }

    #[test]
    fn it_types_while_a_turn_runs() {
        let (mut chat, now) = busy();
        assert_eq!(chat.due(now), Some(Due::Typing));
        assert_eq!(chat.due(now + SECOND), None);
        assert_eq!(chat.due(now + 4 * SECOND), Some(Due::Typing));
        chat.accepted(6);
        chat.ended(["6"].into_iter());
        assert!(
            chat.next().is_some(),
            "an earlier message is not at its end"
        );
        chat.ended(["5"].into_iter());
        assert_eq!(chat.next(), None);
        assert!(chat.is_over());
        chat.works();
        chat.grow("of a turn that nobody here began", now);
        assert_eq!(chat.next(), None);
    }

    #[test]
    fn it_types_for_a_job_as_well() {
        let mut chat = Chat::new(SECOND);
        chat.job_began("job:1.0:7".to_owned());
        chat.works();
        assert_eq!(chat.due(Instant::now()), Some(Due::Typing));
        chat.ended(["job:1.0:7"].into_iter());
        assert!(chat.is_over() && chat.next().is_none());
    }

    #[test]
    fn a_reply_grows_at_a_bounded_rate_and_in_bounded_room() {
        let (mut chat, now) = busy();
        let _ = chat.due(now);
        for _ in 0..10 * SHOWN_CHARS {
            chat.grow("x", now);
        }
        assert_eq!(chat.due(now), None);
        assert_eq!(chat.due(now + SECOND), Some(Due::Grown));
        let shown = chat.shown().unwrap_or_default();
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 2);
        chat.begin_text();
        chat.grow("y", now + SECOND);
        assert_eq!(chat.due(now + SECOND), None);
        assert_eq!(chat.due(now + 2 * SECOND), Some(Due::Grown));
        assert_eq!(chat.shown().as_deref(), Some("y …"));
        assert_eq!(chat.shown(), None);
    }
}
