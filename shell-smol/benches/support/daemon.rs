//! The daemon as the system runs it: a process of its own, in a home of its own, with the gateway
//! on, whose client the bench is.

use crate::program::{Home, send};
use openpista_core::wire::frame::ServerFrame;
use openpista_shell_smol::client::{Client, Connected};
use openpista_shell_smol::secret::Secret;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// In what Linux counts the time of a process: ticks a second, on every architecture of ours.
const TICKS: u64 = 100;

/// A daemon that is ready. Ended in order when dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    client: Client,
    /// From the start of the process to the word that it is ready.
    pub(crate) started: Duration,
}

/// A home whose daemon asks this model, with more configuration if there is any.
pub(crate) fn home(base_url: &str, more: &str) -> Home {
    let home = Home::with(&format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[agent]\nprovider = \"custom\"\nmodel = \"m\"\n\
         base_url = \"{base_url}\"\n[policy]\nmode = \"full\"\n{more}"
    ));
    let ended = home.run(&["token", "add", "bench"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    fs::write(home.path().join("token"), ended.out.trim()).expect("our own directory");
    home
}

impl Daemon {
    pub(crate) fn of(home: &Home) -> Daemon {
        Daemon::under(home, &[])
    }

    /// Started by a program that runs what follows its arguments.
    pub(crate) fn under(home: &Home, runner: &[&str]) -> Daemon {
        let program = env!("CARGO_BIN_EXE_openpistacrab");
        let words = [runner, &[program, "--log", "error", "start"]].concat();
        let began = Instant::now();
        let mut command = home.command(words[0], &words[1..]);
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the program");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut address, mut pin, mut pid) = (None, None, None);
        for line in out.lines() {
            let line = line.expect("UTF-8");
            if let Some(told) = line.strip_prefix("gateway: ") {
                let word = told.split(' ').next().unwrap_or_default();
                address = Some(word.parse().expect("an address"));
            }
            if let Some(told) = line.strip_prefix("certificate SHA-256: ") {
                pin = Some(told.parse().expect("a fingerprint"));
            }
            if let Some(told) = line.strip_prefix("ready (pid ") {
                pid = told.trim_end_matches(')').parse().ok();
                break;
            }
        }
        let started = began.elapsed();
        let token = fs::read_to_string(home.path().join("token")).expect("our own");
        let client = Client::new(pin.expect("its fingerprint"), Secret::new(&token), "bench");
        Daemon {
            child,
            pid: pid.expect("it is ready"),
            address: address.expect("its address"),
            client: client.expect("a client"),
            started,
        }
    }

    pub(crate) async fn connect(&self) -> Connected {
        self.client.connect(self.address).await.expect("a welcome")
    }

    /// What it holds of memory, in kilobytes, and what of that is its own, not pages of files.
    pub(crate) fn resident_kb(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        };
        let read = of("VmRSS:").zip(of("RssAnon:"));
        read.unwrap_or_default()
    }

    /// The time that it has spent on a core, in all its threads and for itself.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let behind_the_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks = behind_the_name.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1_000 / TICKS)
    }

    fn end(&mut self) {
        if self.pid == self.child.id() {
            send(&self.child, Signal::TERM);
        } else if let Some(pid) = Pid::from_raw(self.pid as i32) {
            // What it runs under ends with it.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A turn: how long its message took until it was durable, and until the response.
pub(crate) async fn turn(
    connected: &Connected,
    text: &str,
    session: Option<&str>,
) -> (Duration, Duration) {
    let id = fresh();
    let began = Instant::now();
    let exchange = connected.message(&id, text, session).await;
    let mut exchange = exchange.expect("a connection");
    let mut accepted = Duration::ZERO;
    loop {
        match exchange.next().await.expect("a connection") {
            Some(ServerFrame::Accepted { .. }) => accepted = began.elapsed(),
            Some(ServerFrame::Response {
                is_error, content, ..
            }) => {
                assert!(!is_error, "{content}");
                return (accepted, began.elapsed());
            }
            Some(_) => {}
            None => panic!("no response came"),
        }
    }
}

fn fresh() -> String {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let last = LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("bench-{last}")
}
