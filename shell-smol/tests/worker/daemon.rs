//! A daemon whose effects are performed by the test: it answers for the model and for the engine
//! that makes containers. The loop, the journal and the gateway are the real ones.

use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use openpista_core::digest::Digest;
use openpista_core::effect::model::Reply;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Sandboxed, UseSandbox,
};
use openpista_core::effect::tool::Ran;
use openpista_core::effect::{Chunk, Effect, Op, Outcome, Recovery};
use openpista_core::hint::{Activity, Hint};
use openpista_core::id::EffectId;
use openpista_core::input::{Arrival, Input, Order};
use openpista_core::message::{ToolCall, ToolSpec};
use openpista_core::record::Record;
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_shell_smol::driver::{Driver, Handle};
use openpista_shell_smol::effect::Hands;
use openpista_shell_smol::effect::deliver::{Event, Fronts};
use openpista_shell_smol::effect::model::{self, Models};
use openpista_shell_smol::effect::tool::{ToolConfig, Tools};
use openpista_shell_smol::journal::{Journal, JournalError, Lookup, Reader, StoredStep};
use openpista_shell_smol::secret::{Secret, Secrets};
use openpista_shell_smol::source::quic::annex::Annex;
use openpista_shell_smol::source::quic::{CHANNEL, Gateway, GatewayConfig};
use sha2::Digest as _;
use smol::LocalExecutor;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(120);
/// A secret of the daemon's, which a worker may come across.
pub(crate) const SECRET: &str = "sk-canary-of-the-daemon";
/// How long a task may run.
const TIMEOUT_MS: u64 = 300_000;

/// What outlives a daemon.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    timeout_ms: u64,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home::with_timeout(TIMEOUT_MS)
    }

    /// One where tasks may run for so long.
    pub(crate) fn with_timeout(timeout_ms: u64) -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
            timeout_ms,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn start_at(&self, listen: SocketAddr) -> Daemon {
        // The socket of the one before goes a moment after it.
        while UdpSocket::bind(listen).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let config = GatewayConfig::new(listen, self.path().to_owned());
        let (dir, annex) = (self.path().to_owned(), config.annex.clone());
        let (sender, receiver) = mpsc::channel();
        let (held, killed) = async_channel::bounded(1);
        let timeout_ms = self.timeout_ms;
        let thread = std::thread::spawn(move || live(&dir, timeout_ms, config, &sender, &killed));
        let (gateway, handle, events) = receiver.recv().unwrap();
        Daemon {
            database: self.path().join("memory.db"),
            address: gateway.local_addr(),
            annex,
            handle,
            events,
            gateway: Some(gateway),
            held,
            thread: Some(thread),
        }
    }

    /// The file that a worker finds its token in.
    pub(crate) fn token_file(&self, token: &str) -> PathBuf {
        let path = self.path().join(&token[..8]);
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path
    }
}

type Ready = (Gateway, Handle, Receiver<Event>);

fn live(
    dir: &Path,
    timeout_ms: u64,
    config: GatewayConfig,
    ready: &mpsc::Sender<Ready>,
    killed: &Receiver<Infallible>,
) {
    let database = dir.join("memory.db");
    let opened = Journal::open(&database).unwrap();
    let choice = model::Choice {
        provider: Some("builtin".to_owned()),
        model: None,
        base_url: None,
        api_key: None,
    };
    let provider = model::resolve(&choice, &|_: &str| None).unwrap();
    let mut fronts = Fronts::new();
    let (events, seen) = (fronts.add(CHANNEL), fronts.add("cli"));
    let settings = Settings {
        provider: provider.name.clone(),
        model: provider.model.as_str().into(),
        tools: [spec(timeout_ms)].into(),
        policy: Policy {
            mode: Mode::Full,
            ..Policy::default()
        },
        owners: BTreeSet::from(["cli:local".to_owned()]),
        ..Settings::default()
    };
    let hands = Hands {
        models: Models::new(provider, 200_000).unwrap(),
        tools: Tools::new(ToolConfig {
            working_dir: dir.to_owned(),
            timeout_ms: 30_000,
            output_chars: 10_000,
            secrets: Secrets::default(),
            guard: env!("CARGO_BIN_EXE_openpistacrab").into(),
        }),
        sandboxes: Default::default(),
        fronts,
        metrics: Default::default(),
    };
    let secrets = Secrets::new([("KEY", Secret::new(SECRET))]);
    // Nobody runs what is spawned on it: effects are the test's to perform.
    let idle = Rc::new(LocalExecutor::new());
    let (driver, handle) = Driver::new(opened, secrets, hands, idle);
    let lookup = Lookup::open(&database).unwrap();
    let gateway = Gateway::start(config, handle.clone(), events, lookup).unwrap();
    ready.send((gateway, handle, seen)).unwrap();
    let killed = async {
        let _ = killed.recv().await;
        Ok(())
    };
    smol::block_on(driver.run(settings).or(killed)).unwrap();
}

fn spec(timeout_ms: u64) -> ToolSpec {
    ToolSpec {
        name: "worker.run".to_owned(),
        description: "Work.".to_owned(),
        parameters: r#"{"type":"object"}"#.to_owned(),
        recovery: Recovery::Probe,
        read_only: false,
        timeout_ms,
        sandbox: Some(Sandboxed {
            engine: Engine::Docker,
            otherwise: None,
            program: Program::Worker,
        }),
    }
}

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    /// Where workers come in.
    pub(crate) annex: Annex,
    handle: Handle,
    database: PathBuf,
    events: Receiver<Event>,
    gateway: Option<Gateway>,
    held: Sender<Infallible>,
    thread: Option<JoinHandle<()>>,
}

/// A task that runs, as far as the daemon knows.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) token: String,
    /// The effect that waits for its end.
    pub(crate) effect: EffectId,
}

impl Daemon {
    pub(crate) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Everything that was decided so far.
    pub(crate) fn records(&self) -> Vec<Record> {
        let reader = Reader::open(&self.database).unwrap();
        let mut all = Vec::new();
        let take = |step: StoredStep<'_>| {
            all.extend(serde_json::from_str::<Vec<Record>>(step.records).unwrap());
            Ok::<_, JournalError>(())
        };
        reader.steps(None, take).unwrap();
        all
    }

    /// Waits for something to be on record.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl Fn(&[Record]) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look(&self.records()) {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until so many of certain effects are on record.
    pub(crate) fn wait_for_effects(&self, count: usize, is: impl Fn(&Op) -> bool) -> Vec<Effect> {
        self.wait_for("effects", |records| {
            let effects = records.iter().filter_map(|record| match record {
                Record::Intended(effect) if is(&effect.op) => Some(effect.clone()),
                _ => None,
            });
            let found: Vec<Effect> = effects.collect();
            (found.len() >= count).then_some(found)
        })
    }

    pub(crate) fn finish(&self, effect: &Effect, outcome: Outcome) {
        self.send(Input::Finish {
            effect: effect.id,
            attempt: effect.attempt,
            outcome,
        });
    }

    fn send(&self, input: Input) {
        smol::block_on(self.handle.send(input));
    }

    /// Begins a turn that runs so many tasks at once, as far as the start of each. For the first
    /// turn of a home.
    pub(crate) fn begin(&self, count: usize) -> Vec<Task> {
        let tokens = RefCell::new(Vec::new());
        let started = self.begin_in(count, "{}", |used| {
            // As long as a real one, and the same in each run.
            let token = digest(&used.sandbox.to_string()).to_string();
            let created = Done::Created {
                token: Some(digest(&token)),
            };
            tokens.borrow_mut().push((used.sandbox, token));
            Ok(created)
        });
        let task = |(effect, used): (Effect, UseSandbox)| {
            let tokens = tokens.borrow();
            let (_, token) = tokens.iter().find(|(id, _)| *id == used.sandbox).unwrap();
            Task {
                token: token.clone(),
                effect: effect.id,
            }
        };
        started.into_iter().map(task).collect()
    }

    /// The same, with an engine that makes sandboxes. Returns what is to be started.
    pub(crate) fn begin_in(
        &self,
        count: usize,
        arguments: &str,
        make: impl Fn(&UseSandbox) -> Result<Done, SandboxFault>,
    ) -> Vec<(Effect, UseSandbox)> {
        self.send(Input::Arrive(Arrival {
            origin: "cli:local".to_owned(),
            key: "k".to_owned(),
            peer: "cli:local".to_owned(),
            session: None,
            text: "go".to_owned(),
            serial: None,
        }));
        let call = self
            .wait_for_effects(1, |op| matches!(op, Op::Model(_)))
            .remove(0);
        let calls = (0..count).map(|number| ToolCall {
            id: format!("c{number}"),
            tool: "worker.run".to_owned(),
            arguments: arguments.to_owned(),
        });
        let reply = Reply {
            calls: calls.collect(),
            ..Reply::default()
        };
        self.finish(&call, Outcome::Model(Ok(reply)));
        let made = self.wait_for_effects(
            count,
            |op| matches!(op, Op::Sandbox(used) if matches!(used.action, Action::Create(_))),
        );
        for effect in &made {
            let made = make(used(effect));
            assert!(matches!(made, Ok(Done::Created { .. })), "{made:?}");
            self.finish(effect, Outcome::Sandbox(made));
        }
        let started = self.wait_for_effects(
            count,
            |op| matches!(op, Op::Sandbox(used) if matches!(used.action, Action::Run(_))),
        );
        let each = started.into_iter().map(|effect| {
            let used = used(&effect).clone();
            (effect, used)
        });
        each.collect()
    }

    /// What was taken as the end of this task, as often as it was.
    pub(crate) fn ends(&self, task: &Task) -> Vec<Ran> {
        ends(&self.records(), task)
    }

    pub(crate) fn wait_for_end(&self, task: &Task) -> Ran {
        self.wait_for("the report", |records| ends(records, task).pop())
    }

    /// The containers are gone.
    pub(crate) fn remove(&self, count: usize) {
        let removals = self.wait_for_effects(
            count,
            |op| matches!(op, Op::Sandbox(used) if matches!(used.action, Action::Destroy)),
        );
        for effect in &removals {
            self.finish(effect, Outcome::Sandbox(Ok(Done::Destroyed)));
        }
        self.wait_for("the removals", |records| {
            let gone = |record: &&Record| {
                matches!(
                    record,
                    Record::Settled {
                        outcome: Outcome::Sandbox(Ok(Done::Destroyed)),
                        ..
                    }
                )
            };
            (records.iter().filter(gone).count() >= count).then_some(())
        });
    }

    /// A person stops the turn.
    pub(crate) fn stop_turn(&self) {
        self.send(Input::Order(Order::Stop {
            session: "cli:local".to_owned(),
            by: "cli:local".to_owned(),
        }));
    }

    /// Waits until people were shown this of what the tasks print.
    pub(crate) fn wait_for_output(&self, text: &str) {
        let mut shown = String::new();
        let looked = async {
            while !shown.contains(text) {
                if let Ok(Event::Hint(Hint::Show {
                    activity: Activity::Chunk(Chunk::Output(more)),
                    ..
                })) = self.events.recv().await
                {
                    shown.push_str(&more);
                }
            }
            true
        };
        let late = async {
            smol::Timer::after(PATIENCE).await;
            false
        };
        assert!(smol::block_on(looked.or(late)), "{text} was never shown");
    }

    /// Dies, without a word to anybody.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.held.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(gateway) = self.gateway.take() {
            smol::block_on(gateway.close());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

fn used(effect: &Effect) -> &UseSandbox {
    match &effect.op {
        Op::Sandbox(used) => used,
        other => panic!("{other:?} is no use of a sandbox"),
    }
}

fn ends(records: &[Record], task: &Task) -> Vec<Ran> {
    let ended = records.iter().filter_map(|record| match record {
        Record::Settled {
            effect,
            outcome: Outcome::Sandbox(Ok(Done::Ended(Ended { ran, .. }))),
            ..
        } if *effect == task.effect => Some(ran.clone()),
        _ => None,
    });
    ended.collect()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest(sha2::Sha256::digest(text.as_bytes()).into())
}

/// Our worker program, which ends with the test.
pub(crate) struct Worker(pub(crate) Child);

impl Worker {
    pub(crate) fn start(home: &Home, daemon: &Daemon, token: &str, line: &str) -> Worker {
        Worker::start_with(home, daemon, token, line, &[])
    }

    pub(crate) fn start_with(
        home: &Home,
        daemon: &Daemon,
        token: &str,
        line: &str,
        options: &[&str],
    ) -> Worker {
        let child = Command::new(env!("CARGO_BIN_EXE_openpista-worker"))
            .arg("--gateway")
            .arg(daemon.address.to_string())
            .arg("--fingerprint")
            .arg(daemon.gateway().fingerprint().to_string())
            .arg("--token")
            .arg(home.token_file(token))
            .args(options)
            .args(["--", "sh", "-c", line])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Worker(child.unwrap())
    }

    /// How it ended, and what it said itself.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "the worker does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut said = String::new();
        for pipe in [
            Box::new(self.0.stderr.take().unwrap()) as Box<dyn std::io::Read>,
            Box::new(self.0.stdout.take().unwrap()),
        ] {
            let mut pipe = pipe;
            pipe.read_to_string(&mut said).unwrap();
        }
        (status.code(), said)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
