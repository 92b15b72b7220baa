//! What a call asks for: the arguments of `container.run`, read strictly, within the bounds that
//! the operator set.

use super::DockerConfig;
use crate::effect::tool::kind;
use openpista_core::effect::sandbox::SandboxFault;
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};

/// Where the workspace is in a container.
pub(super) const WORKSPACE: &str = "/workspace";

/// The only place in a container that can be written to.
pub(super) const SCRATCH: &str = "/tmp";

/// What is a MiB, in bytes.
const MIB: u64 = 1 << 20;

/// The least memory that a container can do something with, in MiB.
const MIN_MEMORY_MB: u64 = 16;

/// The fewest processes: the one that is run, and the one that waits for it.
const MIN_PIDS: u64 = 4;

/// The longest text that Linux takes for one argument or variable, with room for a name.
const LONGEST_TEXT: usize = 128 * 1024 - 256;

const FIELDS: &str = "`command`, `image`, `timeout_ms`, `cpus`, `memory_mb`, `pids`, `env` and \
                      `working_dir`";

/// Arguments that make sense, with everything that was left out filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arguments {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    pub(super) image: String,
    pub(super) timeout_ms: Option<u64>,
    pub(super) cpus: f64,
    pub(super) memory_bytes: u64,
    pub(super) pids: u64,
    /// `NAME=value`.
    pub(super) env: Vec<String>,
    /// Where it runs, as the container sees it.
    pub(super) working_dir: String,
}

/// The JSON Schema of it.
pub(super) fn schema(config: &DockerConfig) -> Value {
    let image = match &config.default_image {
        Some(image) => format!("The image to run in. Default: {image}"),
        None => "The image to run in, for example `debian:12`.".to_owned(),
    };
    let required: &[&str] = match config.default_image {
        Some(_) => &["command"],
        None => &["command", "image"],
    };
    json!({
        "type": "object",
        "properties": {
            "command": {
                "description": "What to run: a command line for `sh -c`, or a program and its \
                                arguments.",
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" }, "minItems": 1 }
                ]
            },
            "image": { "type": "string", "description": image },
            "timeout_ms": {
                "type": "integer", "minimum": 1, "maximum": config.timeout_ms,
                "description": "End it after this many milliseconds, if earlier."
            },
            "cpus": {
                "type": "number", "exclusiveMinimum": 0, "maximum": config.cpus,
                "description": "How many processors' time it may use."
            },
            "memory_mb": {
                "type": "integer", "minimum": MIN_MEMORY_MB,
                "maximum": config.memory_bytes / MIB,
                "description": "How much memory it may use, files in /tmp included."
            },
            "pids": {
                "type": "integer", "minimum": MIN_PIDS, "maximum": config.pids,
                "description": "How many processes and threads it may have at once."
            },
            "env": {
                "type": "object", "additionalProperties": { "type": "string" },
                "description": "Environment variables."
            },
            "working_dir": {
                "type": "string",
                "description": "Where to run: /tmp, or a directory of the workspace, either \
                                relative to it or as the container sees it. Default: /workspace"
            }
        },
        "required": required,
        "additionalProperties": false
    })
}

impl Arguments {
    /// Reads what a model wrote.
    pub(super) fn parse(text: &str, config: &DockerConfig) -> Result<Arguments, SandboxFault> {
        let mut fields = Fields::parse(text)?;
        let command = command(fields.take("command"))?;
        let image = match fields.text("image")? {
            Some(image) => image,
            None => config.default_image.clone().ok_or_else(|| {
                wrong("`image` is missing: it is the image to run in, for example `debian:12`")
            })?,
        };
        check_image(&image)?;
        let most_memory = config.memory_bytes / MIB;
        let memory = fields.whole("memory_mb", MIN_MEMORY_MB, most_memory)?;
        let arguments = Arguments {
            command,
            image,
            timeout_ms: fields.whole("timeout_ms", 1, u64::MAX)?,
            cpus: fields.cpus(config.cpus)?,
            memory_bytes: memory.map_or(config.memory_bytes, |mb| mb * MIB),
            pids: fields
                .whole("pids", MIN_PIDS, config.pids)?
                .unwrap_or(config.pids),
            env: fields.env()?,
            working_dir: working_dir(fields.text("working_dir")?, &config.workspace)?,
        };
        match fields.0.keys().next() {
            Some(unknown) => Err(wrong(format!(
                "there is no argument `{unknown}`: there are {FIELDS}"
            ))),
            None => Ok(arguments),
        }
    }

    /// A skill's own program, for which the arguments are what it reads.
    pub(super) fn of_skill(
        (folder, entry): (&str, &str),
        image: Option<&str>,
        text: &str,
        config: &DockerConfig,
    ) -> Result<Arguments, SandboxFault> {
        let image = image.or(config.default_image.as_deref()).ok_or_else(|| {
            wrong("the skill names no image and `sandbox.image` is not set: set one of them")
        })?;
        check_image(image)?;
        let inside = inside(&config.workspace, &Path::new(folder).join(entry))?;
        let (Some(dir), true) = (inside.parent(), config.workspace.join(&inside).is_file()) else {
            return Err(wrong(format!("the skill has no file {entry} in {folder}")));
        };
        check_length("the arguments", text)?;
        Ok(Arguments {
            command: launcher(entry)?,
            image: image.to_owned(),
            timeout_ms: None,
            cpus: config.cpus,
            memory_bytes: config.memory_bytes,
            pids: config.pids,
            env: vec![format!("OPENPISTA_ARGUMENTS={text}")],
            working_dir: in_container(dir),
        })
    }
}

/// What finds the interpreter in the image, and hands the arguments to the program's standard
/// input. They come out of the environment, which nobody has to stay connected for.
fn launcher(entry: &str) -> Result<Vec<String>, SandboxFault> {
    let (first, second) = match Path::new(entry).extension().and_then(|kind| kind.to_str()) {
        Some("sh") => ("bash", "sh"),
        Some("py") => ("python3", "python"),
        _ => return Err(wrong(format!("{entry} is no program for a container"))),
    };
    let script = format!(
        "program=$(command -v {first} || command -v {second}) || {{ \
         echo 'the image has neither {first} nor {second}' >&2; exit 127; }}; \
         printf %s \"$OPENPISTA_ARGUMENTS\" | \"$program\" \"./$1\""
    );
    Ok(["sh", "-c", &script, "sh", entry].map(str::to_owned).into())
}

fn command(value: Option<Value>) -> Result<Vec<String>, SandboxFault> {
    let words = match value {
        Some(Value::String(line)) if !line.trim().is_empty() => {
            ["sh", "-c", &line].map(str::to_owned).into()
        }
        Some(Value::String(_)) => Vec::new(),
        Some(Value::Array(words)) => {
            let word = |word| match word {
                Value::String(word) => Ok(word),
                other => Err(wrong(format!(
                    "`command` must be an array of strings: there is {} in it",
                    kind(&other)
                ))),
            };
            words.into_iter().map(word).collect::<Result<Vec<_>, _>>()?
        }
        Some(other) => {
            return Err(wrong(format!(
                "`command` must be a string or an array of strings, not {}",
                kind(&other)
            )));
        }
        None => return Err(wrong("`command` is missing: it is what to run")),
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(wrong("`command` is empty: it is what to run"));
    }
    words
        .iter()
        .try_for_each(|word| check_length("`command`", word))?;
    Ok(words)
}

fn check_length(what: &str, text: &str) -> Result<(), SandboxFault> {
    if text.contains('\0') {
        return Err(wrong(format!(
            "{what} has a NUL character in it, which no program can take"
        )));
    }
    match text.len() > LONGEST_TEXT {
        true => Err(wrong(format!(
            "{what} is {} bytes long, more than the system takes at once ({LONGEST_TEXT}): put \
             long texts into a file of the workspace",
            text.len()
        ))),
        false => Ok(()),
    }
}

/// An image's name becomes a part of a path of Docker's API, so it must be nothing but a name.
fn check_image(image: &str) -> Result<(), SandboxFault> {
    let is_char = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_part = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_name = !image.is_empty()
        && image.len() <= 255
        && image.chars().all(is_char)
        && image.split('/').all(is_part)
        && !image.contains("..");
    match is_name {
        true => Ok(()),
        false => Err(wrong(format!(
            "`image`: {image:?} is no name of an image; one is written like `debian:12`"
        ))),
    }
}

/// Where to run, as the container sees it. Only where something of ours is: a path like
/// `/proc/self/fd/7` has led out of containers before.
fn working_dir(asked: Option<String>, workspace: &Path) -> Result<String, SandboxFault> {
    let Some(asked) = asked else {
        return Ok(WORKSPACE.to_owned());
    };
    if asked.trim_end_matches('/') == SCRATCH {
        return Ok(SCRATCH.to_owned());
    }
    let path = Path::new(&asked);
    let relative = path.strip_prefix(WORKSPACE).unwrap_or(path);
    if relative.is_absolute() {
        return Err(wrong(format!(
            "`working_dir`: {asked} is neither {SCRATCH} nor in {WORKSPACE}"
        )));
    }
    let inside = inside(workspace, relative)?;
    match workspace.join(&inside).is_dir() {
        true => Ok(in_container(&inside)),
        false => Err(wrong(format!("`working_dir`: {asked} is no directory"))),
    }
}

/// The same place of the workspace by a path without links, if it is a place of the workspace.
fn inside(workspace: &Path, relative: &Path) -> Result<PathBuf, SandboxFault> {
    let normal = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let out = || wrong(format!("{} leads out of the workspace", relative.display()));
    if !relative.components().all(normal) {
        return Err(out());
    }
    let missing = |error| wrong(format!("{} in the workspace: {error}", relative.display()));
    let root = workspace.canonicalize().map_err(missing)?;
    let real = root.join(relative).canonicalize().map_err(missing)?;
    real.strip_prefix(&root)
        .map(Path::to_owned)
        .map_err(|_| out())
}

fn in_container(inside: &Path) -> String {
    match inside.as_os_str().is_empty() {
        true => WORKSPACE.to_owned(),
        false => format!("{WORKSPACE}/{}", inside.display()),
    }
}

/// What of an object was not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(text: &str) -> Result<Fields, SandboxFault> {
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(other) => {
                let kind = kind(&other);
                Err(wrong(format!(
                    "the arguments must be a JSON object, not {kind}"
                )))
            }
            Err(error) => Err(wrong(format!("the arguments are not JSON: {error}"))),
        }
    }

    /// Some models send null for what they leave out.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, SandboxFault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(format!(
                "`{name}` must be a string, not {}",
                kind(&other)
            ))),
        }
    }

    fn whole(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, SandboxFault> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ if most == u64::MAX => Err(wrong(format!(
                "`{name}` must be a whole number from {least}"
            ))),
            _ => Err(wrong(format!(
                "`{name}` must be a whole number from {least} to {most}"
            ))),
        }
    }

    fn cpus(&mut self, most: f64) -> Result<f64, SandboxFault> {
        let Some(value) = self.take("cpus") else {
            return Ok(most);
        };
        match value.as_f64() {
            Some(cpus) if (0.01..=most).contains(&cpus) => Ok(cpus),
            _ => Err(wrong(format!(
                "`cpus` must be a number from 0.01 to {most}"
            ))),
        }
    }

    fn env(&mut self) -> Result<Vec<String>, SandboxFault> {
        let variables = match self.take("env") {
            None => return Ok(Vec::new()),
            Some(Value::Object(variables)) => variables,
            Some(other) => {
                return Err(wrong(format!(
                    "`env` must be an object, not {}",
                    kind(&other)
                )));
            }
        };
        let variable = |(name, value): (String, Value)| {
            let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if name.is_empty() || !is_name {
                return Err(wrong(format!("`env`: {name:?} is no name of a variable")));
            }
            if name.starts_with("OPENPISTA_") {
                return Err(wrong(format!("`env`: {name} is ours to set")));
            }
            let Value::String(value) = value else {
                let kind = kind(&value);
                return Err(wrong(format!("`env`: {name} must be a string, not {kind}")));
            };
            check_length(&format!("`env`: {name}"), &value)?;
            Ok(format!("{name}={value}"))
        };
        variables.into_iter().map(variable).collect()
    }
}

fn wrong(message: impl Into<String>) -> SandboxFault {
    SandboxFault::Arguments {
        message: message.into(),
    }
}

#[cfg(test)]
mod tests;
