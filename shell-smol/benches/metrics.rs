//! What it costs to be watched: a scrape of the daemon's metrics, and turns with and without
//! somebody who scrapes. The real program in a process of its own, against a model server on loopback
//! that answers at once. `cargo bench --bench metrics`.
//!
//! What happens is counted whether anybody asks or not, so this is what asking adds.

#[path = "support/daemon.rs"]
#[expect(
    dead_code,
    reason = "this bench asks neither for memory nor for a runner"
)]
mod daemon;
#[path = "support/model.rs"]
#[expect(
    dead_code,
    reason = "this bench does not take the model's own time off"
)]
mod model;
#[path = "../tests/support/program.rs"]
mod program;
#[expect(dead_code, reason = "this bench makes nothing durable itself")]
mod support;

use daemon::{Daemon, home, turn};
use model::Model;
use openpista_shell_smol::client::Connected;
use program::Home;
use smol::block_on;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Samples, head, ms, row};

/// How often the daemons take turns, and how many turns each has then.
const ROUNDS: usize = 10;
const TURNS: u32 = 200;

/// A daemon that has its turns, and what they cost so far.
struct Measured {
    name: &'static str,
    daemon: Daemon,
    connected: Connected,
    /// Who scrapes it meanwhile, ten times a second.
    scraped: Option<SocketAddr>,
    took: Vec<Duration>,
    cpu: Duration,
    // Its daemon ends before it.
    _home: Home,
}

impl Measured {
    fn new(
        name: &'static str,
        model: &Model,
        listen: Option<SocketAddr>,
        scraped: bool,
    ) -> Measured {
        let metrics = listen.map(|listen| format!("[metrics]\nlisten = \"{listen}\"\n"));
        let home = home(&model.base_url(), &metrics.unwrap_or_default());
        let daemon = Daemon::of(&home);
        Measured {
            name,
            connected: block_on(daemon.connect()),
            daemon,
            scraped: listen.filter(|_| scraped),
            took: Vec::new(),
            cpu: Duration::ZERO,
            _home: home,
        }
    }

    fn round(&mut self) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            if let Some(address) = self.scraped {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        scrape(address);
                        std::thread::sleep(Duration::from_millis(100));
                    }
                });
            }
            let before = self.daemon.cpu();
            for _ in 0..TURNS {
                let (_, whole) = block_on(turn(&self.connected, "what do you think?", None));
                self.took.push(whole);
            }
            self.cpu += self.daemon.cpu() - before;
            over.store(true, Ordering::Relaxed);
        });
    }
}

fn main() {
    let _ = tempfile::env::override_temp_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    head("metrics");
    let model = Model::start();
    let (asked, idle) = (free_port(), free_port());
    let mut all = [
        Measured::new("without [metrics] listen", &model, None, false),
        Measured::new("with it, and nobody asks", &model, Some(idle), false),
        Measured::new(
            "with it, asked ten times a second",
            &model,
            Some(asked),
            true,
        ),
    ];
    for _ in 0..ROUNDS {
        all.iter_mut().for_each(Measured::round);
    }
    for one in all.iter_mut() {
        let took = Samples::new(std::mem::take(&mut one.took));
        row(&format!("a reply turn {}", one.name), &took.text(), "");
        let cpu = one.cpu / (ROUNDS as u32 * TURNS);
        row("  of a core", &ms(cpu), "no more than without");
    }
    let mut bytes = 0;
    let took = Samples::of(500, || bytes = scrape(asked));
    row(
        &format!("a scrape of {bytes} bytes"),
        &took.text(),
        "≤ 2 ms",
    );
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on loopback");
    listener.local_addr().expect("the port just bound")
}

/// Asks as Prometheus does. Gives how much was told.
fn scrape(address: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(address).expect("the daemon listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).expect("the daemon");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("a page");
    assert!(answer.contains("openpista_build_info"), "{answer}");
    answer.len()
}
