//! The QUIC gateway over real sockets: a whole daemon in this process, our own client, and one
//! that is written by hand.

#[path = "../support/crowd.rs"]
mod crowd;
#[path = "../support/server.rs"]
mod server;

mod abuse;
mod daemon;
mod early;
mod flood;
mod frames;
mod messages;
mod notices;
mod start;

use futures_lite::FutureExt;
use std::time::Duration;

/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs to the end, or fails where it was called.
#[track_caller]
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        None
    };
    let ended = smol::block_on(async { Some(future.await) }.or(late));
    ended.unwrap_or_else(|| panic!("waited for {PATIENCE:?} in vain: nothing more came"))
}
