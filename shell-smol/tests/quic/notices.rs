//! What a client is to know although it never asks.

use crate::daemon::Home;
use crate::server::{Answer, Server};
use futures_lite::FutureExt;
use openpista_core::wire::frame::{Progress, ServerFrame};
use smol::{Timer, block_on};
use std::time::{Duration, Instant};

/// Law 5: it is visible that a command may have run, also to those who were away at the time.
#[test]
fn what_may_have_run_is_told_when_the_client_comes_back() {
    let server = Server::start(|request| match request.last("user") {
        Some(_) => Answer::run("echo ran >> ran.txt; sleep 60"),
        None => Answer::text("done"),
    });
    let home = Home::new();
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        let _exchange = connected.message("k", "do it", None).await.unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !home.path().join("ran.txt").exists() {
            assert!(Instant::now() < until, "it never ran");
            Timer::after(Duration::from_millis(10)).await;
        }
    });
    daemon.stop();
    let daemon = home.start(&server);
    // While nobody is connected, the daemon says what it has to say.
    let until = Instant::now() + Duration::from_secs(60);
    while home.recorded("may have run") == 0 || home.recorded("done") == 0 {
        assert!(Instant::now() < until, "it never recovered");
        std::thread::sleep(Duration::from_millis(10));
    }
    block_on(async {
        let mut connected = daemon.connect().await;
        let told = async {
            loop {
                if let Some(ServerFrame::Progress {
                    progress: Progress::Notice { text },
                    ..
                }) = connected.unasked().await.unwrap()
                {
                    return text;
                }
            }
        };
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            "nothing".to_owned()
        };
        let text = told.or(late).await;
        assert!(text.contains("may have run"), "{text}");
    });
}
