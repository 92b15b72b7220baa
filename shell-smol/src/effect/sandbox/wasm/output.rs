//! What a guest says, without secrets and cut to a bound, and whoever is shown it meanwhile.

use crate::effect::tool::clip::{Capture, keep_last};
use crate::secret::Secrets;
use openpista_core::effect::Chunk;
use openpista_core::effect::tool::{Exit, Ran};

/// The largest piece that is shown at once, in characters; of more, the last are.
const SHOWN_CHARS: usize = 2_000;

/// One call's.
#[derive(Debug)]
pub(super) struct Output {
    answer: Capture,
    printed: Capture,
    /// What was printed and nobody was shown yet.
    fresh: String,
}

impl Output {
    pub(super) fn new(max_chars: usize, secrets: &Secrets) -> Output {
        Output {
            answer: Capture::new(max_chars, secrets),
            printed: Capture::new(max_chars, secrets),
            fresh: String::new(),
        }
    }

    pub(super) fn answered(&mut self, text: &str) {
        self.answer.push(text.as_bytes());
    }

    pub(super) fn printed(&mut self, text: &str) {
        self.fresh.push_str(&self.printed.push(text.as_bytes()));
        keep_last(&mut self.fresh, SHOWN_CHARS);
    }

    /// Shows what was printed since the last time.
    pub(super) fn show(&mut self, progress: &impl Fn(Chunk)) {
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh.is_empty() {
            progress(Chunk::Output(fresh));
        }
    }

    pub(super) fn finish(self, exit: Exit, took_ms: u64) -> Ran {
        Ran {
            exit,
            stdout: self.answer.finish(),
            stderr: self.printed.finish(),
            took_ms,
            pictures: Vec::new(),
        }
    }
}
