//! Handing things to the front end that shows them.
//!
//! A front end is whatever a person looks at: it receives [`Event`]s over a channel. A delivery is
//! acknowledged only when the front end says that it was written and flushed; one that is dropped
//! counts as not shown.

use async_channel::{Receiver, Sender};
use openpista_core::effect::deliver::{Deliver, DeliverFault, Delivered};
use openpista_core::hint::Hint;
use std::collections::BTreeMap;

/// How the keys of the schedule's messages begin.
pub(crate) const JOB_KEY: &str = "job:";
/// How many events may wait for a front end. Hints are lost beyond it, deliveries wait.
const EVENTS: usize = 1_024;

/// Something for a person to see.
#[derive(Debug)]
pub enum Event {
    /// What goes on.
    Hint(Hint),
    /// Something that must be shown.
    Deliver(Showing),
}

/// A delivery on its way to a person.
#[derive(Debug)]
pub struct Showing {
    /// The name of the session that it is from.
    pub session: String,
    /// What to show.
    pub delivery: Deliver,
    done: Sender<Result<Delivered, DeliverFault>>,
}

impl Showing {
    /// A delivery whose end nobody waits for.
    pub(crate) fn unwatched(session: String, delivery: Deliver) -> Showing {
        let (done, _) = async_channel::bounded(1);
        Showing {
            session,
            delivery,
            done,
        }
    }

    /// Says what became of it.
    pub fn done(self, result: Result<Delivered, DeliverFault>) {
        // Whoever asked may be gone; then nobody needs to know.
        let _ = self.done.try_send(result);
    }
}

/// The front ends, by the part of an origin before the first colon.
#[derive(Debug, Default)]
pub struct Fronts {
    by_channel: BTreeMap<String, Sender<Event>>,
}

impl Fronts {
    /// No front end.
    pub fn new() -> Fronts {
        Fronts::default()
    }

    /// Adds the front end of a channel, for example `cli`, and returns what it is to receive.
    pub fn add(&mut self, channel: &str) -> Receiver<Event> {
        let (sender, receiver) = async_channel::bounded(EVENTS);
        self.by_channel.insert(channel.to_owned(), sender);
        receiver
    }

    /// Has the front end of one channel serve another as well.
    pub fn also(&mut self, channel: &str, served_by: &str) {
        if let Some(sender) = self.by_channel.get(served_by).cloned() {
            self.by_channel.insert(channel.to_owned(), sender);
        }
    }

    /// Shows a delivery over its channel.
    ///
    /// # Errors
    /// When the channel is not running, so that nobody is there, or its front end could not show
    /// it.
    pub async fn deliver(
        &self,
        session: String,
        delivery: Deliver,
    ) -> Result<Delivered, DeliverFault> {
        let Some(front) = self.of(&delivery.origin) else {
            return Err(DeliverFault::Absent);
        };
        let (done, result) = async_channel::bounded(1);
        let showing = Showing {
            session,
            delivery,
            done,
        };
        let lost = || DeliverFault::Unreachable {
            message: "nobody is there any more".to_owned(),
        };
        let sent = front.send(Event::Deliver(showing)).await;
        sent.map_err(|_| lost())?;
        result.recv().await.map_err(|_| lost())?
    }

    /// Passes a hint on: to the channel that it names, or to all. It is lost where too much waits.
    pub fn hint(&self, hint: Hint) {
        match &hint {
            Hint::Ack { origin, .. } | Hint::Refuse { origin, .. } | Hint::Tell { origin, .. } => {
                if let Some(front) = self.of(origin) {
                    let _ = front.try_send(Event::Hint(hint));
                }
            }
            // What runs in a sandbox can come over the gateway alone.
            Hint::Heard { .. } => {
                if let Some(front) = self.of("quic") {
                    let _ = front.try_send(Event::Hint(hint));
                }
            }
            Hint::Answered { .. } | Hint::Show { .. } => {
                let mut told: Vec<&Sender<Event>> = Vec::new();
                for front in self.by_channel.values() {
                    if told.iter().any(|other| other.same_channel(front)) {
                        continue;
                    }
                    told.push(front);
                    // The last half of the room is kept for what comes once only.
                    let once = matches!(hint, Hint::Answered { .. });
                    if once || front.len() < EVENTS / 2 {
                        let _ = front.try_send(Event::Hint(hint.clone()));
                    }
                }
            }
        }
    }

    /// Tells the front ends that nothing more comes.
    pub fn close(&self) {
        for front in self.by_channel.values() {
            front.close();
        }
    }

    fn of(&self, origin: &str) -> Option<&Sender<Event>> {
        let channel = origin.split(':').next().unwrap_or(origin);
        self.by_channel.get(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::{EVENTS, Event, Fronts};
    use futures_lite::future::{block_on, zip};
    use openpista_core::effect::Chunk;
    use openpista_core::effect::deliver::{Body, Deliver, DeliverFault, Delivered};
    use openpista_core::hint::{Activity, Hint};
    use openpista_core::id::{Seq, SessionId};

    fn delivery(origin: &str) -> Deliver {
        Deliver {
            session: SessionId(Seq(1)),
            origin: origin.to_owned(),
            body: Body::Notice("hello".to_owned()),
            ends: Vec::new(),
            rich: true,
            repeated: false,
        }
    }

    fn show() -> Hint {
        Hint::Show {
            session: SessionId(Seq(1)),
            name: "s".to_owned(),
            activity: Activity::Chunk(Chunk::Text("x".to_owned())),
        }
    }

    #[test]
    fn a_delivery_ends_when_the_front_end_says_so() {
        let mut fronts = Fronts::new();
        let events = fronts.add("cli");
        let shown = block_on(zip(
            fronts.deliver("s".to_owned(), delivery("cli:local")),
            async {
                let Ok(Event::Deliver(showing)) = events.recv().await else {
                    panic!("no delivery");
                };
                assert_eq!(showing.session, "s");
                showing.done(Ok(Delivered));
            },
        ));
        assert_eq!(shown.0, Ok(Delivered));
    }

    #[test]
    fn a_delivery_that_nobody_shows_is_unreachable() {
        let mut fronts = Fronts::new();
        let events = fronts.add("cli");
        let unreachable = |result| matches!(result, Err(DeliverFault::Unreachable { .. }));
        let lost = block_on(zip(
            fronts.deliver("s".to_owned(), delivery("cli:local")),
            async {
                drop(events.recv().await);
            },
        ));
        assert!(unreachable(lost.0), "dropped by the front end");
        drop(events);
        assert!(unreachable(block_on(
            fronts.deliver("s".to_owned(), delivery("cli:local"))
        )));
        let not_running = block_on(fronts.deliver("s".to_owned(), delivery("quic:a")));
        assert_eq!(not_running, Err(DeliverFault::Absent));
    }

    #[test]
    fn chatter_leaves_room_for_what_comes_once() {
        let mut fronts = Fronts::new();
        let events = fronts.add("cli");
        for _ in 0..2 * EVENTS {
            fronts.hint(show());
        }
        fronts.hint(Hint::Ack {
            origin: "cli:local".to_owned(),
            key: "k".to_owned(),
        });
        let last = std::iter::from_fn(|| events.try_recv().ok()).last();
        assert!(matches!(last, Some(Event::Hint(Hint::Ack { .. }))));
    }
}
