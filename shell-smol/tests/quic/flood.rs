//! Inputs that never cease.

use crate::daemon::{Home, OWNER, prepare};
use crate::server::{Answer, Server};
use futures_lite::FutureExt;
use openpista_core::input::{Arrival, Input};
use openpista_core::settings::Mode;
use openpista_shell_smol::driver::Leave;
use openpista_shell_smol::effect::deliver::Event;
use openpista_shell_smol::source::quic::origin_of;
use smol::LocalExecutor;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long the answer may take beside them.
const PATIENCE: Duration = Duration::from_secs(60);

/// A commit blocks the loop, and what waits is there at once when it is over: even so, what the inputs
/// have set off gets its turn.
#[test]
fn a_loop_that_always_has_inputs_still_answers_and_ends() {
    let (home, server) = (Home::new(), Server::start(|_| Answer::text("hello")));
    let (dir, base_url) = (home.path().to_owned(), server.base_url());
    let (ready, started) = mpsc::channel();
    let running = std::thread::spawn(move || {
        let executor = Rc::new(LocalExecutor::new());
        let (driver, handle, events, settings) = prepare(&dir, base_url, Mode::Full, &executor);
        ready.send((handle, events)).unwrap();
        smol::block_on(executor.run(driver.run(settings))).unwrap();
    });
    let (handle, events) = started.recv().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let flood = |of: u64| {
        let (handle, over) = (handle.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            // Each sets the clock anew, which is committed.
            let mut unix_ms = of;
            while !over.load(Ordering::Relaxed) {
                unix_ms += 60_000;
                smol::block_on(handle.send(Input::Wall { unix_ms }));
            }
        })
    };
    let floods: Vec<_> = (1..=3).map(|of| flood(of * 1_000_000_000)).collect();
    let origin = origin_of(OWNER);
    smol::block_on(handle.send(Input::Arrive(Arrival {
        origin: origin.clone(),
        key: "1".to_owned(),
        peer: origin,
        session: None,
        text: "say hello".to_owned(),
        serial: None,
    })));
    let answered = async {
        loop {
            match events.recv().await {
                Ok(Event::Deliver(showing)) => {
                    return showing.delivery.body.text() == Some("hello");
                }
                Ok(Event::Hint(_)) => {}
                Err(_) => return false,
            }
        }
    };
    let late = async {
        smol::Timer::after(PATIENCE).await;
        false
    };
    let answered = smol::block_on(answered.or(late));
    handle.leave(Leave::Within(Duration::ZERO));
    running.join().unwrap();
    over.store(true, Ordering::Relaxed);
    floods.into_iter().for_each(|flood| flood.join().unwrap());
    assert!(answered, "nothing but the inputs had its turn");
}
