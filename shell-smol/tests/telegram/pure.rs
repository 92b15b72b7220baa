//! Reading updates and writing HTML, with whatever there may be.

use crate::support::bot_api::{BOT, NAME, message, shown};
use openpista_shell_smol::source::telegram::format;
use openpista_shell_smol::source::telegram::update::{Content, Me, Place, read};
use proptest::prelude::*;
use serde_json::{Value, json};

fn me() -> Me {
    Me {
        id: BOT,
        username: NAME.to_owned(),
    }
}

/// Any JSON, with the names that mean something among its keys.
fn anything() -> impl Strategy<Value = Value> {
    let names = [
        "update_id",
        "message",
        "callback_query",
        "chat",
        "from",
        "id",
        "type",
        "text",
        "entities",
        "caption",
        "caption_entities",
        "photo",
        "document",
        "file_id",
        "file_unique_id",
        "data",
        "offset",
        "length",
        "is_bot",
        "first_name",
        "message_id",
        "voice",
        "reply_to_message",
        "migrate_to_chat_id",
        "migrate_from_chat_id",
    ];
    let words = [
        "private",
        "supergroup",
        "mention",
        "bot_command",
        "@crab_bot",
        "/help@crab_bot",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3i64..70_000).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 128, 8, move |inner| {
        let name = proptest::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(name, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A message in which some part is replaced by something else.
fn nearly() -> impl Strategy<Value = Value> {
    let fields = [
        "chat",
        "from",
        "text",
        "entities",
        "caption",
        "photo",
        "document",
        "voice",
        "reply_to_message",
        "message_thread_id",
        "is_topic_message",
    ];
    let field = proptest::sample::select(fields.to_vec());
    let entity = json!({ "type": "mention", "offset": 0, "length": 9 });
    (field, anything(), ".{0,30}").prop_map(move |(field, value, text)| {
        let mut said = message(1, &text);
        said["entities"] = json!([entity]);
        said[field] = value;
        json!({ "update_id": 5, "message": said })
    })
}

proptest! {
    #[test]
    fn an_update_never_panics(value in anything()) {
        let _ = read(&value, &me());
    }

    #[test]
    fn an_update_with_a_number_is_always_settled(value in nearly()) {
        let update = read(&value, &me());
        prop_assert_eq!(update.map(|update| update.id), Some(5));
    }

    #[test]
    fn a_private_message_is_read_as_it_stands(text in "[a-zé😀 ]{0,40}[a-z]") {
        let value = json!({ "update_id": 1, "message": message(1, &text) });
        let Content::Message(said) = read(&value, &me()).unwrap().content else {
            panic!("it is a message");
        };
        prop_assert_eq!(said.text.as_str(), text.trim());
    }

    #[test]
    fn a_place_is_its_origin(chat in any::<i64>(), thread in any::<Option<i32>>()) {
        let place = Place { chat, thread };
        prop_assert_eq!(Place::of(&place.origin()), Some(place));
    }

    #[test]
    fn html_is_always_well_formed(text in "([a-z <>&\"*_~`#\\[\\]()\\\\.-]|\n|\\*\\*|```|\\]\\(https://x\\.y\\)|😀){0,120}") {
        let html = format::html(&text);
        let seen = shown(&html);
        prop_assert!(seen.is_ok(), "{:?} of {:?}", seen, html);
        prop_assert!(format::units(&seen.unwrap()) <= format::units(&text));
    }

    #[test]
    fn nothing_that_was_said_is_lost(text in "([a-z]|[ *_~`#>-]|\n){0,120}") {
        let letters = |s: &str| s.chars().filter(char::is_ascii_lowercase).collect::<String>();
        // The label of a code block is not shown.
        if !text.contains("```") && !text.contains("~~~") {
            let seen = shown(&format::html(&text)).unwrap();
            prop_assert_eq!(letters(&seen), letters(&text));
        }
    }

    #[test]
    fn pieces_make_up_the_whole(text in "([a-z]|\n|😀){0,200}", most in 2usize..40) {
        let pieces = format::pieces(&text, most);
        prop_assert!(pieces.iter().all(|piece| format::units(piece) <= most));
        prop_assert_eq!(pieces.concat(), text);
    }
}

#[test]
fn markdown_is_meant_as_it_looks() {
    for (markdown, html) in [
        ("a **b** c", "a <b>b</b> c"),
        (
            "*i* and _j_ and ~~s~~",
            "<i>i</i> and <i>j</i> and <s>s</s>",
        ),
        (
            "snake_case_name and 2 * 3 * 4",
            "snake_case_name and 2 * 3 * 4",
        ),
        (
            "`a < b` **`c`**",
            "<code>a &lt; b</code> <b><code>c</code></b>",
        ),
        ("## Head *of* it", "<b>Head <i>of</i> it</b>"),
        ("- one\n  * two", "• one\n  • two"),
        ("> a\n> b\nc", "<blockquote>a\nb</blockquote>\nc"),
        (
            "[x](https://a.b/?c=1&d) [y](javascript:z)",
            "<a href=\"https://a.b/?c=1&amp;d\">x</a> [y](javascript:z)",
        ),
        (
            "```sh\nls <x>\n```\nend",
            "<pre><code class=\"language-sh\">ls &lt;x&gt;</code></pre>\nend",
        ),
        ("```\nopen", "<pre>open</pre>"),
        ("**open", "**open"),
        (r"\*not\* it", "*not* it"),
        ("***both***", "<b><i>both</i></b>"),
    ] {
        assert_eq!(format::html(markdown), html, "of {markdown:?}");
    }
}

#[test]
fn edited_messages_and_other_kinds_are_passed_over() {
    for kind in [
        "edited_message",
        "channel_post",
        "my_chat_member",
        "of_a_later_day",
    ] {
        let value = json!({ "update_id": 3, kind: message(1, "x") });
        assert_eq!(read(&value, &me()).unwrap().content, Content::Other);
    }
    assert_eq!(read(&json!({ "message": message(1, "x") }), &me()), None);
}
