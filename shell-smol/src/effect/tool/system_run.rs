//! `system.run`: one shell command, with what it printed and how it ended.
//!
//! It runs under a [guard](super::guard) that ends everything the command started: when the
//! command itself has ended, when it takes too long, when it is to stop, and when we die. What was
//! printed until then is kept.

use super::guarded::{self, Bounds, NotRun};
use super::process::{Launch, What};
use super::{Shell, ToolConfig, kind};
use crate::effect::Stop;
use openpista_core::effect::tool::{Ran, RunTool, ToolFault};
use openpista_core::effect::{Chunk, Recovery};
use openpista_core::message::ToolSpec;
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// The tool's name.
pub(super) const NAME: &str = "system.run";

/// What the model is told.
pub(super) fn spec(config: &ToolConfig, shell: Option<&Shell>) -> ToolSpec {
    let shell = shell.map_or("bash", Shell::name);
    let description = format!(
        "Run a command on this computer with `{shell} -c` and get its exit code, standard output \
         and standard error. Each run is a new shell: directories and variables do not carry over, \
         so join steps with `&&`. Standard input is empty and there is no terminal: pass flags such \
         as `-y` where a program would ask. The command and everything it starts, background \
         processes included, is ended when the command returns or after {} ms. Of each stream the \
         first and last characters are returned, {} in all: narrow down large output with `grep`, \
         `head` or `tail`.",
        config.timeout_ms, config.output_chars
    );
    let parameters = json!({
        "type": "object",
        "properties": {
            "command": {
                "type": "string",
                "description": format!("The command line, as {shell} reads it.")
            },
            "working_dir": {
                "type": "string",
                "description": format!(
                    "The directory to run in; `~` is the home directory. Default: {}",
                    config.working_dir.display()
                )
            },
            "timeout_ms": {
                "type": "integer",
                "minimum": 1,
                "maximum": config.timeout_ms,
                "description": "End the command after this many milliseconds, if earlier."
            }
        },
        "required": ["command"],
        "additionalProperties": false
    });
    ToolSpec {
        name: NAME.to_owned(),
        description,
        parameters: parameters.to_string(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: config.timeout_ms,
        sandbox: None,
    }
}

/// Arguments that make sense.
#[derive(Debug, PartialEq, Eq)]
struct Arguments {
    command: String,
    working_dir: Option<String>,
    timeout_ms: Option<u64>,
}

impl Arguments {
    fn parse(text: &str) -> Result<Arguments, ToolFault> {
        let mut fields: Map<String, Value> = match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(other) => {
                let kind = kind(&other);
                return wrong(format!("the arguments must be a JSON object, not {kind}"));
            }
            Err(error) => return wrong(format!("the arguments are not JSON: {error}")),
        };
        let command = match fields.remove("command") {
            Some(Value::String(command)) => command,
            Some(other) => {
                return wrong(format!("`command` must be a string, not {}", kind(&other)));
            }
            None => return wrong("`command` is missing: it is the command line to run".to_owned()),
        };
        let working_dir = match fields.remove("working_dir") {
            None | Some(Value::Null) => None,
            Some(Value::String(dir)) => Some(dir),
            Some(other) => {
                return wrong(format!(
                    "`working_dir` must be a string, not {}",
                    kind(&other)
                ));
            }
        };
        let timeout_ms = match fields.remove("timeout_ms") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_u64() {
                Some(ms) if ms > 0 => Some(ms),
                _ => return wrong("`timeout_ms` must be a whole number from 1".to_owned()),
            },
        };
        if let Some(unknown) = fields.keys().next() {
            return wrong(format!(
                "there is no argument `{unknown}`: {NAME} takes `command`, `working_dir` and \
                 `timeout_ms`"
            ));
        }
        if command.trim().is_empty() {
            return wrong("`command` is empty: it is the command line to run".to_owned());
        }
        if command.contains('\0') {
            return wrong("`command` has a NUL character in it, which no command can".to_owned());
        }
        Ok(Arguments {
            command,
            working_dir,
            timeout_ms,
        })
    }

    /// Where to run: the directory that was asked for, else the configured one.
    fn resolve_dir(&self, default: &Path) -> Result<PathBuf, ToolFault> {
        let Some(asked) = &self.working_dir else {
            return match default.is_dir() {
                true => Ok(default.to_owned()),
                false => Err(ToolFault::Start {
                    message: format!(
                        "the configured working directory {} is missing: create it",
                        default.display()
                    ),
                }),
            };
        };
        let dir = match (asked.strip_prefix('~'), std::env::home_dir()) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => default.join(asked),
        };
        match dir.is_dir() {
            true => Ok(dir),
            false => wrong(format!(
                "`working_dir`: there is no directory {}",
                dir.display()
            )),
        }
    }
}

fn wrong<T>(message: String) -> Result<T, ToolFault> {
    Err(ToolFault::Arguments { message })
}

/// Runs one command to its end. Dropping the future ends the command too.
pub(super) async fn run(
    config: &ToolConfig,
    shell: Option<&Shell>,
    run: &RunTool,
    stop: &Stop,
    progress: &impl Fn(Chunk),
) -> Result<Ran, ToolFault> {
    let arguments = Arguments::parse(&run.arguments)?;
    let dir = arguments.resolve_dir(&config.working_dir)?;
    let shell = shell.ok_or_else(|| ToolFault::Start {
        message: "neither bash nor sh is on the PATH: install bash".to_owned(),
    })?;
    let bounds = Bounds {
        timeout_ms: run.timeout_ms.min(arguments.timeout_ms.unwrap_or(u64::MAX)),
        output_chars: config.output_chars,
        secrets: &config.secrets,
    };
    let hidden = config.secrets.hidden_variables(std::env::vars_os());
    let launch = Launch {
        guard: &config.guard,
        what: What::Program(shell.path(), &["-c", &arguments.command], &hidden),
        dir: Some(&dir),
    };
    match guarded::run(&launch, &bounds, stop, progress).await {
        Ok(done) => Ok(done.ran),
        Err(NotRun::Guard(error)) => Err(not_started(&error, &arguments.command, &config.guard)),
        Err(NotRun::Program(why)) => Err(ToolFault::Start {
            message: format!("{} was not started: {why}", shell.name()),
        }),
    }
}

/// The system would not start the guard, so nothing has run.
fn not_started(error: &io::Error, command: &str, guard: &Path) -> ToolFault {
    if error.kind() == io::ErrorKind::ArgumentListTooLong {
        let message = format!(
            "`command` is {} bytes long, more than the system takes at once: write long texts to \
             a file in several runs",
            command.len()
        );
        return ToolFault::Arguments { message };
    }
    ToolFault::Start {
        message: guarded::not_started(error, guard),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arguments: &str) -> String {
        match Arguments::parse(arguments) {
            Err(ToolFault::Arguments { message }) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_are_read() {
        let text = r#"{"command":"ls","working_dir":"~","timeout_ms":5}"#;
        let expected = Arguments {
            command: "ls".into(),
            working_dir: Some("~".into()),
            timeout_ms: Some(5),
        };
        assert_eq!(Arguments::parse(text), Ok(expected));
        // Some models send null for what they leave out.
        assert!(
            Arguments::parse(r#"{"command":"ls","working_dir":null,"timeout_ms":null}"#).is_ok()
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        let table = [
            (
                r#"{"command":"#,
                "the arguments are not JSON: EOF while parsing",
            ),
            (
                r#"["ls"]"#,
                "the arguments must be a JSON object, not an array",
            ),
            (r#"{"cmd":"ls"}"#, "`command` is missing"),
            (
                r#"{"command":7}"#,
                "`command` must be a string, not a number",
            ),
            (r#"{"command":" "}"#, "`command` is empty"),
            (r#"{"command":"a\u0000b"}"#, "`command` has a NUL character"),
            (
                r#"{"command":"ls","dir":"/"}"#,
                "there is no argument `dir`",
            ),
            (
                r#"{"command":"ls","working_dir":[]}"#,
                "`working_dir` must be a string, not an array",
            ),
            (
                r#"{"command":"ls","timeout_ms":"5"}"#,
                "`timeout_ms` must be a whole number",
            ),
            (
                r#"{"command":"ls","timeout_ms":0}"#,
                "`timeout_ms` must be a whole number",
            ),
            (
                r#"{"command":"ls","timeout_ms":1.5}"#,
                "`timeout_ms` must be a whole number",
            ),
        ];
        for (arguments, expected) in table {
            let message = message(arguments);
            assert!(message.starts_with(expected), "{arguments}: {message}");
        }
    }
}
