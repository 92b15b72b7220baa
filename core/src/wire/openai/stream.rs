//! A streamed response becomes a reply, and on the way the text for display.

use super::Names;
use super::draft::Draft;
use super::fault::fault_of;
use super::reply::{decode_within, garbled, parse, trim_start};
use crate::effect::Chunk;
use crate::effect::model::{ModelFault, Reply};
use crate::message::Prompt;
use crate::wire::sse::{Decoder, Event};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde_json::{Map, Value, json};

/// What the JSON around a reply may take, beside the reply itself.
const ENVELOPE_BYTES: usize = 1 << 20;
/// How many bytes the JSON of one byte of text takes at the most: `\u0000`.
const ESCAPED_BYTES: usize = 6;
/// How much of the beginning is kept, to tell what came instead of a stream.
const HEAD_BYTES: usize = 512;

/// Reads a streamed response. A server that ignores the wish and answers whole is read as well.
///
/// Push what arrives and [`finish`](ReplyStream::finish) when no more comes, for whatever reason:
/// it knows whether the reply was whole. After an error the stream is of no use.
#[derive(Debug)]
pub struct ReplyStream {
    names: Names,
    draft: Draft,
    body: Body,
    max_bytes: usize,
    max_wire_bytes: usize,
    /// Any event came.
    began: bool,
    /// The server said that it was done.
    done: bool,
}

#[derive(Debug)]
enum Body {
    /// Nothing but white space so far.
    Unknown,
    /// One JSON value.
    Whole(Vec<u8>),
    /// Server-sent events, and how the stream began.
    Events { decoder: Decoder, head: Vec<u8> },
}

impl ReplyStream {
    /// A stream that answers `prompt`. Text, arguments, names and ids take at most `max_bytes`;
    /// what is beyond is left out, and the reply then ends with
    /// [`Finish::Length`](crate::effect::model::Finish::Length).
    pub fn new(prompt: &Prompt, max_bytes: usize) -> ReplyStream {
        let escaped = max_bytes.saturating_mul(ESCAPED_BYTES);
        ReplyStream {
            names: Names::of(&prompt.tools),
            draft: Draft::new(max_bytes),
            body: Body::Unknown,
            max_bytes,
            max_wire_bytes: escaped.saturating_add(ENVELOPE_BYTES),
            began: false,
            done: false,
        }
    }

    /// Takes what arrived, and gives the text in it, for display.
    ///
    /// # Errors
    /// - The fault that an error object inside the stream tells of.
    /// - [`ModelFault::Garbled`]: an event that cannot be read, or is longer than any reply.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Chunk>, ModelFault> {
        let shown = self.draft.text().len();
        let mut input = bytes;
        if matches!(self.body, Body::Unknown) {
            input = self.sniff(input);
        }
        match &mut self.body {
            Body::Unknown => {}
            Body::Whole(body) => {
                if body.len() + input.len() > self.max_wire_bytes {
                    return Err(too_long(self.max_wire_bytes));
                }
                body.extend_from_slice(input);
            }
            Body::Events { head, .. } => {
                let free = HEAD_BYTES - head.len();
                head.extend_from_slice(&input[..input.len().min(free)]);
                while let Some(event) = self.next_event(&mut input)? {
                    self.take_event(&event)?;
                }
            }
        }
        match &self.draft.text()[shown..] {
            "" => Ok(Vec::new()),
            text => Ok([Chunk::Text(text.to_owned())].into()),
        }
    }

    /// Nothing more is needed: the server said that it was done, or the reply has reached its
    /// bound. Reading on is allowed, and changes nothing but the usage.
    pub fn is_complete(&self) -> bool {
        self.done || self.draft.is_full()
    }

    /// How many bytes are held: bounded by a small multiple of `max_bytes` and an envelope.
    pub fn buffered(&self) -> usize {
        let body = match &self.body {
            Body::Unknown => 0,
            Body::Whole(body) => body.len(),
            Body::Events { decoder, head } => decoder.buffered() + head.len(),
        };
        self.draft.bytes() + body
    }

    /// The reply. Its text can go on after what was pushed out for display: the body of a server
    /// that answered whole, or an event whose end is missing.
    ///
    /// # Errors
    /// - [`ModelFault::Empty`]: the server sent nothing, or neither text nor a call.
    /// - [`ModelFault::Network`]: the stream ended before the reply did.
    /// - [`ModelFault::Garbled`]: something else came than a response.
    /// - The fault that an error object in place of a response tells of.
    pub fn finish(mut self) -> Result<Reply, ModelFault> {
        match core::mem::replace(&mut self.body, Body::Unknown) {
            Body::Unknown => Err(ModelFault::Empty),
            Body::Whole(body) => decode_within(&body, &self.names, self.max_bytes),
            Body::Events { decoder, head } => {
                let cut_off = decoder.buffered() > 0;
                // Cut off JSON cannot be read and does not count; a whole one does.
                if let Some(last) = decoder.finish().filter(is_readable) {
                    self.take_event(&last)?;
                }
                self.finish_events(&head, cut_off)
            }
        }
    }

    fn finish_events(self, head: &[u8], cut_off: bool) -> Result<Reply, ModelFault> {
        if self.is_complete() || self.draft.is_finished() {
            return self.draft.build(&self.names);
        }
        if !self.began && !is_event_stream(head) {
            return Err(garbled("something that is not a stream of events", head));
        }
        if !self.began && !cut_off {
            return Err(ModelFault::Empty);
        }
        Err(ModelFault::Network {
            message: "the stream broke off before the reply was whole".to_owned(),
        })
    }

    /// Passes over white space and a byte order mark, and looks at what comes first.
    fn sniff<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let rest = trim_start(input);
        match rest.first() {
            None => {}
            Some(b'{' | b'[') => self.body = Body::Whole(Vec::new()),
            Some(_) => {
                self.body = Body::Events {
                    decoder: Decoder::new(self.max_wire_bytes),
                    head: Vec::new(),
                }
            }
        }
        rest
    }

    fn next_event(&mut self, input: &mut &[u8]) -> Result<Option<Event>, ModelFault> {
        match &mut self.body {
            Body::Events { decoder, .. } => decoder
                .next(input)
                .map_err(|error| too_long(error.max_event_bytes)),
            Body::Unknown | Body::Whole(_) => Ok(None),
        }
    }

    fn take_event(&mut self, event: &Event) -> Result<(), ModelFault> {
        let data = event.data.trim();
        if self.done || data.is_empty() {
            return Ok(());
        }
        self.began = true;
        if data == "[DONE]" {
            self.done = true;
            return Ok(());
        }
        if event.name == "error" {
            return Err(named_error(data));
        }
        self.draft.take(&parse(data.as_bytes())?);
        Ok(())
    }
}

fn too_long(max_bytes: usize) -> ModelFault {
    ModelFault::Garbled {
        message: format!("the server sent more than {max_bytes} bytes for one reply"),
    }
}

/// An event that is called `error`, whatever is in it.
fn named_error(data: &str) -> ModelFault {
    let value = serde_json::from_str(data).unwrap_or_else(|_| json!({ "message": data }));
    let error = value.get("error").unwrap_or(&Value::Null);
    fault_of(if error.is_object() { error } else { &value }, &value)
}

fn is_readable(event: &Event) -> bool {
    let data = event.data.trim();
    data == "[DONE]" || serde_json::from_str::<Map<String, Value>>(data).is_ok()
}

/// The first line is one that a stream of events can begin with, or the beginning of one.
fn is_event_stream(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next().unwrap_or("");
    let (field, whole) = match line.split_once(':') {
        Some((field, _)) => (field, true),
        None => (line, false),
    };
    ["", "data", "event", "id", "retry"]
        .iter()
        .any(|known| *known == field || (!whole && known.starts_with(field)))
}
