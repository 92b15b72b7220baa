//! Peers that mean no good, many of them: the others are served meanwhile, and memory stays flat.
//!
//! The crowd is a process of its own, so that what is measured here is the gateway.
//! `OPENPISTA_ABUSE=10000` makes it that many of each kind, and prints what was measured.

use crate::daemon::Home;
use crate::frames::{auth, dial, endpoint, framed, send, trusting};
use crate::server::{Answer, Server};
use openpista_shell_smol::client::Connected;
use quinn::{ClientConfig, Endpoint};
use smol::{Timer, block_on};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many bad peers there are at once.
const AT_ONCE: usize = 50;
/// Tells a process that it is a crowd: the address, the data directory, which kind, how many.
const CROWD: &str = "OPENPISTA_TEST_CROWD";

fn kinds() -> [(&'static str, Vec<u8>, bool); 6] {
    let message = framed(br#"{"type":"message","id":"k","text":"let me in"}"#);
    [
        ("never authenticated", Vec::new(), false),
        ("malformed", framed(b"\xff\xff\xff"), true),
        ("oversized", [0xff; 60_000].to_vec(), false),
        ("half-sent", vec![0, 0, 0, 200, b'{'], false),
        ("unauthenticated", message, true),
        (
            "with a wrong token",
            framed(br#"{"type":"auth","token":"x","client":"y"}"#),
            true,
        ),
    ]
}

/// One bad peer. It stays until the gateway throws it out, or for a while.
async fn be_bad(from: (Endpoint, ClientConfig), to: SocketAddr, bytes: Vec<u8>, end: bool) {
    let (endpoint, config) = from;
    let connecting = endpoint.connect_with(config, to, "localhost").unwrap();
    let bad = async {
        let Ok(connection) = connecting.await else {
            return;
        };
        if let Ok((mut send, _recv)) = connection.open_bi().await {
            let _ = send.write_all(&bytes).await;
            match end {
                true => drop(send.finish()),
                false => drop(connection.closed().await),
            }
        }
        connection.closed().await;
    };
    let patience = async {
        Timer::after(Duration::from_secs(1)).await;
    };
    futures_lite::future::or(bad, patience).await;
}

/// What the other process does; nothing in an ordinary run.
#[test]
fn the_crowd() {
    let Ok(told) = std::env::var(CROWD) else {
        return;
    };
    let told: Vec<&str> = told.split('\n').collect();
    let [address, dir, kind, count] = told[..] else {
        panic!("{told:?}");
    };
    let (_, bytes, end) = kinds()[kind.parse::<usize>().unwrap()].clone();
    let (address, config) = (address.parse().unwrap(), trusting(Path::new(dir)));
    block_on(async {
        let endpoint = endpoint();
        let (place, free) = async_channel::bounded(AT_ONCE);
        for _ in 0..count.parse::<usize>().unwrap() {
            place.send(()).await.unwrap();
            let from = (endpoint.clone(), config.clone());
            let peer = be_bad(from, address, bytes.clone(), end);
            let free = free.clone();
            smol::spawn(async move {
                peer.await;
                let _ = free.recv().await;
            })
            .detach();
        }
        for _ in 0..AT_ONCE {
            place.send(()).await.unwrap();
        }
    });
}

async fn p99_of_pings(connected: &Connected, count: usize) -> Duration {
    let mut took = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        connected.ping().await.unwrap();
        took.push(start.elapsed());
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// This process's resident memory, in kilobytes.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_crowd_of_bad_peers_shuts_nobody_out() {
    let asked = std::env::var("OPENPISTA_ABUSE").ok();
    let count = asked.clone().unwrap_or_else(|| "200".to_owned());
    let server = Server::start(|request| Answer::text(request.last("user").unwrap_or_default()));
    let home = Home::new();
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let before = p99_of_pings(&connected, 1_000).await;
        for (number, (kind, ..)) in kinds().into_iter().enumerate() {
            let start_kb = resident_kb();
            let address = daemon.address.to_string();
            let told = [
                &address,
                home.path().to_str().unwrap(),
                &number.to_string(),
                &count,
            ];
            let mut crowd = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "abuse::the_crowd"])
                .env(CROWD, told.join("\n"))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let (mut slowest, mut most_kb) = (Duration::ZERO, 0);
            let ended = loop {
                slowest = slowest.max(p99_of_pings(&connected, 100).await);
                most_kb = most_kb.max(resident_kb());
                if let Some(ended) = crowd.try_wait().unwrap() {
                    break ended;
                }
                Timer::after(Duration::from_millis(20)).await;
            };
            assert!(ended.success());
            if asked.is_some() {
                println!(
                    "{count} {kind}: ping p99 {before:?} before, worst {slowest:?} meanwhile; \
                     resident {start_kb} kB before, at most {most_kb} kB"
                );
            }
            // Who was there is served, and so is who comes now.
            let mut exchange = connected.message(kind, "still here", None).await.unwrap();
            let answer = exchange.response().await.unwrap();
            assert_eq!(answer, ("still here".to_owned(), false), "{kind}");
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
