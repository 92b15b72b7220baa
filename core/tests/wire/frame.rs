//! Frames, as the contract writes them.

use crate::support::{cuts, pieces, text};
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::id::{ApprovalId, Attempt, Seq};
use openpista_core::refusal::Refusal;
use openpista_core::wire::frame::{
    ClientFrame, Decision, Decoder, Frame, FrameError, MAX_FRAME_BYTES, Progress, Role,
    ServerFrame, Stream, Token, TooLarge, encode,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::fmt::Debug;

fn id() -> String {
    "k1".into()
}

const APPROVAL: ApprovalId = ApprovalId {
    seq: Seq(12),
    slot: 0,
};

/// Length and JSON.
fn framed(json: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(json);
    bytes
}

fn decode<F: Frame>(bytes: &[u8]) -> Result<Option<F>, FrameError> {
    Decoder::new(MAX_FRAME_BYTES).next(&mut &bytes[..])
}

fn decode_json(json: &str) -> Result<Option<ClientFrame>, FrameError> {
    decode(&framed(json.as_bytes()))
}

#[track_caller]
fn expect<F: Frame + PartialEq + Debug>(frame: F, json: &str) {
    let bytes = framed(json.as_bytes());
    assert_eq!(
        String::from_utf8_lossy(&encode(&frame).unwrap()),
        String::from_utf8_lossy(&bytes)
    );
    assert_eq!(decode(&bytes), Ok(Some(frame)));
}

#[test]
fn client_frames_are_written_as_the_contract_says() {
    let auth = |role| ClientFrame::Auth {
        token: Token("t".into()),
        client: "laptop".into(),
        role,
    };
    expect(
        auth(None),
        r#"{"type":"auth","token":"t","client":"laptop"}"#,
    );
    expect(
        auth(Some(Role::Worker)),
        r#"{"type":"auth","token":"t","client":"laptop","role":"worker"}"#,
    );
    let message = |session| ClientFrame::Message {
        id: id(),
        text: "hi".into(),
        session,
    };
    expect(message(None), r#"{"type":"message","id":"k1","text":"hi"}"#);
    expect(
        message(Some("s".into())),
        r#"{"type":"message","id":"k1","text":"hi","session":"s"}"#,
    );
    let approval = |decision| ClientFrame::Approval {
        approval: APPROVAL,
        decision,
    };
    expect(
        approval(Decision::Allow),
        r#"{"type":"approval","approval":"12.0","decision":"allow"}"#,
    );
    expect(
        approval(Decision::AllowSession),
        r#"{"type":"approval","approval":"12.0","decision":"allow_session"}"#,
    );
    expect(
        approval(Decision::Deny),
        r#"{"type":"approval","approval":"12.0","decision":"deny"}"#,
    );
    expect(
        ClientFrame::Cancel { id: id() },
        r#"{"type":"cancel","id":"k1"}"#,
    );
    expect(ClientFrame::Ping, r#"{"type":"ping"}"#);
}

#[test]
fn a_workers_frames_are_written_as_the_contract_says() {
    let output = |stream| ClientFrame::Output {
        stream,
        text: "x".into(),
    };
    expect(
        output(Stream::Stdout),
        r#"{"type":"output","stream":"stdout","text":"x"}"#,
    );
    expect(
        output(Stream::Stderr),
        r#"{"type":"output","stream":"stderr","text":"x"}"#,
    );
    let clip = |text: &str, cut_chars| Clip {
        text: text.into(),
        cut_chars,
    };
    let ran = Ran {
        exit: Exit::Code(3),
        stdout: clip("o", 7),
        stderr: clip("e", 0),
        took_ms: 5,
        pictures: Vec::new(),
    };
    expect(
        ClientFrame::Report { ran: ran.clone() },
        r#"{"type":"report","exit":{"code":3},"stdout":{"text":"o","cut_chars":7},"stderr":{"text":"e","cut_chars":0},"took_ms":5}"#,
    );
    let timed_out = Ran {
        exit: Exit::TimedOut,
        ..ran
    };
    expect(
        ClientFrame::Report { ran: timed_out },
        r#"{"type":"report","exit":"timed_out","stdout":{"text":"o","cut_chars":7},"stderr":{"text":"e","cut_chars":0},"took_ms":5}"#,
    );
    expect(
        ServerFrame::Heard { taken: true },
        r#"{"type":"heard","taken":true}"#,
    );
    for json in [
        r#"{"type":"output","stream":"stdlog","text":"x"}"#,
        r#"{"type":"report","exit":{"code":0}}"#,
        r#"{"type":"report","exit":"well","stdout":{},"stderr":{},"took_ms":1}"#,
    ] {
        let error = decode_json(json);
        assert!(matches!(error, Err(FrameError::BadField { .. })), "{json}");
    }
}

#[test]
fn server_frames_are_written_as_the_contract_says() {
    let message = || "m".to_owned();
    expect(
        ServerFrame::AuthOk {
            session: "quic:laptop".into(),
            provider: None,
            model: None,
        },
        r#"{"type":"auth_ok","session":"quic:laptop"}"#,
    );
    expect(
        ServerFrame::AuthOk {
            session: "s".into(),
            provider: Some("p".into()),
            model: Some("m".into()),
        },
        r#"{"type":"auth_ok","session":"s","provider":"p","model":"m"}"#,
    );
    expect(
        ServerFrame::AuthError { message: message() },
        r#"{"type":"auth_error","message":"m"}"#,
    );
    expect(
        ServerFrame::Accepted { id: id() },
        r#"{"type":"accepted","id":"k1"}"#,
    );
    expect(
        ServerFrame::ApprovalRequest {
            id: id(),
            approval: APPROVAL,
            tool: "system.run".into(),
            arguments: "{}".into(),
            reason: "r".into(),
        },
        r#"{"type":"approval_request","id":"k1","approval":"12.0","tool":"system.run","arguments":"{}","reason":"r"}"#,
    );
    expect(
        ServerFrame::Response {
            id: id(),
            content: "c".into(),
            is_error: false,
        },
        r#"{"type":"response","id":"k1","content":"c","is_error":false}"#,
    );
    expect(ServerFrame::Pong, r#"{"type":"pong"}"#);
    expect(
        ServerFrame::Error { message: message() },
        r#"{"type":"error","message":"m"}"#,
    );
}

#[test]
fn progress_says_its_kind() {
    let expect_kind = |progress, json: &str| {
        let json = format!(r#"{{"type":"progress","id":"k1",{json}}}"#);
        expect(ServerFrame::Progress { id: id(), progress }, &json);
    };
    let text = || "x".to_owned();
    expect_kind(
        Progress::Asking {
            round: 1,
            attempt: Attempt(2),
        },
        r#""kind":"asking","round":1,"attempt":2"#,
    );
    expect_kind(
        Progress::Waiting {
            why: text(),
            retry_in_ms: 500,
        },
        r#""kind":"waiting","why":"x","retry_in_ms":500"#,
    );
    expect_kind(
        Progress::Running {
            tool: text(),
            arguments: text(),
        },
        r#""kind":"running","tool":"x","arguments":"x""#,
    );
    expect_kind(
        Progress::Ran {
            exit: Some(Exit::Code(1)),
            took_ms: 3,
        },
        r#""kind":"ran","exit":{"code":1},"took_ms":3"#,
    );
    expect_kind(
        Progress::Ran {
            exit: None,
            took_ms: 0,
        },
        r#""kind":"ran","exit":null,"took_ms":0"#,
    );
    expect_kind(Progress::InDoubt, r#""kind":"in_doubt""#);
    expect_kind(
        Progress::Text { text: text() },
        r#""kind":"text","text":"x""#,
    );
    expect_kind(
        Progress::Output { text: text() },
        r#""kind":"output","text":"x""#,
    );
    expect_kind(
        Progress::Notice { text: text() },
        r#""kind":"notice","text":"x""#,
    );
}

#[test]
fn fields_of_newer_peers_are_passed_over() {
    let json = r#" { "more": [{}], "type": "ping", "id": 1e99 } "#;
    assert_eq!(decode_json(json), Ok(Some(ClientFrame::Ping)));
}

#[test]
fn each_error_of_a_peer_is_told_apart() {
    for (bytes, error, words) in [
        (
            vec![0, 0, 0, 0],
            FrameError::Empty,
            "the peer announced a frame of no bytes",
        ),
        (
            vec![0, 16, 0, 1],
            FrameError::TooLong {
                announced: 1_048_577,
                max_frame_bytes: 1_048_576,
            },
            "the peer announced a frame of 1048577 bytes; at most 1048576 are taken",
        ),
        (
            framed(b"{\"type\":\"\xff\"}"),
            FrameError::NotUtf8,
            "the peer sent a frame that is not UTF-8",
        ),
        (
            framed(b"{\"type\""),
            FrameError::NotJson {
                message: "EOF while parsing an object at line 1 column 7".into(),
            },
            "the peer sent a frame that is not JSON: EOF while parsing an object at line 1 column 7",
        ),
        (
            framed(br#"{"type":"fly\u001b"}"#),
            FrameError::UnknownType {
                name: "fly\u{1b}".into(),
            },
            r#"the peer sent a frame of the unknown type "fly\u{1b}""#,
        ),
        (
            framed(br#"{"type":"pong"}"#),
            FrameError::UnknownType {
                name: "pong".into(),
            },
            r#"the peer sent a frame of the unknown type "pong""#,
        ),
        (
            framed(br#"{"type":"cancel"}"#),
            FrameError::BadField {
                name: "cancel",
                message: "missing field `id`".into(),
            },
            "the peer sent a bad `cancel` frame: missing field `id`",
        ),
    ] {
        assert_eq!(decode::<ClientFrame>(&bytes), Err(error.clone()));
        assert_eq!(error.to_string(), words);
        assert_eq!(Refusal::from(error), Refusal::Peer(words.into()));
    }
    for json in ["[\"ping\"]", "7", "\"ping\"", "null", "{}", r#"{"type":7}"#] {
        assert_eq!(decode_json(json), Err(FrameError::Untyped), "for {json}");
    }
    for json in [r#"{"type":"ping"} {}"#, r#"{"type":"ping"}x"#] {
        assert!(matches!(decode_json(json), Err(FrameError::NotJson { .. })));
    }
    let deep = "[".repeat(MAX_FRAME_BYTES);
    assert!(matches!(
        decode_json(&deep),
        Err(FrameError::NotJson { .. })
    ));
    let deep = format!(
        r#"{{"type":"ping","x":{}{}}}"#,
        "[".repeat(9_999),
        "]".repeat(9_999)
    );
    assert!(matches!(
        decode_json(&deep),
        Err(FrameError::BadField { .. })
    ));
}

#[test]
fn an_error_never_repeats_a_secret() {
    for json in [
        r#"{"type":"auth","token":["canary"],"client":"c"}"#,
        r#"{"type":"auth","token":"t","client":"c","role":"canary"}"#,
        r#"{"type":"auth","token":"canary"}"#,
    ] {
        let error = decode_json(json).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("canary"),
            "{error:?}"
        );
    }
    let frame = decode_json(r#"{"type":"auth","token":"canary","client":"c"}"#);
    assert!(!format!("{frame:?}").contains("canary"));
}

#[test]
fn what_a_peer_made_up_is_repeated_in_part() {
    let error = decode_json(&format!(r#"{{"type":"{}"}}"#, "ž".repeat(1_000)));
    let name = "ž".repeat(32);
    assert_eq!(error, Err(FrameError::UnknownType { name }));
}

#[test]
fn an_oversized_frame_is_refused_before_it_is_kept() {
    let mut decoder = Decoder::<ClientFrame>::new(100);
    assert_eq!(decoder.next(&mut &[0, 0, 0][..]), Ok(None));
    let mut rest = &[101; 10_000][..];
    let error = decoder.next(&mut rest).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { announced: 101, .. }));
    assert_eq!(rest.len(), 9_999, "only the length was looked at");
    assert_eq!(decoder.buffered(), 0);
    let mut ping = &framed(br#"{"type":"ping"}"#)[..];
    assert_eq!(
        decoder.next(&mut ping),
        Err(error.clone()),
        "the error is for good"
    );
    assert_eq!(decoder.finish(), Err(error));
}

#[test]
fn a_frame_of_the_greatest_length_passes_and_a_longer_one_is_not_made() {
    let frame = |length: usize| ServerFrame::Error {
        message: "x".repeat(length - br#"{"type":"error","message":""}"#.len()),
    };
    let longest = frame(MAX_FRAME_BYTES);
    let bytes = encode(&longest).unwrap();
    assert_eq!(bytes.len(), MAX_FRAME_BYTES + 4);
    assert_eq!(decode(&bytes), Ok(Some(longest)));
    let error = encode(&frame(MAX_FRAME_BYTES + 1)).unwrap_err();
    assert_eq!(error, TooLarge { bytes: 1_048_577 });
    assert!(matches!(Refusal::from(error), Refusal::Limit(_)));
}

#[test]
fn a_peer_that_stops_in_the_middle_is_found() {
    let mut decoder = Decoder::<ClientFrame>::new(MAX_FRAME_BYTES);
    let mut bytes = &framed(br#"{"type":"ping"}"#)[..];
    assert_eq!(decoder.next(&mut bytes), Ok(Some(ClientFrame::Ping)));
    assert_eq!(decoder.clone().finish(), Ok(()));
    assert_eq!(decoder.next(&mut &[0][..]), Ok(None));
    assert_eq!(decoder.finish(), Err(FrameError::CutOff));
}

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
        (approval(), select(&DECISIONS[..]))
            .prop_map(|(approval, decision)| ClientFrame::Approval { approval, decision }),
        text().prop_map(|id| ClientFrame::Cancel { id }),
        Just(ClientFrame::Ping),
        (select(&[Stream::Stdout, Stream::Stderr][..]), text())
            .prop_map(|(stream, text)| ClientFrame::Output { stream, text }),
        (exit(), clip(), clip(), any::<u64>()).prop_map(|(exit, stdout, stderr, took_ms)| {
            ClientFrame::Report {
                ran: Ran {
                    exit,
                    stdout,
                    stderr,
                    took_ms,
                    pictures: Vec::new(),
                },
            }
        }),
    ]
}

fn clip() -> impl Strategy<Value = Clip> {
    (text(), any::<u64>()).prop_map(|(text, cut_chars)| Clip { text, cut_chars })
}

fn exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<i32>().prop_map(Exit::Code),
        any::<i32>().prop_map(Exit::Signal),
        Just(Exit::TimedOut),
        Just(Exit::Cancelled),
    ]
}

const DECISIONS: [Decision; 3] = [Decision::Allow, Decision::AllowSession, Decision::Deny];

fn approval() -> impl Strategy<Value = ApprovalId> {
    (any::<u64>(), any::<u16>()).prop_map(|(seq, slot)| ApprovalId {
        seq: Seq(seq),
        slot,
    })
}

fn progress() -> impl Strategy<Value = Progress> {
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(round, attempt)| Progress::Asking {
            round,
            attempt: Attempt(attempt),
        }),
        (text(), any::<u64>())
            .prop_map(|(why, retry_in_ms)| Progress::Waiting { why, retry_in_ms }),
        (text(), text()).prop_map(|(tool, arguments)| Progress::Running { tool, arguments }),
        (proptest::option::of(exit()), any::<u64>())
            .prop_map(|(exit, took_ms)| Progress::Ran { exit, took_ms }),
        Just(Progress::InDoubt),
        text().prop_map(|text| Progress::Text { text }),
        text().prop_map(|text| Progress::Output { text }),
        text().prop_map(|text| Progress::Notice { text }),
        (text(), any::<(u32, u32)>()).prop_map(|(path, (width, height))| Progress::Picture {
            path,
            width,
            height
        }),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        (text(), proptest::option::of((text(), text()))).prop_map(|(session, about)| {
            let (provider, model) = about.unzip();
            ServerFrame::AuthOk {
                session,
                provider,
                model,
            }
        }),
        text().prop_map(|message| ServerFrame::AuthError { message }),
        any::<bool>().prop_map(|taken| ServerFrame::Heard { taken }),
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
