//! Frames over one QUIC stream, in either direction. Both the gateway and our own client read and
//! write with these.
//!
//! A frame that has begun must be whole soon, and a peer must take soon what is written to it:
//! who is slower than that is given up.

use async_io::Timer;
use futures_lite::FutureExt;
use openpista_core::wire::frame::{self, Decoder, Frame, FrameError, TooLarge};
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use std::fmt;
use std::time::{Duration, Instant};

/// How long a frame may take from its first byte to its last.
pub(crate) const FRAME_TIME: Duration = Duration::from_secs(10);
/// How long the peer may take no byte of what is written to it.
pub(crate) const WRITE_TIME: Duration = Duration::from_secs(30);
/// The most that is taken from the connection at once, in bytes.
const CHUNK_BYTES: usize = 16 * 1024;

/// Why a stream is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The peer sent what is no frame.
    Frame(FrameError),
    /// The peer was too slow.
    Slow,
    /// A frame of ours cannot be sent.
    TooLarge(TooLarge),
    /// The stream or the connection has ended.
    Ended(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Frame(error) => error.fmt(f),
            Broken::Slow => f.write_str("the peer was too slow"),
            Broken::TooLarge(error) => error.fmt(f),
            Broken::Ended(cause) => f.write_str(cause),
        }
    }
}

/// Reads frames.
pub(crate) struct Frames<F> {
    recv: RecvStream,
    decoder: Decoder<F>,
    /// What came behind the last frame.
    rest: Vec<u8>,
    /// When the frame that is not whole must be.
    due: Option<Instant>,
}

impl<F: Frame> Frames<F> {
    /// Reads frames of at most `max_frame_bytes`.
    pub(crate) fn new(recv: RecvStream, max_frame_bytes: usize) -> Frames<F> {
        Frames {
            recv,
            decoder: Decoder::new(max_frame_bytes),
            rest: Vec::new(),
            due: None,
        }
    }

    /// The same stream, with frames of at most `max_frame_bytes` from here on. For between two
    /// frames: of one that has begun nothing is kept.
    pub(crate) fn allowing(self, max_frame_bytes: usize) -> Frames<F> {
        Frames {
            decoder: Decoder::new(max_frame_bytes),
            ..self
        }
    }

    /// The peer sent its first bytes before the handshake was over: they may be a replay.
    pub(crate) fn is_early(&self) -> bool {
        self.recv.is_0rtt()
    }

    /// From here on the first byte of a frame is under way already: a stream that a peer opens
    /// begins with one.
    pub(crate) fn begun(mut self) -> Frames<F> {
        self.due = Some(Instant::now() + FRAME_TIME);
        self
    }

    /// The next frame; none when the peer sends no more. Nothing is lost when this is dropped
    /// before it is done.
    pub(crate) async fn next(&mut self) -> Result<Option<F>, Broken> {
        loop {
            let held = std::mem::take(&mut self.rest);
            if let Some(frame) = self.take(&held)? {
                return Ok(Some(frame));
            }
            let read = async {
                match self.recv.read_chunk(CHUNK_BYTES, true).await {
                    Ok(chunk) => Ok(chunk),
                    Err(error) => Err(ended_reading(&error)),
                }
            };
            let late = async {
                match self.due {
                    Some(due) => drop(Timer::at(due).await),
                    None => futures_lite::future::pending().await,
                }
                Err(Broken::Slow)
            };
            match read.or(late).await? {
                Some(chunk) => self.rest = chunk.bytes.to_vec(),
                None if self.decoder.buffered() > 0 => {
                    return Err(Broken::Frame(FrameError::CutOff));
                }
                None => return Ok(None),
            }
        }
    }

    fn take(&mut self, mut input: &[u8]) -> Result<Option<F>, Broken> {
        let frame = self.decoder.next(&mut input).map_err(Broken::Frame)?;
        self.rest = input.to_vec();
        if frame.is_some() {
            self.due = None;
        } else if self.decoder.buffered() > 0 {
            self.due.get_or_insert_with(|| Instant::now() + FRAME_TIME);
        }
        Ok(frame)
    }
}

/// Writes a frame.
pub(crate) async fn write<F: Frame>(send: &mut SendStream, frame: &F) -> Result<(), Broken> {
    let bytes = frame::encode(frame).map_err(Broken::TooLarge)?;
    write_bytes(send, &bytes).await
}

/// Writes a frame that is encoded already.
pub(crate) async fn write_bytes(send: &mut SendStream, mut bytes: &[u8]) -> Result<(), Broken> {
    while !bytes.is_empty() {
        let written = async {
            let written = send.write(bytes).await;
            written.map_err(|error| ended_writing(&error))
        };
        let late = async {
            Timer::after(WRITE_TIME).await;
            Err(Broken::Slow)
        };
        bytes = &bytes[written.or(late).await?..];
    }
    Ok(())
}

fn ended_reading(error: &ReadError) -> Broken {
    Broken::Ended(match error {
        ReadError::ConnectionLost(error) => error.to_string(),
        error => error.to_string(),
    })
}

fn ended_writing(error: &WriteError) -> Broken {
    Broken::Ended(match error {
        WriteError::ConnectionLost(error) => error.to_string(),
        error => error.to_string(),
    })
}
