//! Leaving before the end. At a question, keys leave; between questions, while something is waited
//! for or done, the signals that end a program do. Then the person is told what was done.

use crate::command::Error;
use crate::source::signal::Watch;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is true of one who leaves before anything was written.
pub(super) const NOTHING: &str = "left; nothing was written";

/// What is true of one who leaves now.
#[derive(Clone)]
pub(super) struct Leaving(Arc<Mutex<&'static str>>);

impl Leaving {
    /// From now on a signal ends the program with a word on what was done, and with the exit status
    /// that tells of the signal.
    ///
    /// # Errors
    /// The system does not hand the signals over.
    pub(super) fn watch() -> Result<Leaving, Error> {
        let failed = |error: io::Error| Error::failed(format!("cannot watch for signals: {error}"));
        let mut watch = Watch::new().map_err(failed)?;
        let leaving = Leaving(Arc::new(Mutex::new(NOTHING)));
        // A question may have changed it when the signal comes.
        let terminal = tcgetattr(io::stdin()).ok();
        let said = leaving.clone();
        let watches = std::thread::Builder::new().spawn(move || {
            let ending = smol::block_on(watch.next());
            // Waits while something is done that must be done whole.
            said.leave(terminal.as_ref(), ending.exit_code());
        });
        watches.map_err(failed)?;
        Ok(leaving)
    }

    /// Does what is not left half done. Afterwards this is true of one who leaves.
    pub(super) fn whole<T>(
        &self,
        then: &'static str,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut now = self.now();
        let done = work()?;
        *now = then;
        Ok(done)
    }

    fn leave(&self, terminal: Option<&Termios>, status: u8) {
        let now = self.now();
        if let Some(found) = terminal {
            // It may be gone.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, found);
        }
        let mut out = io::stderr().lock();
        // After the `^C`, or a question.
        let line_end = if out.is_terminal() { "\n" } else { "" };
        let _ = writeln!(out, "{line_end}openpistacrab: {now}");
        std::process::exit(status.into());
    }

    fn now(&self) -> MutexGuard<'_, &'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
