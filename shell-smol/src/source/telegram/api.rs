//! The bot API over HTTP: the few methods that are used, and what its refusals mean.
//!
//! Every call blocks; [`Api::run`] gives it a thread and waits for it as a future. The bot's token
//! is part of every address, so no error leaves here with an address in it, nor with the token.
//! Answers are read for what is needed alone: one that holds more or other things than this
//! program knows is no failure, or a message that was sent would be sent again.

use super::TelegramConfig;
use crate::secret::{Secret, Secrets};
use frankenstein::client_ureq::Bot;
use frankenstein::methods::{
    AnswerCallbackQueryParams, EditMessageReplyMarkupParams, EditMessageTextParams, GetFileParams,
    GetUpdatesParams, SendChatActionParams, SendDocumentParams, SendMessageParams, SendPhotoParams,
    SetMyCommandsParams,
};
use frankenstein::response::MethodResponse;
use frankenstein::types::{AllowedUpdate, BotCommand, File, User};
use frankenstein::{Error, TelegramApi};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Debug;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

const CONNECT: Duration = Duration::from_secs(10);
/// Two of them take less than the core waits for a delivery.
const CALL: Duration = Duration::from_secs(12);
/// One of them takes less than that.
const UPLOAD: Duration = Duration::from_secs(25);
const DOWNLOAD: Duration = Duration::from_secs(120);
/// How much longer than it promised an answer to a poll may take.
const POLL_GRACE: Duration = Duration::from_secs(10);
/// How much of an error's text is kept, in characters.
const WORDS: usize = 300;

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Too many calls.
    RateLimited {
        /// How long to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// The token is not, or no longer, a bot's.
    Unauthorized,
    /// Somebody else gets the bot's updates.
    Conflict(String),
    /// The formatting is not understood.
    Unformatted,
    /// The message is already what it was to become.
    Unchanged,
    /// The message cannot be changed any more.
    Fixed,
    /// The chat cannot be reached any more.
    Gone(String),
    /// The chat, a group, has become another one, a supergroup, of this number.
    Moved(i64),
    /// The call is not understood, and never will be.
    Refused(String),
    /// Nobody was reached: nothing was sent.
    Unsent(String),
    /// It was sent, and may or may not have arrived.
    Unreachable(String),
}

/// A bot at a server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Api(Arc<Inner>);

struct Inner {
    bot: Bot,
    /// The same, with the patience for a long poll.
    poll: Bot,
    poll_s: u32,
    /// The same, with the patience for a file.
    upload: Bot,
    agent: Agent,
    files_url: String,
    token: Secret,
    secrets: Secrets,
}

/// All that is read of a message that was sent.
#[derive(Debug, Deserialize)]
struct Sent {
    message_id: i32,
}

impl Api {
    pub(super) fn new(config: &TelegramConfig) -> Api {
        let base = config.api_url.as_deref().unwrap_or(super::API_URL);
        let base = base.trim_end_matches('/');
        let token = config.token.expose();
        let poll_s = config.pace.poll_s;
        let url = format!("{base}/bot{token}");
        let bot = |patience: Duration| {
            let agent = agent(base, patience);
            Bot::builder()
                .api_url(url.clone())
                .request_agent(agent)
                .build()
        };
        Api(Arc::new(Inner {
            bot: bot(CALL),
            poll: bot(Duration::from_secs(poll_s.into()) + POLL_GRACE),
            poll_s,
            upload: bot(UPLOAD),
            agent: agent(base, DOWNLOAD),
            files_url: format!("{base}/file/bot{token}"),
            secrets: Secrets::new([("channels.telegram.token", config.token.clone())]),
            token: config.token.clone(),
        }))
    }

    /// Makes a call on a thread of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Api) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let api = self.clone();
        blocking::unblock(move || call(&api)).await
    }

    pub(super) fn me(&self) -> Result<User, Fault> {
        self.call(&self.0.bot, "getMe", None::<()>)
    }

    pub(super) fn set_commands(&self, commands: Vec<BotCommand>) -> Result<(), Fault> {
        let params = SetMyCommandsParams::builder().commands(commands).build();
        let done: Result<IgnoredAny, Fault> = self.call(&self.0.bot, "setMyCommands", Some(params));
        done.map(drop)
    }

    /// The updates from `offset` on. Whatever is below it is acknowledged, and gone.
    pub(super) fn updates(&self, offset: Option<i64>) -> Result<Vec<Value>, Fault> {
        let params = GetUpdatesParams::builder()
            .maybe_offset(offset)
            .timeout(self.0.poll_s)
            .allowed_updates(vec![AllowedUpdate::Message, AllowedUpdate::CallbackQuery])
            .build();
        self.call(&self.0.poll, "getUpdates", Some(params))
    }

    /// Sends a message, and returns its number in the chat.
    pub(super) fn send(&self, params: SendMessageParams) -> Result<i32, Fault> {
        let sent: Sent = self.call(&self.0.bot, "sendMessage", Some(params))?;
        Ok(sent.message_id)
    }

    /// Sends the picture in a file, to be seen at once.
    pub(super) fn send_photo(&self, params: SendPhotoParams, file: PathBuf) -> Result<(), Fault> {
        self.send_file("sendPhoto", params, ("photo", file))
    }

    /// Sends a file as it is.
    pub(super) fn send_document(
        &self,
        params: SendDocumentParams,
        file: PathBuf,
    ) -> Result<(), Fault> {
        self.send_file("sendDocument", params, ("document", file))
    }

    fn send_file<P: Serialize + Debug>(
        &self,
        method: &str,
        params: P,
        file: (&str, PathBuf),
    ) -> Result<(), Fault> {
        let bot = &self.0.upload;
        let sent = bot.request_with_form_data(method, params, vec![file]);
        let sent: Result<MethodResponse<IgnoredAny>, Error> = sent;
        sent.map(drop).map_err(|error| self.fault(error))
    }

    /// Puts another text in the place of a message's own.
    pub(super) fn edit(&self, params: EditMessageTextParams) -> Result<(), Fault> {
        let done: Result<IgnoredAny, Fault> =
            self.call(&self.0.bot, "editMessageText", Some(params));
        unless_unchanged(done)
    }

    /// Puts other buttons below a message.
    pub(super) fn edit_buttons(&self, params: EditMessageReplyMarkupParams) -> Result<(), Fault> {
        let done: Result<IgnoredAny, Fault> =
            self.call(&self.0.bot, "editMessageReplyMarkup", Some(params));
        unless_unchanged(done)
    }

    pub(super) fn act(&self, params: SendChatActionParams) -> Result<(), Fault> {
        let done: Result<IgnoredAny, Fault> =
            self.call(&self.0.bot, "sendChatAction", Some(params));
        done.map(drop)
    }

    pub(super) fn answer(&self, params: AnswerCallbackQueryParams) -> Result<(), Fault> {
        let done: Result<IgnoredAny, Fault> =
            self.call(&self.0.bot, "answerCallbackQuery", Some(params));
        done.map(drop)
    }

    /// Fetches a file of at most `most` bytes; none when it has more.
    pub(super) fn fetch(&self, file: &str, most: u64) -> Result<Option<Vec<u8>>, Fault> {
        let params = GetFileParams::builder().file_id(file).build();
        let file: File = self.call(&self.0.bot, "getFile", Some(params))?;
        let path = file.file_path.unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if path.is_empty() || !path.chars().all(plain) || path.contains("..") {
            return Err(Fault::Refused("the file has no address".to_owned()));
        }
        let url = format!("{}/{}", self.0.files_url, path.trim_start_matches('/'));
        let response = self.0.agent.get(&url).call();
        let response = response.map_err(|error| self.fault(Error::HttpUreq(error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(Fault::Unreachable(format!("the server said {status}")));
        }
        let mut bytes = Vec::new();
        let body = response.into_body().into_with_config().limit(u64::MAX);
        let read = body.reader().take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| Fault::Unreachable(self.clean(&error.to_string())))?;
        Ok((bytes.len() as u64 <= most).then_some(bytes))
    }

    fn call<P, T>(&self, bot: &Bot, method: &str, params: Option<P>) -> Result<T, Fault>
    where
        P: Serialize + Debug,
        T: DeserializeOwned,
    {
        let response: Result<MethodResponse<T>, Error> = bot.request(method, params);
        let response = response.map_err(|error| self.fault(error))?;
        Ok(response.result)
    }

    /// What an error means, in words without an address or the token.
    fn fault(&self, error: Error) -> Fault {
        match error {
            Error::Api(error) => {
                if let Some(to) = error.parameters.and_then(|p| p.migrate_to_chat_id) {
                    return Fault::Moved(to);
                }
                let retry_after = error.parameters.and_then(|p| p.retry_after);
                let said = self.clean(&error.description);
                refusal(error.error_code, said, retry_after.map(u64::from))
            }
            Error::JsonDecode { input, .. } => {
                let answer: Value = serde_json::from_str(&input).unwrap_or_default();
                let Some(code) = answer["error_code"].as_u64() else {
                    return Fault::Unreachable("the answer cannot be read".to_owned());
                };
                if let Some(to) = answer["parameters"]["migrate_to_chat_id"].as_i64() {
                    return Fault::Moved(to);
                }
                let said = answer["description"].as_str().unwrap_or_default();
                let retry_after = answer["parameters"]["retry_after"].as_u64();
                refusal(code, self.clean(said), retry_after)
            }
            Error::HttpUreq(ureq::Error::Io(error))
                if error.kind() == ErrorKind::ConnectionRefused =>
            {
                Fault::Unsent("the server refuses connections".to_owned())
            }
            Error::HttpUreq(ureq::Error::HostNotFound) => {
                Fault::Unsent("the server's address was not found".to_owned())
            }
            Error::HttpUreq(ureq::Error::BadUri(_) | ureq::Error::Http(_)) => {
                Fault::Unsent("[channels.telegram] api_url or token does not make a URL".to_owned())
            }
            Error::HttpUreq(
                ureq::Error::ConnectionFailed
                | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve),
            ) => Fault::Unsent("the server cannot be reached".to_owned()),
            error => Fault::Unreachable(self.clean(&error.to_string())),
        }
    }

    /// A text without the token, and not too long.
    fn clean(&self, text: &str) -> String {
        let text = self.0.secrets.redact(text);
        // A token that is too short to be redacted everywhere is still taken out here.
        let text = match self.0.token.expose() {
            "" => text.into_owned(),
            token => text.replace(token, "[token]"),
        };
        text.chars().take(WORDS).collect()
    }
}

fn unless_unchanged(done: Result<IgnoredAny, Fault>) -> Result<(), Fault> {
    match done {
        Ok(_) | Err(Fault::Unchanged) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// What the API means by a code and its words.
fn refusal(code: u64, said: String, retry_after_s: Option<u64>) -> Fault {
    let words = said.to_lowercase();
    let has = |known: &[&str]| known.iter().any(|known| words.contains(known));
    match code {
        429 => Fault::RateLimited {
            retry_after_ms: retry_after_s.map(|s| s.saturating_mul(1_000)),
        },
        // An impossible token is not even found.
        401 | 404 => Fault::Unauthorized,
        409 => Fault::Conflict(said),
        403 => Fault::Gone(said),
        400 if has(&["can't parse entities", "can't parse message text"]) => Fault::Unformatted,
        400 if has(&["message is not modified"]) => Fault::Unchanged,
        400 if has(&["message to edit not found", "message can't be edited"]) => Fault::Fixed,
        400 if has(&[
            "chat not found",
            "peer_id_invalid",
            "user is deactivated",
            "thread not found",
            "upgraded to a supergroup",
            "not enough rights to send",
            "have no rights to send",
        ]) =>
        {
            Fault::Gone(said)
        }
        400..500 => Fault::Refused(said),
        _ => Fault::Unreachable(format!("{code}: {said}")),
    }
}

fn agent(base: &str, patience: Duration) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_resolve(Some(CONNECT))
        .timeout_global(Some(patience))
        .user_agent(concat!("openpistacrab/", env!("CARGO_PKG_VERSION")));
    // A proxy cannot reach what listens on this machine's loopback interface.
    let uri: Option<Uri> = base.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        config = config.proxy(None);
    }
    Agent::new_with_config(config.build())
}
