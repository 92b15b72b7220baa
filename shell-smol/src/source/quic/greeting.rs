//! What the first frame of a connection comes to. Pure: the bytes are read elsewhere, and whether a
//! token is a valid one is looked up elsewhere. `shell-test/fuzz` compiles this file by itself, so it
//! needs nothing but the core.

use openpista_core::wire::frame::{ClientFrame, Role, Token};

/// The longest frame of somebody who has not said who they are, in bytes.
pub(super) const STRANGER_FRAME_BYTES: usize = 4 * 1024;

/// What somebody says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// They are who this token is for, if it is a valid one.
    Client {
        /// The token.
        token: Token,
        /// What they call themselves.
        name: String,
    },
    /// They run the task that this token is for, if it is a valid one.
    Worker {
        /// The token.
        token: Token,
    },
    /// Nothing that lets them in: they are told this.
    TurnedAway(String),
}

impl Greeting {
    /// Reads the first frame; there is none when the stream ended without one.
    pub(super) fn of(frame: Option<ClientFrame>) -> Greeting {
        let message = match frame {
            Some(ClientFrame::Auth {
                token,
                role: None,
                client: name,
            }) => return Greeting::Client { token, name },
            Some(ClientFrame::Auth {
                token,
                role: Some(Role::Worker),
                ..
            }) => return Greeting::Worker { token },
            _ => "The first frame of a connection must be `auth`.",
        };
        Greeting::TurnedAway(message.to_owned())
    }
}
