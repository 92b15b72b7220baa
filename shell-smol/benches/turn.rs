//! What a turn costs, through the real loop, journal, tools and HTTP client, against a model
//! server on loopback that answers at once: `cargo bench --bench turn`.
//!
//! Syncs of the disk are counted twice: by the journal, and from outside by strace where it is
//! installed, as the difference between a short life and a longer one. For the latter this
//! program runs itself, with what to do in the arguments.

#[path = "../tests/support/server.rs"]
mod server;
#[path = "support/settings.rs"]
mod settings;
mod support;

use async_channel::Receiver;
use async_io::Timer;
use futures_lite::future;
use openpista_core::effect::deliver::Delivered;
use openpista_core::input::{Arrival, Input};
use openpista_shell_smol::driver::{Driver, Handle, Leave};
use openpista_shell_smol::effect::Hands;
use openpista_shell_smol::effect::deliver::{Event, Fronts};
use openpista_shell_smol::effect::model::{Endpoint, Models, Provider};
use openpista_shell_smol::effect::tool::{ToolConfig, Tools};
use openpista_shell_smol::journal::{CommitCount, Journal};
use openpista_shell_smol::secret::Secrets;
use server::{Answer, Request, Server};
use smol::LocalExecutor;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{Samples, head, ms, row, scratch};
use tempfile::TempDir;

const TEXT: &str = "what do you think of this?";
const TOOL: &str = "! true";
/// Between two turns, so that none shares a commit with the next.
const PAUSE: Duration = Duration::from_millis(5);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["life", text, sessions, turns] => {
            let number = |word: &str| word.parse().expect("a number");
            life(&scratch(), text, number(sessions), number(turns));
        }
        _ => table(),
    }
}

fn table() {
    head("turn");
    commits("text-only turn", TEXT, 1, 200, "≤ 3");
    commits("turn with one tool", TOOL, 1, 100, "≤ 5");
    commits("text-only turn, 100 sessions at once", TEXT, 100, 20, "< 1");
    commits(
        "turn with one tool, 100 sessions at once",
        TOOL,
        100,
        4,
        "< 1",
    );
    let bash = Samples::of(100, || {
        let status = Command::new("bash").args(["-c", "true"]).status();
        assert!(status.is_ok_and(|status| status.success()));
    });
    support::sync_costs();
    latency("reply turn", TEXT, 300, Duration::ZERO);
    latency("tool turn", TOOL, 150, bash.median());
}

/// What a life measured.
struct Life {
    turns: Vec<Duration>,
    commits: u64,
    took: Duration,
    /// How long a bare client waits for the server's last answer.
    model: Duration,
}

/// Durable commits of a turn: the journal's own count, and the syncs that strace sees.
fn commits(name: &str, text: &str, sessions: usize, turns: usize, target: &str) {
    let life = life(&scratch(), text, sessions, turns);
    let count = (turns * sessions) as f64;
    let counted = format!("{:.2}", life.commits as f64 / count);
    row(&format!("commits of a {name}"), &counted, target);
    let seen = match (syncs(text, sessions, 2), syncs(text, sessions, turns + 2)) {
        (Some(few), Some(many)) => format!("{:.2}", (many - few) as f64 / count),
        _ => "not counted: no strace".to_owned(),
    };
    row("  syncs of the disk, counted by strace", &seen, target);
    if sessions > 1 {
        let rate = format!("{:.0} turns/s", count / life.took.as_secs_f64());
        row("  rate, the model server on the same cores", &rate, "");
        row("  a turn's latency", &Samples::new(life.turns).text(), "");
    }
}

/// The fsyncs and fdatasyncs of a whole life.
fn syncs(text: &str, sessions: usize, turns: usize) -> Option<usize> {
    let dir = scratch();
    let trace = dir.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().ok()?)
        .args(["life", text, &sessions.to_string(), &turns.to_string()])
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let trace = std::fs::read_to_string(trace).ok()?;
    // A call that another thread interrupts has two lines; the second has no parenthesis.
    let calls = trace.lines().filter(|line| line.contains("sync("));
    status.success().then(|| calls.count())
}

fn latency(name: &str, text: &str, turns: usize, command: Duration) {
    let calls = if text == TOOL { 2 } else { 1 };
    let life = life(&scratch(), text, 1, turns);
    let others = life.model * calls + command;
    let own = above(&life.turns, others);
    let taken = Samples::new(life.turns);
    row(&format!("latency of a {name}"), &taken.text(), "");
    row(
        "  of that the model's and the command's own",
        &ms(others),
        "",
    );
    row("  above it", &own.text(), "");
    // A disk in memory syncs at once.
    if let Ok(memory) = tempfile::tempdir_in("/dev/shm") {
        let life = crate::life(&memory, text, 1, turns);
        let own = above(&life.turns, others);
        row("  the same, with syncs that cost nothing", &own.text(), "");
    }
}

/// What is left of each turn without what others took.
fn above(turns: &[Duration], others: Duration) -> Samples {
    let own = turns.iter().map(|turn| turn.saturating_sub(others));
    Samples::new(own.collect())
}

/// So many turns in each of so many sessions.
fn life(dir: &TempDir, text: &str, sessions: usize, turns: usize) -> Life {
    let server = Server::start(answer);
    let mut life = live(dir.path(), &server, async |mut person| {
        person.turns(text, sessions, 1).await;
        let (before, began) = (person.commits.get(), Instant::now());
        let taken = person.turns(text, sessions, turns).await;
        let took = began.elapsed();
        // What the last turn still has to commit.
        Timer::after(Duration::from_millis(50)).await;
        let commits = person.commits.get() - before;
        Life {
            turns: taken,
            commits,
            took,
            model: Duration::ZERO,
        }
    });
    life.model = bare(&server);
    life
}

/// The model: runs what a `!` is followed by, and reports.
fn answer(request: &Request) -> Answer {
    let asked = request.last("user");
    match asked.as_deref().and_then(|text| text.strip_prefix("! ")) {
        Some(command) => Answer::run(command),
        None => Answer::text("All of it is done, and here is what I found. ".repeat(4)),
    }
}

/// How long a client that does nothing else waits for the answer to the last request.
fn bare(server: &Server) -> Duration {
    let body = server.requests().pop().expect("a request").body;
    let url = server.base_url();
    let host = url.trim_start_matches("http://").trim_end_matches("/v1");
    let mut stream = TcpStream::connect(host).expect("the server");
    stream.set_nodelay(true).expect("a socket");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), &body].concat();
    let asking = Samples::of(200, || {
        stream.write_all(&request).expect("the server");
        let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let read = stream.read(&mut buffer).expect("the server");
            answer.extend_from_slice(&buffer[..read]);
        }
    });
    asking.median()
}

/// Everything that a daemon has, for as long as the person stays.
fn live<T>(dir: &Path, server: &Server, stay: impl AsyncFnOnce(Person) -> T) -> T {
    let opened = Journal::open(&dir.join("memory.db")).expect("a journal");
    let commits = opened.journal.commit_count();
    let provider = Provider {
        name: "bench".to_owned(),
        model: "m".to_owned(),
        endpoint: Endpoint::Http {
            base_url: server.base_url(),
            key: None,
            headers: Vec::new(),
        },
    };
    let tools = Tools::new(ToolConfig {
        working_dir: dir.to_owned(),
        timeout_ms: 30_000,
        output_chars: 10_000,
        secrets: Secrets::default(),
        guard: env!("CARGO_BIN_EXE_openpista-guard").into(),
    });
    let settings = settings::settings(tools.specs());
    let mut fronts = Fronts::new();
    let events = fronts.add("cli");
    let hands = Hands {
        models: Models::new(provider, 200_000).expect("a provider"),
        tools,
        sandboxes: Default::default(),
        fronts,
        metrics: Default::default(),
    };
    let executor = Rc::new(LocalExecutor::new());
    let (driver, handle) = Driver::new(opened, Secrets::default(), hands, executor.clone());
    let person = Person {
        handle: handle.clone(),
        events,
        commits,
        said: 0,
    };
    let staying = async {
        let told = stay(person).await;
        handle.leave(Leave::WhenIdle);
        Ok(told)
    };
    let both = future::try_zip(driver.run(settings), staying);
    let ended = smol::block_on(executor.run(both));
    ended.expect("a disk that works").1
}

/// Somebody who talks in many sessions at once.
struct Person {
    handle: Handle,
    events: Receiver<Event>,
    commits: CommitCount,
    said: usize,
}

impl Person {
    /// So many turns in each session, one after the other in each. Returns how long each took,
    /// from the message to its reply.
    async fn turns(&mut self, text: &str, sessions: usize, turns: usize) -> Vec<Duration> {
        let mut began = vec![Instant::now(); sessions];
        let mut left = vec![turns; sessions];
        let mut taken = Vec::new();
        for (session, began) in began.iter_mut().enumerate() {
            *began = Instant::now();
            self.say(session, text).await;
        }
        while left.iter().any(|left| *left > 0) {
            let Ok(event) = self.events.recv().await else {
                panic!("the daemon ended");
            };
            let Event::Deliver(showing) = event else {
                continue;
            };
            let ends = showing.delivery.ends.clone();
            showing.done(Ok(Delivered));
            for end in ends {
                let session: usize = end.origin["cli:".len()..].parse().expect("our name");
                taken.push(began[session].elapsed());
                left[session] -= 1;
                if sessions == 1 {
                    Timer::after(PAUSE).await;
                }
                if left[session] > 0 {
                    began[session] = Instant::now();
                    self.say(session, text).await;
                }
            }
        }
        taken
    }

    async fn say(&mut self, session: usize, text: &str) {
        self.said += 1;
        let arrival = Arrival {
            origin: format!("cli:{session}"),
            key: self.said.to_string(),
            peer: "cli:local".to_owned(),
            session: None,
            text: text.to_owned(),
            serial: None,
        };
        self.handle.send(Input::Arrive(arrival)).await;
    }
}
