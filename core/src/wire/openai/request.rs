//! A prompt becomes the body of a request.

use super::Names;
use crate::message::{Message, Prompt, ToolCall, ToolSpec};
use alloc::string::String;
use alloc::vec::Vec;
use serde::Serialize;
use serde_json::{Map, Value};

/// The JSON body of `POST …/chat/completions`. With `stream`, the usage is asked for too.
///
/// The same prompt gives the same bytes. Arguments in the transcript that are not a JSON object
/// are sent as `{}`: servers parse them, and would refuse the whole conversation.
pub fn encode_request(prompt: &Prompt, stream: bool) -> Vec<u8> {
    let names = Names::of(&prompt.tools);
    let system = (!prompt.system.is_empty()).then_some(Entry::System {
        content: &prompt.system,
    });
    let entries = prompt.messages.iter().map(|e| entry(&e.message, &names));
    let request = Request {
        model: &prompt.model,
        messages: system.into_iter().chain(entries).collect(),
        tools: prompt
            .tools
            .iter()
            .map(|tool| offer(tool, &names))
            .collect(),
        stream,
        stream_options: stream.then_some(StreamOptions {
            include_usage: true,
        }),
    };
    serde_json::to_vec(&request).expect("text and JSON values always serialise")
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Entry<'a>>,
    /// Left out when empty: servers refuse an empty list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Offer<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Entry<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: String,
    arguments: &'a str,
}

#[derive(Serialize)]
struct Offer<'a> {
    r#type: &'static str,
    function: OfferedFunction<'a>,
}

#[derive(Serialize)]
struct OfferedFunction<'a> {
    name: String,
    description: &'a str,
    parameters: Map<String, Value>,
}

fn entry<'a>(message: &'a Message, names: &Names) -> Entry<'a> {
    match message {
        Message::User { text } => Entry::User { content: text },
        Message::Assistant { text, calls } => Entry::Assistant {
            content: (!text.is_empty() || calls.is_empty()).then_some(text.as_str()),
            tool_calls: calls.iter().map(|c| call(c, names)).collect(),
        },
        Message::Tool { call_id, content } => Entry::Tool {
            tool_call_id: call_id,
            content,
        },
    }
}

fn call<'a>(call: &'a ToolCall, names: &Names) -> Call<'a> {
    let whole = serde_json::from_str::<Map<String, Value>>(&call.arguments).is_ok();
    Call {
        id: &call.id,
        r#type: "function",
        function: CalledFunction {
            name: names.wire(&call.tool),
            arguments: if whole { &call.arguments } else { "{}" },
        },
    }
}

fn offer<'a>(tool: &'a ToolSpec, names: &Names) -> Offer<'a> {
    let no_arguments = || {
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("properties".into(), Map::new().into());
        schema
    };
    Offer {
        r#type: "function",
        function: OfferedFunction {
            name: names.wire(&tool.name),
            description: &tool.description,
            parameters: serde_json::from_str(&tool.parameters).unwrap_or_else(|_| no_arguments()),
        },
    }
}
