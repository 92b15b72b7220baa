//! What a task is as a process: which program, with what, where. It reads the arguments and looks
//! at files; it starts nothing.

use openpista_core::effect::sandbox::{Program, SandboxFault, Task};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The longest arguments that are also given in the environment, in bytes: one variable has at
/// most 128 KiB on Linux.
const ENV_BYTES: usize = 100_000;

/// Where a container sees the workspace, so that its paths mean the same here.
const IN_CONTAINER: &str = "/workspace";

/// A task as a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// A path, or a name to be found in the environment's `PATH`.
    pub(super) program: PathBuf,
    /// What it is given on its command line.
    pub(super) args: Vec<String>,
    /// What its environment has beside that of every sandbox.
    pub(super) env: BTreeMap<String, String>,
    /// Where it runs.
    pub(super) dir: PathBuf,
    /// How long it may take, in milliseconds, if the arguments say so.
    pub(super) timeout_ms: Option<u64>,
    /// Arguments that mean nothing to a process.
    pub(super) ignored: Vec<String>,
}

/// The environment of every sandbox.
pub(super) fn base_env(workspace: &Path, scratch: &Path) -> BTreeMap<String, String> {
    let (workspace, scratch) = (text(workspace), text(scratch));
    [
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
        ("HOME", &scratch),
        ("TMPDIR", &scratch),
        ("OPENPISTA_WORKSPACE", &workspace),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

impl Work {
    /// Reads what a task asks for. `workspace` and `scratch` are without links.
    ///
    /// # Errors
    /// The arguments make no sense, or the program is none that could run.
    pub(super) fn of(task: &Task, workspace: &Path, scratch: &Path) -> Result<Work, SandboxFault> {
        match &task.program {
            Program::Command | Program::Worker => command(&task.arguments, workspace, scratch),
            Program::Skill {
                name,
                folder,
                entry,
                image,
            } => {
                let mut work = skill(name, &workspace.join(folder), entry, workspace)?;
                if task.arguments.len() <= ENV_BYTES {
                    let arguments = task.arguments.clone();
                    work.env.insert("OPENPISTA_ARGUMENTS".to_owned(), arguments);
                }
                work.ignored
                    .extend(image.as_ref().map(|_| "image".to_owned()));
                Ok(work)
            }
        }
    }
}

fn skill(name: &str, folder: &Path, entry: &str, workspace: &Path) -> Result<Work, SandboxFault> {
    let inside = |path: PathBuf| {
        let real = path.canonicalize().map_err(|error| {
            failed(format!(
                "the skill `{name}` has no {}: {error}",
                path.display()
            ))
        })?;
        match real.starts_with(workspace) {
            true => Ok(real),
            false => Err(failed(format!(
                "{} of the skill `{name}` leads out of the workspace: put it inside",
                path.display()
            ))),
        }
    };
    let programs: &[&str] = match entry {
        "run.sh" => &["bash"],
        "main.py" => &["python3", "python"],
        other => {
            let message = format!("the skill `{name}` has a `{other}`, which no process can run");
            return Err(failed(message));
        }
    };
    let program = find(programs).ok_or_else(|| {
        let program = programs[0];
        failed(format!(
            "{program} is not among the system's programs: install {program}"
        ))
    })?;
    let dir = inside(folder.to_owned())?;
    let file = inside(dir.join(entry))?;
    Ok(Work {
        program,
        args: vec![text(&file)],
        env: [("OPENPISTA_SKILL".to_owned(), name.to_owned())].into(),
        dir,
        timeout_ms: None,
        ignored: Vec::new(),
    })
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let paths = names.iter().flat_map(|name| {
        let dirs = PATH.split(':').map(Path::new);
        dirs.map(move |dir| dir.join(name))
    });
    paths.into_iter().find(|path| path.is_file())
}

fn command(arguments: &str, workspace: &Path, scratch: &Path) -> Result<Work, SandboxFault> {
    let mut fields: Map<String, Value> = match serde_json::from_str(arguments) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return wrong("the arguments must be a JSON object"),
        Err(error) => return wrong(format!("the arguments are not JSON: {error}")),
    };
    // Some models send null for what they leave out.
    fields.retain(|_, value| !value.is_null());
    let (program, args) = program(fields.remove("command"))?;
    let env = match fields.remove("env") {
        None => BTreeMap::new(),
        Some(env) => variables(env)?,
    };
    let dir = match fields.remove("working_dir") {
        None => workspace.to_owned(),
        Some(Value::String(dir)) => resolve(&dir, workspace, scratch)?,
        Some(_) => return wrong("`working_dir` must be a string"),
    };
    let timeout_ms = match fields.remove("timeout_ms").map(|value| value.as_u64()) {
        None => None,
        Some(Some(ms)) if ms > 0 => Some(ms),
        Some(_) => return wrong("`timeout_ms` must be a whole number from 1"),
    };
    Ok(Work {
        program,
        args,
        env,
        dir,
        timeout_ms,
        ignored: fields.into_iter().map(|(name, _)| name).collect(),
    })
}

/// The program and its arguments: a line for a shell, or a list of words.
fn program(command: Option<Value>) -> Result<(PathBuf, Vec<String>), SandboxFault> {
    let (program, args) = match command {
        Some(Value::String(line)) if !line.trim().is_empty() => {
            let shell = find(&["bash", "sh"]).ok_or_else(|| {
                failed("neither bash nor sh is installed: install bash".to_owned())
            })?;
            (shell, vec!["-c".to_owned(), line])
        }
        Some(Value::Array(words)) if !words.is_empty() => {
            let word = |word: Value| match word {
                Value::String(word) => Ok(word),
                _ => wrong("each word of `command` must be a string"),
            };
            let mut words = words.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
            (PathBuf::from(words.remove(0)), words)
        }
        Some(Value::String(_) | Value::Array(_)) => return wrong("`command` is empty"),
        Some(_) => return wrong("`command` must be a string, or a list of strings"),
        None => return wrong("`command` is missing: it is what to run"),
    };
    if args.iter().any(|arg| arg.contains('\0')) {
        return wrong("`command` has a NUL character in it, which no command can");
    }
    Ok((program, args))
}

fn variables(env: Value) -> Result<BTreeMap<String, String>, SandboxFault> {
    let Value::Object(env) = env else {
        return wrong("`env` must be an object of strings");
    };
    let variable = |(name, value): (String, Value)| match value {
        Value::String(value) if !name_is_wrong(&name) && !value.contains('\0') => Ok((name, value)),
        _ => wrong(format!(
            "`env`: `{name}` must be a name, and its value a string"
        )),
    };
    env.into_iter().map(variable).collect()
}

fn name_is_wrong(name: &str) -> bool {
    name.is_empty() || name.contains(['=', '\0'])
}

/// A directory in the workspace or in the sandbox's own place.
fn resolve(asked: &str, workspace: &Path, scratch: &Path) -> Result<PathBuf, SandboxFault> {
    let path = match Path::new(asked).strip_prefix(IN_CONTAINER) {
        Ok(inside) => workspace.join(inside),
        Err(_) => workspace.join(asked),
    };
    match path.canonicalize() {
        Ok(dir) if !dir.is_dir() => wrong(format!("`working_dir`: {asked} is not a directory")),
        Ok(dir) if dir.starts_with(workspace) || dir.starts_with(scratch) => Ok(dir),
        Ok(_) => wrong(format!("`working_dir`: {asked} is not in the workspace")),
        Err(_) => wrong(format!("`working_dir`: there is no directory {asked}")),
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, SandboxFault> {
    let message = message.into();
    Err(SandboxFault::Arguments { message })
}

fn failed(message: String) -> SandboxFault {
    SandboxFault::Failed { message }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
