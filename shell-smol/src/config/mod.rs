//! The configuration: defaults, then the file, then the environment.
//!
//! [`key`] is the table of every key that this version obeys; a file is read by it, and everything
//! else is refused with the line and the nearest key. [`mod@env`] lists the variables. What decides
//! anything leaves here as the core's [`Settings`], without secrets.

pub mod env;
pub mod example;
mod file;
pub mod key;
pub mod policy;
mod prompt;
mod sandbox;
mod schedule;
mod service;

use crate::effect::model;
use crate::secret::Secret;
pub use env::Env;
use openpista_core::cron::Zone;
use openpista_core::limit::Limits;
use openpista_core::message::ToolSpec;
use openpista_core::settings::{JobSpec, Policy, Settings};
pub use sandbox::{Fallback, Sandbox};
pub use service::{Gateway, Telegram, Watched};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// The peer that the person at this machine's terminal is.
pub const OWNER: &str = "cli:local";

/// Where the command line says that things are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locations {
    /// `--config FILE`: must exist.
    pub config: Option<PathBuf>,
    /// `--data-dir DIR`.
    pub data_dir: Option<PathBuf>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// Where the program keeps what is its own.
    pub data_dir: PathBuf,
    /// The journal's database file.
    pub database: PathBuf,
    /// The working directory of commands.
    pub workspace: PathBuf,
    /// Which model answers.
    pub agent: Agent,
    /// How tools run.
    pub tools: Tools,
    /// What sandboxed work runs in.
    pub sandbox: Sandbox,
    /// How the daemon listens.
    pub gateway: Gateway,
    /// The daemon's Telegram bot.
    pub telegram: Telegram,
    /// What an operator watches.
    pub metrics: Watched,
    /// Messages that come by themselves.
    pub schedule: Vec<JobSpec>,
    /// What may run, and what must be asked about.
    pub policy: Policy,
    /// The bounds.
    pub limits: Limits,
    /// The environment, for the API keys in it.
    pub env: Env,
}

/// `[agent]`: which model answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Where the model is.
    pub provider: Provider,
    /// Its name there; the provider's usual one when none.
    pub model: Option<String>,
    /// The key from the file. See [`Env::key`] for those of the environment.
    pub api_key: Option<Secret>,
    /// The server, as `https://host/v1`, without a slash at the end; the provider's own when none.
    pub base_url: Option<String>,
    /// The model takes pictures.
    pub images: bool,
    /// Replaces our system prompt.
    pub system_prompt: Option<String>,
    /// The time zone of jobs that name none; the machine's when none.
    pub zone: Option<Zone>,
    /// How long running work may go on when the daemon is told to end, in milliseconds.
    pub shutdown_grace_ms: u64,
}

impl Default for Agent {
    fn default() -> Agent {
        Agent {
            provider: Provider::default(),
            model: None,
            api_key: None,
            base_url: None,
            system_prompt: None,
            zone: None,
            images: false,
            shutdown_grace_ms: 10_000,
        }
    }
}

/// Where a model is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provider {
    /// The first of: a key in the environment, an Ollama on its usual port, the one inside.
    #[default]
    Auto,
    /// The small rule-following one inside this program.
    Builtin,
    /// OpenAI.
    OpenAi,
    /// Anthropic, through its OpenAI-compatible interface.
    Anthropic,
    /// Together AI.
    Together,
    /// OpenRouter.
    OpenRouter,
    /// An Ollama on this machine.
    Ollama,
    /// Any other server that speaks OpenAI's chat completions; needs a `base_url`.
    Custom,
}

impl Provider {
    /// All of them.
    pub const ALL: [Provider; 8] = [
        Provider::Auto,
        Provider::Builtin,
        Provider::OpenAi,
        Provider::Anthropic,
        Provider::Together,
        Provider::OpenRouter,
        Provider::Ollama,
        Provider::Custom,
    ];

    /// Their names.
    pub const NAMES: [&str; 8] = {
        let mut names = [""; 8];
        let mut at = 0;
        while at < names.len() {
            names[at] = Provider::ALL[at].name();
            at += 1;
        }
        names
    };

    /// The name in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Auto => "auto",
            Provider::Builtin => "builtin",
            Provider::OpenAi => "openai",
            Provider::Anthropic => "anthropic",
            Provider::Together => "together",
            Provider::OpenRouter => "openrouter",
            Provider::Ollama => "ollama",
            Provider::Custom => "custom",
        }
    }
}

/// `[tools]`: how tools run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// How long one command may run, in milliseconds.
    pub timeout_ms: u64,
    /// How much of a command's output is kept, in characters.
    pub output_chars: usize,
    /// Those of the desktop are offered, where there is one.
    pub desktop: bool,
}

impl Default for Tools {
    fn default() -> Tools {
        Tools {
            timeout_ms: 30_000,
            output_chars: 10_000,
            desktop: true,
        }
    }
}

impl Config {
    /// Reads the file, if there is one, and joins it with the environment.
    pub fn load(locations: &Locations, env: &Env) -> Result<Config, ConfigError> {
        let path = Config::path(locations, env)?;
        let named = locations.config.is_some() || env.path(env::CONFIG).is_some();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        Config::join(locations, env, text.map(|text| (path, text)))
    }

    /// What holds without a file.
    ///
    /// # Errors
    /// When the home directory is needed and unknown.
    pub fn without_file(locations: &Locations, env: &Env) -> Result<Config, ConfigError> {
        Config::join(locations, env, None)
    }

    /// Where the file is, or would be.
    ///
    /// # Errors
    /// When the home directory is needed and unknown.
    pub fn path(locations: &Locations, env: &Env) -> Result<PathBuf, ConfigError> {
        match locations.config.as_ref().or(env.path(env::CONFIG)) {
            Some(path) => Ok(path.clone()),
            None => Ok(data_dir(locations, env)?.join("config.toml")),
        }
    }

    /// Defaults, then the file, then the environment.
    fn join(
        locations: &Locations,
        env: &Env,
        file: Option<(PathBuf, String)>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::defaults(data_dir(locations, env)?, env.clone());
        if let Some((path, text)) = file {
            config.file = Some(path.clone());
            file::apply(&mut config, &path, &text)?;
        }
        if let Some(workspace) = env.path(env::WORKSPACE) {
            config.workspace = expand(workspace, env)?;
        }
        config.workspace = absolute(config.workspace);
        config.database = absolute(config.database);
        config.sandbox.worker = config.sandbox.worker.map(absolute);
        config.sandbox.wasm_host = config.sandbox.wasm_host.map(absolute);
        Ok(config)
    }

    /// What holds without a file.
    fn defaults(data_dir: PathBuf, env: Env) -> Config {
        Config {
            file: None,
            secret_files: Vec::new(),
            database: data_dir.join("memory.db"),
            workspace: data_dir.join("workspace"),
            data_dir,
            agent: Agent::default(),
            tools: Tools::default(),
            sandbox: Sandbox::default(),
            gateway: Gateway::default(),
            telegram: Telegram::default(),
            metrics: Watched::default(),
            schedule: Vec::new(),
            policy: Policy::default(),
            limits: Limits::default(),
            env,
        }
    }

    /// The provider that the file and the environment come to. May ask an Ollama on this machine,
    /// or the server that was named, which models it has.
    pub fn provider(&self) -> Result<model::Provider, model::ProviderError> {
        let choice = model::Choice {
            provider: Some(self.agent.provider.name().to_owned()),
            model: self.agent.model.clone(),
            base_url: self.agent.base_url.clone(),
            api_key: self.agent.api_key.clone(),
        };
        let key = |name: &str| self.env.key(name).map(|key| key.expose().to_owned());
        model::resolve(&choice, &key)
    }

    /// Every secret that we hold, with the name that it came from, to be kept out of everything.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, Secret)> {
        let own = self.agent.api_key.iter();
        let own = own.map(|key| ("agent.api_key", key.clone()));
        let keys = self.env.keys().map(|(name, key)| (name, key.clone()));
        let bot = self.telegram.token.iter();
        let bot = bot.map(|token| ("channels.telegram.token", token.clone()));
        let placed = self
            .env
            .bot_token()
            .map(|token| (env::BOT_TOKEN, token.clone()));
        keys.chain(own).chain(placed).chain(bot)
    }

    /// The Telegram bot's token: the environment's, else the file's.
    pub fn bot_token(&self) -> Option<&Secret> {
        self.env.bot_token().or(self.telegram.token.as_ref())
    }

    /// Where files go that people send.
    pub fn received_files(&self) -> PathBuf {
        self.workspace.join("files")
    }

    /// The directory that one process at a time holds: the journal's.
    pub fn data_dir_of_journal(&self) -> PathBuf {
        let parent = self.database.parent();
        parent.map_or_else(|| self.data_dir.clone(), Path::to_owned)
    }

    /// The time zone of jobs that name none.
    pub fn zone(&self) -> Zone {
        self.agent.zone.unwrap_or_else(service::machine_zone)
    }

    /// What the core is to decide by: the provider and model that were chosen, the tools on offer.
    pub fn settings(&self, provider: &str, model: &str, tools: Vec<ToolSpec>) -> Settings {
        let system = match &self.agent.system_prompt {
            Some(text) => text.clone(),
            None => prompt::default_for(&self.workspace),
        };
        Settings {
            provider: provider.to_owned(),
            model: model.into(),
            system: system.into(),
            tools: tools.into(),
            images: self.agent.images,
            policy: self.policy.clone(),
            owners: BTreeSet::from([OWNER.to_owned()]),
            channel_chars: BTreeMap::new(),
            schedule: self.schedule.clone(),
            jobs_fire: true,
            zone: self.zone().to_string(),
            limits: self.limits.clone(),
        }
    }
}

/// The data directory, absolute.
fn data_dir(locations: &Locations, env: &Env) -> Result<PathBuf, ConfigError> {
    let named = locations.data_dir.as_ref().or(env.path(env::DATA_DIR));
    let path = named.map_or(Path::new("~/.openpistacrab"), PathBuf::as_path);
    Ok(absolute(expand(path, env)?))
}

/// Puts the home directory in the place of a leading `~`.
pub(crate) fn expand(path: &Path, env: &Env) -> Result<PathBuf, ConfigError> {
    let Ok(rest) = path.strip_prefix("~") else {
        return Ok(path.to_owned());
    };
    match env.path(env::HOME) {
        Some(home) => Ok(home.join(rest)),
        None => Err(ConfigError::new(format!(
            "{} needs the home directory, but HOME is not set: set it, or pass --data-dir DIR",
            path.display()
        ))),
    }
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    let cure = match error.kind() {
        std::io::ErrorKind::NotFound => {
            "create it (config.example.toml shows every key) or name another with --config"
        }
        std::io::ErrorKind::InvalidData => "save it as UTF-8 text",
        _ => "check what it is and that you may read it",
    };
    ConfigError::new(format!(
        "cannot read the configuration file: {error}; {cure}"
    ))
    .in_file(path)
}

/// Why a configuration is refused, in words that say what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that is wrong.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigError {
    /// An error that is in no file.
    fn new(message: impl Into<String>) -> ConfigError {
        ConfigError {
            file: None,
            line: None,
            message: message.into(),
        }
    }

    fn in_file(mut self, file: &Path) -> ConfigError {
        self.file = Some(file.to_owned());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
