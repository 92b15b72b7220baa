//! Replies: what servers are known to send, quirk by quirk.

use crate::support::{ROOM, bytewise, call, prompt, read, read_within, stream_of};
use openpista_core::effect::model::{Finish, ModelFault, Reply, Usage};
use openpista_core::message::ToolCall;
use openpista_core::wire::openai::{ReplyStream, decode_reply};

fn text(text: &str) -> Reply {
    Reply {
        text: text.into(),
        ..Reply::default()
    }
}

fn calls(calls: &[(&str, &str)]) -> Vec<ToolCall> {
    let of = |(id, arguments): &(&str, &str)| call(id, "system.run", arguments);
    calls.iter().map(of).collect()
}

/// One delta of a tool call, as JSON.
fn delta(tool_calls: &str) -> String {
    format!(r#"{{"choices":[{{"delta":{{"tool_calls":{tool_calls}}}}}]}}"#)
}

/// The calls of a stream that consists of these values of `delta.tool_calls`.
#[track_caller]
fn calls_of(deltas: &[&str]) -> Vec<ToolCall> {
    let chunks: Vec<String> = deltas.iter().map(|d| delta(d)).collect();
    let body = stream_of(&chunks.iter().map(String::as_str).collect::<Vec<_>>());
    let end = read(&body);
    assert_eq!(end, read_within(bytewise(body.as_bytes()), ROOM).1);
    end.unwrap().calls
}

fn whole(body: &str) -> Result<Reply, ModelFault> {
    let direct = decode_reply(body.as_bytes(), &prompt());
    assert_eq!(
        direct,
        read(body),
        "a whole body in place of a stream is read alike"
    );
    direct
}

// Streams.

#[test]
fn a_text_is_streamed() {
    let body = stream_of(&[
        r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"lo 🦀"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
    ]);
    let reply = Reply {
        usage: Usage {
            prompt: 9,
            completion: 2,
        },
        ..text("Hello 🦀")
    };
    assert_eq!(read(&body), Ok(reply));
}

#[test]
fn parallel_calls_are_streamed() {
    let calls_seen = calls_of(&[
        r#"[{"index":0,"id":"a","type":"function","function":{"name":"system_run","arguments":""}}]"#,
        r#"[{"index":0,"function":{"arguments":"{\"command\":"}}]"#,
        r#"[{"index":0,"function":{"arguments":"\"ls\"}"}}]"#,
        r#"[{"index":1,"id":"b","type":"function","function":{"name":"system_run","arguments":""}},{"index":0}]"#,
        r#"[{"index":1,"function":{"arguments":"{}"}}]"#,
    ]);
    assert_eq!(
        calls_seen,
        calls(&[("a", r#"{"command":"ls"}"#), ("b", "{}")])
    );
}

#[test]
fn a_role_of_null_is_no_matter() {
    let body = stream_of(&[
        r#"{"choices":[{"delta":{"role":null,"content":"a","tool_calls":null}}],"usage":null}"#,
    ]);
    assert_eq!(read(&body), Ok(text("a")));
}

#[test]
fn id_and_name_may_be_repeated() {
    let piece = |part: &str| {
        format!(
            r#"[{{"index":0,"id":"a","function":{{"name":"system_run","arguments":"{part}"}}}}]"#
        )
    };
    let pieces = ["{", r#"\"a\":"#, "1", "}", ""].map(piece);
    let seen = calls_of(&pieces.each_ref().map(String::as_str));
    assert_eq!(seen, calls(&[("a", r#"{"a":1}"#)]));
}

#[test]
fn an_id_may_change_while_a_call_goes_on() {
    let seen = calls_of(&[
        r#"[{"index":0,"id":"a","function":{"name":"system_run"}}]"#,
        r#"[{"index":0,"id":"b","function":{"arguments":"{\"a\""}}]"#,
        r#"[{"index":0,"id":"c","function":{"name":"","arguments":":1}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", r#"{"a":1}"#)]));
}

#[test]
fn the_id_and_the_name_may_come_late() {
    let seen = calls_of(&[
        r#"[{"index":0,"id":"","function":{"name":null,"arguments":"{"}}]"#,
        r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":"}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", "{}")]));
}

#[test]
fn without_an_index_a_new_id_begins_a_call() {
    let seen = calls_of(&[
        r#"[{"id":"a","function":{"name":"system_run","arguments":"{\"a\""}}]"#,
        r#"[{"id":"a","function":{"arguments":":1"}}]"#,
        r#"[{"function":{"arguments":"}"}}]"#,
        r#"[{"id":"b","function":{"name":"system_run","arguments":"{}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", r#"{"a":1}"#), ("b", "{}")]));
}

#[test]
fn without_index_and_id_a_second_object_begins_a_call() {
    let one = r#"{"id":"","function":{"name":"system_run","arguments":"{\"a\":1}"}}"#;
    let seen = calls_of(&[&format!("[{one},{one}]"), &format!("[{one}]")]);
    let expected = r#"{"a":1}"#;
    assert_eq!(
        seen,
        calls(&[
            ("call_0", expected),
            ("call_1", expected),
            ("call_2", expected)
        ])
    );
}

#[test]
fn several_calls_may_all_have_the_index_zero() {
    let seen = calls_of(&[
        r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":"{\"a\":1}"}}]"#,
        r#"[{"index":0,"id":"b","function":{"name":"system_run","arguments":"{\"b\":1}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", r#"{"a":1}"#), ("b", r#"{"b":1}"#)]));
}

#[test]
fn several_calls_of_one_index_may_come_in_pieces() {
    let seen = calls_of(&[
        r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":""}}]"#,
        r#"[{"index":0,"function":{"arguments":"{}"}}]"#,
        r#"[{"index":0,"id":"b","function":{"name":"system_run","arguments":""}}]"#,
        r#"[{"index":0,"function":{"arguments":"{\"b\":1}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", "{}"), ("b", r#"{"b":1}"#)]));
}

#[test]
fn ids_are_made_unique() {
    let with = |id: &str, index: u8| {
        format!(
            r#"[{{"index":{index},"id":"{id}","function":{{"name":"system_run","arguments":"{{}}"}}}}]"#
        )
    };
    let deltas = [with("", 0), with("x", 1), with("x", 2), with("call_0", 3)];
    let seen = calls_of(&deltas.each_ref().map(String::as_str));
    let ids: Vec<&str> = seen.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_1", "x", "call_2", "call_0"]);
}

#[test]
fn arguments_may_be_an_object() {
    let one =
        r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":{"b":1,"a":[]}}}]"#;
    assert_eq!(calls_of(&[one]), calls(&[("a", r#"{"a":[],"b":1}"#)]));
}

#[test]
fn no_arguments_are_an_empty_object_unless_cut_off() {
    let one = r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":""}}]"#;
    assert_eq!(calls_of(&[one]), calls(&[("a", "{}")]));
    let cut = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    let reply = read(&stream_of(&[&delta(one), cut])).unwrap();
    assert_eq!(reply.calls, calls(&[("a", "")]));
}

#[test]
fn calls_that_say_nothing_are_none() {
    let seen = calls_of(&[
        r#"[{}, null, 7, {"index":3}]"#,
        r#"[{"id":"a","function":{"name":"system_run","arguments":"{}"}}]"#,
    ]);
    assert_eq!(seen, calls(&[("a", "{}")]));
}

#[test]
fn an_unknown_name_is_kept() {
    let seen = calls_of(&[r#"[{"id":"a","function":{"name":"fly","arguments":"{}"}}]"#]);
    assert_eq!(seen, [call("a", "fly", "{}")]);
}

#[test]
fn cut_off_arguments_stay_as_they_are() {
    let one = r#"[{"index":0,"id":"a","function":{"name":"system_run","arguments":"{\"comm"}}]"#;
    let cut = r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#;
    let reply = read(&stream_of(&[&delta(one), cut])).unwrap();
    assert_eq!(reply.finish, Finish::Length);
    assert_eq!(reply.calls, calls(&[("a", r#"{"comm"#)]));
}

#[test]
fn a_filter_is_told() {
    let body =
        stream_of(&[r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"content_filter"}]}"#]);
    assert_eq!(read(&body).unwrap().finish, Finish::Filter);
}

#[test]
fn empty_content_beside_calls_is_no_text() {
    let reply = read(&stream_of(&[
        r#"{"choices":[{"delta":{"content":"","tool_calls":[{"index":0,"id":"a","function":{"name":"system_run","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
    ]));
    let expected = Reply {
        calls: calls(&[("a", "{}")]),
        ..Reply::default()
    };
    assert_eq!(reply, Ok(expected));
}

#[test]
fn content_may_be_parts_and_refusals_are_words_but_reasoning_is_not() {
    let body = stream_of(&[
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"a"},"b",{"type":"image_url"}]}}]}"#,
        r#"{"choices":[{"delta":{"reasoning_content":"x","reasoning":"y","content":null}}]}"#,
        r#"{"choices":[{"delta":{"refusal":"c"}}]}"#,
    ]);
    assert_eq!(read(&body), Ok(text("abc")));
}

#[test]
fn a_chunk_may_hold_a_message_instead_of_a_delta() {
    let body = stream_of(&[r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#]);
    assert_eq!(read(&body), Ok(text("a")));
}

#[test]
fn other_choices_do_not_count() {
    let body = stream_of(&[
        r#"{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a"}}]}"#,
    ]);
    assert_eq!(read(&body), Ok(text("a")));
}

#[test]
fn comments_and_events_of_other_kinds_pass_by() {
    let body = ": OPENROUTER PROCESSING\n\n\r\n: x\nevent: message\nid: 1\ndata: \
        {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata:\n\ndata: {\"object\":\"ping\"}\n\n\
        data: [DONE]\n\ndata: nonsense after the end\n\n";
    assert_eq!(read(body), Ok(text("a")));
}

// Ends of streams.

#[test]
fn a_stream_without_data_is_empty() {
    for body in [
        "",
        "\n\n",
        "\u{feff}",
        ": keep-alive\n\n",
        "data: [DONE]\n\n",
        "event: x\n\n",
    ] {
        assert_eq!(read(body), Err(ModelFault::Empty), "for {body:?}");
    }
    let silent =
        stream_of(&[r#"{"choices":[{"delta":{"role":"assistant"},"finish_reason":"stop"}]}"#]);
    assert_eq!(read(&silent), Err(ModelFault::Empty));
}

#[test]
fn a_stream_that_breaks_off_is_a_network_fault() {
    let begun = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    for body in [
        "d".to_owned(),
        "data: {\"choi".to_owned(),
        begun.to_owned(),
        format!("{begun}data: {{\"choices\":[{{\"del"),
    ] {
        let Err(ModelFault::Network { message }) = read(&body) else {
            panic!("for {body:?}");
        };
        assert!(message.contains("broke off"), "{message}");
    }
}

#[test]
fn a_finish_reason_or_done_completes_a_stream() {
    let finished =
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(read(finished), Ok(text("a")));
    assert_eq!(read(&format!("{finished}data: {{\"usa")), Ok(text("a")));
    assert_eq!(
        read(finished.trim_end()),
        Ok(text("a")),
        "without its empty line"
    );
    let done = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]";
    assert_eq!(read(done), Ok(text("a")));
    let mut stream = ReplyStream::new(&prompt(), ROOM);
    stream.push(done.as_bytes()).unwrap();
    assert!(!stream.is_complete());
    stream.push(b"\n\n").unwrap();
    assert!(stream.is_complete());
}

#[test]
fn nonsense_in_a_stream_is_garbled() {
    for data in ["nonsense", "{\"choices\":", "7", "\"text\"", "[]"] {
        let end = read(&format!("data: {data}\n\n"));
        assert!(
            matches!(end, Err(ModelFault::Garbled { .. })),
            "{data}: {end:?}"
        );
    }
}

#[test]
fn a_page_in_place_of_a_stream_is_garbled() {
    let page = "<!doctype html>\n<html><head><TITLE>Sign in</TITLE>";
    let message = "the server sent something that is not a stream of events: Sign in".to_owned();
    assert_eq!(read(page), Err(ModelFault::Garbled { message }));
    assert!(matches!(read("It works!"), Err(ModelFault::Garbled { .. })));
}

// Errors inside of successes.

#[test]
fn an_error_object_in_a_stream_is_its_fault() {
    let limited = |message: &str| ModelFault::RateLimited {
        retry_after_ms: None,
        message: message.into(),
    };
    let rejected = |status, message: &str| ModelFault::Rejected {
        status,
        message: message.into(),
    };
    let server = |message: &str| ModelFault::Server {
        status: 200,
        message: message.into(),
    };
    for (data, fault) in [
        (
            r#"{"error":{"message":"slow","code":429}}"#,
            limited("slow"),
        ),
        (
            r#"{"error":{"message":"slow","status":"429"}}"#,
            limited("slow"),
        ),
        (
            r#"{"error":{"message":"slow","type":"rate_limit_error"}}"#,
            limited("slow"),
        ),
        (
            r#"{"error":{"message":"no","code":400}}"#,
            rejected(400, "no"),
        ),
        (
            r#"{"error":{"message":"no","code":"x","type":"403"}}"#,
            rejected(403, "no"),
        ),
        (
            r#"{"error":{"message":"late","code":408}}"#,
            ModelFault::TimedOut,
        ),
        (
            r#"{"error":{"message":"down","code":502},"choices":[]}"#,
            server("down"),
        ),
        (
            r#"{"error":{"message":"down","code":"overloaded"}}"#,
            server("down"),
        ),
        (r#"{"error":"down"}"#, server("down")),
        (
            r#"{"error":{"code":500}}"#,
            server(r#"{"error":{"code":500}}"#),
        ),
        (
            r#"{"object":"error","message":"no","code":404}"#,
            rejected(404, "no"),
        ),
        (
            r#"{"choices":[{"error":{"message":"down","code":503},"delta":{"content":""},"finish_reason":"error"}]}"#,
            server("down"),
        ),
    ] {
        let begun = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
        assert_eq!(
            read(&stream_of(&[begun, data])),
            Err(fault.clone()),
            "for {data}"
        );
        assert_eq!(whole(data), Err(fault), "for {data}");
    }
}

#[test]
fn an_event_called_error_is_a_fault_whatever_is_in_it() {
    for data in [
        "down",
        r#"{"message":"down"}"#,
        r#"{"error":{"message":"down"}}"#,
    ] {
        let fault = ModelFault::Server {
            status: 200,
            message: "down".into(),
        };
        assert_eq!(read(&format!("event: error\ndata: {data}\n\n")), Err(fault));
    }
    let limited = read("event: error\ndata: {\"message\":\"slow\",\"code\":429}\n\n");
    assert!(matches!(limited, Err(ModelFault::RateLimited { .. })));
}

#[test]
fn no_error_is_no_fault() {
    for error in ["null", "false", "\"\""] {
        let chunk = format!(r#"{{"error":{error},"choices":[{{"delta":{{"content":"a"}}}}]}}"#);
        assert_eq!(read(&stream_of(&[&chunk])), Ok(text("a")));
    }
}

// Whole responses.

#[test]
fn a_whole_response_is_read() {
    let reply = whole(
        r#"
        {"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",
        "content":"a","tool_calls":[
          {"id":"a","type":"function","function":{"name":"system_run","arguments":"{}"}},
          {"id":"a","type":"function","function":{"name":"system_run","arguments":{"b":1}}}
        ]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}
        "#,
    );
    let expected = Reply {
        text: "a".into(),
        calls: calls(&[("a", "{}"), ("call_0", r#"{"b":1}"#)]),
        finish: Finish::Stop,
        usage: Usage {
            prompt: 3,
            completion: 4,
        },
    };
    assert_eq!(reply, Ok(expected));
}

#[test]
fn a_whole_response_without_a_reply_is_empty() {
    for body in [
        r#"{"choices":[]}"#,
        r#"{"choices":null}"#,
        r#"{"choices":[{"message":{"content":null}}]}"#,
        r#"{"choices":[{"message":{"content":"","tool_calls":[]},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"message":{"content":null,"reasoning_content":"x"}}]}"#,
    ] {
        assert_eq!(whole(body), Err(ModelFault::Empty), "for {body}");
    }
    assert_eq!(decode_reply(b" \n", &prompt()), Err(ModelFault::Empty));
}

#[test]
fn a_whole_response_that_is_none_is_garbled() {
    for body in [
        "{",
        "{}",
        r#"{"result":1}"#,
        "[]",
        "[1]",
        r#"{"choices":[]} x"#,
    ] {
        let end = whole(body);
        assert!(
            matches!(end, Err(ModelFault::Garbled { .. })),
            "{body}: {end:?}"
        );
    }
    let deep = format!(r#"{{"choices":{}"#, "[".repeat(100_000));
    assert!(matches!(whole(&deep), Err(ModelFault::Garbled { .. })));
}

// Bounds.

#[test]
fn a_text_beyond_the_bound_is_cut() {
    let chunk = r#"{"choices":[{"delta":{"content":"ab🦀"},"finish_reason":"stop"}]}"#;
    let body = stream_of(&[chunk; 100]);
    for (max, expected) in [
        (2, "ab"),
        (5, "ab"),
        (6, "ab🦀"),
        (7, "ab🦀a"),
        (12, "ab🦀ab🦀"),
    ] {
        let (shown, end) = read_within([body.as_bytes()], max);
        let reply = end.unwrap();
        assert_eq!(
            (reply.text.as_str(), reply.finish),
            (expected, Finish::Length)
        );
        assert_eq!(shown, expected);
    }
    let (_, end) = read_within([stream_of(&[chunk]).as_bytes()], 6);
    assert_eq!(end.unwrap().finish, Finish::Stop, "just enough is enough");
    let whole = r#"{"choices":[{"message":{"content":"ab🦀"}}]}"#;
    let (_, end) = read_within([whole.as_bytes()], 3);
    assert_eq!(end.unwrap().text, "ab");
}

#[test]
fn calls_beyond_the_bound_are_cut() {
    let one = delta(r#"[{"id":"","function":{"name":"n","arguments":"{\"a\":1}"}}]"#);
    let body = stream_of(&vec![one.as_str(); 1_000]);
    let (_, end) = read_within([body.as_bytes()], 1_000);
    let reply = end.unwrap();
    assert_eq!((reply.calls.len(), reply.finish), (14, Finish::Length));
}

#[test]
fn an_endless_event_or_body_is_refused() {
    for start in ["data: {", "{"] {
        let mut stream = ReplyStream::new(&prompt(), 1_000);
        stream.push(start.as_bytes()).unwrap();
        let fault = (0..10_000).find_map(|_| {
            let result = stream.push(&[b' '; 1_000]);
            assert!(stream.buffered() < 2_000_000);
            result.err()
        });
        let Some(ModelFault::Garbled { message }) = fault else {
            panic!("{fault:?}");
        };
        assert!(message.contains("1054576 bytes"), "{message}");
    }
}
