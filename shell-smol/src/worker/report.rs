//! Telling the gateway: connect, show what comes, report, until the report is heard. A connection
//! that breaks is made again; what was shown meanwhile is lost, the report is not.

use super::arguments::Arguments;
use super::say;
use super::task::Piece;
use crate::client::{Client, ClientError};
use crate::effect::tool::clip::cut_again;
use crate::secret::Secrets;
use crate::source::quic::stream::{self, Frames};
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::FutureExt;
use futures_lite::future::pending;
use openpista_core::effect::tool::Ran;
use openpista_core::wire::frame::{self, ClientFrame, Role, ServerFrame};
use quinn::{Connection, SendStream};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest frame that the gateway has for a worker, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;
/// How long the gateway may take to answer at first.
const WELCOME: Duration = Duration::from_secs(10);
/// How long to wait for the gateway to know that we leave.
const FAREWELL: Duration = Duration::from_millis(200);
/// How long to wait before the second try to connect; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What became of the task's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable.
    Heard,
    /// The task is over without it, or the token is no task's.
    Nobodys,
}

/// Reports one task.
pub(super) struct Reporter<'a> {
    client: &'a Client,
    gateway: SocketAddr,
    output_chars: usize,
    secrets: &'a Secrets,
    pieces: Receiver<Piece>,
    done: Receiver<Ran>,
    /// The bytes of the report, once the task has ended.
    report: Option<Vec<u8>>,
}

/// What happens while connected.
enum Happening {
    Frame(Option<ServerFrame>),
    Piece(Piece),
    Done(Ran),
}

impl<'a> Reporter<'a> {
    pub(super) fn new(
        client: &'a Client,
        arguments: &Arguments,
        secrets: &'a Secrets,
        pieces: Receiver<Piece>,
        done: Receiver<Ran>,
    ) -> Reporter<'a> {
        Reporter {
            client,
            gateway: arguments.gateway,
            output_chars: arguments.output_chars,
            secrets,
            pieces,
            done,
            report: None,
        }
    }

    /// Connects until there is a verdict.
    pub(super) async fn run(mut self) -> Verdict {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            let mut welcomed = false;
            let error = match self.connect(&mut welcomed).await {
                Ok(verdict) => return verdict,
                Err(ClientError::Refused(message)) => {
                    say(&format!("the gateway does not take the report: {message}"));
                    return Verdict::Nobodys;
                }
                Err(error) => error.to_string(),
            };
            if welcomed {
                pause = FIRST_PAUSE;
            }
            if error != told {
                say(&format!("{error}; trying again"));
                told = error;
            }
            Timer::after(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, from its greeting to its end or a verdict.
    async fn connect(&mut self, welcomed: &mut bool) -> Result<Verdict, ClientError> {
        let (endpoint, connection) = self.client.dial(self.gateway).await?;
        let told = self.tell(&connection, welcomed).await;
        connection.close(0_u32.into(), b"");
        let gone = endpoint.wait_idle();
        let patience = async {
            Timer::after(FAREWELL).await;
        };
        gone.or(patience).await;
        told
    }

    async fn tell(
        &mut self,
        connection: &Connection,
        welcomed: &mut bool,
    ) -> Result<Verdict, ClientError> {
        let lost = |error: quinn::ConnectionError| ClientError::Lost(error.to_string());
        let (mut send, recv) = connection.open_bi().await.map_err(lost)?;
        stream::write(&mut send, &self.client.auth(Some(Role::Worker))).await?;
        let mut frames = Frames::<ServerFrame>::new(recv, ANSWER_BYTES);
        let answer = async { frames.next().await.map_err(ClientError::from) };
        let late = async {
            Timer::after(WELCOME).await;
            Err(ClientError::Lost("no welcome came".to_owned()))
        };
        match answer.or(late).await? {
            Some(ServerFrame::AuthOk { .. }) => *welcomed = true,
            Some(ServerFrame::AuthError { message }) => return Err(ClientError::Refused(message)),
            _ => return Err(ClientError::Lost("the gateway did not answer".to_owned())),
        }
        if let Some(report) = &self.report {
            stream::write_bytes(&mut send, report).await?;
        }
        loop {
            match self.next(&mut frames).await? {
                Happening::Frame(Some(ServerFrame::Heard { taken: true })) => {
                    return Ok(Verdict::Heard);
                }
                Happening::Frame(Some(ServerFrame::Heard { taken: false })) => {
                    return Ok(Verdict::Nobodys);
                }
                Happening::Frame(Some(_)) => {}
                Happening::Frame(None) => {
                    return Err(ClientError::Lost("the gateway has hung up".to_owned()));
                }
                Happening::Piece(piece) => self.show(&mut send, piece).await?,
                Happening::Done(ran) => {
                    let report = self
                        .report
                        .insert(fitting(ran, self.output_chars, self.secrets));
                    stream::write_bytes(&mut send, report).await?;
                }
            }
        }
    }

    async fn show(&self, send: &mut SendStream, piece: Piece) -> Result<(), ClientError> {
        let Piece { stream, text } = piece;
        stream::write(send, &ClientFrame::Output { stream, text }).await?;
        Ok(())
    }

    async fn next(&self, frames: &mut Frames<ServerFrame>) -> Result<Happening, ClientError> {
        let frame = async {
            let next = frames.next().await.map(Happening::Frame);
            next.map_err(ClientError::from)
        };
        let piece = async {
            match self.pieces.recv().await {
                Ok(piece) => Ok(Happening::Piece(piece)),
                Err(_) => pending().await,
            }
        };
        let done = async {
            match self.done.recv().await {
                Ok(ran) => Ok(Happening::Done(ran)),
                Err(_) => pending().await,
            }
        };
        frame.or(piece).or(done).await
    }
}

/// The report's bytes, cut further if that is what it takes to fit into a frame.
fn fitting(mut ran: Ran, mut chars: usize, secrets: &Secrets) -> Vec<u8> {
    loop {
        match frame::encode(&ClientFrame::Report { ran: ran.clone() }) {
            Ok(bytes) => return bytes,
            // Without its streams it is a hundred bytes, so this comes to an end.
            Err(_) => chars /= 2,
        }
        ran.stdout = cut_again(ran.stdout, chars, secrets);
        ran.stderr = cut_again(ran.stderr, chars, secrets);
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;
    use crate::secret::Secrets;
    use openpista_core::effect::tool::{Clip, Exit, Ran};
    use openpista_core::wire::frame::{ClientFrame, Decoder, MAX_FRAME_BYTES};

    #[test]
    fn a_report_that_is_too_long_for_a_frame_is_cut_until_it_fits() {
        // Six bytes each in JSON.
        let long = || Clip {
            text: "\u{1}".repeat(400_000),
            cut_chars: 5,
        };
        let ran = Ran {
            exit: Exit::Code(0),
            stdout: long(),
            stderr: long(),
            took_ms: 1,
            pictures: Vec::new(),
        };
        let bytes = fitting(ran, 400_000, &Secrets::default());
        assert!(bytes.len() <= MAX_FRAME_BYTES + 4);
        let frame = Decoder::<ClientFrame>::new(MAX_FRAME_BYTES).next(&mut &bytes[..]);
        let Ok(Some(ClientFrame::Report { ran })) = frame else {
            panic!("{frame:?}");
        };
        assert!(ran.stdout.cut_chars > 5 && ran.stderr.text.contains("left out"));
    }
}
