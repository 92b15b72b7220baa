//! A prompt becomes the body of a request.

use super::Names;
use crate::message::{Message, Picture, Prompt, ToolCall, ToolSpec};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::Serialize;
use serde_json::{Map, Value};

/// The JSON body of `POST …/chat/completions`. With `stream`, the usage is asked for too.
///
/// The same prompt gives the same bytes. Arguments in the transcript that are not a JSON object
/// are sent as `{}`: servers parse them, and would refuse the whole conversation.
///
/// `images` has, by its path, the `data:` URL of each picture that the model is to be shown. Only
/// people's messages may carry pictures, so one follows the results that they belong to.
pub fn encode_request(prompt: &Prompt, images: &BTreeMap<&str, &str>, stream: bool) -> Vec<u8> {
    let names = Names::of(&prompt.tools);
    let system = (!prompt.system.is_empty()).then_some(Entry::System {
        content: &prompt.system,
    });
    let entries = entries(prompt, images, &names);
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
        content: Content<'a>,
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
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Part<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Text { text: String },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: &'a str,
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

/// The transcript. Results stand together after the calls that they answer, so what they show comes
/// after the last of them.
fn entries<'a>(
    prompt: &'a Prompt,
    images: &BTreeMap<&str, &'a str>,
    names: &Names,
) -> Vec<Entry<'a>> {
    let mut entries = Vec::with_capacity(prompt.messages.len() + 2);
    let mut parts = Vec::new();
    for told in &prompt.messages {
        let is_result = matches!(told.message, Message::Tool { .. });
        if !is_result && !parts.is_empty() {
            let content = Content::Parts(core::mem::take(&mut parts));
            entries.push(Entry::User { content });
        }
        entries.push(entry(&told.message, names));
        if let Message::Tool { pictures, .. } = &told.message {
            parts.extend(pictures.iter().flat_map(|picture| show(picture, images)));
        }
    }
    if !parts.is_empty() {
        let content = Content::Parts(parts);
        entries.push(Entry::User { content });
    }
    entries
}

/// A picture, after a word of what it is; nothing, when it is not to be shown.
fn show<'a>(picture: &Picture, images: &BTreeMap<&str, &'a str>) -> Vec<Part<'a>> {
    let Some(&url) = images.get(picture.for_models()) else {
        return Vec::new();
    };
    let text = format!("The picture {}:", picture.path);
    let image_url = ImageUrl { url };
    vec![Part::Text { text }, Part::ImageUrl { image_url }]
}

fn entry<'a>(message: &'a Message, names: &Names) -> Entry<'a> {
    match message {
        Message::User { text } => Entry::User {
            content: Content::Text(text),
        },
        Message::Assistant { text, calls } => Entry::Assistant {
            content: (!text.is_empty() || calls.is_empty()).then_some(text.as_str()),
            tool_calls: calls.iter().map(|c| call(c, names)).collect(),
        },
        Message::Tool {
            call_id, content, ..
        } => Entry::Tool {
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
