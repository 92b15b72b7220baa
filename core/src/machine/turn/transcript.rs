//! A session's transcript: the latest entries, within the bounds that a prompt may have.
//!
//! When it has outgrown them it is cut to half of them, not entry by entry: the work is amortised,
//! and a provider's cache of the prompt's beginning stays warm. A running digest of the entries
//! makes a prompt's digest without reading it again. Older messages live on in the journal.

use crate::digest::Digest;
use crate::limit::Limits;
use crate::message::{Entry, Message};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The entries that are kept, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transcript {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    chain: Digest,
}

impl Default for Transcript {
    fn default() -> Transcript {
        Transcript {
            entries: VecDeque::new(),
            bytes: 0,
            chain: Digest([0; 32]),
        }
    }
}

impl Transcript {
    pub(crate) fn push(&mut self, message: Message) {
        let entry = Entry::new(message);
        self.bytes += entry.message.weight();
        self.chain = link(self.chain, &entry);
        self.entries.push_back(entry);
    }

    /// The entries, and the digest of them all.
    pub(crate) fn window(&self) -> (Vec<Arc<Entry>>, Digest) {
        (self.entries.iter().cloned().collect(), self.chain)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Cuts what is beyond the bounds, between turns only. What is left begins with a person's
    /// words, so that no result stands without its call.
    pub(crate) fn trim(&mut self, limits: &Limits) {
        if self.fits(0, limits.context_bytes, limits.context_messages) {
            return;
        }
        let is_user = |entry: &Arc<Entry>| matches!(entry.message, Message::User { .. });
        let starts = (0..self.entries.len()).filter(|&at| is_user(&self.entries[at]));
        let half =
            |&at: &usize| self.fits(at, limits.context_bytes / 2, limits.context_messages / 2);
        let last = starts.clone().next_back().unwrap_or(self.entries.len());
        let start = starts.clone().find(half).unwrap_or(last);
        self.entries.drain(..start);
        if !self.fits(0, limits.context_bytes, limits.context_messages) {
            self.keep_words(limits);
        }
        self.bytes = self.entries.iter().map(|e| e.message.weight()).sum();
        let none = Digest([0; 32]);
        self.chain = self.entries.iter().fold(none, |chain, e| link(chain, e));
    }

    /// One turn alone is too large: what was said in it stays, as far as it fits, and what tools
    /// did goes.
    fn keep_words(&mut self, limits: &Limits) {
        self.entries.retain(|entry| match &entry.message {
            Message::User { .. } => true,
            Message::Assistant { calls, .. } => calls.is_empty(),
            Message::Tool { .. } => false,
        });
        while !self.fits(0, limits.context_bytes, limits.context_messages) {
            self.entries.pop_front();
        }
    }

    /// Are the entries from `start` on within these bounds?
    fn fits(&self, start: usize, bytes: usize, messages: usize) -> bool {
        let kept = self.entries.range(start..);
        let count = self.entries.len() - start;
        count <= messages && kept.map(|e| e.message.weight()).sum::<usize>() <= bytes
    }
}

fn link(chain: Digest, entry: &Entry) -> Digest {
    Digest::of(&[&chain.0, &entry.digest.0])
}
