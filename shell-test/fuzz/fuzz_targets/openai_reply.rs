//! Whole replies and errors: a body reads alike whether it was asked for as a stream or not, what
//! was read can be sent back in a request that is valid, and every message is fit to be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::effect::Recovery;
use openpista_core::effect::model::ModelFault;
use openpista_core::message::{Entry, Message, Prompt, ToolSpec};
use openpista_core::wire::openai::{ReplyStream, decode_fault, decode_reply, encode_request};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

fn prompt(messages: Vec<Message>) -> Prompt {
    let tool = |name: &str| ToolSpec {
        name: name.into(),
        description: String::new(),
        parameters: "{}".into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 1,
        sandbox: None,
    };
    Prompt {
        model: "m".into(),
        system: "".into(),
        tools: [tool("a.b"), tool("a_b")].into(),
        messages: messages.into_iter().map(Entry::new).collect(),
        shown: 0,
    }
}

fn check_words(fault: &ModelFault) {
    if let ModelFault::RateLimited { message, .. }
    | ModelFault::Server { message, .. }
    | ModelFault::Rejected { message, .. } = fault
    {
        assert!((1..=301).contains(&message.chars().count()));
        assert!(!message.chars().any(char::is_control));
    }
}

fuzz_target!(|body: &[u8]| {
    let header = std::str::from_utf8(&body[..body.len().min(40)]).ok();
    for status in [200, 408, 429, 500] {
        check_words(&decode_fault(status, header, body, 1_000_000));
    }
    let whole = decode_reply(body, &prompt(Vec::new()));
    if body.trim_ascii_start().starts_with(b"{") {
        let mut stream = ReplyStream::new(&prompt(Vec::new()), 1 << 20);
        let end = stream.push(body).and_then(|_| stream.finish());
        assert_eq!(end, whole);
    }
    let reply = match whole {
        Ok(reply) => reply,
        Err(fault) => return check_words(&fault),
    };
    let count = reply.calls.len();
    let sent = encode_request(
        &prompt(vec![Message::Assistant {
            text: reply.text,
            calls: reply.calls,
        }]),
        &BTreeMap::new(),
        true,
    );
    let sent: Value = serde_json::from_slice(&sent).expect("a request is JSON");
    for at in 0..count {
        let function = &sent["messages"][0]["tool_calls"][at]["function"];
        let arguments = function["arguments"]
            .as_str()
            .expect("arguments are a text");
        serde_json::from_str::<Map<String, Value>>(arguments).expect("and an object");
        let name = function["name"].as_str().expect("a name is a text");
        assert!((1..=64).contains(&name.len()));
    }
});
