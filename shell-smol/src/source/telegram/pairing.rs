//! Getting to know a bot and its owner, before there is a daemon.
//!
//! What people write stays with the server for the daemon: nothing is acknowledged while the owner
//! is looked for, and afterwards only their greeting, if nothing else waits before it.

use super::api::{Api, Fault};
use super::update::{self, Content, Me};
use super::{Pace, TelegramConfig};
use crate::secret::Secret;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long the server may hold a poll, in seconds.
const POLL_S: u32 = 2;
/// The wait before the next poll when all that waits is known, or after an error.
const PAUSE: Duration = Duration::from_secs(1);
/// How much of a name is shown, in characters.
const NAME_CHARS: usize = 60;

/// A bot that is looking for its owner.
pub struct Pairing {
    api: Api,
    /// The same, which never waits for updates.
    brief: Api,
    me: Option<Me>,
    seen: BTreeSet<i64>,
}

/// Somebody who wrote to the bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Their id.
    pub id: u64,
    /// What they are called, in their own words.
    pub name: String,
    update: i64,
    /// Nothing waits before it.
    first: bool,
}

/// Why the server told nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairingError {
    /// It does not know the token.
    Refused,
    /// Another program gets the bot's messages.
    Taken(String),
    /// It cannot be reached, or does not answer as it should.
    Unreachable(String),
}

impl fmt::Display for PairingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PairingError::Refused => {
                f.write_str("the server does not know this token: copy it anew from @BotFather")
            }
            PairingError::Taken(said) => write!(
                f,
                "another program gets this bot's messages ({said}): stop it, or delete the webhook"
            ),
            PairingError::Unreachable(why) => write!(f, "the server cannot be asked: {why}"),
        }
    }
}

impl std::error::Error for PairingError {}

impl From<Fault> for PairingError {
    fn from(fault: Fault) -> PairingError {
        match fault {
            Fault::Unauthorized => PairingError::Refused,
            Fault::Conflict(said) => PairingError::Taken(said),
            Fault::RateLimited { .. } => {
                PairingError::Unreachable("it asks for patience".to_owned())
            }
            Fault::Unsent(why)
            | Fault::Unreachable(why)
            | Fault::Refused(why)
            | Fault::Gone(why) => PairingError::Unreachable(why),
            Fault::Unformatted | Fault::Unchanged | Fault::Fixed | Fault::Moved(_) => {
                PairingError::Unreachable("its answer makes no sense".to_owned())
            }
        }
    }
}

impl Pairing {
    /// The bot with this token, at this server.
    pub fn new(token: &Secret, api_url: &str) -> Pairing {
        let api = |poll_s| {
            Api::new(&TelegramConfig {
                token: token.clone(),
                api_url: Some(api_url.to_owned()),
                files_dir: PathBuf::new(),
                pace: Pace {
                    poll_s,
                    ..Pace::default()
                },
                metrics: Default::default(),
            })
        };
        Pairing {
            api: api(POLL_S),
            brief: api(0),
            me: None,
            seen: BTreeSet::new(),
        }
    }

    /// What the bot is called, without the `@`.
    ///
    /// # Errors
    /// When the server does not say.
    pub fn name(&mut self) -> Result<String, PairingError> {
        let user = self.api.me()?;
        let username = user.username.unwrap_or_default();
        self.me = Some(Me {
            id: user.id,
            username: username.clone(),
        });
        Ok(username)
    }

    /// Waits a moment for people who write to the bot alone, and gives those who are new.
    ///
    /// # Errors
    /// When the server does not say; it may be asked again at once.
    pub fn listen(&mut self) -> Result<Vec<Guest>, PairingError> {
        let asked = self.api.updates(None);
        let updates = asked.inspect_err(|_| std::thread::sleep(PAUSE))?;
        let mut guests = Vec::new();
        for (at, value) in updates.iter().enumerate() {
            if let Some(guest) = self.guest(value, at == 0) {
                guests.push(guest);
            }
        }
        if guests.is_empty() && !updates.is_empty() {
            std::thread::sleep(PAUSE);
        }
        Ok(guests)
    }

    fn guest(&mut self, value: &Value, first: bool) -> Option<Guest> {
        let update = update::read(value, self.me.as_ref()?)?;
        let Content::Message(message) = update.content else {
            return None;
        };
        if message.place.is_group() || !self.seen.insert(update.id) {
            return None;
        }
        let from = &value["message"]["from"];
        let parts = ["first_name", "last_name"].map(|part| from[part].as_str().unwrap_or_default());
        let name: String = parts.join(" ").trim().chars().take(NAME_CHARS).collect();
        Some(Guest {
            id: message.user,
            name,
            update: update.id,
            first,
        })
    }

    /// Takes the greeting of the one who was found from the server, so that the daemon does not
    /// answer it, unless something waits before it.
    pub fn settle(&self, guest: &Guest) {
        if guest.first {
            // It would only be answered once more.
            let _ = self.brief.updates(Some(guest.update + 1));
        }
    }
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pairing")
    }
}
