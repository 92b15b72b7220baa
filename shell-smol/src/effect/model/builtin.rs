//! The model inside: a small deterministic rule follower, for people without a key and for trying
//! everything else.
//!
//! It is a pure function from the bytes of a chat completion request to the bytes of a streamed
//! answer, so it goes through the same codec as any other model. It runs what it is told with
//! `! COMMAND` or `run COMMAND`, calls any other tool that is named with its arguments, knows a few
//! requests in plain words, reports what tools gave, and otherwise says how to configure a language
//! model.

mod plain;
mod report;

use serde_json::{Value, json};

/// The tool that runs commands.
const TOOL: &str = "system.run";

const HELP: &str = "\
No language model is configured, so I am openpista's builtin helper and follow simple rules only.

- `! COMMAND` or `run COMMAND` runs a command and shows what it printed; several lines that each \
begin with `!` run side by side.
- `TOOL {\"ARGUMENT\": VALUE}` calls any tool, for example `screen.capture {}`.
- I also understand: what time is it, who am I, what system is this, uptime, disk space, memory, \
list files in PLACE.

For a real conversation, do one of these and start again:

- set a key in the environment, for example `OPENAI_API_KEY=...` (or `ANTHROPIC_API_KEY`, \
`TOGETHER_API_KEY`, `OPENROUTER_API_KEY`);
- start Ollama on this machine: it is found by itself;
- set `provider` or `base_url` in `[agent]` of the configuration file.";

/// A tool and its arguments.
type Wish<'a> = (&'a str, Value);

/// Answers a request, as server-sent events.
pub(super) fn answer(request: &[u8]) -> Vec<u8> {
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let messages = request["messages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let turn = &messages[messages.iter().rposition(ends_turn).map_or(0, |at| at + 1)..];
    let asked = &turn[turn
        .iter()
        .rposition(is("assistant"))
        .map_or(0, |at| at + 1)..];
    let asked = asked.iter().filter(|message| is("user")(message));
    let texts: Vec<&str> = asked.map(content).collect();
    let wishes: Vec<Wish<'_>> = texts.iter().flat_map(|text| wishes(text)).collect();
    if !wishes.is_empty() {
        return match named(&request, &wishes) {
            Ok(calls) => self::calls(&calls, messages.len()),
            Err(tool) => text(&format!("The tool `{tool}` is not on offer here.")),
        };
    }
    let report = report::of_turn(turn);
    match (report.is_empty(), texts.is_empty()) {
        (false, true) => text(&report),
        (false, false) => text(&format!("{report}\n\n{HELP}")),
        (true, _) => text(HELP),
    }
}

/// The last word of a turn: an answer that asks for no tools.
fn ends_turn(message: &Value) -> bool {
    is("assistant")(message) && message["tool_calls"].as_array().is_none_or(Vec::is_empty)
}

fn is(role: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["role"] == role
}

fn content(message: &Value) -> &str {
    message["content"].as_str().unwrap_or_default()
}

/// What a message asks for.
fn wishes(text: &str) -> Vec<Wish<'_>> {
    if let Some(wish) = plain::call(text) {
        return vec![wish];
    }
    let commands = plain::commands(text).into_iter();
    commands
        .map(|command| (TOOL, json!({ "command": command })))
        .collect()
}

/// Both mean the same tool: providers allow no dots in names.
fn same_name(one: &str, other: &str) -> bool {
    let letters =
        |name: &str| -> String { name.chars().filter(char::is_ascii_alphanumeric).collect() };
    letters(one) == letters(other)
}

/// The wishes by the names under which the request offers their tools. Else the tool that it does not
/// offer.
fn named<'a>(request: &'a Value, wishes: &[Wish<'a>]) -> Result<Vec<Wish<'a>>, &'a str> {
    let offered = request["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let find = |(tool, arguments): &Wish<'a>| {
        let mut names = offered
            .iter()
            .filter_map(|tool| tool["function"]["name"].as_str());
        let name = names.find(|name| same_name(name, tool));
        name.map(|name| (name, arguments.clone())).ok_or(*tool)
    };
    wishes.iter().map(find).collect()
}

fn text(text: &str) -> Vec<u8> {
    events(&[json!({ "content": text })], "stop")
}

/// Calls whose ids differ from those of every earlier round: a transcript only grows.
fn calls(wishes: &[Wish<'_>], messages: usize) -> Vec<u8> {
    let call = |(index, (name, arguments)): (usize, &Wish<'_>)| {
        json!({ "tool_calls": [{
            "index": index, "id": format!("call_{messages}_{index}"), "type": "function",
            "function": { "name": name, "arguments": arguments.to_string() },
        }] })
    };
    let deltas: Vec<Value> = wishes.iter().enumerate().map(call).collect();
    events(&deltas, "tool_calls")
}

fn events(deltas: &[Value], finish: &str) -> Vec<u8> {
    let chunk = |delta: &Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let chunk = json!({ "object": "chat.completion.chunk", "choices": [choice] });
        format!("data: {chunk}\n\n")
    };
    let mut events: String = deltas
        .iter()
        .map(|delta| chunk(delta, Value::Null))
        .collect();
    events += &chunk(&json!({}), json!(finish));
    events += "data: [DONE]\n\n";
    events.into_bytes()
}
