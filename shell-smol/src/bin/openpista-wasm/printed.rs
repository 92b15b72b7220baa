//! What a guest prints, while it prints it.
//!
//! A guest's result is its answer. Whatever it prints, on its standard output or its standard
//! error, is what it says on the way: both go into one text, in the order in which they were
//! written, and each piece to the daemon at once, because a guest that takes too long is killed,
//! and its host with it. The daemon takes the secrets out, which we do not know, and cuts it to a
//! bound; it reads no quicker than it can do that, and a guest that prints more has to wait.

use super::Tell;
use bytes::Bytes;
use openpista_shell_smol::guest::Decoder;
use openpista_shell_smol::guest::line::Said;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The most that a guest may write at once.
const WRITE_BYTES: usize = 64 * 1024;

/// One guest's text. Clones share it.
#[derive(Clone)]
pub(super) struct Printed(Arc<Mutex<Text>>);

struct Text {
    tell: Tell,
    /// A write may end in the middle of a character.
    decoder: Decoder,
    /// The last line is not at its end.
    open: bool,
}

impl Printed {
    /// Nothing yet.
    pub(super) fn new(tell: Tell) -> Printed {
        Printed(Arc::new(Mutex::new(Text {
            tell,
            decoder: Decoder::default(),
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
        text.open = bytes.last().map_or(text.open, |last| *last != b'\n');
        let mut decoded = String::new();
        text.decoder.push(bytes, &mut decoded);
        text.tell(decoded);
    }

    /// There is no more to come.
    pub(super) fn finish(&self) {
        let mut text = self.text();
        let mut decoded = String::new();
        text.decoder.finish(&mut decoded);
        text.tell(decoded);
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Text {
    fn tell(&self, text: String) {
        if !text.is_empty() {
            (self.tell)(&Said::Printed { text });
        }
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
