//! What a container prints: kept to a bound, shown at a bounded rate, without secrets.

use super::Shown;
use crate::effect::tool::clip::{Capture, keep_last};
use crate::secret::Secrets;
use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_lite::future::{or, pending};
use futures_lite::{Stream, StreamExt};
use openpista_core::effect::Chunk;
use openpista_core::effect::tool::Clip;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest time between two chunks of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The largest chunk of progress, in characters; of more, the last are shown.
const PROGRESS_CHARS: usize = 2_000;

/// What comes from a container.
pub(super) type Source = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// Both streams of a container.
pub(super) struct Output {
    stdout: Capture,
    stderr: Capture,
    /// None once it is at its end.
    source: Option<Source>,
    /// That was no end, but a connection that broke.
    broken: bool,
    /// What was read since something was last shown: the last of it.
    fresh: String,
    /// When something may next be shown.
    show_at: Instant,
    /// None where nobody looks.
    shown: Option<Shown>,
}

impl Output {
    pub(super) fn new(
        source: Source,
        chars: usize,
        secrets: &Secrets,
        shown: Option<Shown>,
    ) -> Output {
        Output {
            stdout: Capture::new(chars, secrets),
            stderr: Capture::new(chars, secrets),
            source: Some(source),
            broken: false,
            fresh: String::new(),
            show_at: Instant::now(),
            shown,
        }
    }

    /// Reads until something else is done.
    pub(super) async fn read_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let reading = async {
            self.read().await;
            pending().await
        };
        or(something, reading).await
    }

    /// Reads to the end. May be dropped at any time and called again.
    pub(super) async fn read(&mut self) {
        while let Some(source) = &mut self.source {
            let item = match self.fresh.is_empty() {
                true => Some(source.next().await),
                false => tokio::time::timeout_at(self.show_at, source.next())
                    .await
                    .ok(),
            };
            match item {
                Some(Some(Ok(output))) => self.take(output),
                Some(Some(Err(_))) => (self.source, self.broken) = (None, true),
                Some(None) => self.source = None,
                None => {}
            }
            if self.source.is_none() || Instant::now() >= self.show_at {
                self.show();
            }
            // A command that prints without pause must not keep the clock from being looked at.
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, output: LogOutput) {
        let clean = match &output {
            LogOutput::StdErr { message } => self.stderr.push(message),
            other => self.stdout.push(other.as_ref()),
        };
        self.fresh.push_str(&clean);
        keep_last(&mut self.fresh, PROGRESS_CHARS);
    }

    /// Reads to the end, and says whether that was reached within this time.
    pub(super) async fn finishes_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.read()).await.is_ok() && !self.broken
    }

    fn show(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        if let (Some(shown), false) = (&self.shown, fresh.is_empty()) {
            shown.show(fresh);
            self.show_at = Instant::now() + PROGRESS_EVERY;
        }
    }

    /// What is kept of standard output and standard error.
    pub(super) fn finish(self) -> (Clip, Clip) {
        (self.stdout.finish(), self.stderr.finish())
    }
}

impl Shown {
    /// Shows something, or loses it where nobody has the time to look.
    pub(super) fn show(&self, text: String) {
        let _ = self.0.try_send(Chunk::Output(text));
    }
}
