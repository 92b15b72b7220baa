//! Signals that ask the program to end.
//!
//! The first is handed on, so that what runs can be ended in order. The second ends the process
//! at once: what is durable stays so, and what was under way is recovered at the next start.

use async_signal::{Signal, Signals};
use futures_lite::StreamExt;
use std::io;

/// A request to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// The terminal is gone.
    HangUp,
}

impl Ending {
    /// The exit code that tells a shell of it: 128 and the signal's number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Ending::Interrupt => 130,
            Ending::Terminate => 143,
            Ending::HangUp => 129,
        }
    }
}

/// Watches for signals.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
}

impl Watch {
    /// Takes the signals over from the system, which would end the process.
    ///
    /// # Errors
    /// When the system will not hand them over.
    pub fn new() -> io::Result<Watch> {
        let signals = Signals::new([Signal::Int, Signal::Term, Signal::Hup])?;
        Ok(Watch { signals })
    }

    /// The next one. Waits for ever when the system tells of none any more.
    pub async fn next(&mut self) -> Ending {
        loop {
            match self.signals.next().await {
                Some(Ok(Signal::Int)) => return Ending::Interrupt,
                Some(Ok(Signal::Term)) => return Ending::Terminate,
                Some(Ok(Signal::Hup)) => return Ending::HangUp,
                Some(_) => {}
                None => futures_lite::future::pending().await,
            }
        }
    }
}
