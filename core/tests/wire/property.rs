//! Law 19 as properties: codecs round-trip, ignore chunk boundaries, never panic, and bound what
//! they keep.

use crate::support::{ROOM, call, events_of, prompt, prompt_of, read_within, tool};
use openpista_core::effect::model::{Finish, ModelFault, Reply, Usage};
use openpista_core::effect::tool::Exit;
use openpista_core::id::{ApprovalId, Attempt, Seq};
use openpista_core::message::{Message, ToolCall};
use openpista_core::wire::frame::{
    ClientFrame, Decision, Decoder, Frame, FrameError, MAX_FRAME_BYTES, Progress, Role,
    ServerFrame, Token, encode,
};
use openpista_core::wire::openai::{Names, decode_fault, decode_reply, encode_request};
use openpista_core::wire::sse::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// The bytes, cut at these places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
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

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// Bytes that come near to what is understood: fragments of it, and arbitrary ones.
fn nearly(fragments: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        8 => select(fragments).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(fragment, 0..24).prop_map(|parts| parts.concat())
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,12}", "\\PC{0,6}", ".{0,6}"]
}

// Server-sent events.

const EVENT_FRAGMENTS: &[&str] = &[
    "data",
    ":",
    " ",
    "event",
    "id",
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "\u{feff}",
    "data: a\n\n",
    "x",
];

fn event() -> impl Strategy<Value = Event> {
    ("[^\r\n]{0,8}", "[^\r]{0,16}").prop_map(|(name, data)| Event { name, data })
}

fn write_event(event: &Event, line_end: &str) -> String {
    let mut body = format!(": comment{line_end}event: {}{line_end}", event.name);
    for line in event.data.split('\n') {
        body.push_str(&format!("data: {line}{line_end}"));
    }
    body + line_end
}

proptest! {
    #[test]
    fn law_19_events_round_trip(
        events in vec((event(), select(&["\n", "\r", "\r\n"][..])), 0..6),
        cuts in cuts(),
    ) {
        let body: String = events.iter().map(|(event, end)| write_event(event, end)).collect();
        let (decoded, rest) = events_of(pieces(body.as_bytes(), &cuts), ROOM);
        let sent: Vec<Event> = events.into_iter().map(|(event, _)| event).collect();
        prop_assert_eq!(decoded, sent);
        prop_assert_eq!(rest, Ok(None));
    }

    #[test]
    fn law_19_events_ignore_chunk_boundaries(
        bytes in nearly(EVENT_FRAGMENTS),
        cuts in cuts(),
        max in 1_usize..64,
    ) {
        prop_assert_eq!(events_of(pieces(&bytes, &cuts), max), events_of([&bytes[..]], max));
    }
}

// Replies.

fn reply() -> impl Strategy<Value = Reply> {
    let name = prop_oneof![Just("system.run".to_owned()), "[a-z]{1,5}\\.[a-z]{1,5}"];
    let arguments = prop_oneof![
        text(),
        text().prop_map(|text| json!({ "a": text }).to_string())
    ];
    let calls = vec((name, arguments), 0..4).prop_map(|calls| {
        let numbered = calls.into_iter().enumerate();
        numbered
            .filter(|(_, (_, arguments))| !arguments.trim().is_empty())
            .map(|(at, (name, arguments))| call(&format!("id-{at}"), &name, &arguments))
            .collect::<Vec<ToolCall>>()
    });
    let finish = select(&[Finish::Stop, Finish::Length, Finish::Filter][..]);
    (text(), calls, finish, any::<u32>(), any::<u64>()).prop_map(
        |(text, calls, finish, prompt, completion)| Reply {
            text,
            calls,
            finish,
            usage: Usage {
                prompt: prompt.into(),
                completion,
            },
        },
    )
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Filter => "content_filter",
    }
}

fn usage(reply: &Reply) -> Value {
    json!({
        "prompt_tokens": reply.usage.prompt,
        "completion_tokens": reply.usage.completion,
    })
}

/// How a server writes its deltas.
#[derive(Clone, Copy, Debug)]
struct Manner {
    indexed: bool,
    repeats: bool,
    done: bool,
    crlf: bool,
}

fn manner() -> impl Strategy<Value = Manner> {
    any::<[bool; 4]>().prop_map(|[indexed, repeats, done, crlf]| Manner {
        indexed,
        repeats,
        done,
        crlf,
    })
}

/// The text in pieces of at most this many characters; one empty piece for an empty text.
fn slices(text: &str, chars: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    match all.is_empty() {
        true => vec![String::new()],
        false => all
            .chunks(chars)
            .map(|chunk| chunk.iter().collect())
            .collect(),
    }
}

fn write_stream(reply: &Reply, manner: Manner, chars: usize) -> String {
    let names = Names::of(&prompt().tools);
    let mut chunks = vec![json!({"choices": [{"delta": {"role": null, "content": ""}}]})];
    for slice in slices(&reply.text, chars) {
        chunks.push(json!({"choices": [{"index": 0, "delta": {"content": slice}}]}));
    }
    for (at, call) in reply.calls.iter().enumerate() {
        for (part, slice) in slices(&call.arguments, chars).into_iter().enumerate() {
            let mut delta = json!({"function": {"arguments": slice}});
            if manner.indexed {
                delta["index"] = at.into();
            }
            if part == 0 || manner.repeats {
                delta["id"] = call.id.clone().into();
                delta["function"]["name"] = match call.tool.as_str() {
                    "system.run" => names.wire("system.run").into(),
                    other => other.into(),
                };
            }
            chunks.push(json!({"choices": [{"delta": {"tool_calls": [delta]}}]}));
        }
    }
    let reason = finish_reason(reply.finish);
    chunks.push(json!({"choices": [{"delta": {}, "finish_reason": reason}]}));
    chunks.push(json!({"choices": [], "usage": usage(reply)}));
    let end = if manner.crlf { "\r\n" } else { "\n" };
    let mut body: String = chunks
        .iter()
        .map(|c| format!("data: {c}{end}{end}"))
        .collect();
    if manner.done {
        body.push_str(&format!("data: [DONE]{end}{end}"));
    }
    body
}

fn write_whole(reply: &Reply) -> String {
    let calls: Vec<Value> = reply
        .calls
        .iter()
        .map(|c| json!({"id": c.id, "function": {"name": c.tool, "arguments": c.arguments}}))
        .collect();
    let message = json!({"role": "assistant", "content": reply.text, "tool_calls": calls});
    let reason = finish_reason(reply.finish);
    json!({
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage(reply),
    })
    .to_string()
}

fn expected(reply: Reply) -> Result<Reply, ModelFault> {
    match reply.text.is_empty() && reply.calls.is_empty() {
        true => Err(ModelFault::Empty),
        false => Ok(reply),
    }
}

const REPLY_FRAGMENTS: &[&str] = &[
    "data: ",
    "\n\n",
    "data: [DONE]\n\n",
    "{",
    "}",
    "event: error\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"n\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"b\",\"function\":{\"name\":\"n\",\"arguments\":\"{\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"n\",\"arguments\":\"{}\"}}]}}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
    "data: {\"error\":{\"code\":429}}\n\n",
    "{\"choices\":[{\"message\":{\"content\":\"ab\"}}]}",
    ": comment\n\n",
    "\u{feff}",
    " ",
];

proptest! {
    #[test]
    fn law_19_streams_round_trip(
        reply in reply(),
        manner in manner(),
        chars in 1_usize..8,
        cuts in cuts(),
    ) {
        let body = write_stream(&reply, manner, chars);
        let (shown, end) = read_within(pieces(body.as_bytes(), &cuts), ROOM);
        prop_assert_eq!(&shown, &reply.text);
        prop_assert_eq!(end, expected(reply));
    }

    #[test]
    fn law_19_whole_replies_round_trip(reply in reply(), cuts in cuts()) {
        let body = write_whole(&reply);
        prop_assert_eq!(decode_reply(body.as_bytes(), &prompt()), expected(reply.clone()));
        let (_, end) = read_within(pieces(body.as_bytes(), &cuts), ROOM);
        prop_assert_eq!(end, expected(reply));
    }

    #[test]
    fn law_19_streams_ignore_chunk_boundaries_and_keep_their_bound(
        bytes in nearly(REPLY_FRAGMENTS),
        cuts in cuts(),
        max in 0_usize..200,
    ) {
        let whole = read_within([&bytes[..]], max);
        prop_assert_eq!(&read_within(pieces(&bytes, &cuts), max), &whole);
        if let Ok(reply) = whole.1 {
            let of = |call: &ToolCall| call.arguments.len();
            prop_assert!(reply.text.len() + reply.calls.iter().map(of).sum::<usize>() <= max);
        }
    }

    #[test]
    fn law_19_a_stream_that_is_cut_never_gives_a_shorter_reply(
        reply in reply(),
        manner in manner(),
        cut in any::<Index>(),
    ) {
        let body = write_stream(&reply, manner, 3);
        let part = &body.as_bytes()[..cut.index(body.len())];
        match read_within([part], ROOM).1 {
            Ok(found) => {
                prop_assert_eq!(&found.text, &reply.text);
                prop_assert_eq!(&found.calls, &reply.calls);
            }
            Err(ModelFault::Network { .. } | ModelFault::Empty) => {}
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn law_19_faults_are_fit_to_be_shown(
        status in any::<u16>(),
        header in proptest::option::of(prop_oneof![
            ".{0,12}",
            "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ]),
        body in nearly(&[
            "<", ">", "<title>", "</title>", "<script>", "</script", "{\"error\":", "\"a\u{1b}\"",
            "{\"message\":", "}", "a b", "\n", "\u{202e}",
        ]),
        now in any::<u64>(),
    ) {
        let message = match decode_fault(status, header.as_deref(), &body, now) {
            ModelFault::RateLimited { message, .. }
            | ModelFault::Server { message, .. }
            | ModelFault::Rejected { message, .. } => message,
            other => {
                prop_assert_eq!(other, ModelFault::TimedOut);
                return Ok(());
            }
        };
        prop_assert!((1..=301).contains(&message.chars().count()));
        prop_assert!(!message.chars().any(char::is_control));
    }
}

// Requests.

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        text().prop_map(|text| Message::User { text }),
        (text(), vec((text(), text(), text()), 0..3)).prop_map(|(text, calls)| {
            let calls = calls
                .iter()
                .map(|(id, tool, arguments)| call(id, tool, arguments));
            Message::Assistant {
                text,
                calls: calls.collect(),
            }
        }),
        (text(), text()).prop_map(|(call_id, content)| Message::Tool { call_id, content }),
    ]
}

fn is_sendable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

proptest! {
    #[test]
    fn law_19_every_request_is_one_that_servers_take(
        tools in vec(text(), 0..4),
        messages in vec(message(), 0..6),
        stream in any::<bool>(),
    ) {
        let tools: Vec<&str> = tools.iter().map(String::as_str).collect();
        let bytes = encode_request(&prompt_of(&tools, messages.clone()), stream);
        let request: Value = serde_json::from_slice(&bytes).unwrap();
        let sent = request["messages"].as_array().unwrap();
        prop_assert_eq!(sent.len(), messages.len() + 1);
        for (sent, message) in sent[1..].iter().zip(&messages) {
            match message {
                Message::User { text } => prop_assert_eq!(&sent["content"], text),
                Message::Tool { call_id, content } => {
                    prop_assert_eq!(&sent["tool_call_id"], call_id);
                    prop_assert_eq!(&sent["content"], content);
                }
                Message::Assistant { text, calls } => {
                    prop_assert_eq!(sent["content"].as_str().unwrap_or(""), text);
                    for (at, call) in calls.iter().enumerate() {
                        let sent = &sent["tool_calls"][at];
                        prop_assert_eq!(&sent["id"], &call.id);
                        let function = &sent["function"];
                        prop_assert!(is_sendable(function["name"].as_str().unwrap()));
                        let arguments = function["arguments"].as_str().unwrap();
                        prop_assert!(serde_json::from_str::<Map<String, Value>>(arguments).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn law_19_names_round_trip(offered in vec("[ab._ ]{0,3}|[ab.]{63,66}", 0..12)) {
        let tools: Vec<_> = offered.iter().map(|name| tool(name)).collect();
        let names = Names::of(&tools);
        for name in &offered {
            let wire = names.wire(name);
            prop_assert!(is_sendable(&wire));
            prop_assert_eq!(&names.ours(&wire), name);
            prop_assert!(!is_sendable(name) || wire == *name);
        }
    }
}

// Frames.

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let optional = proptest::option::of(text());
    let role = proptest::option::of(Just(Role::Worker));
    prop_oneof![
        (text(), text(), role).prop_map(|(token, client, role)| ClientFrame::Auth {
            token: Token(token),
            client,
            role,
        }),
        (text(), text(), optional).prop_map(|(id, text, session)| ClientFrame::Message {
            id,
            text,
            session
        }),
        (approval(), select(&[Decision::Allow, Decision::Deny][..]))
            .prop_map(|(approval, decision)| ClientFrame::Approval { approval, decision }),
        text().prop_map(|id| ClientFrame::Cancel { id }),
        Just(ClientFrame::Ping),
    ]
}

fn approval() -> impl Strategy<Value = ApprovalId> {
    (any::<u64>(), any::<u16>()).prop_map(|(seq, slot)| ApprovalId {
        seq: Seq(seq),
        slot,
    })
}

fn progress() -> impl Strategy<Value = Progress> {
    let exit = prop_oneof![
        any::<i32>().prop_map(Exit::Code),
        any::<i32>().prop_map(Exit::Signal),
        Just(Exit::TimedOut),
        Just(Exit::Cancelled),
    ];
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(round, attempt)| Progress::Asking {
            round,
            attempt: Attempt(attempt),
        }),
        (text(), any::<u64>())
            .prop_map(|(why, retry_in_ms)| Progress::Waiting { why, retry_in_ms }),
        (text(), text()).prop_map(|(tool, arguments)| Progress::Running { tool, arguments }),
        (proptest::option::of(exit), any::<u64>())
            .prop_map(|(exit, took_ms)| Progress::Ran { exit, took_ms }),
        Just(Progress::InDoubt),
        text().prop_map(|text| Progress::Text { text }),
        text().prop_map(|text| Progress::Output { text }),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        text().prop_map(|session| ServerFrame::AuthOk { session }),
        text().prop_map(|message| ServerFrame::AuthError { message }),
        text().prop_map(|id| ServerFrame::Accepted { id }),
        (text(), progress()).prop_map(|(id, progress)| ServerFrame::Progress { id, progress }),
        (text(), approval(), text(), text(), text()).prop_map(
            |(id, approval, tool, arguments, reason)| ServerFrame::ApprovalRequest {
                id,
                approval,
                tool,
                arguments,
                reason,
            }
        ),
        (text(), text(), any::<bool>()).prop_map(|(id, content, is_error)| {
            ServerFrame::Response {
                id,
                content,
                is_error,
            }
        }),
        Just(ServerFrame::Pong),
        text().prop_map(|message| ServerFrame::Error { message }),
    ]
}

/// Every frame of these pieces, then how they ended.
fn frames_of<F: Frame>(pieces: Vec<&[u8]>, max: usize) -> (Vec<F>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(max);
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            let next = decoder.next(&mut piece);
            assert!(decoder.buffered() <= max + 4);
            match next {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(piece.is_empty(), "all bytes were taken");
    }
    (frames, decoder.finish())
}

proptest! {
    #[test]
    fn law_19_client_frames_round_trip(frames in vec(client_frame(), 0..5), cuts in cuts()) {
        let bytes: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        let decoded = frames_of(pieces(&bytes, &cuts), MAX_FRAME_BYTES);
        prop_assert_eq!(decoded, (frames, Ok(())));
    }

    #[test]
    fn law_19_server_frames_round_trip(frames in vec(server_frame(), 0..5), cuts in cuts()) {
        let bytes: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        let decoded = frames_of(pieces(&bytes, &cuts), MAX_FRAME_BYTES);
        prop_assert_eq!(decoded, (frames, Ok(())));
    }

    #[test]
    fn law_19_frames_ignore_chunk_boundaries_and_keep_their_bound(
        frames in vec(client_frame(), 0..4),
        flips in vec((any::<Index>(), any::<u8>()), 0..3),
        cuts in cuts(),
        max in 0_usize..200,
    ) {
        let mut bytes: Vec<u8> = frames.iter().flat_map(|f| encode(f).unwrap()).collect();
        for (place, byte) in flips {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        let whole = frames_of::<ClientFrame>(vec![&bytes], max);
        prop_assert_eq!(frames_of(pieces(&bytes, &cuts), max), whole);
    }
}
