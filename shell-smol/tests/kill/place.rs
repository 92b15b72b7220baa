//! Where people write to the bot, and how: alone with it, or in a group, where it hears what
//! mentions it or replies to it and must not hear the rest.

use crate::support::bot_api::{BOT, BotApi, NAME, Sent, group_message, message};
use serde_json::{Value, json};

/// Those whom the configuration names.
pub(crate) const OWNERS: [i64; 2] = [42, 43];
/// Somebody in the group whom nobody let in.
pub(crate) const STRANGER: i64 = 666;

const GROUP: i64 = -100_500;
const TOPIC: i64 = 7;

/// A chat, or a topic of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    chat: i64,
    thread: Option<i64>,
}

/// Each person's own chat, and a group of both with a topic.
pub(crate) const PLACES: [Place; 4] = [
    Place::new(OWNERS[0], None),
    Place::new(OWNERS[1], None),
    Place::new(GROUP, None),
    Place::new(GROUP, Some(TOPIC)),
];

/// How somebody in a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// To the bot, by its name.
    Mention,
    /// To the bot, in reply to something that it said.
    Reply,
    /// To the others.
    Others,
}

impl Place {
    const fn new(chat: i64, thread: Option<i64>) -> Place {
        Place { chat, thread }
    }

    /// Where a message of the bot is.
    pub(crate) fn of(sent: &Sent) -> Place {
        Place::new(sent.chat, sent.thread)
    }

    pub(crate) fn origin(self) -> String {
        match self.thread {
            Some(thread) => format!("telegram:{}:{thread}", self.chat),
            None => format!("telegram:{}", self.chat),
        }
    }

    pub(crate) fn is_group(self) -> bool {
        self.chat < 0
    }

    /// The people who are there, of those whom the configuration names.
    pub(crate) fn people(self) -> &'static [i64] {
        match OWNERS.iter().position(|owner| *owner == self.chat) {
            Some(at) => &OWNERS[at..=at],
            None => &OWNERS,
        }
    }

    /// What the bot shows there now.
    pub(crate) fn said(self, api: &BotApi) -> Vec<Sent> {
        api.said_in(self.chat, self.thread)
    }

    /// Everything that was to be seen there, in its order.
    pub(crate) fn seen(self, api: &BotApi) -> Vec<Sent> {
        api.seen_in(self.chat, self.thread)
    }

    /// What somebody writes there.
    pub(crate) fn message(self, user: i64, text: &str, to: To) -> Value {
        if !self.is_group() {
            return message(user, text);
        }
        let mention =
            |kind: &str, length: usize| json!([{ "type": kind, "offset": 0, "length": length }]);
        let written = |text: &str| group_message(self.chat, self.thread, user, text);
        match to {
            To::Mention if text.starts_with('/') => {
                let text = format!("{text}@{NAME}");
                let mut message = written(&text);
                message["entities"] = mention("bot_command", text.len());
                message
            }
            To::Mention => {
                let mut message = written(&format!("@{NAME} {text}"));
                message["entities"] = mention("mention", NAME.len() + 1);
                message
            }
            To::Reply => {
                let mut message = written(text);
                message["reply_to_message"] = self.of_bot(json!({}));
                message
            }
            To::Others => {
                let mut message = written(text);
                // In a topic, everything replies to the message that made it, here the bot's.
                if self.thread.is_some() {
                    let made = json!({ "name": "work", "icon_color": 1 });
                    message["reply_to_message"] =
                        self.of_bot(json!({ "forum_topic_created": made }));
                }
                message
            }
        }
    }

    /// A message of the bot.
    fn of_bot(self, more: Value) -> Value {
        let mut message = group_message(self.chat, self.thread, BOT.cast_signed(), "as I said");
        message["from"] = json!({ "id": BOT, "is_bot": true, "first_name": "Crab" });
        for (key, value) in more.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        message
    }
}
