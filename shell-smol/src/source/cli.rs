//! The person at this machine's terminal, as a source of inputs.

use crate::driver::Handle;
use openpista_core::id::ApprovalId;
use openpista_core::input::{Arrival, Decision, Input, Order};
use std::time::{SystemTime, UNIX_EPOCH};

/// The channel.
pub const ORIGIN: &str = "cli:local";
/// Who writes.
pub const PEER: &str = "cli:local";
/// The part of [`ORIGIN`] that names the kind of channel.
pub const CHANNEL: &str = "cli";

/// Sends what the person says into one session.
#[derive(Debug)]
pub struct Cli {
    handle: Handle,
    session: String,
    keys: Keys,
}

impl Cli {
    /// Speaks in `session`; in the one of the terminal when none is named.
    pub fn new(handle: Handle, session: Option<String>) -> Cli {
        Cli {
            handle,
            session: session.unwrap_or_else(|| ORIGIN.to_owned()),
            keys: Keys::new(),
        }
    }

    /// The session's name.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The loop behind it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends a message. Returns its key, by which its end is known.
    pub async fn say(&mut self, text: String) -> String {
        let key = self.keys.next();
        let arrival = Arrival {
            origin: ORIGIN.to_owned(),
            key: key.clone(),
            peer: PEER.to_owned(),
            session: Some(self.session.clone()),
            text,
            serial: None,
        };
        self.handle.send(Input::Arrive(arrival)).await;
        key
    }

    /// Ends what the session is doing.
    pub async fn stop(&self) {
        let order = Order::Stop {
            session: self.session.clone(),
            by: PEER.to_owned(),
        };
        self.handle.send(Input::Order(order)).await;
    }

    /// Answers a question.
    pub async fn decide(&self, approval: ApprovalId, decision: Decision) {
        let order = Order::Decide {
            approval,
            decision,
            by: PEER.to_owned(),
        };
        self.handle.send(Input::Order(order)).await;
    }
}

/// A key that no other message of this machine has.
pub(crate) fn fresh_key() -> String {
    Keys::new().next()
}

/// Keys that no other message of this machine has: the process, the moment it asked, and a count.
#[derive(Debug)]
struct Keys {
    process: String,
    count: u64,
}

impl Keys {
    fn new() -> Keys {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.unwrap_or_default().as_nanos();
        Keys {
            process: format!("{nanos:x}-{:x}", std::process::id()),
            count: 0,
        }
    }

    fn next(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.process, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::Keys;

    #[test]
    fn keys_differ() {
        let (mut one, mut other) = (Keys::new(), Keys::new());
        other.process.push('x');
        let keys = [one.next(), one.next(), other.next()];
        assert!(keys[0] != keys[1] && keys[0] != keys[2]);
    }
}
