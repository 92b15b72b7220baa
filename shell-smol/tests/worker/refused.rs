//! Workers that are written by hand, and everything that they can do wrong.

use crate::crowd::{endpoint, framed, trusting};
use crate::daemon::{Daemon, Home, digest};
use futures_lite::FutureExt;
use openpista_core::effect::tool::Exit;
use openpista_core::record::Record;
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use serde_json::{Value, json};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

#[track_caller]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        None
    };
    smol::block_on(async { Some(future.await) }.or(late)).expect("it comes")
}

/// A connection that has sent its first frame.
struct Peer {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl Peer {
    async fn greet(home: &Home, address: std::net::SocketAddr, auth: Value) -> Peer {
        let endpoint = endpoint();
        let connecting = endpoint.connect_with(trusting(home.path()), address, "localhost");
        let connection = connecting.unwrap().await.unwrap();
        let (send, recv) = connection.open_bi().await.unwrap();
        let mut peer = Peer {
            connection,
            send,
            recv,
        };
        peer.say(&auth).await;
        peer
    }

    async fn worker(home: &Home, daemon: &Daemon, token: &str) -> Peer {
        Peer::greet(home, daemon.address, worker(token)).await
    }

    async fn say(&mut self, frame: &Value) {
        self.bytes(&framed(frame.to_string().as_bytes())).await;
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        // The gateway may have had enough before it has read all.
        let _ = self.send.write_all(bytes).await;
    }

    async fn read(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.recv.read_exact(&mut length).await.ok()?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.recv.read_exact(&mut bytes).await.ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    async fn closed(&self) -> (u64, String) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8(close.reason.to_vec()).unwrap();
                (close.error_code.into_inner(), reason)
            }
            other => panic!("{other}"),
        }
    }
}

fn worker(token: &str) -> Value {
    json!({ "type": "auth", "token": token, "client": "by hand", "role": "worker" })
}

fn report(stdout: &str) -> Value {
    json!({
        "type": "report", "exit": { "code": 0 }, "took_ms": 1,
        "stdout": { "text": stdout, "cut_chars": 0 },
        "stderr": { "text": "", "cut_chars": 0 },
    })
}

fn heard(taken: bool) -> Option<Value> {
    Some(json!({ "type": "heard", "taken": taken }))
}

#[test]
fn the_documented_frames_are_enough() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    block_on(async {
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        let ok = json!({ "type": "auth_ok", "session": "" });
        assert_eq!(peer.read().await, Some(ok));
        peer.say(&json!({ "type": "output", "stream": "stdout", "text": "some" }))
            .await;
        peer.say(&report("all")).await;
        assert_eq!(peer.read().await, heard(true));
        // Again, and something else: the first one counts.
        peer.say(&report("other")).await;
        assert_eq!(peer.read().await, heard(true));
        // Dropped in the middle of it, and again over another connection.
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        peer.say(&report("all")).await;
        peer.connection.close(0_u32.into(), b"");
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        peer.say(&report("all")).await;
        assert_eq!(peer.read().await, heard(true));
    });
    daemon.wait_for_output("some");
    let ends = daemon.ends(&task);
    assert_eq!((ends.len(), &*ends[0].stdout.text), (1, "all"));
    assert_eq!(ends[0].exit, Exit::Code(0));
}

#[test]
fn whose_token_is_no_tasks_is_refused_and_all_alike() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    block_on(async {
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        peer.say(&report("x")).await;
        assert_eq!(peer.read().await, heard(true));
    });
    daemon.remove(1);
    let hash = digest(&task.token).to_string();
    let tokens = [
        // Revoked, foreign, none, and what the journal knows of it.
        task.token.clone(),
        "f".repeat(64),
        String::new(),
        hash,
    ];
    block_on(async {
        for token in &tokens {
            let mut peer = Peer::worker(&home, &daemon, token).await;
            let told = json!({ "type": "auth_error", "message": "The token is not valid." });
            assert_eq!(peer.read().await, Some(told));
            let (code, reason) = peer.closed().await;
            assert!(code == 2 && !reason.contains(token.as_str()) || token.is_empty());
        }
    });
}

/// Whatever it says besides, it is known by its token.
#[test]
fn a_worker_cannot_report_for_another_task() {
    let home = Home::new();
    let daemon = home.start();
    let tasks = daemon.begin(2);
    block_on(async {
        let mut peer = Peer::worker(&home, &daemon, &tasks[0].token).await;
        assert!(peer.read().await.is_some());
        let mut forged = report("forged");
        for (name, value) in [
            ("token", json!(tasks[1].token)),
            ("effect", json!(tasks[1].effect.to_string())),
            ("task", json!(tasks[1].effect.to_string())),
        ] {
            forged[name] = value;
        }
        peer.say(&forged).await;
        assert_eq!(peer.read().await, heard(true));
        // Nor once it has reported: to be another one it must come again, with that one's token.
        peer.say(&worker(&tasks[1].token)).await;
        assert_eq!(peer.closed().await.0, 9);
    });
    assert_eq!(daemon.ends(&tasks[0]).len(), 1);
    assert!(daemon.ends(&tasks[1]).is_empty());
    block_on(async {
        let mut peer = Peer::worker(&home, &daemon, &tasks[1].token).await;
        assert!(peer.read().await.is_some());
        peer.say(&report("own")).await;
        assert_eq!(peer.read().await, heard(true));
    });
    assert_eq!(&*daemon.ends(&tasks[1])[0].stdout.text, "own");
}

/// The engine has not said yet how it ended, but its time is over.
#[test]
fn a_token_expires_with_its_task() {
    let home = Home::with_timeout(1);
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    block_on(async {
        let refused = json!({ "type": "auth_error", "message": "The token is not valid." });
        loop {
            let mut peer = Peer::worker(&home, &daemon, &task.token).await;
            let told = peer.read().await.unwrap();
            if told == refused {
                break;
            }
            assert_eq!(told["type"], "auth_ok");
            smol::Timer::after(Duration::from_millis(100)).await;
        }
    });
    assert!(daemon.ends(&task).is_empty());
}

#[test]
fn a_worker_says_what_workers_say_and_nothing_else() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let frame = |json: &Value| framed(json.to_string().as_bytes());
    let wrong = [
        (
            frame(&json!({ "type": "message", "id": "k", "text": "hi" })),
            9,
        ),
        (
            frame(&json!({ "type": "approval", "approval": "1.0", "decision": "allow" })),
            9,
        ),
        (frame(&json!({ "type": "cancel", "id": "k" })), 9),
        (frame(&json!({ "type": "ping" })), 9),
        (frame(&worker(&task.token)), 9),
        (frame(&json!({ "type": "report" })), 5),
        (
            frame(&json!({ "type": "output", "stream": "else", "text": "x" })),
            5,
        ),
        (frame(&json!({ "type": "shout" })), 5),
        (framed(b"\xff\xfe"), 5),
        (framed(b"{"), 5),
        (vec![0, 0, 0, 0], 5),
        (0x0010_0001_u32.to_be_bytes().to_vec(), 5),
    ];
    block_on(async {
        for (bytes, expected) in wrong {
            let mut peer = Peer::worker(&home, &daemon, &task.token).await;
            assert!(peer.read().await.is_some());
            peer.bytes(&bytes).await;
            let (code, reason) = peer.closed().await;
            assert_eq!(
                code,
                expected,
                "{reason} for {}",
                String::from_utf8_lossy(&bytes)
            );
        }
        // Nor over a stream of its own.
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        let (mut send, _recv) = peer.connection.open_bi().await.unwrap();
        let _ = send.write_all(&frame(&report("x"))).await;
        assert_eq!(peer.closed().await.0, 9);
        // A client is no worker, whatever it sends.
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        peer.say(&report("good")).await;
        assert_eq!(peer.read().await, heard(true));
    });
    assert_eq!(daemon.ends(&task).len(), 1);
    let arrived = |record: &&Record| matches!(record, Record::Accepted(_));
    assert_eq!(daemon.records().iter().filter(arrived).count(), 1);
}

#[test]
fn a_flood_of_output_costs_little_and_the_report_still_lands() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    block_on(async {
        let mut peer = Peer::worker(&home, &daemon, &task.token).await;
        assert!(peer.read().await.is_some());
        let much = "x".repeat(1_000_000);
        for _ in 0..20 {
            peer.say(&json!({ "type": "output", "stream": "stderr", "text": much }))
                .await;
        }
        peer.say(&report(&much)).await;
        assert_eq!(peer.read().await, heard(true));
    });
    let ran = daemon.wait_for_end(&task);
    assert!(ran.stdout.text.chars().count() <= 10_064);
    assert_eq!(ran.stdout.cut_chars, 990_000);
}

#[test]
fn a_door_for_workers_lets_no_client_in() {
    let home = Home::new();
    let database = home.path().join("memory.db");
    let tokens = openpista_shell_smol::journal::Tokens::open(&database).unwrap();
    let client = tokens.add("laptop").unwrap();
    drop(tokens);
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let annex = daemon.annex.clone();
    // An address of this machine's that nothing else uses.
    let door = annex.open("127.0.0.77".parse().unwrap()).unwrap();
    assert_eq!(
        annex.open(door.address.ip()),
        Ok(door),
        "one socket will do"
    );
    assert_eq!(door.fingerprint, daemon.gateway().fingerprint());
    block_on(async {
        let auth = json!({ "type": "auth", "token": client.expose(), "client": "laptop" });
        let mut peer = Peer::greet(&home, daemon.address, auth.clone()).await;
        assert_eq!(peer.read().await.unwrap()["type"], "auth_ok");
        let mut peer = Peer::greet(&home, door.address, auth).await;
        let told = json!({ "type": "auth_error", "message": "The token is not valid." });
        assert_eq!(peer.read().await, Some(told));
        let mut peer = Peer::greet(&home, door.address, worker(&task.token)).await;
        assert_eq!(peer.read().await.unwrap()["type"], "auth_ok");
        peer.say(&report("x")).await;
        assert_eq!(peer.read().await, heard(true));
    });
}
