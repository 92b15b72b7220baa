//! What the bot API tells of: updates, read into what they mean for us.
//!
//! Pure. Of an update only the parts that count are read, so one of a kind that we do not know,
//! or with an attachment of a later day, is still understood as far as it can be, and never stops
//! those behind it. Edited messages are not read: what was answered stays as it was asked.
//! `shell-test/fuzz` compiles this file by itself, so it needs nothing else of the shell.

use frankenstein::types::{ChatType, Document, MessageEntity, MessageEntityType, PhotoSize, User};
use serde::Deserialize;
use serde_json::Value;

/// The part of an origin that names the channel.
pub const CHANNEL: &str = "telegram";

/// Who the bot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its id.
    pub id: u64,
    /// Its name, without the `@`.
    pub username: String,
}

/// A conversation: a chat, or one topic of a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The chat; negative for groups.
    pub chat: i64,
    /// The topic.
    pub thread: Option<i32>,
}

impl Place {
    /// The origin of what is said there: `telegram:CHAT` or `telegram:CHAT:THREAD`.
    pub fn origin(self) -> String {
        match self.thread {
            Some(thread) => format!("{CHANNEL}:{}:{thread}", self.chat),
            None => format!("{CHANNEL}:{}", self.chat),
        }
    }

    /// The place that an origin names; none when it is not one of ours.
    pub fn of(origin: &str) -> Option<Place> {
        let rest = origin.strip_prefix(CHANNEL)?.strip_prefix(':')?;
        let (chat, thread) = match rest.split_once(':') {
            Some((chat, thread)) => (chat, Some(thread.parse().ok()?)),
            None => (rest, None),
        };
        Some(Place {
            chat: chat.parse().ok()?,
            thread,
        })
    }

    /// Several people may be there.
    pub fn is_group(self) -> bool {
        self.chat < 0
    }
}

/// One update, by what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Its number. Updates are acknowledged by it.
    pub id: i64,
    /// What it tells.
    pub content: Content,
}

/// What an update tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Somebody wrote to the bot.
    Message(Message),
    /// Somebody pressed a button.
    Press(Press),
    /// A group has become a supergroup, another chat to the API.
    Moved {
        /// The group.
        from: Place,
        /// What it is now.
        to: Place,
    },
    /// Nothing that is for us.
    Other,
}

/// Something said to the bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub place: Place,
    /// By whom.
    pub user: u64,
    /// The words, without the mention of the bot; empty when there are none.
    pub text: String,
    /// What came with them.
    pub attachment: Option<Attachment>,
}

/// What came with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A photo or document.
    File(File),
    /// Something that is not taken: its name in the plural.
    Unsupported(&'static str),
}

/// A file that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// By this.
    pub id: String,
    /// What the sender calls it.
    pub name: String,
    /// Its size in bytes, as far as it is known.
    pub bytes: Option<u64>,
    /// What the sender says it is, for example `image/png`.
    pub kind: String,
}

/// A press of a button below a message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// By which it is answered.
    pub query: String,
    /// The message, where it can still be changed.
    pub message: Option<(Place, i32)>,
    /// By whom.
    pub user: u64,
    /// The person, as others call them.
    pub name: String,
    /// What the button says to us.
    pub data: String,
    /// The button was still below the message.
    pub live: bool,
}

/// Reads an update; none when it has no number.
pub fn read(value: &Value, me: &Me) -> Option<Update> {
    let id = value.get("update_id")?.as_i64()?;
    let said = value.get("message");
    let moved = || said.and_then(moved);
    let message = || {
        let message = said.and_then(|value| message(value, me));
        message.map(Content::Message)
    };
    let press = || {
        let press = value.get("callback_query").and_then(press);
        press.map(Content::Press)
    };
    let content = moved().or_else(message).or_else(press);
    let content = content.unwrap_or(Content::Other);
    Some(Update { id, content })
}

/// The parts of a message that count.
#[derive(Deserialize)]
struct Raw {
    chat: RawChat,
    from: Option<User>,
    message_thread_id: Option<i32>,
    #[serde(default)]
    is_topic_message: bool,
    reply_to_message: Option<RawReply>,
    text: Option<String>,
    #[serde(default)]
    entities: Vec<Value>,
    caption: Option<String>,
    #[serde(default)]
    caption_entities: Vec<Value>,
    #[serde(default)]
    photo: Vec<PhotoSize>,
    document: Option<Document>,
}

#[derive(Deserialize)]
struct RawChat {
    id: i64,
    #[serde(rename = "type")]
    kind: ChatType,
}

#[derive(Deserialize)]
struct RawReply {
    from: Option<User>,
    /// Every message of a topic replies to the one that made the topic.
    forum_topic_created: Option<serde::de::IgnoredAny>,
}

/// Both chats are told: the old one where it goes, the new one where it comes from.
fn moved(message: &Value) -> Option<Content> {
    let chat = message["chat"]["id"].as_i64()?;
    let to = message["migrate_to_chat_id"].as_i64();
    let from = message["migrate_from_chat_id"].as_i64();
    let whole = |chat| Place { chat, thread: None };
    match (from, to) {
        (_, Some(to)) => Some((chat, to)),
        (Some(from), None) => Some((from, chat)),
        (None, None) => None,
    }
    .map(|(from, to)| Content::Moved {
        from: whole(from),
        to: whole(to),
    })
}

/// Attachments that are not taken, by their field.
const UNSUPPORTED: [(&str, &str); 14] = [
    ("voice", "Voice messages"),
    ("audio", "Audio files"),
    ("video", "Videos"),
    ("video_note", "Video messages"),
    ("animation", "Animations"),
    ("sticker", "Stickers"),
    ("story", "Stories"),
    ("contact", "Contacts"),
    ("location", "Locations"),
    ("venue", "Places"),
    ("poll", "Polls"),
    ("checklist", "Checklists"),
    ("dice", "Dice"),
    ("paid_media", "Paid media"),
];

fn message(value: &Value, me: &Me) -> Option<Message> {
    let raw = Raw::deserialize(value).ok()?;
    let user = raw.from.as_ref().filter(|user| !user.is_bot)?.id;
    let has = |field: &str| value.get(field).is_some_and(|value| !value.is_null());
    let unsupported = UNSUPPORTED.iter().find(|(field, _)| has(field));
    let attachment = match (unsupported, file(&raw)) {
        (Some((_, name)), _) => Some(Attachment::Unsupported(name)),
        (None, file) => file.map(Attachment::File),
    };
    let words = raw.text.as_deref().or(raw.caption.as_deref());
    if words.is_none() && attachment.is_none() {
        return None;
    }
    let entities = match raw.text {
        Some(_) => &raw.entities,
        None => &raw.caption_entities,
    };
    let words = Words::read(words.unwrap_or_default(), entities, me);
    if raw.chat.kind != ChatType::Private && !words.addressed && !replies_to(&raw, me) {
        return None;
    }
    Some(Message {
        place: Place {
            chat: raw.chat.id,
            thread: raw.message_thread_id.filter(|_| raw.is_topic_message),
        },
        user,
        text: match (words.text.is_empty(), &attachment) {
            // Somebody called, and said nothing.
            (true, None) => "/help".to_owned(),
            _ => words.text,
        },
        attachment,
    })
}

fn replies_to(raw: &Raw, me: &Me) -> bool {
    let replied = raw.reply_to_message.as_ref();
    let replied = replied.filter(|reply| reply.forum_topic_created.is_none());
    let from = replied.and_then(|reply| reply.from.as_ref());
    from.is_some_and(|user| user.id == me.id)
}

fn file(raw: &Raw) -> Option<File> {
    if let Some(document) = &raw.document {
        return Some(File {
            id: document.file_id.clone(),
            name: document.file_name.clone().unwrap_or_default(),
            bytes: document.file_size,
            kind: document.mime_type.clone().unwrap_or_default(),
        });
    }
    let largest = raw.photo.iter();
    let largest = largest.max_by_key(|size| u64::from(size.width) * u64::from(size.height))?;
    Some(File {
        id: largest.file_id.clone(),
        name: "photo.jpg".to_owned(),
        bytes: largest.file_size,
        kind: "image/jpeg".to_owned(),
    })
}

/// A text, and whether it speaks to the bot by name.
struct Words {
    text: String,
    addressed: bool,
}

impl Words {
    fn read(text: &str, entities: &[Value], me: &Me) -> Words {
        let units: Vec<u16> = text.encode_utf16().collect();
        let mut kept = vec![true; units.len()];
        let mut addressed = false;
        // One that cannot be read is none.
        let entities = entities.iter().map(MessageEntity::deserialize);
        for entity in entities.flatten() {
            let start = usize::from(entity.offset);
            let end = start + usize::from(entity.length);
            let Some(slice) = units.get(start..end) else {
                continue;
            };
            let slice = String::from_utf16_lossy(slice);
            let name = match entity.type_field {
                MessageEntityType::Mention => slice.strip_prefix('@'),
                MessageEntityType::BotCommand => slice.split_once('@').map(|(_, name)| name),
                _ => None,
            };
            let named = name.is_some_and(|name| name.eq_ignore_ascii_case(&me.username));
            let user = entity.user.as_ref().map(|user| user.id);
            let meant = entity.type_field == MessageEntityType::TextMention && user == Some(me.id);
            if named || meant {
                addressed = true;
                // Of a command only its addressee goes.
                let command = entity.type_field == MessageEntityType::BotCommand;
                let at = slice
                    .encode_utf16()
                    .position(|unit| unit == u16::from(b'@'));
                let from = start + at.filter(|_| command).unwrap_or(0);
                kept[from..end].fill(false);
            }
        }
        let units = units.iter().zip(kept).filter(|(_, kept)| *kept);
        let units: Vec<u16> = units.map(|(unit, _)| *unit).collect();
        let text = String::from_utf16_lossy(&units);
        Words {
            text: command(text.trim(), me),
            addressed,
        }
    }
}

/// A text in which a command stands as the core knows it: `/cmd@bot` without the bot, and
/// `/start` without what a link has put behind it.
fn command(text: &str, me: &Me) -> String {
    let (first, rest) = match text.find(char::is_whitespace) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let bare = match first.split_once('@') {
        Some((command, bot))
            if command.starts_with('/') && bot.eq_ignore_ascii_case(&me.username) =>
        {
            command
        }
        _ => first,
    };
    match bare {
        "/start" => bare.to_owned(),
        _ => format!("{bare}{rest}"),
    }
}

/// The parts of a press that count. It must be answered whatever else it holds.
#[derive(Deserialize)]
struct RawPress {
    id: String,
    from: User,
    message: Option<Value>,
    data: Option<String>,
}

/// The message that a button is below, however much of it is left.
#[derive(Deserialize)]
struct RawSeat {
    chat: RawChat,
    message_id: i32,
    message_thread_id: Option<i32>,
    #[serde(default)]
    is_topic_message: bool,
    #[serde(default)]
    reply_markup: Value,
}

fn press(value: &Value) -> Option<Press> {
    let RawPress {
        id,
        from,
        message,
        data,
    } = RawPress::deserialize(value).ok()?;
    let seat = message.and_then(|value| RawSeat::deserialize(value).ok());
    let data = data.unwrap_or_default();
    let rows = seat
        .as_ref()
        .map(|seat| &seat.reply_markup["inline_keyboard"]);
    let rows = rows.and_then(Value::as_array).into_iter().flatten();
    let mut buttons = rows.filter_map(Value::as_array).flatten();
    let live = buttons.any(|button| button["callback_data"] == data.as_str());
    let message = seat.map(|seat| {
        let place = Place {
            chat: seat.chat.id,
            thread: seat.message_thread_id.filter(|_| seat.is_topic_message),
        };
        (place, seat.message_id)
    });
    Some(Press {
        query: id,
        message,
        user: from.id,
        name: from
            .username
            .map_or(from.first_name, |name| format!("@{name}")),
        data,
        live,
    })
}
