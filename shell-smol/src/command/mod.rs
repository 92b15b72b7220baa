//! The commands of the program: parse, load the configuration, dispatch, say how it ended.
//!
//! Each command is a module with a `run` that takes the configuration and its own options and
//! gives an exit status, or an [`Error`] that a person can act on.

mod agent;
pub mod allow;
pub mod args;
mod attached;
pub mod completions;
mod desktop;
pub mod doctor;
pub mod export;
mod help;
pub mod init;
mod link;
pub mod man;
pub mod output;
pub mod repl;
pub mod replay;
mod request;
pub mod run;
mod sandbox;
pub mod sessions;
pub mod start;
mod table;
pub mod token;

use crate::config::{Config, ConfigError, Env};
use crate::effect::tool::guard;
use crate::source::signal::Ending;
use args::{Command, ExportOptions, Globals, Parsed, ReplayOptions, RunOptions, SessionsOptions};
use std::fmt;
use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    status: u8,
}

impl Error {
    /// The work failed: exit status 1. The message names cause and cure in one or two lines.
    pub fn failed(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            status: 1,
        }
    }

    /// The command line or the configuration is wrong: exit status 2.
    pub fn usage(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            status: 2,
        }
    }

    /// The person left by Ctrl-C or Ctrl-D: the exit status is that of the signal.
    pub fn left(message: impl Into<String>) -> Error {
        Error {
            message: message.into(),
            status: Ending::Interrupt.exit_code(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Error {
        Error::usage(error.to_string())
    }
}

/// Runs the program: parses the command line and carries out the command.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before all other work: every command that a tool runs waits for this.
    if args.next().is_some_and(|first| first == guard::SUBCOMMAND) {
        return guard::main(args);
    }
    keep_private();
    let ended = match args::parse(std::env::args_os().skip(1)) {
        Ok(Parsed::Show(text)) => print(&text),
        Ok(Parsed::Do(globals, command)) => carry_out(&globals, command),
        Err(error) => Err(Error::usage(error.to_string())),
    };
    ended.unwrap_or_else(|error| {
        // When even stderr is gone, the exit status still says it.
        let _ = writeln!(std::io::stderr(), "openpistacrab: {error}");
        ExitCode::from(error.status)
    })
}

/// Keeps this process's memory and environment, where secrets are, from all but root: a command
/// that a model runs is of the same user. It also leaves no core.
pub(crate) fn keep_private() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

fn carry_out(globals: &Globals, command: Command) -> Result<ExitCode, Error> {
    log_to_stderr(globals);
    let Globals { locations, .. } = globals;
    let env = Env::of_process();
    let load = || Config::load(locations, &env);
    match command {
        Command::Run(options) => {
            let config = load()?;
            run::run(&config, said(&options, &config)?, &options)
        }
        Command::Repl(options) => repl::run(&load()?, &options),
        Command::Start => start::run(&load()?),
        Command::Token(options) => token::run(&load()?, &options),
        Command::Admit(options) => allow::run(&load()?, &options),
        Command::Sessions(options) => sessions(load()?, options),
        Command::Export(options) => export(load()?, options),
        Command::Replay(options) => replay(options),
        Command::Doctor => doctor::run(locations, &env),
        Command::Init(options) => init::run(locations, &env, &options),
        Command::Completions(shell) => completions::run(shell),
        Command::Man => man::run(),
    }
}

fn sessions(config: Config, options: SessionsOptions) -> Result<ExitCode, Error> {
    let options = sessions::Options {
        database: config.database,
        show: match options {
            SessionsOptions::List => None,
            SessionsOptions::Show(name) => Some(name),
        },
        terminal: std::io::stdout().is_terminal(),
    };
    let ended = sessions::run(&options, &mut std::io::stdout().lock());
    ended.map_err(|error| Error::failed(error.to_string()))
}

fn export(config: Config, options: ExportOptions) -> Result<ExitCode, Error> {
    let options = export::Options {
        database: config.database,
        session: options.session,
        redact: options.redact,
    };
    let ended = export::run(&options, &mut std::io::stdout().lock());
    ended.map_err(|error| Error::failed(error.to_string()))
}

fn replay(options: ReplayOptions) -> Result<ExitCode, Error> {
    let options = replay::Options {
        file: options.file,
        fold: options.fold,
    };
    let ended = replay::run(&options, &mut std::io::stdout().lock());
    ended.map_err(|error| Error::failed(error.to_string()))
}

/// Writes to standard output. A reader that has gone away has seen enough.
pub fn print(text: &str) -> Result<ExitCode, Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn log_to_stderr(globals: &Globals) {
    let level = globals.log.parse();
    let log = tracing_subscriber::fmt()
        .with_max_level(level.unwrap_or(tracing_subscriber::filter::LevelFilter::WARN))
        .with_writer(std::io::stderr);
    match globals.log_json {
        true => log.json().flatten_event(true).with_span_list(false).init(),
        false => {
            let is_terminal = std::io::stderr().is_terminal();
            log.with_ansi(is_terminal && !no_color()).init();
        }
    }
}

/// The person wants no colours: `NO_COLOR` is set and not empty.
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// What `run` is to say: the text of `-e`, else what comes through standard input.
fn said(options: &RunOptions, config: &Config) -> Result<String, Error> {
    let text = match &options.text {
        Some(text) => text.clone(),
        None => from_stdin(config.limits.message_bytes)?,
    };
    match text.trim() {
        "" => Err(Error::usage(NOTHING_TO_SAY)),
        text => Ok(text.to_owned()),
    }
}

const NOTHING_TO_SAY: &str = "run needs something to say: -e 'TEXT', or a text piped into it\n\
                              See openpistacrab run --help";

fn from_stdin(most_bytes: usize) -> Result<String, Error> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Error::usage(NOTHING_TO_SAY));
    }
    let mut bytes = Vec::new();
    let read = stdin
        .lock()
        .take(most_bytes as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| Error::failed(format!("cannot read stdin: {error}")))?;
    if bytes.len() > most_bytes {
        return Err(Error::usage(format!(
            "stdin holds more than {most_bytes} bytes: send less, or raise limits.message_bytes"
        )));
    }
    let bad = "stdin is not valid UTF-8: convert it, or let a command read it";
    String::from_utf8(bytes).map_err(|_| Error::usage(bad))
}
