//! The agent in this process: the journal, the model, the tools and the loop, joined for one front
//! end. What `run` and `repl` share.

use super::Error;
use crate::config::Config;
use crate::driver::{Driver, Handle};
use crate::effect::Hands;
use crate::effect::deliver::{Event, Fronts};
use crate::effect::model::Models;
use crate::effect::tool::{ToolConfig, Tools};
use crate::journal::Journal;
use crate::secret::Secrets;
use crate::source::cli;
use async_channel::Receiver;
use futures_lite::future;
use openpista_core::settings::Settings;
use smol::LocalExecutor;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::rc::Rc;

/// All that a life needs, before it begins.
pub(super) struct Agent {
    executor: Rc<LocalExecutor<'static>>,
    driver: Driver,
    settings: Settings,
    /// For what the front end has to say.
    pub(super) handle: Handle,
    /// What the front end is to show.
    pub(super) events: Receiver<Event>,
}

impl Agent {
    /// Opens and prepares everything. Nothing runs yet.
    ///
    /// # Errors
    /// When the provider is not configured right, or the journal cannot be opened.
    pub(super) fn start(config: &Config) -> Result<Agent, Error> {
        // A place of our own is made; one that somebody chose elsewhere is theirs to make.
        if config.workspace.starts_with(&config.data_dir) {
            make(&config.workspace)?;
        }
        let secrets = Secrets::new(config.secrets());
        let models = models(config)?;
        let tools = Tools::new(ToolConfig {
            working_dir: config.workspace.clone(),
            timeout_ms: config.tools.timeout_ms,
            output_chars: config.tools.output_chars,
            secrets: secrets.clone(),
            guard: "/proc/self/exe".into(),
        });
        let provider = models.provider();
        let settings = config.settings(&provider.name, &provider.model, tools.specs());
        let opened = Journal::open(&config.database).map_err(|e| Error::failed(e.to_string()))?;
        let mut fronts = Fronts::new();
        let events = fronts.add(cli::CHANNEL);
        let hands = Hands {
            models,
            tools,
            fronts,
        };
        let executor = Rc::new(LocalExecutor::new());
        let (driver, handle) = Driver::new(opened, secrets, hands, Rc::clone(&executor));
        Ok(Agent {
            executor,
            driver,
            settings,
            handle,
            events,
        })
    }

    /// The model's name, as people are told of it.
    pub(super) fn model(&self) -> String {
        self.settings.model.to_string()
    }

    /// Lives until the front end has asked to leave and everything is in order.
    ///
    /// # Errors
    /// When the journal fails; the front end is dropped then.
    pub(super) fn live<T>(self, front: impl Future<Output = T>) -> Result<T, Error> {
        let driver = self.driver.run(self.settings);
        let both = future::try_zip(driver, async { Ok(front.await) });
        let ended = smol::block_on(self.executor.run(both));
        ended
            .map(|((), told)| told)
            .map_err(|error| Error::failed(error.to_string()))
    }
}

fn make(dir: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
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
