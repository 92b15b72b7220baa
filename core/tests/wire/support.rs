//! What the codec tests share.

use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::effect::{Chunk, Recovery};
use openpista_core::message::{Entry, Message, Prompt, ToolCall, ToolSpec};
use openpista_core::wire::openai::ReplyStream;
use openpista_core::wire::sse::{Decoder, Event, TooLong};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// More than any reply in these tests.
pub(crate) const ROOM: usize = 100_000;

pub(crate) fn tool(name: &str) -> ToolSpec {
    ToolSpec {
        name: name.into(),
        description: "Runs a command.".into(),
        parameters: r#"{"type":"object","properties":{"command":{"type":"string"}}}"#.into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    }
}

pub(crate) fn prompt_of(tools: &[&str], messages: Vec<Message>) -> Prompt {
    Prompt {
        model: "model-1".into(),
        system: "Be brief.".into(),
        tools: tools.iter().map(|name| tool(name)).collect(),
        messages: messages.into_iter().map(Entry::new).collect(),
        shown: 0,
    }
}

/// A prompt that offers `system.run`.
pub(crate) fn prompt() -> Prompt {
    prompt_of(&["system.run"], Vec::new())
}

pub(crate) fn call(id: &str, tool: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        tool: tool.into(),
        arguments: arguments.into(),
    }
}

/// Everything that came of a stream: the words shown, and the end.
pub(crate) fn read_within<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_bytes: usize,
) -> (String, Result<Reply, ModelFault>) {
    let mut stream = ReplyStream::new(&prompt(), max_bytes);
    let mut shown = String::new();
    for piece in pieces {
        match stream.push(piece) {
            Ok(chunks) => chunks.into_iter().for_each(|chunk| match chunk {
                Chunk::Text(text) => shown.push_str(&text),
                Chunk::Output(_) => unreachable!("a model has no output"),
            }),
            // What was shown beside an error depends on where the chunks broke.
            Err(fault) => return (String::new(), Err(fault)),
        }
    }
    (shown, stream.finish())
}

/// The end of a stream that arrives at once.
pub(crate) fn read(body: &str) -> Result<Reply, ModelFault> {
    let (shown, end) = read_within([body.as_bytes()], ROOM);
    if let Ok(reply) = &end
        && !body.trim_start().starts_with('{')
    {
        assert!(reply.text.starts_with(&shown), "what was shown was said");
    }
    end
}

/// A stream of these chunks, with `[DONE]` after them.
pub(crate) fn stream_of(chunks: &[&str]) -> String {
    let mut body: String = chunks.iter().map(|c| format!("data: {c}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    body
}

/// Every event of these pieces, then what the end cut off.
pub(crate) fn events_of<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_event_bytes: usize,
) -> (Vec<Event>, Result<Option<Event>, TooLong>) {
    let mut decoder = Decoder::new(max_event_bytes);
    let mut events = Vec::new();
    for mut piece in pieces {
        loop {
            let next = decoder.next(&mut piece);
            assert!(decoder.buffered() <= max_event_bytes);
            match next {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
        assert!(piece.is_empty(), "all bytes were taken");
    }
    (events, Ok(decoder.finish()))
}

/// The same bytes, one at a time.
pub(crate) fn bytewise(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(1)
}

/// The bytes, cut at these places.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[from..place]);
        from = place;
    }
    pieces
}

pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// Bytes that come near to what is understood: fragments of it, and arbitrary ones.
pub(crate) fn nearly(fragments: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        8 => select(fragments).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(fragment, 0..24).prop_map(|parts| parts.concat())
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", ".{0,6}"]
}
