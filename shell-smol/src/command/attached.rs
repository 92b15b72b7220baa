//! A front end's words carried to the daemon over QUIC, and what comes of them carried back.
//!
//! It speaks the documented frames alone. The front end sends inputs and receives events as if the
//! loop were in this process. A connection that breaks while something is under way is made again,
//! and every message that has not come to its end is sent again with its id, which runs nothing
//! twice.

use super::Error;
use crate::client::{Client, ClientError, Connected, Exchange};
use crate::config::Config;
use crate::driver::{FarEnd, Handle, Leave};
use crate::effect::deliver::{Event, Showing};
use crate::source::cli::{ORIGIN, PEER};
use crate::source::quic::local::{self, Door};
use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::{FutureExt, future};
use openpista_core::effect::Chunk;
use openpista_core::effect::deliver::{Body, Deliver, End, Question};
use openpista_core::hint::{Activity, Hint};
use openpista_core::id::{ApprovalId, MessageId, Seq, SessionId};
use openpista_core::input::{Decision, Input, Order};
use openpista_core::message::Picture;
use openpista_core::refusal::Refusal;
use openpista_core::wire::frame::{self, Progress, ServerFrame};
use smol::LocalExecutor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long the daemon may take to let us in.
const WELCOME: Duration = Duration::from_secs(5);
/// How long a daemon that went away is waited for.
const RETURN: Duration = Duration::from_secs(30);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// A connection to the daemon, and the front end's end of it.
pub(super) struct Attached {
    data_dir: PathBuf,
    door: Door,
    connected: Connected,
    executor: Rc<LocalExecutor<'static>>,
    far: FarEnd,
    events: Sender<Event>,
    /// The messages that have not come to their end, by id: text and session.
    pending: BTreeMap<String, (String, String)>,
    heard: (Sender<Heard>, Receiver<Heard>),
    /// The questions that were shown: the daemon asks on every way that it has.
    asked: BTreeSet<ApprovalId>,
    /// The messages that were shown to have come to their end.
    answered: BTreeSet<String>,
}

/// What the daemon said, on the stream of a message.
struct Heard {
    id: String,
    frame: Result<Option<ServerFrame>, ClientError>,
}

enum Happening {
    Said(Input),
    Heard(Heard),
    Unasked(Result<Option<ServerFrame>, ClientError>),
    Leave(Leave),
    TimeIsUp,
}

impl Attached {
    /// Attaches to the daemon that holds the data directory; none when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be reached.
    pub(super) fn to(
        config: &Config,
    ) -> Result<Option<(Attached, Handle, Receiver<Event>)>, Error> {
        let data_dir = config.data_dir_of_journal();
        let Some(door) = Door::find(&data_dir) else {
            return Ok(None);
        };
        let executor = Rc::new(LocalExecutor::new());
        let connected = future::block_on(executor.run(knock(&door, &data_dir)));
        let connected = connected.map_err(|error| {
            let pid = door.pid;
            Error::failed(format!(
                "the daemon (pid {pid}) holds {}: {error}",
                data_dir.display()
            ))
        })?;
        let (handle, far) = Handle::to_elsewhere();
        let (events, shown) = async_channel::unbounded();
        let attached = Attached {
            data_dir,
            door,
            connected,
            executor,
            far,
            events,
            pending: BTreeMap::new(),
            heard: async_channel::unbounded(),
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
        };
        Ok(Some((attached, handle, shown)))
    }

    /// The model's name, if the daemon has told it.
    pub(super) fn model(&self) -> Option<&str> {
        self.connected.model()
    }

    /// The daemon's process.
    pub(super) fn pid(&self) -> u32 {
        self.door.pid
    }

    /// Lives until the front end has left.
    pub(super) fn live<T>(self, front: impl Future<Output = T>) -> T {
        let executor = Rc::clone(&self.executor);
        let both = future::zip(self.serve(), front);
        future::block_on(executor.run(both)).1
    }

    async fn serve(mut self) {
        let mut leaving: Option<Instant> = None;
        loop {
            if leaving.is_some() && self.pending.is_empty() {
                break;
            }
            let going_on = match self.next(leaving).await {
                Happening::Said(input) => self.said(input).await,
                Happening::Heard(heard) => self.heard(heard),
                Happening::Unasked(Ok(Some(frame))) => {
                    self.unasked(frame);
                    Ok(())
                }
                Happening::Unasked(Ok(None)) => Err(lost("the daemon ended the connection")),
                Happening::Unasked(Err(error)) => Err(error),
                Happening::Leave(Leave::WhenIdle) => {
                    // What others have under way goes on without us.
                    leaving.get_or_insert_with(|| Instant::now() + RETURN);
                    Ok(())
                }
                Happening::Leave(Leave::Within(grace)) => {
                    leaving = Some(Instant::now() + grace);
                    Ok(())
                }
                Happening::TimeIsUp => break,
            };
            if let Err(error) = going_on
                && (leaving.is_some() || !self.come_back(&error).await)
            {
                break;
            }
        }
        self.events.close();
        self.connected.close().await;
    }

    async fn next(&mut self, leaving: Option<Instant>) -> Happening {
        let (inputs, leave, heard) = (&self.far.inputs, &self.far.leave, &self.heard.1);
        let said = async {
            match inputs.recv().await {
                Ok(input) => Happening::Said(input),
                Err(_) => future::pending().await,
            }
        };
        let left = async {
            match leave.recv().await {
                Ok(leave) => Happening::Leave(leave),
                Err(_) => future::pending().await,
            }
        };
        let heard = async {
            match heard.recv().await {
                Ok(heard) => Happening::Heard(heard),
                Err(_) => future::pending().await,
            }
        };
        let unasked = async { Happening::Unasked(self.connected.unasked().await) };
        let late = async {
            match leaving {
                Some(until) => drop(Timer::at(until).await),
                None => future::pending().await,
            }
            Happening::TimeIsUp
        };
        said.or(heard).or(left).or(unasked).or(late).await
    }

    /// The front end said something.
    async fn said(&mut self, input: Input) -> Result<(), ClientError> {
        match input {
            Input::Arrive(arrival) => {
                let session = arrival.session.unwrap_or_else(|| ORIGIN.to_owned());
                self.pending
                    .insert(arrival.key.clone(), (arrival.text, session));
                self.send(&arrival.key).await
            }
            Input::Order(Order::Decide {
                approval, decision, ..
            }) => {
                let decision = match decision {
                    Decision::Deny => frame::Decision::Deny,
                    Decision::Allow => frame::Decision::Allow,
                    Decision::AllowSession => frame::Decision::AllowSession,
                };
                let decided = self.connected.decide(approval, decision).await;
                self.unless_refused(decided)
            }
            Input::Order(Order::Stop { session, .. }) => self.stop(session).await,
            _ => Ok(()),
        }
    }

    /// What the daemon refuses is told, and says nothing against the connection.
    fn unless_refused(&self, result: Result<(), ClientError>) -> Result<(), ClientError> {
        match result {
            Err(ClientError::Refused(message)) => {
                self.tell(&message);
                Ok(())
            }
            result => result,
        }
    }

    /// Stops the turns that our messages are in; else whatever the session is doing.
    async fn stop(&mut self, session: String) -> Result<(), ClientError> {
        for id in self.pending.keys() {
            let cancelled = self.connected.cancel(id).await;
            self.unless_refused(cancelled)?;
        }
        if self.pending.is_empty() {
            let id = crate::source::cli::fresh_key();
            self.pending
                .insert(id.clone(), ("/stop".to_owned(), session));
            self.send(&id).await?;
        }
        Ok(())
    }

    /// Sends a message that is pending, and listens to what comes of it.
    async fn send(&self, id: &str) -> Result<(), ClientError> {
        let Some((text, session)) = self.pending.get(id) else {
            return Ok(());
        };
        let exchange = match self.connected.message(id, text, Some(session)).await {
            Ok(exchange) => exchange,
            Err(ClientError::Refused(message)) => {
                let frame = ServerFrame::Error { message };
                let id = id.to_owned();
                let frame = Ok(Some(frame));
                let _ = self.heard.0.try_send(Heard { id, frame });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let listening = listen(id.to_owned(), exchange, self.heard.0.clone());
        self.executor.spawn(listening).detach();
        Ok(())
    }

    /// The daemon said something about a message.
    fn heard(&mut self, heard: Heard) -> Result<(), ClientError> {
        let Some((_, session)) = self.pending.get(&heard.id) else {
            return Ok(());
        };
        let session = session.clone();
        match heard.frame? {
            Some(ServerFrame::Error { message }) => {
                self.pending.remove(&heard.id);
                self.show(Event::Hint(Hint::Refuse {
                    origin: ORIGIN.to_owned(),
                    key: heard.id,
                    refusal: Refusal::Operator(message),
                }));
                Ok(())
            }
            Some(frame) => {
                self.frame(session, frame);
                Ok(())
            }
            None => Err(lost("the daemon ended the exchange")),
        }
    }

    /// The daemon said something about no message that we have open.
    fn unasked(&mut self, frame: ServerFrame) {
        self.frame(ORIGIN.to_owned(), frame);
    }

    fn progress(&mut self, session: String, progress: Progress) {
        let body = match progress {
            Progress::Notice { text } => Body::Notice(text),
            Progress::Picture {
                path,
                width,
                height,
            } => Body::Picture(Picture {
                path,
                width,
                height,
                small: None,
            }),
            progress => {
                return self.show(Event::Hint(Hint::Show {
                    session: SessionId(Seq(0)),
                    name: session,
                    activity: activity(progress),
                }));
            }
        };
        self.deliver(&session, body, Vec::new());
    }

    fn frame(&mut self, session: String, frame: ServerFrame) {
        match frame {
            ServerFrame::Accepted { id } => self.show(Event::Hint(Hint::Ack {
                origin: ORIGIN.to_owned(),
                key: id,
            })),
            ServerFrame::Progress { progress, .. } => self.progress(session, progress),
            ServerFrame::ApprovalRequest {
                approval,
                tool,
                arguments,
                reason,
                ..
            } => {
                if self.asked.insert(approval) {
                    let question = Question {
                        approval,
                        tool,
                        arguments,
                        reason,
                        expires_ms: 0,
                    };
                    self.deliver(&session, Body::Question(question), Vec::new());
                }
            }
            ServerFrame::Response {
                id,
                content,
                is_error,
            } => {
                self.pending.remove(&id);
                // Whoever comes back may be told by the connection and by the exchange.
                if !self.answered.insert(id.clone()) {
                    return;
                }
                let body = match is_error {
                    true => Body::Failure(content),
                    false => Body::Reply(content),
                };
                let end = End {
                    message: MessageId(Seq(0)),
                    origin: ORIGIN.to_owned(),
                    key: id,
                };
                self.deliver(&session, body, vec![end]);
            }
            ServerFrame::Error { message } => self.tell(&format!("the daemon says: {message}")),
            ServerFrame::AuthOk { .. }
            | ServerFrame::AuthError { .. }
            | ServerFrame::Pong
            | ServerFrame::Heard { .. } => {}
        }
    }

    fn deliver(&self, session: &str, body: Body, ends: Vec<End>) {
        let delivery = Deliver {
            session: SessionId(Seq(0)),
            origin: ORIGIN.to_owned(),
            body,
            ends,
            rich: true,
            repeated: false,
        };
        let showing = Showing::unwatched(session.to_owned(), delivery);
        self.show(Event::Deliver(showing));
    }

    /// Says something about the connection itself.
    fn tell(&self, text: &str) {
        self.show(Event::Hint(Hint::Tell {
            origin: ORIGIN.to_owned(),
            key: String::new(),
            text: text.to_owned(),
        }));
    }

    fn show(&self, event: Event) {
        // A front end that is gone sees nothing.
        let _ = self.events.try_send(event);
    }

    /// Looks for the daemon until it is back, and sends again what has not come to its end.
    async fn come_back(&mut self, error: &ClientError) -> bool {
        self.tell(&format!(
            "the daemon is gone ({error}); waiting for it to come back"
        ));
        let until = Instant::now() + RETURN;
        while Instant::now() < until {
            Timer::after(LOOK).await;
            if self.far.leave.try_recv().is_ok() {
                return false;
            }
            let Some(door) = Door::find(&self.data_dir) else {
                continue;
            };
            let Ok(connected) = knock(&door, &self.data_dir).await else {
                continue;
            };
            self.tell(&format!("attached to the daemon (pid {})", door.pid));
            (self.door, self.connected) = (door, connected);
            // What the lost connection still says is of no interest.
            self.heard = async_channel::unbounded();
            self.asked.clear();
            let ids: Vec<String> = self.pending.keys().cloned().collect();
            for id in ids {
                if self.send(&id).await.is_err() {
                    break;
                }
            }
            return true;
        }
        self.tell("the daemon did not come back; start it, or say it again when it runs");
        false
    }
}

/// Connects to the daemon whose certificate lies in the data directory.
async fn knock(door: &Door, data_dir: &std::path::Path) -> Result<Connected, ClientError> {
    let pin = local::fingerprint(data_dir)?;
    let client = Client::new(pin, door.token.clone(), PEER)?;
    let late = async {
        Timer::after(WELCOME).await;
        Err(ClientError::Unreachable {
            address: door.address,
            cause: "no answer".to_owned(),
        })
    };
    client.connect(door.address).or(late).await
}

/// Passes on what the daemon says on a stream, to the response.
async fn listen(id: String, mut exchange: Exchange, heard: Sender<Heard>) {
    loop {
        let frame = exchange.next().await;
        let over = !matches!(&frame, Ok(Some(frame)) if !is_last(frame));
        let told = heard.send(Heard {
            id: id.clone(),
            frame,
        });
        if told.await.is_err() || over {
            return;
        }
    }
}

fn is_last(frame: &ServerFrame) -> bool {
    matches!(
        frame,
        ServerFrame::Response { .. } | ServerFrame::Error { .. }
    )
}

fn lost(what: &str) -> ClientError {
    ClientError::Lost(what.to_owned())
}

fn activity(progress: Progress) -> Activity {
    match progress {
        Progress::Asking { round, attempt } => Activity::Asking { round, attempt },
        Progress::Waiting { why, retry_in_ms } => Activity::Waiting { why, retry_in_ms },
        Progress::Running { tool, arguments } => Activity::Running { tool, arguments },
        Progress::Ran { exit, took_ms } => Activity::Ran { exit, took_ms },
        Progress::InDoubt => Activity::InDoubt,
        Progress::Text { text } => Activity::Chunk(Chunk::Text(text)),
        // Notices and pictures are shown for themselves.
        Progress::Output { text } | Progress::Notice { text } => {
            Activity::Chunk(Chunk::Output(text))
        }
        Progress::Picture { path, .. } => Activity::Chunk(Chunk::Output(path)),
    }
}
