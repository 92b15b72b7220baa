//! One stream of a client: a message with everything that comes of it, or a single order.
//!
//! A message's exchange ends with its response. It may be opened again at any time, on any
//! connection: the journal tells what is known of the message, and the board tells the rest.
//! Between the two nothing is missed, because the place on the board is taken first.

use super::connection::{Client, Close};
use super::front::{Listening, Note, request};
use super::stream::{self, Broken, Frames};
use crate::journal::Asked;
use async_io::Timer;
use futures_lite::FutureExt;
use openpista_core::effect::deliver::Question;
use openpista_core::id::ApprovalId;
use openpista_core::input::{Arrival, Decision, Input, Order};
use openpista_core::wire::frame::{self, ClientFrame, MAX_FRAME_BYTES, ServerFrame};
use quinn::{RecvStream, SendStream};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The loop's word about a message may be lost; after so long it is asked again.
const WORD: Duration = Duration::from_secs(3);
/// What is left of a response that is too long for a frame, in bytes: however it is written as
/// JSON, it fits.
const CUT_BYTES: usize = MAX_FRAME_BYTES / 8;

/// A stream of a client.
pub(super) struct Stream {
    client: Arc<Client>,
    send: SendStream,
    frames: Frames<ClientFrame>,
}

impl Stream {
    pub(super) fn new(client: Arc<Client>, send: SendStream, recv: RecvStream) -> Stream {
        Stream {
            client,
            send,
            frames: Frames::new(recv, MAX_FRAME_BYTES).begun(),
        }
    }

    async fn say(&mut self, frame: ServerFrame) -> Result<(), Broken> {
        match fitting(frame) {
            Some(bytes) => stream::write_bytes(&mut self.send, &bytes).await,
            None => Ok(()),
        }
    }

    async fn refuse(&mut self, message: &str) -> Result<(), Broken> {
        let message = message.to_owned();
        self.say(ServerFrame::Error { message }).await
    }
}

/// A message that a client sent.
struct Sent {
    id: String,
    text: String,
    session: Option<String>,
}

/// What happens to an exchange that is open.
enum Happening {
    Note(Note),
    Frame(Option<ClientFrame>),
    /// The loop has said nothing yet.
    Silence,
    /// Nobody listens on the stream any more.
    Over,
}

/// Serves a stream to its end.
pub(super) async fn serve(mut stream: Stream) {
    let served = match stream.frames.next().await {
        Ok(Some(ClientFrame::Message { id, text, session })) => {
            exchange(&mut stream, Sent { id, text, session }).await
        }
        Ok(Some(frame)) => order(&mut stream, frame).await,
        Ok(None) => Ok(()),
        Err(broken) => Err(broken),
    };
    if let Err(broken) = served {
        stream.client.break_off(&broken);
    }
    // What was written still goes out.
    let _ = stream.send.finish();
}

/// What is done at once, on a stream of its own or on that of a message.
async fn order(stream: &mut Stream, frame: ClientFrame) -> Result<(), Broken> {
    let client = Arc::clone(&stream.client);
    let by = client.origin.clone();
    let order = match frame {
        ClientFrame::Ping => return stream.say(ServerFrame::Pong).await,
        ClientFrame::Auth { .. } => return stream.refuse("You are authenticated already.").await,
        ClientFrame::Message { .. } => {
            return stream.refuse("Each message has a stream of its own.").await;
        }
        ClientFrame::Output { .. } | ClientFrame::Report { .. } => {
            return stream
                .refuse("A worker sends that, with its task's token.")
                .await;
        }
        ClientFrame::Approval { approval, decision } => Order::Decide {
            approval,
            decision: match decision {
                frame::Decision::Allow => Decision::Allow,
                frame::Decision::AllowSession => Decision::AllowSession,
                frame::Decision::Deny => Decision::Deny,
            },
            by,
        },
        ClientFrame::Cancel { id } => Order::Cancel {
            origin: client.origin.clone(),
            key: id,
            by,
        },
    };
    // A message may be replayed, because its id is taken once. An order has none.
    if stream.frames.is_early() && !client.confirmed().await {
        return Ok(());
    }
    match client.shared.lookup.stands(&client.identity) {
        Ok(true) => match client.shared.handle.objection(&order).await {
            Some(refusal) => return stream.refuse(refusal.reason()).await,
            None => client.shared.handle.send(Input::Order(order)).await,
        },
        Ok(false) => Close::REVOKED.apply(&client.connection),
        Err(error) => {
            tracing::error!("a token cannot be checked: {error}");
            Close::BROKEN.apply(&client.connection);
        }
    }
    Ok(())
}

/// Tells the client what comes of its message, until the response.
async fn exchange(stream: &mut Stream, sent: Sent) -> Result<(), Broken> {
    let client = Arc::clone(&stream.client);
    let session = sent.session.as_deref().unwrap_or(&client.origin);
    let session = session.to_owned();
    let listening = client
        .shared
        .front
        .listen(&client.origin, &sent.id, &session);
    let stopped = stream.send.stopped();
    let mut exchange = Exchange {
        gone: Box::pin(async {
            let _ = stopped.await;
        }),
        stream,
        sent,
        session,
        listening,
        accepted: false,
        asked: BTreeSet::new(),
        reads: true,
    };
    if exchange.begin().await? {
        exchange.go_on().await?;
    }
    Ok(())
}

struct Exchange<'s> {
    stream: &'s mut Stream,
    /// Done when the client has given the stream or the connection up.
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
    sent: Sent,
    /// The name of the session that the message is for.
    session: String,
    listening: Listening,
    /// The client was told that the message is durable.
    accepted: bool,
    /// The questions that the client was shown.
    asked: BTreeSet<ApprovalId>,
    /// The client may send more on this stream.
    reads: bool,
}

impl Exchange<'_> {
    /// Finds out what is known of the message, and hands it to the loop if it is new. False when
    /// there is nothing more to come.
    async fn begin(&mut self) -> Result<bool, Broken> {
        let client = Arc::clone(&self.stream.client);
        let lookup = &client.shared.lookup;
        let known = lookup.message(&client.identity, &client.origin, &self.sent.id);
        match known {
            Ok(Some(Asked::Over { content, is_error })) => {
                self.accept().await?;
                self.respond(content, is_error).await?;
                return Ok(false);
            }
            Ok(Some(Asked::Pending)) => self.accept().await?,
            Ok(Some(Asked::New)) if client.shared.draining.load(Ordering::Relaxed) => {
                let refused = "The daemon is stopping. Send the message again when it is back.";
                self.stream.refuse(refused).await?;
                return Ok(false);
            }
            Ok(Some(Asked::New)) => {
                let arrival = Arrival {
                    origin: client.origin.clone(),
                    key: self.sent.id.clone(),
                    peer: client.origin.clone(),
                    session: self.sent.session.clone(),
                    text: self.sent.text.clone(),
                    serial: None,
                };
                client.shared.handle.send(Input::Arrive(arrival)).await;
            }
            Ok(None) => {
                Close::REVOKED.apply(&client.connection);
                return Ok(false);
            }
            Err(error) => {
                tracing::error!("a message cannot be looked up: {error}");
                Close::BROKEN.apply(&client.connection);
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn go_on(&mut self) -> Result<(), Broken> {
        loop {
            match self.next().await? {
                Happening::Note(Note::Accepted) => self.accept().await?,
                Happening::Note(Note::Response { content, is_error }) => {
                    self.respond(content, is_error).await?;
                    // The gateway does not close before the client has it.
                    let _ = self.stream.send.finish();
                    self.gone.as_mut().await;
                    return Ok(());
                }
                Happening::Note(Note::Question(question)) => self.ask(question).await?,
                Happening::Note(Note::Progress(progress)) => {
                    let id = self.sent.id.clone();
                    self.stream
                        .say(ServerFrame::Progress { id, progress })
                        .await?;
                }
                Happening::Frame(Some(frame)) => order(self.stream, frame).await?,
                Happening::Frame(None) => self.reads = false,
                Happening::Silence if !self.begin().await? => return Ok(()),
                Happening::Silence => {}
                Happening::Over => return Ok(()),
            }
        }
    }

    async fn next(&mut self) -> Result<Happening, Broken> {
        let note = async {
            let note = self.listening.notes.recv().await;
            Ok(note.map_or(Happening::Over, Happening::Note))
        };
        let frames = &mut self.stream.frames;
        let reads = self.reads;
        let frame = async {
            match reads {
                true => frames.next().await.map(Happening::Frame),
                false => futures_lite::future::pending().await,
            }
        };
        let accepted = self.accepted;
        let silence = async {
            match accepted {
                true => futures_lite::future::pending().await,
                false => drop(Timer::after(WORD).await),
            }
            Ok(Happening::Silence)
        };
        let gone = async {
            self.gone.as_mut().await;
            Ok(Happening::Over)
        };
        note.or(frame).or(silence).or(gone).await
    }

    /// Tells the client once that the message is durable, and what its session is asked.
    async fn accept(&mut self) -> Result<(), Broken> {
        if std::mem::replace(&mut self.accepted, true) {
            return Ok(());
        }
        let id = self.sent.id.clone();
        self.stream.say(ServerFrame::Accepted { id }).await?;
        let handle = &self.stream.client.shared.handle;
        for question in handle.questions(&self.session).await {
            self.ask(question).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, question: Question) -> Result<(), Broken> {
        match self.asked.insert(question.approval) {
            true => {
                let id = self.sent.id.clone();
                self.stream.say(request(id, question)).await
            }
            false => Ok(()),
        }
    }

    async fn respond(&mut self, content: String, is_error: bool) -> Result<(), Broken> {
        let id = self.sent.id.clone();
        let response = ServerFrame::Response {
            id,
            content,
            is_error,
        };
        self.stream.say(response).await
    }
}

/// The bytes of a frame. A response that does not fit is cut with a mark, a question is said to be
/// too long, and progress is lost: none.
pub(super) fn fitting(frame: ServerFrame) -> Option<Vec<u8>> {
    let too_large = match frame::encode(&frame) {
        Ok(bytes) => return Some(bytes),
        Err(too_large) => too_large,
    };
    let short = match frame {
        ServerFrame::Response {
            id,
            content,
            is_error,
        } => {
            let end = content.floor_char_boundary(CUT_BYTES);
            let cut = content.len() - end;
            ServerFrame::Response {
                id,
                content: format!("{}\n[{cut} more bytes did not fit]", &content[..end]),
                is_error,
            }
        }
        ServerFrame::ApprovalRequest { tool, .. } => ServerFrame::Error {
            message: format!(
                "A call of {tool} waits for a yes, but is too long to be shown here ({too_large}). \
                 Answer it in another channel, or send /stop."
            ),
        },
        _ => return None,
    };
    frame::encode(&short).ok()
}
