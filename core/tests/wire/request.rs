//! Requests, and the names of tools.

use crate::support::{call, prompt_of, text, tool};
use openpista_core::message::{Message, Picture, Prompt};
use openpista_core::wire::openai::{Names, encode_request};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

fn json_of(prompt: &Prompt, stream: bool) -> Value {
    serde_json::from_slice(&encode_request(prompt, &BTreeMap::new(), stream)).unwrap()
}

fn assistant(text: &str, arguments: &str) -> Message {
    Message::Assistant {
        text: text.into(),
        calls: vec![call("c1", "system.run", arguments)],
    }
}

#[test]
fn a_conversation_is_encoded() {
    let prompt = prompt_of(
        &["system.run"],
        vec![
            Message::User {
                text: "Which kernel?".into(),
            },
            assistant("", r#"{"command":"uname -r"}"#),
            Message::Tool {
                call_id: "c1".into(),
                content: "6.1.0".into(),
                pictures: vec![],
            },
            Message::Assistant {
                text: "6.1.0".into(),
                calls: vec![],
            },
            Message::User {
                text: "\"Thanks\" 🦀".into(),
            },
        ],
    );
    let bytes = encode_request(&prompt, &BTreeMap::new(), true);
    assert_eq!(bytes, encode_request(&prompt, &BTreeMap::new(), true));
    let lines = String::from_utf8(bytes)
        .unwrap()
        .replace(r#"{"role""#, "\n{\"role\"")
        .replace(r#","tools""#, ",\n\"tools\"")
        .replace(r#","stream""#, ",\n\"stream\"");
    insta::assert_snapshot!(lines, @r#"
    {"model":"model-1","messages":[
    {"role":"system","content":"Be brief."},
    {"role":"user","content":"Which kernel?"},
    {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"system_run","arguments":"{\"command\":\"uname -r\"}"}}]},
    {"role":"tool","tool_call_id":"c1","content":"6.1.0"},
    {"role":"assistant","content":"6.1.0"},
    {"role":"user","content":"\"Thanks\" 🦀"}],
    "tools":[{"type":"function","function":{"name":"system_run","description":"Runs a command.","parameters":{"properties":{"command":{"type":"string"}},"type":"object"}}}],
    "stream":true,"stream_options":{"include_usage":true}}
    "#);
}

#[test]
fn without_a_stream_usage_comes_unasked() {
    let value = json_of(&prompt_of(&[], vec![]), false);
    let expected = json!({
        "model": "model-1",
        "messages": [{ "role": "system", "content": "Be brief." }],
        "stream": false,
    });
    assert_eq!(value, expected);
}

#[test]
fn an_empty_system_prompt_is_left_out() {
    let mut prompt = prompt_of(&[], vec![]);
    prompt.system = "".into();
    assert_eq!(json_of(&prompt, false)["messages"], json!([]));
}

#[test]
fn content_is_null_only_beside_calls() {
    let messages = vec![
        assistant("", "{}"),
        assistant("text", "{}"),
        Message::Assistant {
            text: String::new(),
            calls: vec![],
        },
    ];
    let value = json_of(&prompt_of(&[], messages), false);
    let contents: Vec<&Value> = (1..4).map(|at| &value["messages"][at]["content"]).collect();
    assert_eq!(contents, [&json!(null), &json!("text"), &json!("")]);
    assert_eq!(value["messages"][3].get("tool_calls"), None);
}

#[test]
fn arguments_that_are_not_an_object_are_sent_as_an_empty_one() {
    for (written, sent) in [
        (r#"{"command":"ls"}"#, r#"{"command":"ls"}"#),
        (r#" { "a" : 1.50 } "#, r#" { "a" : 1.50 } "#),
        (r#"{"command":"l"#, "{}"),
        ("", "{}"),
        ("[]", "{}"),
        ("null", "{}"),
        ("{} {}", "{}"),
    ] {
        let value = json_of(&prompt_of(&[], vec![assistant("", written)]), false);
        let function = &value["messages"][1]["tool_calls"][0]["function"];
        assert_eq!(function["arguments"], sent, "for {written:?}");
    }
}

#[test]
fn a_schema_that_cannot_be_read_takes_no_arguments() {
    let mut broken = tool("system.run");
    broken.parameters = "{".into();
    let mut prompt = prompt_of(&[], vec![]);
    prompt.tools = [broken].into();
    assert_eq!(
        json_of(&prompt, false)["tools"][0]["function"]["parameters"],
        json!({ "type": "object", "properties": {} })
    );
}

#[test]
fn names_are_mapped_both_ways_without_collisions() {
    let long = "x".repeat(70);
    let longer = format!("{long}y");
    let offered = ["a.b", "a_b", "a-b", "a b", "a_b_2", "", "ž", &long, &longer];
    let names = Names::of(&offered.map(tool));
    let wire: Vec<String> = offered.iter().map(|name| names.wire(name)).collect();
    let cut = "x".repeat(64);
    let cut_more = format!("{}_2", "x".repeat(62));
    assert_eq!(
        wire,
        [
            "a_b_3", "a_b", "a-b", "a_b_4", "a_b_2", "unnamed", "_", &cut, &cut_more
        ]
    );
    for (ours, wire) in offered.iter().zip(&wire) {
        assert_eq!(names.ours(wire), *ours);
    }
}

#[test]
fn the_order_of_the_offer_never_takes_an_allowed_name_away() {
    let names = Names::of(&["system.run", "system_run"].map(tool));
    assert_eq!(names.wire("system_run"), "system_run");
    assert_eq!(names.wire("system.run"), "system_run_2");
}

#[test]
fn a_name_that_is_not_on_offer_stays_as_it_is_but_is_sendable() {
    let names = Names::of(&["system.run"].map(tool));
    assert_eq!(names.ours("rm -rf"), "rm -rf");
    assert_eq!(names.ours("system.run"), "system.run");
    assert_eq!(names.wire("rm -rf"), "rm_-rf");
    assert_eq!(
        names.wire("system run"),
        "system_run_2",
        "not the one on offer"
    );
}

#[test]
fn pictures_follow_the_results_that_they_belong_to() {
    let result = |id: &str, path: &str| Message::Tool {
        call_id: id.into(),
        content: "captured".into(),
        pictures: vec![Picture {
            path: path.into(),
            width: 1,
            height: 1,
            small: None,
        }],
    };
    let prompt = prompt_of(
        &[],
        vec![
            assistant("", "{}"),
            result("c1", "/old.png"),
            result("c2", "/a.png"),
            assistant("", "{}"),
            result("c3", "/b.png"),
        ],
    );
    let images = BTreeMap::from([("/a.png", "data:a"), ("/b.png", "data:b")]);
    let request: Value = serde_json::from_slice(&encode_request(&prompt, &images, true)).unwrap();
    let roles = request["messages"].as_array().unwrap().iter();
    let roles: Vec<&str> = roles.map(|sent| sent["role"].as_str().unwrap()).collect();
    assert_eq!(
        roles,
        [
            "system",
            "assistant",
            "tool",
            "tool",
            "user",
            "assistant",
            "tool",
            "user"
        ]
    );
    assert_eq!(
        request["messages"][4]["content"],
        json!([
            {"type": "text", "text": "The picture /a.png:"},
            {"type": "image_url", "image_url": {"url": "data:a"}},
        ])
    );
}

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
        (text(), text()).prop_map(|(call_id, content)| Message::Tool {
            call_id,
            content,
            pictures: vec![],
        }),
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
        let bytes = encode_request(&prompt_of(&tools, messages.clone()), &BTreeMap::new(), stream);
        let request: Value = serde_json::from_slice(&bytes).unwrap();
        let sent = request["messages"].as_array().unwrap();
        prop_assert_eq!(sent.len(), messages.len() + 1);
        for (sent, message) in sent[1..].iter().zip(&messages) {
            match message {
                Message::User { text } => prop_assert_eq!(&sent["content"], text),
                Message::Tool { call_id, content, .. } => {
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
