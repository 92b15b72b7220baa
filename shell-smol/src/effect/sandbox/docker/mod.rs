//! Containers: one a task, made through Docker's API, used once, and removed.
//!
//! A container is named by its sandbox and by the journal that it belongs to ([`DockerConfig::owner`]),
//! so whoever comes after a crash finds it, and two daemons on one Docker never touch each other's.
//! In it nothing can be reached or changed: no network, no capability, nobody's user, a root and a
//! workspace that are read-only, bounded memory, processors and processes.
//! This module decides nothing; it keeps law 15 by removing what it is told to, whatever it finds.
//!
//! The Docker client needs tokio, which lives on an island, a thread of its own: each action is sent
//! there whole. What prints progress stays here, on the caller's side.

mod arguments;
mod create;
mod daemon;
mod image;
mod island;
mod network;
mod output;
mod probe;
mod run;
mod token;

pub use self::create::WORKER;
pub use self::token::{TOKEN_FILE, digest};

use self::daemon::Daemon;
use self::island::Island;
use crate::effect::Stop;
use crate::secret::Secrets;
use crate::source::quic::annex::Annex;
use async_channel::Receiver;
use futures_lite::future::zip;
use openpista_core::effect::sandbox::{
    Action, Done, Engine, Program, SandboxFault, Sandboxed, UseSandbox,
};
use openpista_core::effect::{Chunk, Recovery};
use openpista_core::id::{SandboxId, Seq};
use openpista_core::message::ToolSpec;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The tool that runs a command in a container.
pub const TOOL: &str = "container.run";

/// The tool that runs a command under our worker.
pub const WORKER_TOOL: &str = "worker.run";

/// What containers are made of.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The daemon's socket, `unix:///PATH`; else what `DOCKER_HOST` names, else the usual one.
    pub host: Option<String>,
    /// Whose containers these are: something random that belongs to one journal, of letters and
    /// digits, at least eight.
    pub owner: String,
    /// What is mounted read-only at `/workspace`.
    pub workspace: PathBuf,
    /// The image of calls that name none.
    pub default_image: Option<String>,
    /// Fetch images that are not here.
    pub pull: bool,
    /// How many processors' time one may use; calls may ask for less. Likewise:
    pub cpus: f64,
    /// How much memory, in bytes, files in `/tmp` included.
    pub memory_bytes: u64,
    /// How many processes and threads at once.
    pub pids: u64,
    /// How long one may run, in milliseconds.
    pub timeout_ms: u64,
    /// How large `/tmp` may become, in bytes.
    pub tmpfs_bytes: u64,
    /// How many characters of each of its streams are kept.
    pub output_chars: usize,
    /// How many there may be at once. Further ones wait.
    pub at_once: usize,
    /// What nobody must see of their output.
    pub secrets: Secrets,
    /// What workers are made of; none where there are no workers.
    pub worker: Option<WorkerConfig>,
}

/// What a worker has that another container has not.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Our worker program on this computer, for any Linux image: mounted read-only at [`WORKER`],
    /// it gets the task's command as its arguments and its token from [`TOKEN_FILE`].
    pub program: PathBuf,
    /// Where the gateway listens for workers: that of its configuration.
    pub annex: Annex,
}

impl Default for DockerConfig {
    fn default() -> DockerConfig {
        DockerConfig {
            host: None,
            owner: String::new(),
            workspace: PathBuf::new(),
            default_image: None,
            pull: false,
            cpus: 1.0,
            memory_bytes: 512 << 20,
            pids: 256,
            timeout_ms: 300_000,
            tmpfs_bytes: 64 << 20,
            output_chars: 10_000,
            at_once: 4,
            secrets: Secrets::default(),
            worker: None,
        }
    }
}

/// The engine. The default one is switched off.
#[derive(Debug, Default)]
pub struct Docker {
    shared: Option<Arc<Shared>>,
    island: Island,
}

/// What all actions share.
#[derive(Debug)]
struct Shared {
    config: DockerConfig,
    daemon: Daemon,
    slots: Slots,
    /// Held from looking for the workers' network until a container is on it: Docker makes two of
    /// a name, and takes away one that nobody has started on yet.
    networking: Arc<smol::lock::Mutex<()>>,
    /// What Docker was asked to make and has not answered yet; each channel closes when it has.
    making: Mutex<BTreeMap<SandboxId, Receiver<Infallible>>>,
}

/// One action on its way, on the island.
struct Acting {
    shared: Arc<Shared>,
    used: UseSandbox,
    stop: Stop,
    shown: Shown,
}

/// Where progress goes.
#[derive(Clone, Debug)]
struct Shown(async_channel::Sender<Chunk>);

impl Docker {
    /// Makes nothing yet, and asks nobody.
    pub fn new(mut config: DockerConfig) -> Docker {
        if let Ok(workspace) = std::path::absolute(&config.workspace) {
            config.workspace = workspace;
        }
        let shared = Shared {
            daemon: Daemon::new(config.host.as_deref()),
            slots: Slots::new(config.at_once),
            networking: Arc::default(),
            making: Mutex::default(),
            config,
        };
        Docker {
            shared: Some(Arc::new(shared)),
            island: Island::default(),
        }
    }

    /// Performs one action. Dropping the future ends what runs.
    pub async fn perform(
        &self,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Done, SandboxFault> {
        let (shown, seen) = async_channel::bounded(16);
        let acting = Acting {
            shared: Arc::clone(self.shared().map_err(unavailable)?),
            used: used.clone(),
            stop: stop.clone(),
            shown: Shown(shown),
        };
        let show = async {
            while let Ok(chunk) = seen.recv().await {
                progress(chunk);
            }
        };
        let (done, ()) = zip(self.island.run(acting.perform()), show).await;
        done.unwrap_or_else(|error| Err(unavailable(no_thread(&error))))
    }

    /// Removes the containers of this journal that nobody owns any more, and says how many there
    /// were. For the start of the daemon: `owned` are the sandboxes that the journal knew at its
    /// step `through`. What came after that is of this life, and is left alone.
    ///
    /// # Errors
    /// What is missing, in words for a person: containers may be left.
    pub async fn sweep(&self, owned: BTreeSet<SandboxId>, through: Seq) -> Result<usize, String> {
        let shared = Arc::clone(self.shared()?);
        let swept = self
            .island
            .run(async move { shared.sweep(&owned, through).await });
        swept.await.unwrap_or_else(|error| Err(no_thread(&error)))
    }

    /// The version of the daemon that answers, for a person to read.
    ///
    /// # Errors
    /// Why none does, and what to do about it.
    pub async fn version(&self) -> Result<String, String> {
        let shared = Arc::clone(self.shared()?);
        let asked = self.island.run(async move { shared.version().await });
        asked.await.unwrap_or_else(|error| Err(no_thread(&error)))
    }

    fn shared(&self) -> Result<&Arc<Shared>, String> {
        let off = || "containers are switched off in the configuration".to_owned();
        self.shared.as_ref().ok_or_else(off)
    }
}

fn no_thread(error: &str) -> String {
    format!("the system starts no more threads now ({error}): try again later")
}

fn unavailable(message: String) -> SandboxFault {
    SandboxFault::Unavailable { message }
}

/// What the model is told of `container.run`. `otherwise` is what else will do where Docker is
/// not available.
pub fn spec(config: &DockerConfig, otherwise: Option<Engine>) -> ToolSpec {
    let description = format!(
        "Run a command in a container of its own, made for it and removed afterwards, and get its \
         exit code, standard output and standard error. It has no network, no privileges and no \
         terminal; the workspace is at {}, read-only, and only {} can be written to, {} MiB of it. \
         The container ends with the command. Of each stream the first and last characters are \
         returned, {} in all.",
        arguments::WORKSPACE,
        arguments::SCRATCH,
        config.tmpfs_bytes >> 20,
        config.output_chars
    );
    ToolSpec {
        name: TOOL.to_owned(),
        description,
        parameters: arguments::schema(config).to_string(),
        recovery: Recovery::Probe,
        read_only: false,
        timeout_ms: config.timeout_ms,
        sandbox: Some(Sandboxed {
            engine: Engine::Docker,
            otherwise,
            program: Program::Command,
        }),
    }
}

/// What the model is told of `worker.run`, which has no other engine.
pub fn worker_spec(config: &DockerConfig) -> ToolSpec {
    let description = format!(
        "Run a long or heavy command in a container of its own, like `{TOOL}`, under a worker that \
         reports over the gateway how it ended: the command works on, and its result is not lost, \
         when the daemon is restarted meanwhile. Several calls of one round run at once. Of each \
         stream the first and last characters are returned, {} in all.",
        config.output_chars
    );
    ToolSpec {
        name: WORKER_TOOL.to_owned(),
        description,
        sandbox: Some(Sandboxed {
            engine: Engine::Docker,
            otherwise: None,
            program: Program::Worker,
        }),
        ..spec(config, None)
    }
}

impl Acting {
    async fn perform(self) -> Result<Done, SandboxFault> {
        match &self.used.action {
            Action::Create(task) => self.create(task).await,
            Action::Run(task) => self.run(task).await,
            Action::Resume(task) => self.resume(task).await,
            Action::Destroy => self.destroy().await,
        }
    }

    fn container(&self) -> String {
        self.shared.container(self.used.sandbox)
    }
}

impl Shared {
    fn making(&self) -> MutexGuard<'_, BTreeMap<SandboxId, Receiver<Infallible>>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a sandbox's container.
    fn container(&self, sandbox: SandboxId) -> String {
        let owner = self.config.owner.get(..8).unwrap_or(&self.config.owner);
        format!("openpista-{owner}-{}-{}", sandbox.seq, sandbox.slot)
    }
}

/// How many sandboxes there may be at once, and which those are.
#[derive(Debug)]
struct Slots {
    free: Arc<Semaphore>,
    taken: Mutex<BTreeMap<SandboxId, SemaphoreGuardArc>>,
}

impl Slots {
    fn new(at_once: usize) -> Slots {
        Slots {
            free: Arc::new(Semaphore::new(at_once.max(1))),
            taken: Mutex::default(),
        }
    }

    /// A slot, if one is free at this moment.
    fn try_take(&self) -> Option<SemaphoreGuardArc> {
        self.free.try_acquire_arc()
    }

    /// Waits for a slot.
    async fn take(&self) -> SemaphoreGuardArc {
        self.free.acquire_arc().await
    }

    /// A sandbox has a slot from now on.
    fn keep(&self, sandbox: SandboxId, slot: SemaphoreGuardArc) {
        self.taken().insert(sandbox, slot);
    }

    /// One that was found again has a slot, whether one is free or not.
    fn keep_found(&self, sandbox: SandboxId) {
        let mut taken = self.taken();
        if !taken.contains_key(&sandbox)
            && let Some(slot) = self.try_take()
        {
            taken.insert(sandbox, slot);
        }
    }

    fn give_back(&self, sandbox: SandboxId) {
        self.taken().remove(&sandbox);
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<SandboxId, SemaphoreGuardArc>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
