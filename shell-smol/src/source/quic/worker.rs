//! A worker's connection: what runs in a sandbox shows what it prints, and reports how it ended.
//!
//! A worker is known by the token of its task alone, so it can speak for no other task. It says
//! everything over the first stream of its connection, and nothing but `output` and `report`; what
//! else it sends closes the connection. What it can make us hold is one frame and one report.
//!
//! Law 2: `heard` goes out only on the loop's word, which it gives once the report is durable. That
//! a report counts once, however often it comes, is the core's doing.

use super::Shared;
use super::connection::{Close, break_off};
use super::endpoint::WORKER_WINDOW;
use super::stream::{self, Broken, Frames};
use crate::driver::Bearer;
use crate::effect::tool::clip::{cut_again, keep_last};
use crate::secret::{Secret, Secrets};
use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::FutureExt;
use futures_lite::future::pending;
use openpista_core::digest::Digest;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::Ended;
use openpista_core::effect::tool::Ran;
use openpista_core::input::Input;
use openpista_core::wire::frame::{ClientFrame, MAX_FRAME_BYTES, ServerFrame, Token};
use quinn::{Connection, SendStream, VarInt};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What everybody is told whose token is no task's: it was revoked, or has expired, or never was.
pub(super) const NOBODYS: &str = "The token is not valid.";
/// The loop's word about a report may be lost; after so long it is asked again.
const WORD: Duration = Duration::from_secs(3);
/// The shortest time between two pieces of output.
const PACE: Duration = Duration::from_millis(20);
/// The largest piece of output, in characters; of more, the last are shown.
const OUTPUT_CHARS: usize = 2_000;

/// A worker that has said who it is.
pub(super) struct Worker {
    shared: Arc<Shared>,
    connection: Connection,
    token: Digest,
    bearer: Bearer,
    /// Its token, which must not come back in what it says.
    secrets: Secrets,
}

/// What happens to a worker's connection.
enum Happening {
    Frame(Option<ClientFrame>),
    /// What became of the report.
    Word(bool),
    /// The loop has said nothing of the report yet.
    Silence,
    /// The worker has opened another stream.
    Another,
    /// The connection is closed.
    Over,
}

/// Why a worker's connection is closed.
enum Wrong {
    Broken(Broken),
    Rules,
}

impl From<Broken> for Wrong {
    fn from(broken: Broken) -> Wrong {
        Wrong::Broken(broken)
    }
}

impl Worker {
    /// The worker of the task that this token is for; none when it is no task's.
    ///
    /// # Errors
    /// The loop is over: the worker must not take that for a verdict.
    pub(super) async fn known(
        shared: &Arc<Shared>,
        connection: &Connection,
        Token(token): Token,
    ) -> Result<Option<Worker>, Close> {
        let digest = Digest(Sha256::digest(token.as_bytes()).into());
        let bearer = shared.handle.bearer(digest).await.ok_or(Close::SHUTDOWN)?;
        Ok(bearer.map(|bearer| Worker {
            shared: Arc::clone(shared),
            connection: connection.clone(),
            token: digest,
            bearer,
            secrets: Secrets::new([("the token of a task", Secret::new(&token))]),
        }))
    }

    /// Serves the worker until its connection is closed.
    pub(super) async fn serve(self, mut send: SendStream, frames: Frames<ClientFrame>) {
        let connection = &self.connection;
        connection.set_receive_window(VarInt::from_u32(WORKER_WINDOW));
        let task = match self.bearer {
            Bearer::Runs(effect) => effect.to_string(),
            Bearer::Reported => "that has reported".to_owned(),
        };
        tracing::info!(task, "a worker connected");
        let mut frames = frames.allowing(MAX_FRAME_BYTES);
        match self.attend(&mut send, &mut frames).await {
            Ok(()) => {
                // What was written still goes out.
                let _ = send.finish();
                connection.closed().await;
            }
            Err(Wrong::Broken(broken)) => break_off(connection, &format!("task {task}"), &broken),
            Err(Wrong::Rules) => {
                tracing::info!(task, "closed: {}", Close::NOT_A_WORKERS.reason());
                Close::NOT_A_WORKERS.apply(connection);
            }
        }
        tracing::info!(task, "a worker disconnected");
    }

    async fn attend(
        &self,
        send: &mut SendStream,
        frames: &mut Frames<ClientFrame>,
    ) -> Result<(), Wrong> {
        let words = self.shared.front.hearers().wait_for(self.token);
        let welcome = ServerFrame::AuthOk {
            session: String::new(),
            provider: None,
            model: None,
        };
        stream::write(send, &welcome).await?;
        let mut reads = true;
        // What the loop was told and has not answered.
        let mut open: Option<Ended> = None;
        loop {
            match self.next(frames, &words, (reads, open.is_some())).await? {
                Happening::Frame(Some(ClientFrame::Output { text, .. })) => {
                    self.show(text);
                    Timer::after(PACE).await;
                }
                Happening::Frame(Some(ClientFrame::Report { ran })) => {
                    let ended = self.bounded(ran);
                    self.report(&ended).await;
                    open = Some(ended);
                }
                Happening::Frame(Some(_)) | Happening::Another => return Err(Wrong::Rules),
                Happening::Frame(None) if open.is_none() => return Ok(()),
                Happening::Frame(None) => reads = false,
                Happening::Word(taken) => {
                    if open.take().is_some() {
                        stream::write(send, &ServerFrame::Heard { taken }).await?;
                    }
                    if !reads {
                        return Ok(());
                    }
                }
                Happening::Silence => {
                    if let Some(ended) = &open {
                        self.report(ended).await;
                    }
                }
                Happening::Over => return Ok(()),
            }
        }
    }

    async fn next(
        &self,
        frames: &mut Frames<ClientFrame>,
        words: &Receiver<bool>,
        (reads, waits): (bool, bool),
    ) -> Result<Happening, Broken> {
        let word = async {
            match words.recv().await {
                Ok(taken) => Ok(Happening::Word(taken)),
                Err(_) => Ok(Happening::Over),
            }
        };
        let frame = async {
            match reads {
                true => frames.next().await.map(Happening::Frame),
                false => pending().await,
            }
        };
        let another = async {
            Ok(match self.connection.accept_bi().await {
                Ok(_) => Happening::Another,
                Err(_) => Happening::Over,
            })
        };
        let silence = async {
            match waits {
                true => drop(Timer::after(WORD).await),
                false => pending().await,
            }
            Ok(Happening::Silence)
        };
        word.or(frame).or(another).or(silence).await
    }

    /// Shows a piece of output, unless the loop has too much to do.
    fn show(&self, mut text: String) {
        if let Bearer::Runs(effect) = self.bearer {
            keep_last(&mut text, OUTPUT_CHARS);
            let text = self.secrets.redact(&text).into_owned();
            self.shared.handle.offer(Input::Progress {
                effect,
                chunk: Chunk::Output(text),
            });
        }
    }

    async fn report(&self, ended: &Ended) {
        let report = Input::Report {
            token: self.token,
            ended: ended.clone(),
        };
        self.shared.handle.send(report).await;
    }

    /// What is kept of a report.
    fn bounded(&self, ran: Ran) -> Ended {
        let chars = self.shared.output_chars;
        Ended {
            ran: Ran {
                stdout: cut_again(ran.stdout, chars, &self.secrets),
                stderr: cut_again(ran.stderr, chars, &self.secrets),
                ..ran
            },
            note: None,
        }
    }
}

/// The connections that wait for the loop's word about a report, by the token's digest. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearers(Arc<Mutex<BTreeMap<Digest, Vec<Sender<bool>>>>>);

impl Hearers {
    /// From here on, what becomes of this token's report comes to the receiver, until it is
    /// dropped.
    pub(super) fn wait_for(&self, token: Digest) -> Receiver<bool> {
        let (sender, words) = async_channel::bounded(1);
        let mut hearers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hearers.retain(|_, waiting| {
            waiting.retain(|hearer| !hearer.is_closed());
            !waiting.is_empty()
        });
        hearers.entry(token).or_default().push(sender);
        words
    }

    /// The loop says that a report was taken, or that its task is over without it.
    pub(super) fn tell(&self, token: &Digest, taken: bool) {
        let hearers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for hearer in hearers.get(token).into_iter().flatten() {
            // One that has a word already needs no other.
            let _ = hearer.try_send(taken);
        }
    }
}

/// Of which kinds of peers an endpoint takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    /// Clients and workers.
    Everybody,
    /// Workers, who may be on a network where nobody else belongs.
    WorkersAlone,
}

#[cfg(test)]
mod tests {
    use super::Hearers;
    use openpista_core::digest::Digest;

    #[test]
    fn a_word_goes_to_all_who_wait_for_it_and_to_nobody_else() {
        let (hearers, token) = (Hearers::default(), Digest([1; 32]));
        let (one, two) = (hearers.wait_for(token), hearers.wait_for(token));
        let other = hearers.wait_for(Digest([2; 32]));
        hearers.tell(&token, true);
        assert_eq!((one.try_recv(), two.try_recv()), (Ok(true), Ok(true)));
        assert!(other.try_recv().is_err());
        drop((one, two));
        let _late = hearers.wait_for(Digest([3; 32]));
        assert_eq!(hearers.0.lock().unwrap().len(), 2, "the gone are forgotten");
    }
}
