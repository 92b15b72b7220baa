//! A whole response becomes a reply.

use super::Names;
use super::draft::Draft;
use super::fault::{excerpt, fault_in};
use crate::effect::model::{ModelFault, Reply};
use crate::message::Prompt;
use alloc::format;
use alloc::string::String;
use serde_json::{Map, Value};

/// Reads the body of a successful response to a request without `stream`. The caller bounds the
/// body; the reply is never larger.
///
/// # Errors
/// - [`ModelFault::Empty`]: neither text nor a call.
/// - [`ModelFault::Garbled`]: not the JSON of a response.
/// - The fault that an error object in place of a response tells of.
pub fn decode_reply(body: &[u8], prompt: &Prompt) -> Result<Reply, ModelFault> {
    decode_within(body, &Names::of(&prompt.tools), usize::MAX)
}

/// [`decode_reply`], with a budget for text and calls.
pub(super) fn decode_within(
    body: &[u8],
    names: &Names,
    max_bytes: usize,
) -> Result<Reply, ModelFault> {
    let body = trim_start(body);
    if body.is_empty() {
        return Err(ModelFault::Empty);
    }
    let object = parse(body)?;
    if !object.contains_key("choices") {
        return Err(garbled("a response without choices", body));
    }
    let mut draft = Draft::new(max_bytes);
    draft.take(&object);
    draft.build(names)
}

/// Without white space and a byte order mark, however the chunks cut it.
pub(super) fn trim_start(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| b.is_ascii_whitespace() || matches!(b, 0xEF | 0xBB | 0xBF);
    let from = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    &bytes[from..]
}

/// A response, or one chunk of it, as a JSON object.
///
/// # Errors
/// It is an error object, or no object at all.
pub(super) fn parse(json: &[u8]) -> Result<Map<String, Value>, ModelFault> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| garbled(&format!("JSON that cannot be read ({error})"), json))?;
    if let Some(fault) = fault_in(&value) {
        return Err(fault);
    }
    match value {
        Value::Object(object) => match choice_fault(&object) {
            Some(fault) => Err(fault),
            None => Ok(object),
        },
        _ => Err(garbled("JSON that is not an object", json)),
    }
}

/// Routers in front of several providers put the error of one into the choice.
fn choice_fault(object: &Map<String, Value>) -> Option<ModelFault> {
    fault_in(object.get("choices")?.get(0)?)
}

/// What came instead, and its beginning.
pub(super) fn garbled(what: &str, body: &[u8]) -> ModelFault {
    ModelFault::Garbled {
        message: format!("the server sent {what}: {}", excerpt(body)),
    }
}
