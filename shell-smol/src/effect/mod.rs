//! Performing effects: one small module a kind, each of which turns every error into an outcome.

pub mod deliver;
pub mod model;
pub mod tool;

use async_channel::Receiver;

/// A request to stop an effect early. It is made when the other end of the channel is dropped or
/// closed; nothing is ever sent over it.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<std::convert::Infallible>);

impl Stop {
    /// Watches a channel for being closed.
    pub fn when_closed(receiver: Receiver<std::convert::Infallible>) -> Stop {
        Stop(receiver)
    }

    /// Waits until the effect is to stop.
    pub async fn requested(&self) {
        let _ = self.0.recv().await;
    }

    /// The effect is to stop.
    pub fn is_requested(&self) -> bool {
        self.0.is_closed()
    }
}
