//! What a provider's server sends for a reply of the pretended model: whole or streamed, with the
//! quirks of servers in the wild, cut at random places. It is read by the codec of production.

use crate::fault::ModelTrouble;
use crate::seed::Rng;
use openpista_core::effect::model::{Finish, ModelFault, Reply};
use openpista_core::message::Prompt;
use openpista_core::wire::openai::{Names, ReplyStream, decode_fault};
use serde_json::{Value, json};

/// The most bytes of a reply that are read.
const MAX_BYTES: usize = 1 << 20;

/// A response: its status, and its body in pieces.
pub fn response(
    prompt: &Prompt,
    reply: &Reply,
    trouble: Option<ModelTrouble>,
    luck: &mut Rng,
) -> (u16, Vec<Vec<u8>>) {
    let error = |message: &str| json!({"error": {"message": message}}).to_string();
    let (status, body) = match trouble {
        Some(ModelTrouble::RateLimited) => (429, error("slow down")),
        Some(ModelTrouble::Server) if luck.chance(50) => (500, error("overloaded")),
        Some(ModelTrouble::Server) => (
            200,
            event(&json!({"error": {"message": "overloaded", "code": 500}})),
        ),
        Some(ModelTrouble::Rejected) => (401, error("no such key")),
        Some(ModelTrouble::Empty) => {
            let nothing = ["", "data: [DONE]\n\n", " \n"];
            (200, luck.pick(&nothing).to_string())
        }
        Some(ModelTrouble::Garbled) => (200, "<html>Welcome to the hotel</html>".into()),
        _ if luck.chance(25) => (200, whole(prompt, reply)),
        _ => (200, streamed(prompt, reply, luck)),
    };
    let mut chunks = cut(body.as_bytes(), luck);
    if trouble == Some(ModelTrouble::Network) {
        chunks.truncate(chunks.len() / 2);
    }
    (status, chunks)
}

/// What the pieces say.
///
/// # Errors
/// What the codec makes of a response without a reply.
pub fn read(prompt: &Prompt, status: u16, chunks: &[Vec<u8>]) -> Result<Reply, ModelFault> {
    if status != 200 {
        return Err(decode_fault(status, Some("2"), &chunks.concat(), 0));
    }
    let mut stream = ReplyStream::new(prompt, MAX_BYTES);
    for chunk in chunks {
        stream.push(chunk)?;
    }
    stream.finish()
}

fn whole(prompt: &Prompt, reply: &Reply) -> String {
    let names = Names::of(&prompt.tools);
    let calls = reply.calls.iter().map(|call| {
        let function = json!({"name": names.wire(&call.tool), "arguments": call.arguments});
        json!({"id": call.id, "type": "function", "function": function})
    });
    let message = json!({
        "role": "assistant",
        "content": reply.text,
        "tool_calls": calls.collect::<Vec<Value>>(),
    });
    let choice = json!({"index": 0, "message": message, "finish_reason": finish(reply)});
    json!({"choices": [choice], "usage": usage(reply)}).to_string()
}

fn streamed(prompt: &Prompt, reply: &Reply, luck: &mut Rng) -> String {
    let names = Names::of(&prompt.tools);
    let repeats_names = luck.chance(30);
    let mut body = delta(json!({"role": "assistant", "content": ""}));
    for piece in pieces(&reply.text, luck) {
        body += &delta(json!({"role": null, "content": piece}));
    }
    for (index, call) in reply.calls.iter().enumerate() {
        let name = names.wire(&call.tool);
        for (nth, piece) in pieces(&call.arguments, luck).into_iter().enumerate() {
            let mut part = json!({"index": index, "function": {"arguments": piece}});
            if nth == 0 || repeats_names {
                part["id"] = call.id.as_str().into();
                part["function"]["name"] = name.as_str().into();
            }
            body += &delta(json!({"content": "", "tool_calls": [part]}));
        }
    }
    let last = json!({"index": 0, "delta": {}, "finish_reason": finish(reply)});
    body += &event(&json!({"choices": [last]}));
    body += &event(&json!({"choices": [], "usage": usage(reply)}));
    body + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> String {
    event(&json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]}))
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn finish(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Stop if reply.calls.is_empty() => "stop",
        Finish::Stop => "tool_calls",
        Finish::Length => "length",
        Finish::Filter => "content_filter",
    }
}

fn usage(reply: &Reply) -> Value {
    let (read, written) = (reply.usage.prompt, reply.usage.completion);
    json!({"prompt_tokens": read, "completion_tokens": written})
}

fn pieces<'a>(text: &'a str, luck: &mut Rng) -> Vec<&'a str> {
    let at = text.floor_char_boundary(luck.below(text.len() as u64 + 1) as usize);
    vec![&text[..at], &text[at..]]
}

fn cut(body: &[u8], luck: &mut Rng) -> Vec<Vec<u8>> {
    let most = *luck.pick(&[7, 60, 4_000]);
    let mut chunks = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let at = luck.between(1, most).min(rest.len() as u64) as usize;
        chunks.push(rest[..at].to_vec());
        rest = &rest[at..];
    }
    chunks
}
