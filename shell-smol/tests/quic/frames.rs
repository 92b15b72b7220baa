//! A client that is written by hand, from the documented frames alone; and everything that it can
//! do wrong.

use crate::block_on;
use crate::crowd::{endpoint, framed, trusting};
use crate::daemon::{Daemon, Home};
use crate::server::{Answer, Server};
use openpista_core::settings::Mode;
use openpista_shell_smol::source::quic::CERTIFICATE_FILE;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, RecvStream};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A connection that has said nothing yet. It trusts the certificate as any program would that
/// was given the file.
pub(crate) async fn dial(home: &Home, daemon: &Daemon) -> Result<Connection, ConnectionError> {
    let endpoint = endpoint();
    let connecting = endpoint.connect_with(trusting(home.path()), daemon.address, "localhost");
    connecting.unwrap().await
}

pub(crate) fn auth(home: &Home) -> Vec<u8> {
    let token = home.token.expose();
    framed(
        json!({ "type": "auth", "token": token, "client": "by hand" })
            .to_string()
            .as_bytes(),
    )
}

/// Sends bytes on a stream of their own; with `end` nothing follows them.
pub(crate) async fn send(connection: &Connection, bytes: &[u8], end: bool) -> RecvStream {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    // The gateway may have had enough before it has read all.
    let _ = send.write_all(bytes).await;
    match end {
        true => drop(send.finish()),
        // Neither ended nor reset: the peer is to wait for more.
        false => std::mem::forget(send),
    }
    recv
}

async fn read(recv: &mut RecvStream) -> Option<Value> {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.ok()?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut bytes).await.ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The code and the reason that a connection was closed with.
async fn close_of(connection: &Connection) -> (u64, String) {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8(close.reason.to_vec()).unwrap();
            (close.error_code.into_inner(), reason)
        }
        other => panic!("{other}"),
    }
}

fn echo() -> Server {
    Server::start(|request| Answer::text(request.last("user").unwrap_or_default()))
}

#[test]
fn the_documented_frames_are_enough() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        let connection = dial(&home, &daemon).await.unwrap();
        let mut control = send(&connection, &auth(&home), false).await;
        let ok = json!({ "type": "auth_ok", "session": "quic:laptop" });
        assert_eq!(read(&mut control).await, Some(ok));
        let message = r#"{ "type": "message", "id": "k", "text": "hello", "unknown": 1 }"#;
        let mut exchange = send(&connection, &framed(message.as_bytes()), true).await;
        let accepted = json!({ "type": "accepted", "id": "k" });
        assert_eq!(read(&mut exchange).await, Some(accepted));
        let response = loop {
            let frame = read(&mut exchange).await.unwrap();
            if frame["type"] != "progress" {
                break frame;
            }
            assert_eq!(frame["id"], "k");
        };
        let expected =
            json!({ "type": "response", "id": "k", "content": "hello", "is_error": false });
        assert_eq!(response, expected);
        assert_eq!(read(&mut exchange).await, None);
        let mut ping = send(&connection, &framed(br#"{"type":"ping"}"#), true).await;
        assert_eq!(read(&mut ping).await, Some(json!({ "type": "pong" })));
        // Orders may also follow on the stream of a message.
        let two = [
            framed(br#"{"type":"message","id":"l","text":"/help"}"#),
            framed(br#"{"type":"ping"}"#),
        ]
        .concat();
        let mut exchange = send(&connection, &two, true).await;
        let mut types = Vec::new();
        while let Some(frame) = read(&mut exchange).await {
            types.push(frame["type"].as_str().unwrap().to_owned());
        }
        assert!(types.contains(&"response".to_owned()), "{types:?}");
    });
}

#[test]
fn another_protocol_is_not_spoken() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let file = home.path().join(CERTIFICATE_FILE);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(file).unwrap())
            .unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let endpoint = endpoint();
        let connecting = endpoint.connect_with(config, daemon.address, "localhost");
        assert!(connecting.unwrap().await.is_err());
    });
}

/// What is no frame: the bytes, whether they are all, and what the reason names.
fn malformed() -> Vec<(Vec<u8>, bool, &'static str)> {
    let text = |json: &str| framed(json.as_bytes());
    vec![
        (vec![0, 0, 0, 0], true, "no bytes"),
        (0x0010_0001_u32.to_be_bytes().to_vec(), false, "at most"),
        (u32::MAX.to_be_bytes().to_vec(), false, "at most"),
        (framed(b"\xff\xfe"), true, "UTF-8"),
        (text("{"), true, "JSON"),
        (text("nonsense"), true, "JSON"),
        (framed("[".repeat(2_000).as_bytes()), true, "JSON"),
        (text("[]"), true, "object"),
        (text("{}"), true, "type"),
        (text(r#"{"type":1}"#), true, "type"),
        (text(r#"{"type":"shout"}"#), true, "unknown type"),
        (
            text(r#"{"type":"auth_ok","session":"x"}"#),
            true,
            "unknown type",
        ),
        (text(r#"{"type":"message","id":"k"}"#), true, "text"),
        (
            text(r#"{"type":"message","id":1,"text":"x"}"#),
            true,
            "bad `message`",
        ),
        (
            text(r#"{"type":"approval","approval":"x","decision":"allow"}"#),
            true,
            "bad",
        ),
        (
            text(r#"{"type":"approval","approval":"1.0","decision":"maybe"}"#),
            true,
            "bad",
        ),
        (vec![0, 0], true, "middle of a frame"),
        (
            text(r#"{"type":"ping"}"#)[..9].to_vec(),
            true,
            "middle of a frame",
        ),
    ]
}

#[test]
fn what_is_no_frame_closes_the_connection_with_a_reason() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        for (bytes, end, names) in malformed() {
            let connection = dial(&home, &daemon).await.unwrap();
            let mut control = send(&connection, &auth(&home), false).await;
            assert!(read(&mut control).await.is_some());
            let _stream = send(&connection, &bytes, end).await;
            let (code, reason) = close_of(&connection).await;
            assert!(
                code == 5 && reason.contains(names),
                "{names}: {code} {reason}"
            );
        }
        daemon.connect().await.ping().await.unwrap();
    });
    assert_eq!(server.count(), 0);
}

#[test]
fn a_stranger_is_told_why_and_closed() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    let text = |json: &str| (framed(json.as_bytes()), true, "must be `auth`");
    let mut first = malformed();
    // Somebody whom nobody knows may send little.
    first.push((4_097_u32.to_be_bytes().to_vec(), false, "at most 4096"));
    first.push(text(r#"{"type":"ping"}"#));
    first.push(text(r#"{"type":"cancel","id":"k"}"#));
    first.push(text(r#"{"type":"message","id":"k","text":"x"}"#));
    first.push(text(
        r#"{"type":"approval","approval":"1.0","decision":"allow"}"#,
    ));
    let nobody = r#"{"type":"auth","token":"x","client":"y"}"#;
    first.push((framed(nobody.as_bytes()), true, "not valid"));
    let mut worker: Value = serde_json::from_slice(&auth(&home)[4..]).unwrap();
    worker["role"] = json!("worker");
    let worker = framed(worker.to_string().as_bytes());
    first.push((worker, true, "not valid"));
    first.push((Vec::new(), true, "must be `auth`"));
    block_on(async {
        for (bytes, end, names) in first {
            let connection = dial(&home, &daemon).await.unwrap();
            let mut stream = send(&connection, &bytes, end).await;
            let told = read(&mut stream).await.unwrap_or_default();
            let message = told["message"].as_str().unwrap_or_default();
            assert!(
                told["type"] == "auth_error" && message.contains(names),
                "{names}: {told}"
            );
            assert!(!message.contains(home.token.expose()));
            let (code, reason) = close_of(&connection).await;
            assert!(
                code == 2 && reason.contains("not authenticated"),
                "{reason}"
            );
        }
    });
    assert_eq!(server.count(), 0);
}

#[test]
fn who_says_nothing_in_time_is_closed() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start_with(&server, Mode::Full, |config| {
        config.auth_timeout = Duration::from_millis(200);
    });
    let half = auth(&home)[..20].to_vec();
    block_on(async {
        for bytes in [None, Some(Vec::new()), Some(vec![0]), Some(half)] {
            let connection = dial(&home, &daemon).await.unwrap();
            let _stream = match bytes {
                Some(bytes) => Some(send(&connection, &bytes, false).await),
                None => None,
            };
            let (code, reason) = close_of(&connection).await;
            assert!(code == 3 && reason.contains("in time"), "{code} {reason}");
        }
        daemon.connect().await.ping().await.unwrap();
    });
}

#[test]
fn a_frame_that_never_becomes_whole_closes_the_connection() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        let connection = dial(&home, &daemon).await.unwrap();
        let mut control = send(&connection, &auth(&home), false).await;
        assert!(read(&mut control).await.is_some());
        let _stream = send(&connection, &[0, 0, 1], false).await;
        let (code, reason) = close_of(&connection).await;
        assert!(code == 6 && reason.contains("slow"), "{code} {reason}");
    });
}

#[test]
fn a_peer_that_vanishes_is_given_up_and_one_that_is_there_is_not() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start_with(&server, Mode::Full, |config| {
        config.idle_timeout = Duration::from_millis(600);
    });
    block_on(async {
        // It has no keep-alive of its own: the gateway's holds it.
        let connection = dial(&home, &daemon).await.unwrap();
        let mut control = send(&connection, &auth(&home), false).await;
        assert!(read(&mut control).await.is_some());
        smol::Timer::after(Duration::from_millis(1_500)).await;
        let mut ping = send(&connection, &framed(br#"{"type":"ping"}"#), true).await;
        assert_eq!(read(&mut ping).await, Some(json!({ "type": "pong" })));
    });
}
