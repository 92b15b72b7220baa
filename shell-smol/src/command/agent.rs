//! The agent in this process: the journal, the model, the tools and the loop, joined. What `start`
//! lives by, and `run` and `repl` when no daemon runs.

use super::{Error, desktop, sandbox};
use crate::alarm;
use crate::config::Config;
use crate::driver::{Driver, Handle};
use crate::effect::Hands;
use crate::effect::deliver::Fronts;
use crate::effect::model::Models;
use crate::effect::sandbox::docker::WorkerConfig;
use crate::effect::tool::desktop::Desktop;
use crate::effect::tool::{ToolConfig, Tools, guard};
use crate::journal::Opened;
use crate::metrics::{self, Metrics};
use crate::secret::{Secret, Secrets};
use crate::skill::Skills;
use crate::source::{signal, skill, wall};
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::future;
use openpista_core::input::Input;
use openpista_core::settings::Settings;
use smol::LocalExecutor;
use smol::net::TcpListener;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// When to look again for what Docker was still making for an earlier life: it may have taken as
/// long as we would have waited for it.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// All that a life needs, before it begins.
pub(super) struct Agent {
    executor: Rc<LocalExecutor<'static>>,
    driver: Driver,
    settings: Settings,
    /// For what the front ends have to say.
    pub(super) handle: Handle,
    /// What is counted.
    pub(super) metrics: Metrics,
}

/// What the daemon adds to the configuration.
#[derive(Default)]
pub(super) struct Extras {
    /// Secrets that the configuration does not name.
    pub(super) secrets: Vec<(String, Secret)>,
    /// People who may give orders, beside the one at this machine's terminal.
    pub(super) owners: Vec<String>,
    /// It serves for as long as it is let, so that jobs fire.
    pub(super) daemon: bool,
    /// The longest text that a channel delivers in one piece, in characters.
    pub(super) channel_chars: BTreeMap<String, usize>,
    /// What workers are made of; none where there are no workers.
    pub(super) worker: Option<WorkerConfig>,
}

impl Agent {
    /// Prepares everything. Nothing runs yet.
    ///
    /// # Errors
    /// When the provider is not configured right.
    pub(super) fn start(
        config: &Config,
        opened: Opened,
        fronts: Fronts,
        extras: Extras,
    ) -> Result<Agent, Error> {
        // A place of our own is made; one that somebody chose elsewhere is theirs to make.
        if config.workspace.starts_with(&config.data_dir) {
            make(&config.workspace)?;
        }
        let own = config
            .secrets()
            .map(|(name, secret)| (name.to_owned(), secret));
        let secrets = Secrets::new(own.chain(extras.secrets));
        let models = models(config)?;
        let tools = tools(config, &secrets)?;
        let workers = extras.worker.is_some();
        let sandboxes = sandbox::engines(
            config,
            sandbox::Shared {
                began_unix_ms: opened.began_unix_ms,
                secrets: secrets.clone(),
                guard: guard()?,
                worker: extras.worker,
            },
        );
        let provider = models.provider();
        // Those of the schedule are answered by the core itself.
        let offered = tools
            .specs()
            .into_iter()
            .chain(sandbox::specs(config, workers))
            .chain(openpista_core::schedule_tools());
        let offered: Vec<_> = offered.collect();
        let names = offered.iter().map(|spec| spec.name.clone());
        let metrics = Metrics::new(&provider.name, names.collect());
        let mut settings = config.settings(&provider.name, &provider.model, offered);
        settings.jobs_fire = extras.daemon;
        settings.owners.extend(extras.owners);
        settings.channel_chars.extend(extras.channel_chars);
        let hands = Hands {
            models,
            tools,
            sandboxes,
            fronts,
            metrics: metrics.clone(),
        };
        let executor = Rc::new(LocalExecutor::new());
        let (driver, handle) = Driver::new(opened, secrets, hands, Rc::clone(&executor));
        executor.spawn(wall::watch(handle.clone())).detach();
        let mut workspace = skill::Watch::new(Skills::of(config));
        let skills = workspace.look().unwrap_or_default();
        // The first of all inputs after the boot, so that the first prompt has them.
        smol::block_on(handle.send(Input::Learn { skills }));
        executor.spawn(workspace.watch(handle.clone())).detach();
        Ok(Agent {
            executor,
            driver,
            settings,
            handle,
            metrics,
        })
    }

    /// The signals that `watch` sees, as they come. A task of its own looks for them: whoever did
    /// so beside the loop would ask the system at each of its steps.
    pub(super) fn signals(&self, mut watch: signal::Watch) -> Receiver<signal::Ending> {
        let (sender, receiver) = async_channel::unbounded();
        let watching = async move { while sender.send(watch.next().await).await.is_ok() {} };
        self.executor.spawn(watching).detach();
        receiver
    }

    /// Removes, while the agent lives, what earlier lives left in Docker that nobody owns: at once,
    /// and again when Docker has done what those had asked it for. For a daemon: what runs for one
    /// message alone leaves it to the next.
    pub(super) fn sweep(&self) {
        let handle = self.handle.clone();
        let sweeping = async move {
            handle.sweep().await;
            Timer::after(SWEEP_AGAIN).await;
            handle.sweep().await;
        };
        self.executor.spawn(sweeping).detach();
    }

    /// Answers whoever asks there for what is counted, while the agent lives.
    pub(super) fn show_metrics(&self, listener: TcpListener) {
        let handle = self.handle.clone();
        let look = move || {
            let handle = handle.clone();
            async move { handle.moment().await }
        };
        let serving = metrics::serve(listener, self.metrics.clone(), look);
        self.executor.spawn(serving).detach();
    }

    /// The provider's name, as people are told of it.
    pub(super) fn provider(&self) -> &str {
        &self.settings.provider
    }

    /// The model's name, as people are told of it.
    pub(super) fn model(&self) -> String {
        self.settings.model.to_string()
    }

    /// How many jobs the configuration has.
    pub(super) fn jobs(&self) -> usize {
        self.settings.schedule.len()
    }

    /// Lives until the front end has asked to leave and everything is in order.
    ///
    /// # Errors
    /// When the journal fails; the front end is dropped then.
    pub(super) fn live<T>(self, front: impl Future<Output = T>) -> Result<T, Error> {
        let driver = self.driver.run(self.settings);
        let both = future::try_zip(driver, async { Ok(front.await) });
        // Other threads wait for the system: this one only for them, which is cheaper.
        let ended = alarm::block_on(self.executor.run(both));
        ended
            .map(|((), told)| told)
            .map_err(|error| Error::failed(error.to_string()))
    }
}

/// What guards commands.
fn guard() -> Result<PathBuf, Error> {
    let found = guard::find();
    found.map_err(|error| Error::failed(format!("cannot find our own program: {error}")))
}

/// Makes the workspace. What it lies in is ours alone; itself it can be read, since it must be by
/// nobody's user in a container.
fn make(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    let above = dir.parent().map_or(Ok(()), |above| builder.create(above));
    above.and_then(|()| builder.mode(0o755).create(dir)).map_err(|error| {
        Error::failed(format!(
            "cannot make the directory {}: {error}; let this user write there, or choose another \
             with --data-dir",
            dir.display()
        ))
    })
}

fn models(config: &Config) -> Result<Models, Error> {
    config
        .provider()
        .and_then(|provider| Models::new(provider, config.limits.reply_bytes))
        .map_err(|error| Error::usage(error.to_string()))
}

/// The tools of the machine itself, and those of its desktop.
fn tools(config: &Config, secrets: &Secrets) -> Result<Tools, Error> {
    let tools = Tools::new(ToolConfig {
        working_dir: config.workspace.clone(),
        timeout_ms: config.tools.timeout_ms,
        output_chars: config.tools.output_chars,
        secrets: secrets.clone(),
        guard: guard()?,
    });
    Ok(match config.tools.desktop {
        true => tools.with_desktop(Desktop::new(desktop::config(config, secrets.clone()))),
        false => tools,
    })
}
