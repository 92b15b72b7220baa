//! A daemon with the gateway as its only channel, on a thread of its own.

use crate::server::Server;
use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use openpista_core::settings::{Mode, Policy, Settings};
use openpista_shell_smol::client::{Client, Connected};
use openpista_shell_smol::driver::{Driver, Handle};
use openpista_shell_smol::effect::Hands;
use openpista_shell_smol::effect::deliver::{Event, Fronts};
use openpista_shell_smol::effect::model::{self, Models};
use openpista_shell_smol::effect::tool::{ToolConfig, Tools};
use openpista_shell_smol::journal::{Journal, JournalError, Lookup, Reader, StoredStep, Tokens};
use openpista_shell_smol::secret::{Secret, Secrets};
use openpista_shell_smol::source::quic::{CHANNEL, Gateway, GatewayConfig, origin_of};
use smol::LocalExecutor;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The owner's token.
pub(crate) const OWNER: &str = "laptop";

/// What a daemon leaves behind when it ends.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    pub(crate) token: Secret,
}

impl Home {
    pub(crate) fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&database(dir.path())).unwrap();
        let token = tokens.add(OWNER).unwrap();
        Home { dir, token }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::open(&database(self.path())).unwrap()
    }

    /// How many steps of the journal have this in their records.
    pub(crate) fn recorded(&self, text: &str) -> usize {
        let reader = Reader::open(&database(self.path())).unwrap();
        let mut count = 0;
        let look = |step: StoredStep<'_>| {
            count += usize::from(step.records.contains(text));
            Ok::<_, JournalError>(())
        };
        reader.steps(None, look).unwrap();
        count
    }

    pub(crate) fn start(&self, server: &Server) -> Daemon {
        self.start_with(server, Mode::Full, |_| {})
    }

    pub(crate) fn start_with(
        &self,
        server: &Server,
        mode: Mode,
        configure: impl FnOnce(&mut GatewayConfig),
    ) -> Daemon {
        let listen = "127.0.0.1:0".parse().unwrap();
        let mut config = GatewayConfig::new(listen, self.path().to_owned());
        config.owners = BTreeSet::from([OWNER.to_owned()]);
        configure(&mut config);
        let (base_url, dir) = (server.base_url(), self.path().to_owned());
        let (sender, receiver) = mpsc::channel();
        let (held, killed) = async_channel::bounded(1);
        let thread = std::thread::spawn(move || {
            live(&dir, base_url, mode, config, (&sender, &killed));
        });
        let gateway = receiver.recv().unwrap();
        Daemon {
            address: gateway.local_addr(),
            client: client_of(&gateway, &self.token),
            gateway: Some(gateway),
            held,
            thread: Some(thread),
        }
    }
}

pub(crate) fn database(dir: &Path) -> PathBuf {
    dir.join("memory.db")
}

fn client_of(gateway: &Gateway, token: &Secret) -> Client {
    Client::new(gateway.fingerprint(), token.clone(), "test").unwrap()
}

fn live(
    dir: &Path,
    base_url: String,
    mode: Mode,
    config: GatewayConfig,
    (ready, killed): (&mpsc::Sender<Gateway>, &Receiver<Infallible>),
) {
    let executor = Rc::new(LocalExecutor::new());
    let (driver, handle, events, settings) = prepare(dir, base_url, mode, &executor);
    let lookup = Lookup::open(&database(dir)).unwrap();
    let gateway = Gateway::start(config, handle, events, lookup).unwrap();
    ready.send(gateway).unwrap();
    let killed = async {
        let _ = killed.recv().await;
        Ok(())
    };
    smol::block_on(executor.run(driver.run(settings).or(killed))).unwrap();
}

/// A loop that does not run yet, its handle, and what its one front end receives.
pub(crate) fn prepare(
    dir: &Path,
    base_url: String,
    mode: Mode,
    executor: &Rc<LocalExecutor<'static>>,
) -> (Driver, Handle, Receiver<Event>, Settings) {
    let opened = Journal::open(&database(dir)).unwrap();
    let choice = model::Choice {
        provider: Some("custom".to_owned()),
        model: Some("test".to_owned()),
        base_url: Some(base_url),
        api_key: None,
    };
    let provider = model::resolve(&choice, &|_: &str| None).unwrap();
    let tools = Tools::new(ToolConfig {
        working_dir: dir.to_owned(),
        timeout_ms: 30_000,
        output_chars: 10_000,
        secrets: Secrets::default(),
        guard: env!("CARGO_BIN_EXE_openpistacrab").into(),
    });
    let settings = Settings {
        provider: provider.name.clone(),
        model: provider.model.as_str().into(),
        tools: tools.specs().into(),
        policy: Policy {
            mode,
            ..Policy::default()
        },
        owners: BTreeSet::from(["cli:local".to_owned(), origin_of(OWNER)]),
        ..Settings::default()
    };
    let mut fronts = Fronts::new();
    let events = fronts.add(CHANNEL);
    let hands = Hands {
        models: Models::new(provider, 200_000).unwrap(),
        tools,
        sandboxes: Default::default(),
        fronts,
        metrics: Default::default(),
    };
    let (driver, handle) = Driver::new(opened, Secrets::default(), hands, Rc::clone(executor));
    (driver, handle, events, settings)
}

/// A daemon that runs.
pub(crate) struct Daemon {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    gateway: Option<Gateway>,
    /// Its loop is dropped as it stands when this is closed.
    held: Sender<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    pub(crate) async fn connect(&self) -> Connected {
        self.client.connect(self.address).await.unwrap()
    }

    pub(crate) fn client_with(&self, token: &Secret) -> Client {
        client_of(self.gateway(), token)
    }

    /// Closes the gateway and crashes: what runs is never heard of again.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            smol::block_on(gateway.close());
        }
        self.held.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}
