//! `system.run`: one shell command, with what it printed and how it ended.
//!
//! It runs under a [guard](super::guard) that ends everything the command started: when the
//! command itself has ended, when it takes too long, when it is to stop, and when we die. What was
//! printed until then is kept.

use super::clip::{Capture, keep_last};
use super::process::{End, Launch, Process};
use super::{Shell, ToolConfig};
use crate::effect::Stop;
use async_io::Timer;
use async_process::{ChildStderr, ChildStdout};
use futures_lite::future::{or, pending, yield_now, zip};
use futures_lite::{AsyncRead, AsyncReadExt};
use openpista_core::effect::tool::{Exit, Ran, RunTool, ToolFault};
use openpista_core::effect::{Chunk, Recovery};
use openpista_core::message::ToolSpec;
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The tool's name.
pub(super) const NAME: &str = "system.run";

/// How long what a command left behind may still print once the command has ended: enough for the
/// last words of a process substitution.
const LINGER: Duration = Duration::from_millis(200);

/// How long to read on when everything that could print was killed: what is in the pipe comes at
/// once, and only somebody out of reach can keep it open longer.
const DRAIN: Duration = Duration::from_millis(200);

/// The shortest time between two chunks of progress of one stream.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The largest chunk of progress, in characters; of more, the last are shown.
const PROGRESS_CHARS: usize = 2_000;

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

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why we no longer wait for the command.
enum Cause {
    Itself(End),
    TimedOut,
    Stopped,
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
    let timeout_ms = run.timeout_ms.min(arguments.timeout_ms.unwrap_or(u64::MAX));
    let began = Instant::now();
    let (mut process, stdout, stderr) = Process::start(&Launch {
        guard: &config.guard,
        program: shell.path(),
        args: &["-c", &arguments.command],
        dir: &dir,
        hidden: &config.secrets.hidden_variables(std::env::vars_os()),
    })
    .map_err(|error| not_started(&error, &arguments.command, &config.guard))?;
    let mut output = Output {
        stdout: Stream::new(stdout, config),
        stderr: Stream::new(stderr, config),
        progress,
    };

    let cause = output
        .read_while(cause(&mut process, timeout_ms, stop))
        .await;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let exit = match cause {
        Cause::Itself(End::Exit(exit)) => {
            output.read_for(LINGER).await;
            exit
        }
        Cause::Itself(End::NotStarted(why)) => {
            let message = format!("{} was not started: {why}", shell.name());
            return Err(ToolFault::Start { message });
        }
        Cause::TimedOut => Exit::TimedOut,
        Cause::Stopped => Exit::Cancelled,
    };
    process.end();
    output.read_while(process.gone()).await;
    output.read_for(DRAIN).await;
    Ok(Ran {
        exit,
        stdout: output.stdout.capture.finish(),
        stderr: output.stderr.capture.finish(),
        took_ms,
    })
}

async fn cause(process: &mut Process, timeout_ms: u64, stop: &Stop) -> Cause {
    let itself = async { Cause::Itself(process.ended().await) };
    let timed_out = async {
        Timer::after(Duration::from_millis(timeout_ms)).await;
        Cause::TimedOut
    };
    let stopped = async {
        stop.requested().await;
        Cause::Stopped
    };
    or(itself, or(timed_out, stopped)).await
}

/// The system would not start the guard, so nothing has run.
fn not_started(error: &io::Error, command: &str, guard: &Path) -> ToolFault {
    let message = match error.kind() {
        io::ErrorKind::ArgumentListTooLong => {
            let message = format!(
                "`command` is {} bytes long, more than the system takes at once: write long texts \
                 to a file in several runs",
                command.len()
            );
            return ToolFault::Arguments { message };
        }
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
            "our own program {} cannot be run ({error}): restart openpistacrab",
            guard.display()
        ),
        _ => format!("the system starts no more processes now ({error}): try again later"),
    };
    ToolFault::Start { message }
}

/// Both streams of a command, and who is shown them.
struct Output<'a, P> {
    stdout: Stream<ChildStdout>,
    stderr: Stream<ChildStderr>,
    progress: &'a P,
}

impl<P: Fn(Chunk)> Output<'_, P> {
    /// Reads until something else is done.
    async fn read_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let reading = async {
            self.read().await;
            pending().await
        };
        or(something, reading).await
    }

    /// Reads to the end, but no longer than this.
    async fn read_for(&mut self, time: Duration) {
        let late = async {
            Timer::after(time).await;
        };
        or(self.read(), late).await;
    }

    async fn read(&mut self) {
        let progress = self.progress;
        zip(self.stdout.read(progress), self.stderr.read(progress)).await;
    }
}

/// One stream of a command.
struct Stream<R> {
    /// None once it is at its end.
    source: Option<R>,
    buffer: Box<[u8]>,
    capture: Capture,
    /// What was read since something was last shown: the last of it.
    fresh: String,
    /// When something may next be shown.
    show_at: Instant,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(source: R, config: &ToolConfig) -> Stream<R> {
        Stream {
            source: Some(source),
            buffer: vec![0; 32 * 1024].into_boxed_slice(),
            capture: Capture::new(config.output_chars, &config.secrets),
            fresh: String::new(),
            show_at: Instant::now(),
        }
    }

    /// Reads to the end. May be dropped at any time and called again.
    async fn read(&mut self, progress: &impl Fn(Chunk)) {
        while let Some(source) = &mut self.source {
            let quiet = self.fresh.is_empty();
            let due = async {
                match quiet {
                    true => pending().await,
                    false => Timer::at(self.show_at).await,
                };
                None
            };
            match or(async { Some(source.read(&mut self.buffer).await) }, due).await {
                Some(Ok(count)) if count > 0 => {
                    let clean = self.capture.push(&self.buffer[..count]);
                    self.fresh.push_str(&clean);
                    keep_last(&mut self.fresh, PROGRESS_CHARS);
                }
                Some(Ok(_) | Err(_)) => self.source = None,
                None => {}
            }
            if self.source.is_none() || Instant::now() >= self.show_at {
                self.show(progress);
            }
            // A command that prints without pause must not keep the clock from being looked at.
            yield_now().await;
        }
    }

    fn show(&mut self, progress: &impl Fn(Chunk)) {
        if !self.fresh.is_empty() {
            progress(Chunk::Output(std::mem::take(&mut self.fresh)));
            self.show_at = Instant::now() + PROGRESS_EVERY;
        }
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
