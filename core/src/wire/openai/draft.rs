//! A reply while it is put together, from one whole message or from many deltas.
//!
//! It keeps a budget: text, arguments, names and ids together never take more than it, whatever
//! is sent. What is beyond is left out, and the reply then says that it was cut off.

use super::Names;
use crate::effect::model::{Finish, ModelFault, Reply, Usage};
use crate::message::ToolCall;
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// What a call costs of the budget beside its texts.
const CALL_BYTES: usize = 64;

/// A reply in the making.
#[derive(Debug)]
pub(super) struct Draft {
    text: String,
    calls: Vec<Call>,
    finish: Option<Finish>,
    usage: Usage,
    left_bytes: usize,
    full: bool,
}

/// A tool call in the making.
#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// What one delta says about a tool call.
struct Piece<'a> {
    index: Option<u64>,
    id: &'a str,
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl Draft {
    pub(super) fn new(max_bytes: usize) -> Draft {
        Draft {
            text: String::new(),
            calls: Vec::new(),
            finish: None,
            usage: Usage::default(),
            left_bytes: max_bytes,
            full: false,
        }
    }

    /// The budget is used up: nothing more will be taken.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The model said why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How many bytes its texts take.
    pub(super) fn bytes(&self) -> usize {
        let of = |call: &Call| call.id.len() + call.name.len() + call.arguments.len();
        self.text.len() + self.calls.iter().map(of).sum::<usize>()
    }

    /// Takes in a response or one chunk of it: the object that has `choices` and `usage`.
    pub(super) fn take(&mut self, object: &Map<String, Value>) {
        if let Some(Value::Object(usage)) = object.get("usage") {
            let tokens = |key| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
            self.usage = Usage {
                prompt: tokens("prompt_tokens"),
                completion: tokens("completion_tokens"),
            };
        }
        let Some(choice) = first_choice(object) else {
            return;
        };
        match (choice.get("delta"), choice.get("message")) {
            (Some(Value::Object(delta)), _) => self.take_message(delta, true),
            (_, Some(Value::Object(message))) => self.take_message(message, false),
            _ => {}
        }
        match choice.get("finish_reason").and_then(Value::as_str) {
            None | Some("") => {}
            Some("length" | "max_tokens") => self.finish = Some(Finish::Length),
            Some("content_filter") => self.finish = Some(Finish::Filter),
            Some(_) => self.finish = Some(Finish::Stop),
        }
    }

    fn take_message(&mut self, message: &Map<String, Value>, continues: bool) {
        for key in ["content", "refusal"] {
            match message.get(key) {
                Some(Value::String(text)) => self.take_text(text),
                Some(Value::Array(parts)) => parts
                    .iter()
                    .filter_map(|part| part.get("text").unwrap_or(part).as_str())
                    .for_each(|text| self.take_text(text)),
                _ => {}
            }
        }
        if let Some(Value::Array(calls)) = message.get("tool_calls") {
            for call in calls {
                self.take_call(&Piece::of(call), continues);
            }
        }
    }

    fn take_text(&mut self, text: &str) {
        let text = self.afford(text);
        self.text.push_str(text);
    }

    fn take_call(&mut self, piece: &Piece<'_>, continues: bool) {
        let found = continues.then(|| self.continued(piece)).flatten();
        let at = match found {
            Some(at) => at,
            None if piece.is_blank() => return,
            None => match self.begin_call(piece.index) {
                Some(at) => at,
                None => return,
            },
        };
        if self.calls[at].id.is_empty() {
            self.calls[at].id = self.afford(piece.id).to_owned();
        }
        if self.calls[at].name.is_empty() {
            self.calls[at].name = self.afford(piece.name).to_owned();
        }
        let arguments = self.afford(&piece.arguments);
        self.calls[at].arguments.push_str(arguments);
    }

    fn begin_call(&mut self, index: Option<u64>) -> Option<usize> {
        if self.full || self.left_bytes < CALL_BYTES {
            self.full = true;
            return None;
        }
        self.left_bytes -= CALL_BYTES;
        self.calls.push(Call {
            index,
            ..Call::default()
        });
        Some(self.calls.len() - 1)
    }

    /// Which call a delta goes on with; none when it begins one.
    ///
    /// The index should say, but some servers leave it out, and some number all calls 0. The id
    /// should come once, but some servers repeat it, and some make up a new one for each delta
    /// (those do not repeat the name).
    fn continued(&self, piece: &Piece<'_>) -> Option<usize> {
        let same_id = |call: &Call| !piece.id.is_empty() && call.id == piece.id;
        let at = match piece.index {
            Some(_) => self.calls.iter().rposition(|c| c.index == piece.index)?,
            None => match self.calls.iter().rposition(same_id) {
                Some(at) => at,
                None if piece.id.is_empty() => self.calls.len().checked_sub(1)?,
                None => return None,
            },
        };
        let call = &self.calls[at];
        if same_id(call) || piece.name.is_empty() {
            return Some(at);
        }
        let new_id = !piece.id.is_empty() && !call.id.is_empty();
        let new_object = piece.arguments.trim_start().starts_with('{') && call.is_whole();
        (!new_id && !new_object).then_some(at)
    }

    /// As much of `text` as the budget allows, and pays for it.
    fn afford<'a>(&mut self, text: &'a str) -> &'a str {
        if self.full {
            return "";
        }
        let end = text.floor_char_boundary(self.left_bytes);
        self.full = end < text.len();
        self.left_bytes -= end;
        &text[..end]
    }

    /// The reply, with our names for the tools.
    ///
    /// # Errors
    /// [`ModelFault::Empty`] when there is neither text nor a call.
    pub(super) fn build(self, names: &Names) -> Result<Reply, ModelFault> {
        let finish = match self.finish {
            _ if self.full => Finish::Length,
            finish => finish.unwrap_or_default(),
        };
        if self.text.is_empty() && self.calls.is_empty() {
            return Err(ModelFault::Empty);
        }
        let given: Vec<&str> = self.calls.iter().map(|call| call.id.as_str()).collect();
        let ids = unique_ids(&given);
        let calls = self.calls.into_iter().zip(ids).map(|(call, id)| ToolCall {
            id,
            tool: names.ours(&call.name),
            arguments: call.into_arguments(finish),
        });
        Ok(Reply {
            calls: calls.collect(),
            text: self.text,
            finish,
            usage: self.usage,
        })
    }
}

impl Call {
    /// Its arguments are a whole JSON object.
    fn is_whole(&self) -> bool {
        serde_json::from_str::<Map<String, Value>>(&self.arguments).is_ok()
    }

    /// Many models write nothing where a tool takes no arguments. Cut off is something else.
    fn into_arguments(self, finish: Finish) -> String {
        if self.arguments.trim().is_empty() && finish == Finish::Stop {
            "{}".to_owned()
        } else {
            self.arguments
        }
    }
}

impl<'a> Piece<'a> {
    fn of(call: &'a Value) -> Piece<'a> {
        let function = call.get("function").unwrap_or(&Value::Null);
        let text = |value: Option<&'a Value>| value.and_then(Value::as_str).unwrap_or("");
        Piece {
            index: call.get("index").and_then(Value::as_u64),
            id: text(call.get("id")),
            name: text(function.get("name")),
            arguments: match function.get("arguments") {
                None | Some(Value::Null) => Cow::Borrowed(""),
                Some(Value::String(text)) => Cow::Borrowed(text),
                Some(value) => Cow::Owned(serde_json::to_string(value).unwrap_or_default()),
            },
        }
    }

    fn is_blank(&self) -> bool {
        self.name.is_empty() && self.arguments.trim().is_empty()
    }
}

/// The choice that counts: we ask for one, and it has the index 0 if it has any.
fn first_choice(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let first = |choice: &&Value| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0;
    object
        .get("choices")?
        .as_array()?
        .iter()
        .find(first)?
        .as_object()
}

/// The ids, those that are empty or repeat an earlier one replaced by `call_N`.
fn unique_ids(given: &[&str]) -> Vec<String> {
    let known: BTreeSet<&str> = given.iter().copied().collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut next = 0;
    let mut ids = Vec::with_capacity(given.len());
    for id in given {
        if !id.is_empty() && used.insert(id) {
            ids.push((*id).to_owned());
            continue;
        }
        ids.push(loop {
            let made = format!("call_{next}");
            next += 1;
            if !known.contains(made.as_str()) {
                break made;
            }
        });
    }
    ids
}
