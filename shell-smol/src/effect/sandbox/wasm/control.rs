//! Ending a guest early, wherever it is.
//!
//! A guest is in its own code or in ours. Its own code looks at the engine's epoch at every loop
//! and every call; of ours only a sleep takes long, and that one waits here. So whoever ends a
//! run sets the cause, wakes the sleeper and moves the epoch on: no clock ticks meanwhile, and
//! guests that were not meant go on.

use openpista_core::effect::tool::Exit;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::Engine;

/// The cord of one run.
#[derive(Debug, Default)]
pub(super) struct Control {
    cause: Mutex<Option<Exit>>,
    woken: Condvar,
}

impl Control {
    /// Ends the run. The first cause counts.
    pub(super) fn end(&self, engine: &Engine, cause: Exit) {
        let mut held = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(cause);
        drop(held);
        self.woken.notify_all();
        engine.increment_epoch();
    }

    /// Why the run is to end, if it is.
    pub(super) fn cause(&self) -> Option<Exit> {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, but no longer than until the run is to end.
    pub(super) fn sleep(&self, time: Duration) {
        let held = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        let asleep = |cause: &mut Option<Exit>| cause.is_none();
        drop(self.woken.wait_timeout_while(held, time, asleep));
    }
}
