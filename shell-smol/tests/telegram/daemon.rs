//! The loop with Telegram as its only channel, in this process.

use crate::support::bot_api::{BotApi, TOKEN};
use crate::support::server::Server;
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_shell_smol::driver::{Driver, Handle, Leave};
use openpista_shell_smol::effect::Hands;
use openpista_shell_smol::effect::deliver::{Event, Fronts};
use openpista_shell_smol::effect::model::{Choice, Models, resolve};
use openpista_shell_smol::effect::tool::{ToolConfig, Tools};
use openpista_shell_smol::journal::Journal;
use openpista_shell_smol::secret::{Secret, Secrets};
use openpista_shell_smol::source::telegram::{
    CHANNEL, MESSAGE_CHARS, Pace, Telegram, TelegramConfig, peer,
};
use smol::LocalExecutor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The user whom the configuration names.
pub(crate) const OWNER: i64 = 42;

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) handle: Handle,
    thread: JoinHandle<()>,
    telegram: Telegram,
}

/// How a daemon is to run.
pub(crate) struct Options<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) api: String,
    pub(crate) token: &'a str,
    /// The model; the one inside when none.
    pub(crate) model: Option<&'a Server>,
    pub(crate) mode: Mode,
    /// The loop begins only when this says so.
    pub(crate) gate: Option<mpsc::Receiver<()>>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(dir: &'a Path, api: &BotApi) -> Options<'a> {
        Options {
            dir,
            api: api.url(),
            token: TOKEN,
            model: None,
            mode: Mode::Full,
            gate: None,
        }
    }

    pub(crate) fn start(self) -> Daemon {
        let choice = Choice {
            provider: Some(self.model.map_or("builtin", |_| "custom").to_owned()),
            model: self.model.map(|_| "test".to_owned()),
            base_url: self.model.map(Server::base_url),
            api_key: None,
        };
        let dir = self.dir.to_owned();
        let (mode, gate) = (self.mode, self.gate);
        let (sender, started) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (driver, handle, settings, events) = prepare(&dir, &choice, mode);
            let executor = driver.1;
            sender.send((handle, events)).expect("the test waits");
            if let Some(gate) = gate {
                let _ = gate.recv();
            }
            let ran = smol::block_on(executor.run(driver.0.run(settings)));
            ran.expect("the journal works");
        });
        let (handle, events) = started.recv().expect("the daemon starts");
        let config = TelegramConfig {
            token: Secret::new(self.token),
            api_url: Some(self.api),
            files_dir: files_dir(self.dir),
            pace: Pace {
                poll_s: 1,
                backoff_ms: 50,
                edit_ms: 20,
            },
            metrics: Default::default(),
        };
        let telegram = Telegram::start(config, handle.clone(), events).expect("threads");
        Daemon {
            handle,
            thread,
            telegram,
        }
    }
}

pub(crate) fn files_dir(dir: &Path) -> PathBuf {
    dir.join("workspace/telegram")
}

type Running = (Driver, Rc<LocalExecutor<'static>>);

fn prepare(
    dir: &Path,
    choice: &Choice,
    mode: Mode,
) -> (Running, Handle, Settings, async_channel::Receiver<Event>) {
    let provider = resolve(choice, &|_| None).expect("a provider");
    let models = Models::new(provider, 200_000).expect("a model");
    let workspace = dir.join("workspace");
    std::fs::create_dir_all(&workspace).expect("a workspace");
    let tools = Tools::new(ToolConfig {
        working_dir: workspace,
        timeout_ms: 30_000,
        output_chars: 10_000,
        secrets: Secrets::default(),
        guard: env!("CARGO_BIN_EXE_openpistacrab").into(),
    });
    let settings = Settings {
        provider: "test".to_owned(),
        model: "test".into(),
        tools: tools.specs().into(),
        policy: Policy {
            mode,
            ..Policy::default()
        },
        owners: BTreeSet::from([peer(OWNER.unsigned_abs())]),
        channel_chars: BTreeMap::from([(CHANNEL.to_owned(), MESSAGE_CHARS)]),
        ..Settings::default()
    };
    let mut fronts = Fronts::new();
    let events = fronts.add(CHANNEL);
    let hands = Hands {
        models,
        tools,
        sandboxes: Default::default(),
        fronts,
        metrics: Default::default(),
    };
    let opened = Journal::open(&dir.join("memory.db")).expect("a journal");
    let executor = Rc::new(LocalExecutor::new());
    let (driver, handle) = Driver::new(opened, Secrets::default(), hands, Rc::clone(&executor));
    ((driver, executor), handle, settings, events)
}

impl Daemon {
    pub(crate) fn stop(self) {
        self.telegram.stop();
        self.handle.leave(Leave::Within(std::time::Duration::ZERO));
        self.thread.join().expect("the loop ends");
        self.telegram.join();
    }
}

/// How many steps the journal holds.
pub(crate) fn steps(dir: &Path) -> u64 {
    let opened = Journal::open(&dir.join("memory.db")).expect("a journal");
    opened.core.state().seq().0
}
