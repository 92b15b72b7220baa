//! The model that both channels talk to: commands for as many rounds as the first unanswered
//! message asks for, each command that a person typed word for word, then a reply that names the
//! messages that it answers. Now and then it fails.

use crate::support::conversation::{Model, command, watch, word};
use crate::support::server::{Answer, Request, text_chunk};
use serde_json::Value;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a message begins that is a command, word for word.
pub(crate) const TYPED: &str = "! ";

/// How a message is named in the reply to it.
pub(crate) fn name(text: &str) -> String {
    match text.starts_with(TYPED) {
        true => word(text).unwrap_or_default(),
        false => text.split(' ').next().unwrap_or_default().to_owned(),
    }
}

pub(crate) fn answer(model: &Mutex<Model>, database: &Path, request: &Request) -> Answer {
    let messages = request.messages();
    let is_reply = |m: &Value| m["role"] == "assistant" && m["tool_calls"].is_null();
    let from = messages.iter().rposition(is_reply).map_or(0, |at| at + 1);
    let text = |m: &Value| m["content"].as_str().unwrap_or_default().to_owned();
    let open = &messages[from..];
    let users = open.iter().filter(|m| m["role"] == "user");
    let said: Vec<String> = users.map(text).collect();
    let mut known = model.lock().unwrap_or_else(PoisonError::into_inner);
    watch(&mut known, database, &messages, &said);
    drop(known);

    let number = request.number;
    std::thread::sleep(Duration::from_millis((number % 4 * 8) as u64));
    match number % 16 {
        5 => return Answer::error(500, "not now"),
        11 => return Answer::events([text_chunk("half a reply").as_str()]).then_break(),
        _ => {}
    }
    let called = |command: &str| {
        open.iter()
            .any(|m| m["tool_calls"].to_string().contains(command))
    };
    let mut typed = said.iter().filter_map(|text| text.strip_prefix(TYPED));
    if let Some(command) = typed.find(|command| !called(command)) {
        return Answer::run(command);
    }
    let rounds = open.iter().filter(|m| m["role"] == "assistant").count();
    let asked = said.first().and_then(|text| text.split_once(" rounds "));
    if rounds
        < asked
            .and_then(|(_, rounds)| rounds.parse().ok())
            .unwrap_or(0)
    {
        let calls = (0..1 + number % 2).map(|call| command(number, call));
        let calls: Vec<String> = calls.collect();
        return Answer::calls(
            calls
                .iter()
                .map(|arguments| ("system.run", arguments.as_str())),
        );
    }
    let named: Vec<String> = said.iter().map(|text| name(text)).collect();
    Answer::text(format!("reply-{number} to {}.", named.join(" ")))
}
