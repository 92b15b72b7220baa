//! Telegram, as a source of messages and a front end.
//!
//! Two threads. `poll` asks for updates and acknowledges what is settled; `front` takes them
//! in, and shows what the core has to say. A chat is a session, and so is each topic of a forum.
//! In groups the bot hears what mentions it or replies to it, and nothing else. A group that becomes
//! a supergroup is another chat to the API, and the same session to the core. Edited messages are
//! not heard: what was answered stays as it was asked. A person whom nobody let in gets one hint an
//! hour and leaves no trace.
//!
//! Nothing is decided here about *whether*: who may speak, what runs and what is tried again is the
//! core's. The bot's token never leaves `api`.

mod api;
mod chat;
mod files;
pub mod format;
mod front;
mod intake;
mod lanes;
pub mod pairing;
mod poll;
mod question;
mod show;
pub mod update;

use self::api::Api;
use self::front::Front;
use self::poll::{Lines, Poller};
use crate::driver::Handle;
use crate::effect::deliver::Event;
use crate::metrics::Metrics;
use crate::secret::Secret;
use async_channel::{Receiver, Sender};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

pub use self::update::CHANNEL;

/// Where bots are served, unless another server is named.
const API_URL: &str = "https://api.telegram.org";

/// The longest text of one message, in characters: what `channel_chars` of the settings names for
/// [`CHANNEL`]. The API takes 4,096; the rest is for the marks that go with a text.
pub const MESSAGE_CHARS: usize = 4_000;

/// How many updates may wait to be taken in.
const UPDATES: usize = 128;

/// How the bot is reached, and what it keeps.
#[derive(Clone, Debug)]
pub struct TelegramConfig {
    /// The bot's token.
    pub token: Secret,
    /// The server, when it is not Telegram's own: a URL without a slash at the end.
    pub api_url: Option<String>,
    /// Where photos and documents are put, a folder for each chat.
    pub files_dir: PathBuf,
    /// How often it does things.
    pub pace: Pace,
    /// Counts the polls.
    pub metrics: Metrics,
}

/// How often things are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long the server may hold a poll that brings nothing, in seconds.
    pub poll_s: u32,
    /// The wait after a first error, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// The least time between two edits of a growing reply, in milliseconds; three times as long in
    /// groups, where the server allows less.
    pub edit_ms: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            poll_s: 25,
            backoff_ms: 1_000,
            edit_ms: 1_000,
        }
    }
}

/// The peer of a user, as `telegram:ID`: how owners are named in the settings.
pub fn peer(user: u64) -> String {
    format!("{CHANNEL}:{user}")
}

/// The running channel.
#[derive(Debug)]
pub struct Telegram {
    stop: Sender<Infallible>,
    front: JoinHandle<()>,
}

impl Telegram {
    /// Begins to listen and to show. `events` is what the fronts have for [`CHANNEL`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        config: TelegramConfig,
        handle: Handle,
        events: Receiver<Event>,
    ) -> io::Result<Telegram> {
        let api = Api::new(&config);
        let (stop, stopped) = async_channel::bounded(1);
        let (updates, arriving) = async_channel::bounded(UPDATES);
        let (words, heard) = async_channel::unbounded();
        let lines = Lines {
            updates,
            words: heard,
            stop: stopped,
        };
        let poller = Poller::new(api.clone(), config.pace, lines, config.metrics.clone());
        let builder = std::thread::Builder::new().name("telegram-front".to_owned());
        let front =
            builder.spawn(move || Front::run(api, config, handle, words, events, arriving))?;
        // It may hang in a poll when the program ends, so nobody waits for it.
        let builder = std::thread::Builder::new().name("telegram-poll".to_owned());
        builder.spawn(move || poller.run())?;
        Ok(Telegram { stop, front })
    }

    /// Takes no more messages. What is to be shown is still shown.
    pub fn stop(&self) {
        self.stop.close();
    }

    /// Waits until everything was shown, which is soon after the loop has ended.
    pub fn join(self) {
        self.stop();
        // A panic of that thread has been reported already.
        let _ = self.front.join();
    }
}
