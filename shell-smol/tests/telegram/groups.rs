//! A group that becomes a supergroup: another chat to the API, the same conversation to its people.

use crate::daemon::{OWNER, Options};
use crate::support::bot_api::{BotApi, NAME, group_message};
use crate::support::server::{Answer, Server};
use serde_json::{Value, json};

const GROUP: i64 = -100;
const SUPERGROUP: i64 = -1_000_000_000_100;

/// Somebody there says this to the bot.
fn mention(api: &BotApi, update: i64, chat: i64, text: &str) {
    let mut message = group_message(chat, None, OWNER, &format!("@{NAME} {text}"));
    let mention = json!({ "type": "mention", "offset": 0, "length": NAME.len() + 1 });
    message["entities"] = json!([mention]);
    api.push(json!({ "update_id": update, "message": message }));
}

/// What the API tells of it, in the group or in the supergroup.
fn told(api: &BotApi, update: i64, chat: i64, field: &str, other: i64) {
    let mut message = group_message(chat, None, OWNER, "");
    message["text"] = Value::Null;
    message[field] = json!(other);
    api.push(json!({ "update_id": update, "message": message }));
}

/// A model that says how many messages of people it has seen in this conversation.
fn counting() -> Server {
    Server::start(|request| {
        let messages = request.messages();
        let people = messages.iter().filter(|message| message["role"] == "user");
        match (request.last("user"), request.last("tool")) {
            (Some(text), None) if text.contains("wait") => {
                Answer::run("while [ ! -e go ]; do sleep 0.05; done")
            }
            _ => Answer::text(format!("This was word {}.", people.count())),
        }
    })
}

#[test]
fn the_conversation_goes_on_in_the_supergroup() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = counting();
    let options = || Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    };
    let daemon = options().start();
    mention(&api, 1, GROUP, "first");
    api.wait_for_said(GROUP, |text| text == "This was word 1.");
    api.migrate(GROUP, SUPERGROUP);
    told(&api, 2, GROUP, "migrate_to_chat_id", SUPERGROUP);
    told(&api, 3, SUPERGROUP, "migrate_from_chat_id", GROUP);
    mention(&api, 4, SUPERGROUP, "second");
    api.wait_for_said(SUPERGROUP, |text| text == "This was word 2.");
    api.wait_for_offset(5);
    daemon.stop();
    // It is so in the next life as well, in which the API tells of it once more.
    let daemon = options().start();
    told(&api, 5, SUPERGROUP, "migrate_from_chat_id", GROUP);
    mention(&api, 6, SUPERGROUP, "third");
    api.wait_for_said(SUPERGROUP, |text| text == "This was word 3.");
    api.wait_for_offset(7);
    daemon.stop();
    assert_eq!(api.said(GROUP).len(), 1);
    assert_eq!(api.said(SUPERGROUP).len(), 2);
}

#[test]
fn what_the_group_refuses_is_shown_in_the_supergroup() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = counting();
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    mention(&api, 1, GROUP, "wait");
    server.wait_for(1);
    // Nobody tells the bot but by the refusal.
    api.migrate(GROUP, SUPERGROUP);
    std::fs::write(dir.path().join("workspace/go"), "").unwrap();
    let reply = api.wait_for_said(SUPERGROUP, |text| text.starts_with("This was word 1."));
    assert!(!reply.text.contains("possibly repeated"), "{reply:?}");
    // What is said there goes on from it.
    mention(&api, 2, SUPERGROUP, "second");
    api.wait_for_said(SUPERGROUP, |text| text == "This was word 2.");
    api.wait_for_offset(3);
    daemon.stop();
    assert!(api.said(GROUP).is_empty());
    assert_eq!(api.said(SUPERGROUP).len(), 2);
}

#[test]
fn a_question_that_moved_is_answered_where_it_is_now() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|request| match request.last("tool") {
        Some(_) => Answer::text("It is done."),
        None => Answer::run("echo asked >> log"),
    });
    let daemon = Options {
        model: Some(&server),
        mode: openpista_core::settings::Mode::Ask,
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.migrate(GROUP, SUPERGROUP);
    mention(&api, 1, GROUP, "please");
    let question = api.wait_for_said(SUPERGROUP, |text| text.contains("May this run?"));
    api.press(2, OWNER, &question, "Allow once");
    api.wait_for_said(SUPERGROUP, |text| text == "It is done.");
    let pressed = |sent: &crate::support::bot_api::Sent| {
        sent.buttons
            .iter()
            .any(|(label, _)| label.contains("Allowed once by"))
    };
    api.wait_for_message(question.id, pressed);
    api.wait_for_offset(3);
    daemon.stop();
    let log = std::fs::read_to_string(dir.path().join("workspace/log")).unwrap();
    assert_eq!(log, "asked\n");
}

#[test]
fn groups_of_strangers_leave_no_trace_when_they_move() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options::new(dir.path(), &api).start();
    told(&api, 1, GROUP, "migrate_to_chat_id", SUPERGROUP);
    told(&api, 2, SUPERGROUP, "migrate_from_chat_id", GROUP);
    api.wait_for_offset(3);
    daemon.stop();
    assert_eq!(
        crate::daemon::steps(dir.path()),
        1,
        "the boot, and nothing else"
    );
}
