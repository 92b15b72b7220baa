//! Peers that mean no good, many of them: the others are served meanwhile.
//!
//! What they cost the others, and what they leave in memory, `benches/quic.rs` measures of a daemon
//! in a process of its own.

use crate::crowd::{kinds, throng};
use crate::daemon::Home;
use crate::frames::{auth, dial, send};
use crate::server::{Answer, Server};
use smol::block_on;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many bad peers of each kind there are.
const EACH: usize = 200;
/// Tells a process that it is a crowd: the address, the data directory, of which kind.
const CROWD: &str = "OPENPISTA_TEST_CROWD";

/// What the other process does; nothing in an ordinary run.
#[test]
fn the_crowd() {
    let Ok(told) = std::env::var(CROWD) else {
        return;
    };
    let told: Vec<&str> = told.split('\n').collect();
    let [address, dir, kind] = told[..] else {
        panic!("{told:?}");
    };
    let kind = kinds()[kind.parse::<usize>().unwrap()].clone();
    throng(address.parse().unwrap(), Path::new(dir), &[kind], EACH);
}

#[test]
fn a_crowd_of_bad_peers_shuts_nobody_out() {
    let server = Server::start(|request| Answer::text(request.last("user").unwrap_or_default()));
    let home = Home::new();
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        for (number, kind) in kinds().into_iter().enumerate() {
            let dir = home.path().to_str().unwrap();
            let told = [&daemon.address.to_string(), dir, &number.to_string()].join("\n");
            let mut crowd = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "abuse::the_crowd"])
                .env(CROWD, told)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let (mut pings, name) = (0, kind.name);
            let ended = loop {
                connected.ping().await.unwrap();
                // Who comes in the middle of it gets in as well.
                if pings % 100 == 50 {
                    daemon.connect().await.ping().await.unwrap();
                }
                pings += 1;
                if let Some(ended) = crowd.try_wait().unwrap() {
                    break ended;
                }
            };
            assert!(ended.success());
            let mut exchange = connected.message(name, "still here", None).await.unwrap();
            let answer = exchange.response().await.unwrap();
            assert_eq!(answer, ("still here".to_owned(), false), "{name}");
            daemon.connect().await.ping().await.unwrap();
        }
    });
    assert_eq!(server.count(), kinds().len(), "nobody else was heard");
}

#[test]
fn a_newcomer_gets_in_however_many_silent_ones_there_are() {
    let server = Server::start(|_| Answer::text("hello"));
    let home = Home::new();
    let daemon = home.start(&server);
    block_on(async {
        let mut silent = Vec::new();
        for _ in 0..100 {
            silent.extend(dial(&home, &daemon).await);
        }
        let connection = dial(&home, &daemon).await.unwrap();
        let mut control = send(&connection, &auth(&home), false).await;
        let mut welcome = [0; 4];
        control.read_exact(&mut welcome).await.unwrap();
        let crowded = |peer: &&quinn::Connection| {
            let reason = peer.close_reason().map(|reason| reason.to_string());
            reason.is_some_and(|reason| reason.contains("too many"))
        };
        let thrown_out = silent.iter().filter(crowded).count();
        assert!(thrown_out > 0 && thrown_out < silent.len(), "{thrown_out}");
    });
}

#[test]
fn datagrams_of_nonsense_are_passed_over() {
    let server = Server::start(|_| Answer::text("hello"));
    let home = Home::new();
    let daemon = home.start(&server);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut byte = 1_u8;
    for length in (0..1_500).step_by(7) {
        let next = |_| {
            byte = byte.wrapping_mul(91).wrapping_add(47);
            byte
        };
        let bytes: Vec<u8> = (0..length).map(next).collect();
        // Loopback's buffer may be full.
        let _ = socket.send_to(&bytes, daemon.address);
    }
    block_on(async {
        daemon.connect().await.ping().await.unwrap();
    });
}
