//! What a command line asks for, once it is understood.

use crate::config::Locations;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// To show a text: help or the version.
    Show(String),
    /// To do something.
    Do(Globals, Command),
}

/// The options that every command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `--config` and `--data-dir`.
    pub locations: Locations,
    /// `--log`: one of the levels.
    pub log: &'static str,
    /// `--log-format json`.
    pub log_json: bool,
}

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One turn.
    Run(RunOptions),
    /// A conversation.
    Repl(ReplOptions),
    /// The daemon.
    Start,
    /// The clients of the gateway.
    Token(TokenOptions),
    /// Letting somebody in, or shutting them out again.
    Admit(AdmitOptions),
    /// What is remembered.
    Sessions(SessionsOptions),
    /// The journal as JSON Lines.
    Export(ExportOptions),
    /// Stepping a core through an export.
    Replay(ReplayOptions),
    /// A check of everything that the program stands on.
    Doctor,
    /// Setting it up.
    Init(Box<InitOptions>),
    /// What completes command lines in this shell.
    Completions(&'static str),
    /// The manual page.
    Man,
}

/// `init [OPTION]...`: what the questions need not ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitOptions {
    /// Where the model is.
    pub provider: Option<&'static str>,
    /// Its name.
    pub model: Option<String>,
    /// The server.
    pub base_url: Option<String>,
    /// Where the provider's key comes from.
    pub api_key: Option<Place>,
    /// Where the bot's token comes from.
    pub telegram_token: Option<Place>,
    /// The server of the Bot API.
    pub telegram_api_url: Option<String>,
    /// The person's id in Telegram.
    pub owner: Option<u64>,
    /// The policy's mode.
    pub policy: Option<&'static str>,
    /// The directory that commands run in.
    pub workspace: Option<PathBuf>,
    /// Write a unit for systemd.
    pub systemd: bool,
    /// Have systemd start it.
    pub enable: bool,
    /// Ask nothing.
    pub yes: bool,
    /// Replace what is there.
    pub force: bool,
}

/// Where a secret comes from. It is never given on the command line, where others could see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file; `-` is standard input. It is kept in a file of our own.
    File(PathBuf),
    /// A variable of the environment, where it stays.
    Environment,
}

/// `run -e TEXT [--session NAME] [--json] [--yes]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// What to say; none means what standard input holds.
    pub text: Option<String>,
    /// In which session; the channel's own when none.
    pub session: Option<String>,
    /// Print the reply as one JSON object.
    pub json: bool,
    /// Allow what the policy would ask about.
    pub yes: bool,
}

/// `repl [--session NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplOptions {
    /// In which session; the channel's own when none.
    pub session: Option<String>,
}

/// `token add NAME`, `token list`, `token revoke NAME`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOptions {
    /// Make one for a client.
    Add(String),
    /// All of them.
    List,
    /// Take a client's away.
    Revoke(String),
}

/// `allow PEER`, `forbid PEER`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmitOptions {
    /// Whom, as `channel:user`.
    pub peer: String,
    /// In, or out.
    pub let_in: bool,
}

/// `sessions`, `sessions show NAME`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsOptions {
    /// All of them.
    List,
    /// The conversation of one.
    Show(String),
}

/// `export [--session NAME] [--redact]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Only this session; all when none.
    pub session: Option<String>,
    /// Replace what people, models and tools said.
    pub redact: bool,
}

/// `replay FILE [--fold]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The export; `-` is standard input.
    pub file: PathBuf,
    /// Fold the records instead of deciding them again.
    pub fold: bool,
}
