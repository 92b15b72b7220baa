//! What the bot API gives out, which strangers write most of: any JSON is read or passed over, an
//! update keeps its number, a conversation's name leads back to it, and whoever is not spoken to in
//! a group is not heard.
#![no_main]

// By its file: with the whole shell a build would take as long as all the rest of CI.
#[expect(dead_code, reason = "the shell needs more of it")]
#[path = "../../../shell-smol/src/source/telegram/update.rs"]
mod update;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use update::{Attachment, Content, Me, Place};

fn check(value: &Value, me: &Me) {
    let number = value.get("update_id").and_then(Value::as_i64);
    let read = update::read(value, me);
    assert_eq!(read.as_ref().map(|update| update.id), number);
    let Some(update) = read else { return };
    assert_eq!(update::read(value, me), Some(update.clone()), "it is pure");
    match update.content {
        Content::Message(message) => {
            assert_eq!(Place::of(&message.place.origin()), Some(message.place));
            assert!(!message.text.is_empty() || message.attachment.is_some());
            assert_eq!(message.text, message.text.trim());
            let from = &value["message"]["from"];
            assert_eq!(from["id"].as_u64(), Some(message.user));
            assert_ne!(from["is_bot"], true, "bots do not speak with one another");
            heard(&value["message"], me);
            if let Some(Attachment::File(file)) = message.attachment {
                // What is fetched is what was sent, and not what a name says.
                let sent = value["message"].to_string();
                let id = Value::from(file.id).to_string();
                assert!(
                    sent.contains(&format!("\"file_id\":{id}")),
                    "{id} in {sent}"
                );
            }
        }
        Content::Press(press) => {
            let query = &value["callback_query"];
            assert_eq!(query["id"].as_str(), Some(press.query.as_str()));
            assert_eq!(query["from"]["id"].as_u64(), Some(press.user));
            assert_eq!(query["data"].as_str().unwrap_or_default(), press.data);
            if let Some((place, _)) = press.message {
                assert_eq!(Place::of(&place.origin()), Some(place));
            }
        }
        Content::Moved { from, to } => {
            // One of the two is where it was told, and neither is a topic.
            let chat = value["message"]["chat"]["id"].as_i64();
            assert!([from.chat, to.chat].map(Some).contains(&chat));
            for place in [from, to] {
                assert_eq!(Place::of(&place.origin()), Some(place));
                assert_eq!(place.thread, None);
            }
        }
        Content::Other => {}
    }
}

/// In a group somebody has to name the bot, or to reply to it.
fn heard(message: &Value, me: &Me) {
    let replies = message["reply_to_message"]["from"]["id"].as_u64() == Some(me.id);
    let entities = ["entities", "caption_entities"].map(|field| !message[field].is_null());
    let private = message["chat"]["type"] == "private";
    assert!(private || replies || entities.contains(&true), "{message}");
}

fuzz_target!(|data: &[u8]| {
    let me = Me {
        id: 7301,
        username: "crab_bot".to_owned(),
    };
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    match value {
        Value::Array(updates) => updates.iter().for_each(|value| check(value, &me)),
        value => {
            check(&value, &me);
            // What an update holds, without one around it.
            for kind in ["message", "callback_query"] {
                let update = serde_json::json!({ "update_id": 1, kind: value });
                check(&update, &me);
            }
        }
    }
});
