//! Messages and replies.

use crate::daemon::{OWNER, Options};
use crate::support::bot_api::{BOT, BotApi, NAME, message};
use crate::support::server::{Answer, Server};
use serde_json::json;
use std::sync::mpsc;

#[test]
fn a_message_is_answered_and_its_update_acknowledged() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options::new(dir.path(), &api).start();
    api.write(1, OWNER, "! echo it '<works>' '&' so");
    let reply = api.wait_for_said(OWNER, |text| text.contains("works"));
    assert!(reply.text.contains("it <works> & so"), "{reply:?}");
    api.wait_for_offset(2);
    let commands = &api.calls("setMyCommands")[0].params["commands"];
    let names: Vec<_> = commands
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["command"].clone())
        .collect();
    assert_eq!(names, ["help", "new", "stop", "status"]);
    api.write(2, OWNER, &format!("/help@{NAME}"));
    api.wait_for_said(OWNER, |text| text.contains("starts afresh"));
    api.write(3, OWNER, "/start from_a_link");
    api.wait_for_offset(4);
    assert_eq!(api.wait_for_calls("sendMessage", 3).len(), 3);
    daemon.stop();
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let (go, gate) = mpsc::channel();
    let daemon = Options {
        gate: Some(gate),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.write(7, OWNER, "! echo done");
    // The loop does not run, so nothing can be durable, however often is polled.
    api.wait_for_calls("getUpdates", 3);
    assert!(api.offset() <= 7, "{}", api.offset());
    go.send(()).unwrap();
    api.wait_for_offset(8);
    api.wait_for_said(OWNER, |text| text.contains("done"));
    daemon.stop();
}

#[test]
fn an_update_counts_once_however_it_comes() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.ignore_offset();
    let run = |id: i64| api.write(id, OWNER, &format!("! echo m{id} >> log; echo m{id}"));
    for id in [12, 10, 12, 11, 10] {
        run(id);
    }
    let daemon = Options::new(dir.path(), &api).start();
    for id in [10, 11, 12] {
        api.wait_for_said(OWNER, |text| text.contains(&format!("m{id}")));
    }
    // One that comes late, below what was acknowledged already.
    api.wait_for_offset(13);
    run(9);
    api.wait_for_said(OWNER, |text| text.contains("m9"));
    let polls = api.calls("getUpdates").len();
    api.wait_for_calls("getUpdates", polls + 2);
    daemon.stop();
    // The next life is given all of it again.
    let polls = api.calls("getUpdates").len();
    let daemon = Options::new(dir.path(), &api).start();
    api.wait_for_calls("getUpdates", polls + 3);
    run(13);
    api.wait_for_said(OWNER, |text| text.contains("m13"));
    daemon.stop();
    let log = std::fs::read_to_string(dir.path().join("workspace/log")).unwrap();
    let mut ran: Vec<&str> = log.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, ["m10", "m11", "m12", "m13", "m9"]);
}

#[test]
fn polls_that_bring_nothing_new_are_spaced() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.ignore_offset();
    api.write(1, OWNER, "/help");
    let daemon = Options::new(dir.path(), &api).start();
    let polls = api.wait_for_calls("getUpdates", 4);
    let apart = polls[3].at.duration_since(polls[2].at);
    assert!(apart.as_millis() >= 900, "{apart:?}");
    daemon.stop();
}

#[test]
fn in_a_group_only_those_who_mean_the_bot_are_heard() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|request| {
        Answer::text(format!(
            "heard: {}",
            request.last("user").unwrap_or_default()
        ))
    });
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    let group = |update: i64, text: &str, more: serde_json::Value| {
        let mut said = message(OWNER, text);
        said["chat"] = json!({ "id": -100, "type": "supergroup" });
        for (key, value) in more.as_object().unwrap() {
            said[key] = value.clone();
        }
        api.push(json!({ "update_id": update, "message": said }));
    };
    let mention = |kind: &str, offset: u16, length: usize| json!([{ "type": kind, "offset": offset, "length": length }]);
    let name = format!("@{}", NAME.to_uppercase());
    group(1, "just chatting", json!({}));
    group(
        2,
        &format!("😀 {name} one"),
        json!({ "entities": mention("mention", 3, name.len()) }),
    );
    let reply = json!({ "reply_to_message": {
        "message_id": 5, "date": 1, "chat": { "id": -100, "type": "supergroup" },
        "from": { "id": BOT, "is_bot": true, "first_name": "Crab" },
    }});
    group(3, "two", reply);
    group(
        4,
        "@other_bot no",
        json!({ "entities": mention("mention", 0, 10) }),
    );
    let command = format!("/status@{NAME}");
    group(
        5,
        &command,
        json!({ "entities": mention("bot_command", 0, command.len()) }),
    );
    let mut topic = json!({ "message_thread_id": 9, "is_topic_message": true });
    topic["entities"] = json!([{
        "type": "text_mention", "offset": 0, "length": 4,
        "user": { "id": BOT, "is_bot": true, "first_name": "Crab" },
    }]);
    group(6, "Crab three", topic);
    let name = format!("@{NAME}");
    let called = json!({ "entities": mention("mention", 0, name.len()) });
    group(7, &name, called);
    api.wait_for_said(-100, |text| text.contains("starts afresh"));
    api.wait_for_offset(8);
    api.wait_for_said(-100, |text| text.contains("heard: three"));
    api.wait_for_said(-100, |text| text.contains("heard: 😀  one"));
    api.wait_for_said(-100, |text| {
        text.contains("heard: two") || text.contains("two")
    });
    api.wait_for_said(-100, |text| text.starts_with("Session"));
    let asked: Vec<String> = server
        .requests()
        .iter()
        .filter_map(|r| r.last("user"))
        .collect();
    assert!(
        !asked
            .iter()
            .any(|t| t.contains("chatting") || t.contains("no")),
        "{asked:?}"
    );
    let sent = api.calls("sendMessage");
    let three = sent
        .iter()
        .find(|c| c.params["text"].to_string().contains("three"));
    assert_eq!(three.unwrap().params["message_thread_id"], 9);
    daemon.stop();
}

#[test]
fn strangers_get_one_hint_and_leave_no_trace() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options::new(dir.path(), &api).start();
    let stranger = 666;
    for id in 1..4 {
        api.write(id, stranger, "let me in");
    }
    let mut file = message(stranger, "");
    file["document"] = json!({ "file_id": "virus", "file_unique_id": "v" });
    api.push(json!({ "update_id": 4, "message": file }));
    let mut voice = message(stranger, "");
    voice["voice"] = json!({ "file_id": "v" });
    api.push(json!({ "update_id": 5, "message": voice }));
    api.wait_for_offset(6);
    let hint = api.wait_for_said(stranger, |text| text.contains("/allow telegram:666"));
    assert!(hint.text.contains("openpistacrab allow telegram:666"));
    // Only the owner may let people in.
    api.write(6, stranger, "/allow telegram:666");
    api.wait_for_offset(7);
    daemon.stop();
    assert_eq!(api.said(stranger).len(), 1);
    assert!(api.calls("getFile").is_empty());
    assert_eq!(
        crate::daemon::steps(dir.path()),
        1,
        "the boot, and nothing else"
    );
    let daemon = Options::new(dir.path(), &api).start();
    api.write(7, OWNER, "/allow telegram:666");
    api.wait_for_said(OWNER, |text| text.contains("telegram:666 may write"));
    api.write(8, stranger, "! echo welcome");
    api.wait_for_said(stranger, |text| text.contains("welcome"));
    api.wait_for_offset(9);
    daemon.stop();
}

#[test]
fn a_long_reply_comes_in_parts_that_fit() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let code = "let x = vec![1 < 2 && \"é\"];\n".repeat(400);
    let words = "**bold** words & _more_ `of_them` ".repeat(200);
    let text = format!("# Title\n\n{words}\n\n```rust\n{code}```\n\nthe end");
    let server = Server::start(move |_| Answer::text(text.clone()).whole());
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.write(1, OWNER, "write much");
    api.wait_for_said(OWNER, |text| text.contains("the end"));
    daemon.stop();
    let said = api.said(OWNER);
    assert!(said.len() >= 4, "{}", said.len());
    let lines: usize = said.iter().map(|s| s.text.matches("let x =").count()).sum();
    assert_eq!(lines, 400);
    let coded = said.iter().filter(|s| s.text.contains("let x ="));
    for part in coded {
        assert!(
            part.source.contains("<pre><code class=\"language-rust\">"),
            "{part:?}"
        );
    }
    assert!(said[0].source.starts_with("<b>Title</b>"), "{:?}", said[0]);
}

#[test]
fn emoji_that_count_twice_still_fit() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|_| Answer::text("😀".repeat(3_900)).whole());
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.write(1, OWNER, "smile");
    api.wait_for_offset(2);
    api.wait_for_calls("sendMessage", 2);
    daemon.stop();
    let smiles: usize = api
        .said(OWNER)
        .iter()
        .map(|s| s.text.matches('😀').count())
        .sum();
    assert_eq!(smiles, 3_900);
}

#[test]
fn a_reply_grows_in_one_message_while_the_bot_is_typing() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|request| match request.last("tool") {
        Some(_) => Answer::text("It is **done**."),
        None => Answer::run("while [ ! -e go ]; do sleep 0.05; done").saying("I look first"),
    });
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.write(1, OWNER, "do it");
    let grown = api.wait_for_said(OWNER, |text| text == "I look first …");
    api.wait_for_calls("sendChatAction", 1);
    // An answer of the daemon itself does not take its place.
    api.write(2, OWNER, "/status");
    api.wait_for_said(OWNER, |text| text.contains("working (round 1"));
    std::fs::write(dir.path().join("workspace/go"), "").unwrap();
    api.wait_for_message(grown.id, |sent| sent.text == "It is done.");
    api.wait_for_offset(3);
    daemon.stop();
    assert_eq!(api.said(OWNER).len(), 2);
    assert_eq!(api.calls("sendChatAction")[0].params["action"], "typing");
}

#[test]
fn an_error_is_marked() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|_| Answer::error(400, "bad <model> & co"));
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.write(1, OWNER, "fail");
    let error = api.wait_for_said(OWNER, |text| text.contains("bad <model> & co"));
    assert!(error.text.starts_with("⚠️ "), "{error:?}");
    daemon.stop();
}
