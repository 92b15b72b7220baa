//! What a guest prints, while it prints it.
//!
//! A guest's result is its answer. Whatever it prints, on its standard output or its standard
//! error, is what it says on the way: both go into one text, in the order in which they were
//! written, without secrets and cut to a bound.

use crate::effect::tool::clip::{Capture, keep_last};
use bytes::Bytes;
use openpista_core::effect::tool::Clip;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The largest piece that is shown at once, in characters; of more, the last are.
const SHOWN_CHARS: usize = 2_000;

/// The most that a guest may write at once.
const WRITE_BYTES: usize = 64 * 1024;

/// One guest's text. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Printed(Arc<Mutex<Text>>);

#[derive(Debug)]
struct Text {
    /// None when it was taken: what still comes is nobody's.
    capture: Option<Capture>,
    /// What nobody was shown yet.
    fresh: String,
    /// The last line is not at its end.
    open: bool,
}

impl Printed {
    /// Nothing yet.
    pub(super) fn new(capture: Capture) -> Printed {
        Printed(Arc::new(Mutex::new(Text {
            capture: Some(capture),
            fresh: String::new(),
            open: false,
        })))
    }

    /// Adds a line of ours, not in the middle of one of the guest's.
    pub(super) fn say(&self, line: &str) {
        let open = self.text().open;
        self.push(if open { b"\n" } else { b"" });
        self.push(line.as_bytes());
    }

    /// Adds to it.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut text = self.text();
        let Text {
            capture,
            fresh,
            open,
        } = &mut *text;
        *open = bytes.last().map_or(*open, |last| *last != b'\n');
        if let Some(capture) = capture {
            fresh.push_str(&capture.push(bytes));
            keep_last(fresh, SHOWN_CHARS);
        }
    }

    /// What was printed since this was last asked.
    pub(super) fn fresh(&self) -> String {
        std::mem::take(&mut self.text().fresh)
    }

    /// All of it. Only the first to ask gets it.
    pub(super) fn finish(&self) -> Clip {
        let capture = self.text().capture.take();
        capture.map(Capture::finish).unwrap_or_default()
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    /// For WASI preview 3, which we do not offer.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(MemoryOutputPipe::new(0))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}
