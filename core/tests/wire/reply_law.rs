//! Replies, as properties (law 19).

use crate::support::{ROOM, call, cuts, nearly, pieces, prompt, read_within, text};
use openpista_core::effect::model::{Finish, ModelFault, Reply, Usage};
use openpista_core::message::ToolCall;
use openpista_core::wire::openai::{Names, decode_reply};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

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
}
