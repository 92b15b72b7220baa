//! The rules of the standard, one by one; each at once and byte by byte.

use crate::support::{ROOM, bytewise, cuts, events_of, nearly, pieces};
use openpista_core::wire::sse::Event;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The data of each event, by name where it has one.
#[track_caller]
fn expect(body: impl AsRef<[u8]>, expected: &[&str]) {
    let body = body.as_ref();
    let whole = events_of([body], ROOM);
    let split = events_of(bytewise(body), ROOM);
    assert_eq!(whole, split, "chunk boundaries do not matter");
    let seen: Vec<String> = whole
        .0
        .into_iter()
        .map(|event| match event.name.as_str() {
            "" => event.data,
            name => format!("{name}={}", event.data),
        })
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn lines_end_with_lf_cr_or_crlf() {
    expect("data: a\n\ndata: b\n\n", &["a", "b"]);
    expect("data: a\r\rdata: b\r\r", &["a", "b"]);
    expect("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
    expect("data: a\r\n\rdata: b\n\r\n", &["a", "b"]);
    // CR LF is one end, LF CR are two.
    expect("data: a\r\ndata: b\n\n", &["a\nb"]);
    expect("data: a\n\rdata: b\n\n", &["a", "b"]);
}

#[test]
fn data_over_several_lines_is_joined() {
    expect("data: a\ndata:b\ndata:  c\n\n", &["a\nb\n c"]);
    expect("data\ndata\n\n", &["\n"]);
    expect("data:\n\n", &[""]);
}

#[test]
fn an_event_without_data_is_none() {
    expect("event: ping\n\ndata: a\n\n", &["a"]);
    expect("id: 7\nretry: 100\nnonsense\n\n\n\n", &[]);
}

#[test]
fn events_have_names() {
    expect("event: error\ndata: a\n\ndata: b\n\n", &["error=a", "b"]);
    expect("event:x\nevent: y\ndata: a\n\n", &["y=a"]);
}

#[test]
fn comments_are_passed_over_and_not_kept() {
    expect(": OPENROUTER PROCESSING\n\ndata: a\n:\n\n", &["a"]);
    let long = format!(":{}\ndata: a\n\n", "x".repeat(1_000));
    let (events, end) = events_of([long.as_bytes()], 20);
    assert_eq!((events.len(), end), (1, Ok(None)));
}

#[test]
fn one_byte_order_mark_is_passed_over() {
    expect("\u{feff}data: a\n\n", &["a"]);
    expect("\u{feff}\ndata: a\n\n", &["a"]);
    expect("\u{feff}\u{feff}data: a\n\ndata: b\n\n", &["b"]);
    expect("data: a\n\n\u{feff}data: b\n\n", &["a"]);
}

#[test]
fn what_is_not_utf8_is_replaced() {
    expect("data: žluť 🦀\n\n", &["žluť 🦀"]);
    expect(b"data: a\xffb\xf0\x9f\n\n", &["a\u{fffd}b\u{fffd}"]);
}

#[test]
fn only_one_space_belongs_to_the_colon() {
    expect("data:a\n\ndata:  a \n\ndata :a\n\n", &["a", " a "]);
}

#[test]
fn an_event_that_the_end_cuts_off_is_left_to_the_caller() {
    let (events, rest) = events_of([&b"data: a\n\ndata: b"[..]], ROOM);
    assert_eq!(events.len(), 1);
    assert_eq!(rest.unwrap().unwrap().data, "b");
    let (_, rest) = events_of([&b"data: a\n\n: b"[..]], ROOM);
    assert_eq!(rest, Ok(None));
}

#[test]
fn an_event_beyond_the_bound_is_refused_for_good() {
    for body in ["data: 0123456789", "data: 0\ndata: 1\ndata: 2\ndata: 3\n"] {
        let (events, end) = events_of([body.as_bytes()], 12);
        assert!(events.is_empty());
        let error = end.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the server sent an event longer than 12 bytes"
        );
        assert_eq!(events_of(bytewise(body.as_bytes()), 12).1, Err(error));
    }
    let (events, end) = events_of([&b"data: 0\n\ndata: 1\n\n"[..]], 12);
    assert_eq!(
        (events.len(), end),
        (2, Ok(None)),
        "the bound is for one event"
    );
}

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
