//! The model that both channels talk to: commands for as many rounds as the first unanswered
//! message asks for, each command that a person typed word for word, each job that one asks for,
//! then a reply that names the messages that it answers, and is long where one wants it so. Now and
//! then it fails.

use crate::jobs;
use crate::support::conversation::{Model, command, watch, word};
use crate::support::server::{Answer, Request, text_chunk};
use serde_json::Value;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a message begins that is a command, word for word.
pub(crate) const TYPED: &str = "! ";

/// How a message ends that wants a job made: it is a letter and a number of its own before that.
pub(crate) const JOB: &str = " on schedule";
/// How a message ends that wants a long reply.
pub(crate) const LONG: &str = " at length";
/// How many lines of code a long reply has.
pub(crate) const LINES: usize = 120;
/// What is in each message of a group that is for others than the bot.
pub(crate) const CHATTER: &str = "chatter";

/// What a question is about: the word that a command appends, or the name of a job.
pub(crate) fn subject(question: &str) -> Option<String> {
    jobs::named(question).or_else(|| word(question))
}

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
    if let Some(heard) = said.iter().find(|text| text.contains(CHATTER)) {
        let fault = format!("the model was sent what was not for it: {heard:?}");
        known.faults.push(fault);
    }
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
    // The quote behind the name is that of the arguments, which are a text themselves.
    let wanted = said.iter().filter_map(|text| text.strip_suffix(JOB));
    let mut wanted = wanted.filter_map(|text| text.get(1..));
    if let Some(number) = wanted.find(|number| !called(&format!("job-{number}\\"))) {
        let arguments = jobs::addition(number);
        return Answer::calls([("schedule.add", arguments.as_str())]);
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
    let reply = format!("reply-{number} to {}.", named.join(" "));
    match said.iter().any(|text| text.ends_with(LONG)) {
        true => Answer::text(at_length(number, &reply)),
        false => Answer::text(reply),
    }
}

/// A reply that Telegram takes in several messages alone, with code across their boundaries.
fn at_length(number: usize, reply: &str) -> String {
    let line = |line| {
        format!(
            "let reply_{number}_{line:03} = \"{}\";\n",
            "a<b&&c;".repeat(10)
        )
    };
    let code: String = (0..LINES).map(line).collect();
    format!("{reply} It is long.\n\n```rust\n{code}```\n\nThat was {reply}")
}
