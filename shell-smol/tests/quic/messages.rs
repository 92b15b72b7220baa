//! Messages and all that comes of them.

use crate::block_on;
use crate::daemon::{Daemon, Home, OWNER};
use crate::server::{Answer, Request, Server};
use futures_lite::FutureExt;
use openpista_core::id::ApprovalId;
use openpista_core::settings::Mode;
use openpista_core::wire::frame::{Decision, Progress, ServerFrame};
use openpista_shell_smol::client::{ClientError, Connected, Exchange};
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Says the last text again; runs what follows a `!`.
fn echo(request: &Request) -> Answer {
    match request.last("user") {
        Some(text) => match text.strip_prefix('!') {
            Some(command) => Answer::run(command.trim()),
            None => Answer::text(format!("re: {text}")),
        },
        None => Answer::text("done"),
    }
}

/// A door that a model waits at.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let waited = self
            .0
            .1
            .wait_timeout_while(open, Duration::from_secs(60), |open| !*open);
        assert!(!waited.unwrap().1.timed_out(), "the door stayed shut");
    }
}

/// A model that says a text that begins with `slow` again only when the door is open.
fn waiting_at(door: &Door) -> Server {
    let door = door.clone();
    Server::start(move |request| {
        if request.last("user").is_some_and(|t| t.starts_with("slow")) {
            door.pass();
        }
        echo(request)
    })
}

async fn ask(connected: &Connected, id: &str, text: &str) -> (String, bool) {
    let mut exchange = connected.message(id, text, None).await.unwrap();
    exchange.response().await.unwrap()
}

async fn accepted(exchange: &mut Exchange) {
    let frame = exchange.next().await.unwrap();
    assert!(
        matches!(frame, Some(ServerFrame::Accepted { .. })),
        "{frame:?}"
    );
}

async fn question(exchange: &mut Exchange) -> (ApprovalId, String) {
    loop {
        match exchange.next().await.unwrap() {
            Some(ServerFrame::ApprovalRequest {
                approval,
                arguments,
                ..
            }) => return (approval, arguments),
            Some(ServerFrame::Accepted { .. } | ServerFrame::Progress { .. }) => {}
            frame => panic!("{frame:?} in the place of a question"),
        }
    }
}

fn ok(text: &str) -> (String, bool) {
    (text.to_owned(), false)
}

#[test]
fn a_message_is_accepted_and_answered() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    block_on(async {
        let mut connected = daemon.connect().await;
        assert_eq!(connected.welcomed().await.unwrap(), "quic:laptop");
        connected.ping().await.unwrap();
        let mut exchange = connected.message("one", "hello", None).await.unwrap();
        let frame = exchange.next().await.unwrap();
        let id = "one".to_owned();
        assert_eq!(frame, Some(ServerFrame::Accepted { id }));
        assert_eq!(
            home.recorded("\"accepted\""),
            1,
            "law 2: durable before it is said"
        );
        let mut asking = false;
        let response = loop {
            match exchange.next().await.unwrap() {
                Some(ServerFrame::Progress { id, progress }) => {
                    assert_eq!(id, "one");
                    asking |= matches!(progress, Progress::Asking { round: 1, .. });
                }
                frame => break frame,
            }
        };
        assert!(asking, "progress is shown");
        let expected = ServerFrame::Response {
            id: "one".to_owned(),
            content: "re: hello".to_owned(),
            is_error: false,
        };
        assert_eq!(response, Some(expected));
        assert_eq!(exchange.next().await, Ok(None), "the exchange is over");
        let named = connected.message("two", "/status", Some("work")).await;
        let (status, _) = named.unwrap().response().await.unwrap();
        assert!(status.contains("work"), "{status}");
    });
    daemon.stop();
    assert!(home.recorded("quic:laptop") > 0, "known by its token");
}

#[test]
fn the_same_id_runs_once_and_has_one_response() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let (one, other) = (daemon.connect().await, daemon.connect().await);
        let mut exchanges = Vec::new();
        for connected in [&one, &one, &other, &other] {
            let exchange = connected.message("k", "slow", None).await.unwrap();
            exchanges.push(exchange);
        }
        for exchange in &mut exchanges {
            accepted(exchange).await;
        }
        door.open();
        for mut exchange in exchanges {
            assert_eq!(exchange.response().await.unwrap(), ok("re: slow"));
        }
        drop(one);
        let again = ask(&daemon.connect().await, "k", "something else").await;
        assert_eq!(again, ok("re: slow"));
    });
    daemon.stop();
    let daemon = home.start(&server);
    let again = block_on(async { ask(&daemon.connect().await, "k", "slow").await });
    assert_eq!(again, ok("re: slow"), "after a restart");
    assert_eq!(server.count(), 1);
    drop(daemon);
    assert_eq!(home.recorded("\"accepted\""), 1);
}

#[test]
fn a_key_that_the_core_has_forgotten_is_known_still() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        assert_eq!(ask(&connected, "first", "one").await, ok("re: one"));
        // The core remembers the latest 1,024 keys of an origin.
        for batch in 0..11 {
            let mut exchanges = Vec::new();
            for n in 0..100 {
                let id = format!("{batch}-{n}");
                exchanges.push(connected.message(&id, "/help", None).await.unwrap());
            }
            for mut exchange in exchanges {
                exchange.response().await.unwrap();
            }
        }
        assert_eq!(ask(&connected, "first", "one").await, ok("re: one"));
    });
    assert_eq!(server.count(), 1);
}

#[test]
fn a_client_that_was_gone_gets_what_it_missed() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "slow", None).await.unwrap();
        accepted(&mut exchange).await;
        connected.close().await;
        door.open();
        // Not before it is durable: nobody else would say when.
        while home.recorded("\"queued\"") == 0 {
            smol::Timer::after(Duration::from_millis(10)).await;
        }
        let connected = daemon.connect().await;
        assert_eq!(ask(&connected, "k", "slow").await, ok("re: slow"));
        // And nothing waits for it in the outbox.
        assert_eq!(ask(&connected, "l", "on").await, ok("re: on"));
    });
}

#[test]
fn a_message_that_a_crash_interrupted_is_answered_after_it() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "slow", None).await.unwrap();
        accepted(&mut exchange).await;
    });
    daemon.stop();
    door.open();
    let daemon = home.start(&server);
    let again = block_on(async { ask(&daemon.connect().await, "k", "slow").await });
    assert_eq!(again, ok("re: slow"));
    drop(daemon);
    assert_eq!(home.recorded("\"accepted\""), 1);
}

#[test]
fn fifty_exchanges_do_not_wait_for_a_slow_one() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let mut slow = connected
            .message("slow", "slow", Some("slow"))
            .await
            .unwrap();
        accepted(&mut slow).await;
        let mut exchanges = Vec::new();
        for n in 0..49 {
            let (id, session) = (format!("k{n}"), format!("s{n}"));
            let exchange = connected.message(&id, &id, Some(&session)).await.unwrap();
            exchanges.push((id, exchange));
        }
        for (id, mut exchange) in exchanges.into_iter().rev() {
            let response = exchange.response().await.unwrap();
            assert_eq!(response, ok(&format!("re: {id}")));
        }
        door.open();
        assert_eq!(slow.response().await.unwrap(), ok("re: slow"));
    });
}

#[test]
fn a_message_can_be_cancelled() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "slow", None).await.unwrap();
        accepted(&mut exchange).await;
        connected.cancel("something else").await.unwrap();
        daemon.connect().await.cancel("k").await.unwrap();
        let (text, is_error) = exchange.response().await.unwrap();
        assert!(text.contains("topped") && !is_error, "{text}");
        connected.cancel("k").await.unwrap();
        assert_eq!(ask(&connected, "l", "on").await, ok("re: on"));
        assert_eq!(ask(&connected, "k", "slow").await.0, text);
    });
    door.open();
}

#[test]
fn a_refused_message_has_a_response_that_says_why() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        for (id, text) in [
            ("", "no id"),
            ("k\n", "an id with a line break"),
            ("e", " "),
        ] {
            let (text, is_error) = ask(&connected, id, text).await;
            assert!(is_error && !text.is_empty(), "{text}");
        }
        let long = "x".repeat(100_001);
        let (text, is_error) = ask(&connected, "long", &long).await;
        assert!(is_error && text.contains("100001 bytes"), "{text}");
        let again = ask(&connected, "long", "short").await;
        assert_eq!(again, (text, true), "its id is used up");
        assert_eq!(server.count(), 0);
        assert_eq!(ask(&connected, "e", "now").await, ok("re: now"));
    });
}

#[test]
fn an_approval_goes_over_the_gateway() {
    let (home, server) = (Home::new(), Server::start(echo));
    let mut daemon = home.start_with(&server, Mode::Ask, |_| {});
    // Not typed by the person word for word, or nobody would ask.
    let server = Server::start(|request| match request.last("user") {
        Some(text) if text.starts_with("do") => Answer::run("echo ran >> ran.txt"),
        _ => echo(request),
    });
    drop(daemon);
    daemon = home.start_with(&server, Mode::Ask, |_| {});
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("yes", "do it", None).await.unwrap();
        let (approval, arguments) = question(&mut exchange).await;
        assert!(arguments.contains("echo ran >> ran.txt"), "{arguments}");
        // Another exchange in the session, another connection: they are asked as well.
        let other = daemon.connect().await;
        let mut waiting = other.message("wait", "hello", None).await.unwrap();
        assert_eq!(question(&mut waiting).await.0, approval);
        let mut third = daemon.connect().await;
        let unasked = third.unasked().await.unwrap();
        assert!(
            matches!(unasked, Some(ServerFrame::ApprovalRequest { approval: a, .. }) if a == approval),
            "{unasked:?}"
        );
        connected.decide(approval, Decision::Allow).await.unwrap();
        third.decide(approval, Decision::Deny).await.unwrap();
        exchange.response().await.unwrap();
        waiting.response().await.unwrap();

        let mut exchange = connected.message("no", "do it", None).await.unwrap();
        let (approval, _) = question(&mut exchange).await;
        connected.decide(approval, Decision::Deny).await.unwrap();
        exchange.response().await.unwrap();
    });
    let ran = std::fs::read_to_string(home.path().join("ran.txt")).unwrap();
    assert_eq!(ran, "ran\n");
}

#[test]
fn a_yes_for_the_session_is_one_and_only_the_owner_answers_for_others() {
    let server = Server::start(|request| match request.last("user") {
        Some(text) if text.starts_with("do") => Answer::run("echo ran >> ran.txt"),
        _ => echo(request),
    });
    let home = Home::new();
    let daemon = home.start_with(&server, Mode::Ask, |_| {});
    let phone = home.tokens().add("phone").unwrap();
    block_on(async {
        let owner = daemon.connect().await;
        let phone = daemon.client_with(&phone);
        let phone = phone.connect(daemon.address).await.unwrap();
        let mut exchange = owner.message("k1", "do it", None).await.unwrap();
        let (approval, _) = question(&mut exchange).await;
        let refused = phone.decide(approval, Decision::AllowSession).await;
        assert!(
            matches!(&refused, Err(ClientError::Refused(why)) if why.contains("owner")),
            "{refused:?}"
        );
        let theirs = Some("quic:laptop");
        let mut stop = phone.message("k2", "/stop", theirs).await.unwrap();
        let (said, _) = stop.response().await.unwrap();
        assert!(said.contains("owner"), "{said}");
        let said_yes = owner.decide(approval, Decision::AllowSession).await;
        assert_eq!(said_yes, Ok(()));
        exchange.response().await.unwrap();
        let mut again = owner.message("k3", "do it again", None).await.unwrap();
        loop {
            match again.next().await.unwrap() {
                Some(ServerFrame::Response { .. }) => break,
                Some(ServerFrame::Accepted { .. } | ServerFrame::Progress { .. }) => {}
                frame => panic!("{frame:?}, although it was allowed for the session"),
            }
        }
    });
    let ran = std::fs::read_to_string(home.path().join("ran.txt")).unwrap();
    assert_eq!(ran, "ran\nran\n");
}

#[test]
fn a_word_of_the_daemons_own_waits_for_its_client_and_is_no_output() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "!sleep 5", None).await.unwrap();
        let runs = |frame: &_| {
            matches!(
                frame,
                Some(ServerFrame::Progress {
                    progress: Progress::Running { .. },
                    ..
                })
            )
        };
        while !runs(&exchange.next().await.unwrap()) {}
    });
    daemon.stop();
    let daemon = home.start_with(&server, Mode::Full, |config| {
        config.model = Some(("p".to_owned(), "m".to_owned()));
    });
    block_on(async {
        let mut connected = daemon.connect().await;
        assert_eq!(connected.model(), Some("m"));
        loop {
            match connected.unasked().await.unwrap() {
                Some(ServerFrame::Progress { id, progress }) => {
                    assert_eq!(id, "");
                    assert!(
                        matches!(&progress, Progress::Notice { text } if text.contains("may have run")),
                        "{progress:?}"
                    );
                    break;
                }
                Some(ServerFrame::Response { .. }) => {}
                frame => panic!("{frame:?}"),
            }
        }
    });
}

#[test]
fn an_open_question_is_shown_again_after_a_restart() {
    let server = Server::start(|request| match request.last("user") {
        Some(_) => Answer::run("echo ran >> ran.txt"),
        None => Answer::text("done"),
    });
    let home = Home::new();
    let daemon = home.start_with(&server, Mode::Ask, |_| {});
    let first = block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "do it", None).await.unwrap();
        question(&mut exchange).await
    });
    daemon.stop();
    let daemon = home.start_with(&server, Mode::Ask, |_| {});
    block_on(async {
        let connected = daemon.connect().await;
        let mut exchange = connected.message("k", "do it", None).await.unwrap();
        assert_eq!(question(&mut exchange).await, first);
        connected.decide(first.0, Decision::Allow).await.unwrap();
        assert_eq!(exchange.response().await.unwrap(), ok("done"));
    });
    let ran = std::fs::read_to_string(home.path().join("ran.txt")).unwrap();
    assert_eq!(ran, "ran\n");
}

#[test]
fn who_is_not_connected_to_that_message_gets_its_response_unasked() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    block_on(async {
        let mut connected = daemon.connect().await;
        let mut exchange = connected.message("k", "slow", None).await.unwrap();
        accepted(&mut exchange).await;
        drop(exchange);
        // The stream's end has come when what was sent after it has been answered.
        connected.ping().await.unwrap();
        door.open();
        let frame = connected.unasked().await.unwrap();
        let expected = ServerFrame::Response {
            id: "k".to_owned(),
            content: "re: slow".to_owned(),
            is_error: false,
        };
        assert_eq!(frame, Some(expected));
    });
}

#[test]
fn each_token_is_a_client_of_its_own() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    let phone = home.tokens().add("phone").unwrap();
    block_on(async {
        let laptop = daemon.connect().await;
        let phone = daemon.client_with(&phone);
        let phone = phone.connect(daemon.address).await.unwrap();
        assert_eq!(ask(&laptop, "k", "one").await, ok("re: one"));
        assert_eq!(
            ask(&phone, "k", "two").await,
            ok("re: two"),
            "an id of its own"
        );
        assert_eq!(ask(&laptop, "k", "three").await, ok("re: one"));
    });
    daemon.stop();
    let origins: BTreeSet<bool> = ["quic:laptop", "quic:phone"]
        .map(|origin| home.recorded(&format!("\"origin\":\"{origin}\"")) > 0)
        .into();
    assert_eq!(origins, BTreeSet::from([true]));
}

#[test]
fn a_revoked_token_is_of_no_use_at_once() {
    let (home, server) = (Home::new(), Server::start(echo));
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        assert_eq!(ask(&connected, "k", "one").await, ok("re: one"));
        home.tokens().revoke(OWNER).unwrap();
        let mut exchange = connected.message("l", "two", None).await.unwrap();
        let error = exchange.response().await.unwrap_err();
        assert!(error.to_string().contains("revoked"), "{error}");
        let error = daemon.client.connect(daemon.address).await.unwrap_err();
        assert!(matches!(error, ClientError::Refused(_)), "{error}");
    });
    assert_eq!(server.count(), 1);
}

#[test]
fn a_gateway_that_closes_says_so_and_loses_nothing() {
    let door = Door::default();
    let (home, server) = (Home::new(), waiting_at(&door));
    let daemon = home.start(&server);
    let connected = block_on(daemon.connect());
    let mut exchange = block_on(async {
        let mut exchange = connected.message("k", "slow", None).await.unwrap();
        accepted(&mut exchange).await;
        exchange
    });
    daemon.gateway().drain();
    block_on(async {
        let mut late = connected.message("l", "late", None).await.unwrap();
        let error = late.response().await.unwrap_err();
        assert!(error.to_string().contains("stopping"), "{error}");
        connected.ping().await.unwrap();
    });
    daemon.stop();
    let error = block_on(exchange.response()).unwrap_err();
    assert!(error.to_string().contains("stopping"), "{error}");
    door.open();
    let daemon = home.start(&server);
    let answers = block_on(async {
        let connected = daemon.connect().await;
        let late = ask(&connected, "l", "late");
        let slow = ask(&connected, "k", "slow");
        futures_lite::future::zip(late, slow)
            .or(async {
                smol::Timer::after(Duration::from_secs(60)).await;
                panic!("no answer")
            })
            .await
    });
    assert_eq!(answers, (ok("re: late"), ok("re: slow")));
}

#[test]
fn a_response_of_any_length_and_content_comes_whole_or_with_a_mark() {
    let text = "\u{1}".repeat(150_000) + "é" + &"\u{1}".repeat(30_000);
    let server = Server::start(move |_| Answer::text(text.clone()));
    let home = Home::new();
    let daemon = home.start(&server);
    let daemon: &Daemon = &daemon;
    block_on(async {
        let connected = daemon.connect().await;
        let (content, is_error) = ask(&connected, "k", "hello").await;
        assert!(!is_error && content.starts_with("\u{1}\u{1}"));
        assert!(
            content.ends_with(" more bytes did not fit]"),
            "{}",
            content.len()
        );
    });
}
