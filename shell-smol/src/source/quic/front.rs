//! Who of the gateway's clients is there, and what each is to see.
//!
//! [`Front`] takes the loop's events and hands them to the exchanges and connections that they
//! concern. It never waits for a client: what a slow one has no room for is lost, and it asks
//! again. Every response is durable before it comes here, so a client that is not there loses
//! nothing.

use super::worker::Hearers;
use crate::effect::deliver::{Event, JOB_KEY, Showing};
use crate::source::cli;
use async_channel::{Receiver, Sender, TrySendError};
use openpista_core::effect::Chunk;
use openpista_core::effect::deliver::{Body, Deliver, DeliverFault, Delivered, End, Question};
use openpista_core::hint::{Activity, Hint};
use openpista_core::wire::frame::{Progress, ServerFrame};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many notes may wait for one exchange, and for one connection.
const NOTES: usize = 256;
/// Progress is lost when so many wait.
const CHATTER: usize = NOTES / 2;

/// Something for an exchange to tell its client.
#[derive(Clone, Debug)]
pub(super) enum Note {
    /// The message is durable.
    Accepted,
    /// The message has come to its end.
    Response {
        /// The reply, or what went wrong.
        content: String,
        /// Something went wrong.
        is_error: bool,
    },
    /// A person is asked.
    Question(Question),
    /// The turn is getting on.
    Progress(Progress),
}

/// Whether somebody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// Nobody is there.
    Nobody,
    /// Somebody is there, who takes nothing just now.
    TooMuch,
    /// They are.
    Yes,
}

/// The clients that are there. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Front(Arc<Mutex<Board>>);

#[derive(Debug, Default)]
struct Board {
    last: u64,
    exchanges: BTreeMap<u64, Exchange>,
    by_message: BTreeMap<(String, String), BTreeSet<u64>>,
    by_session: BTreeMap<String, BTreeSet<u64>>,
    connections: BTreeMap<String, BTreeMap<u64, Sender<ServerFrame>>>,
    hearers: Hearers,
}

#[derive(Debug)]
struct Exchange {
    origin: String,
    key: String,
    session: String,
    notes: Sender<Note>,
    /// Its response is on its way.
    answered: Cell<bool>,
}

/// An exchange's place on the board, until dropped.
pub(super) struct Listening {
    pub(super) notes: Receiver<Note>,
    front: Front,
    number: u64,
}

/// A connection's place on the board, until dropped.
pub(super) struct Attending {
    pub(super) frames: Receiver<ServerFrame>,
    front: Front,
    origin: String,
    number: u64,
}

impl Front {
    /// A response is on its way that its client has not got yet.
    pub(super) fn owes(&self) -> bool {
        let board = self.board();
        board.exchanges.values().any(|e| e.answered.get())
    }

    /// From here on, what concerns the message or its session comes to the listener.
    pub(super) fn listen(&self, origin: &str, key: &str, session: &str) -> Listening {
        let (sender, notes) = async_channel::bounded(NOTES);
        let mut board = self.board();
        let number = board.number();
        let message = (origin.to_owned(), key.to_owned());
        board.by_message.entry(message).or_default().insert(number);
        let of_session = board.by_session.entry(session.to_owned()).or_default();
        of_session.insert(number);
        let exchange = Exchange {
            origin: origin.to_owned(),
            key: key.to_owned(),
            session: session.to_owned(),
            notes: sender,
            answered: Cell::new(false),
        };
        board.exchanges.insert(number, exchange);
        Listening {
            notes,
            front: self.clone(),
            number,
        }
    }

    /// From here on, what belongs to no open exchange of the client comes to this connection.
    pub(super) fn attend(&self, origin: &str) -> Attending {
        let (sender, frames) = async_channel::bounded(NOTES);
        let mut board = self.board();
        let number = board.number();
        let of_client = board.connections.entry(origin.to_owned()).or_default();
        of_client.insert(number, sender);
        Attending {
            frames,
            front: self.clone(),
            origin: origin.to_owned(),
            number,
        }
    }

    /// The workers that wait to be heard.
    pub(super) fn hearers(&self) -> Hearers {
        self.board().hearers.clone()
    }

    /// Hands out events until the loop has ended.
    pub(super) async fn serve(self, events: Receiver<Event>) {
        while let Ok(event) = events.recv().await {
            match event {
                Event::Hint(hint) => self.board().hint(hint),
                Event::Deliver(showing) => self.deliver(showing),
            }
        }
    }

    fn deliver(&self, showing: Showing) {
        let shown = self.board().show(&showing.session, &showing.delivery);
        let result = match shown {
            Told::Yes => Ok(Delivered),
            Told::TooMuch => Err(DeliverFault::Unreachable {
                message: "the client does not read what it is sent".to_owned(),
            }),
            Told::Nobody if asks_again(&showing.delivery) => Err(DeliverFault::Gone {
                message: "the client is not connected; kept for when it asks again".to_owned(),
            }),
            Told::Nobody => Err(DeliverFault::Absent),
        };
        showing.done(result);
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn hint(&self, hint: Hint) {
        match hint {
            Hint::Ack { origin, key } => {
                self.tell(origin, key, &Note::Accepted);
            }
            Hint::Refuse {
                origin,
                key,
                refusal,
            } => {
                let content = refusal.reason().to_owned();
                let is_error = true;
                self.tell(origin, key, &Note::Response { content, is_error });
            }
            Hint::Tell { origin, key, text } => {
                let (content, is_error) = (text, false);
                self.tell(origin, key, &Note::Response { content, is_error });
            }
            Hint::Heard { token, taken } => self.hearers.tell(&token, taken),
            // A client that is shown a question twice answers once: the core sees to that.
            Hint::Answered { .. } => {}
            Hint::Show { name, activity, .. } => {
                let progress = progress(activity);
                for exchange in self.in_session(&name) {
                    if exchange.notes.len() < CHATTER {
                        exchange.tell(&Note::Progress(progress.clone()));
                    }
                }
            }
        }
    }

    /// Shows a delivery to everybody whom it concerns, if somebody is there.
    fn show(&self, session: &str, delivery: &Deliver) -> Told {
        let origin = &delivery.origin;
        let is_error = matches!(delivery.body, Body::Failure(_));
        match &delivery.body {
            Body::Question(question) => {
                let here = self.in_session(session).filter(|e| e.origin == *origin);
                let note = Note::Question(question.clone());
                let told = most(here.map(|exchange| exchange.tell(&note)));
                told.or(|| self.call(origin, &request(String::new(), question.clone())))
            }
            Body::Notice(text) if delivery.ends.is_empty() => {
                let text = text.clone();
                self.aside(session, origin, Progress::Notice { text })
            }
            Body::Picture(picture) => {
                let progress = Progress::Picture {
                    path: picture.path.clone(),
                    width: picture.width,
                    height: picture.height,
                };
                self.aside(session, origin, progress)
            }
            Body::Reply(text) | Body::Failure(text) | Body::Notice(text) => {
                let each = delivery.ends.iter().map(|end| {
                    let (content, id) = (text.clone(), end.key.clone());
                    let note = Note::Response {
                        content: content.clone(),
                        is_error,
                    };
                    let response = ServerFrame::Response {
                        id,
                        content,
                        is_error,
                    };
                    let told = self.tell(end.origin.clone(), end.key.clone(), &note);
                    told.or(|| self.call(&end.origin, &response))
                });
                most(each)
            }
        }
    }

    /// Shows what is no message's end.
    fn aside(&self, session: &str, origin: &str, progress: Progress) -> Told {
        let note = Note::Progress(progress.clone());
        let here = self.in_session(session).filter(|e| e.origin == origin);
        let id = String::new();
        // It belongs to no message: over the first stream, if anybody reads it.
        let told = self.call(origin, &ServerFrame::Progress { id, progress });
        told.or(|| most(here.map(|exchange| exchange.tell(&note))))
    }

    /// Tells every exchange that is about this message.
    fn tell(&self, origin: String, key: String, note: &Note) -> Told {
        let numbers = self.by_message.get(&(origin, key)).into_iter().flatten();
        let exchanges = numbers.filter_map(|number| self.exchanges.get(number));
        most(exchanges.map(|exchange| exchange.tell(note)))
    }

    /// Tells every connection of a client.
    fn call(&self, origin: &str, frame: &ServerFrame) -> Told {
        let connections = self.connections.get(origin).into_iter().flatten();
        most(connections.map(|(_, connection)| taken(&connection.try_send(frame.clone()))))
    }

    fn in_session(&self, name: &str) -> impl Iterator<Item = &Exchange> {
        let numbers = self.by_session.get(name).into_iter().flatten();
        numbers.filter_map(|number| self.exchanges.get(number))
    }
}

impl Exchange {
    fn tell(&self, note: &Note) -> Told {
        if matches!(note, Note::Response { .. }) {
            self.answered.set(true);
        }
        taken(&self.notes.try_send(note.clone()))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut board = self.front.board();
        let Some(exchange) = board.exchanges.remove(&self.number) else {
            return;
        };
        let message = (exchange.origin, exchange.key);
        forget(&mut board.by_message, &message, self.number);
        forget(&mut board.by_session, &exchange.session, self.number);
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let mut board = self.front.board();
        if let Some(of_client) = board.connections.get_mut(&self.origin) {
            of_client.remove(&self.number);
            if of_client.is_empty() {
                board.connections.remove(&self.origin);
            }
        }
    }
}

/// Whoever this is for knows the message's id, and gets the response by asking. Nobody asks about
/// a job of the schedule, a notice or a question, nor does a person at a terminal who has left: it
/// waits for them.
fn asks_again(delivery: &Deliver) -> bool {
    let known = |end: &End| !end.key.starts_with(JOB_KEY);
    let ends = &delivery.ends;
    delivery.origin != cli::ORIGIN && !ends.is_empty() && ends.iter().all(known)
}

impl Told {
    /// Tells others, if these were not told.
    fn or(self, others: impl FnOnce() -> Told) -> Told {
        match self {
            Told::Yes => Told::Yes,
            told => told.max(others()),
        }
    }
}

/// Tells all, and says what came of it at the best.
fn most(told: impl Iterator<Item = Told>) -> Told {
    told.max().unwrap_or(Told::Nobody)
}

fn taken<T>(sent: &Result<(), TrySendError<T>>) -> Told {
    match sent {
        Ok(()) => Told::Yes,
        Err(TrySendError::Full(_)) => Told::TooMuch,
        Err(TrySendError::Closed(_)) => Told::Nobody,
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, number: u64) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}

/// A question as a client reads it.
pub(super) fn request(id: String, question: Question) -> ServerFrame {
    ServerFrame::ApprovalRequest {
        id,
        approval: question.approval,
        tool: question.tool,
        arguments: question.arguments,
        reason: question.reason,
    }
}

fn progress(activity: Activity) -> Progress {
    match activity {
        Activity::Asking { round, attempt } => Progress::Asking { round, attempt },
        Activity::Waiting { why, retry_in_ms } => Progress::Waiting { why, retry_in_ms },
        Activity::Running { tool, arguments } => Progress::Running { tool, arguments },
        Activity::Ran { exit, took_ms } => Progress::Ran { exit, took_ms },
        Activity::InDoubt => Progress::InDoubt,
        Activity::Chunk(Chunk::Text(text)) => Progress::Text { text },
        Activity::Chunk(Chunk::Output(text)) => Progress::Output { text },
    }
}
