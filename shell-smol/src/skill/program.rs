//! The program of a skill, as a tool: which file it is, and what it runs in.

use super::{Broken, FILE_NAME, Folder, Skills, read_file};
use openpista_core::effect::Recovery;
use openpista_core::effect::sandbox::{Engine, Program, Sandboxed};
use openpista_core::message::ToolSpec;
use openpista_core::wire::skill::{Mode, SkillFile};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// How the tools of skills are called, their own names after it.
pub(super) const PREFIX: &str = "skill.";

/// The name that another tool has: `skill.read` is the core's.
const TAKEN: &str = "read";

const GUEST: &str = "main.wasm";
const SCRIPTS: [&str; 2] = ["run.sh", "main.py"];

/// What the arguments look like, if somebody says.
const PARAMETERS: &str = "parameters.json";
/// The longest such description, in bytes.
const PARAMETERS_BYTES: usize = 32_000;
/// What they look like if nobody says.
const ANY_OBJECT: &str = r#"{"type":"object","properties":{},"additionalProperties":true}"#;

/// The tool of a skill; none for a skill without a program.
pub(super) fn tool(
    skills: &Skills,
    folder: &Folder,
    said: &SkillFile,
) -> Result<Option<ToolSpec>, Broken> {
    let place = skills.workspace.join(&folder.path);
    let wrong = |message: &str| Broken::new(place.join(FILE_NAME), message);
    let Some((mode, entry)) = program(folder, said).map_err(wrong)? else {
        return Ok(None);
    };
    if said.name == TAKEN {
        return Err(wrong(
            "a skill with a program cannot be called `read`: the tool `skill.read` is another one",
        ));
    }
    check_inside(&skills.workspace, &place.join(entry))?;
    let image = match mode {
        Mode::Container => said.image.clone().or_else(|| skills.sandbox.image.clone()),
        Mode::Subprocess | Mode::Wasm => None,
    };
    if mode == Mode::Container && image.is_none() {
        return Err(wrong(
            "`mode: container` needs an `image:`, or one for all as sandbox.image",
        ));
    }
    let Some(relative) = folder.path.to_str() else {
        return Err(wrong("the path is not UTF-8: rename its folders"));
    };
    let sandboxed = Sandboxed {
        engine: engine(mode),
        otherwise: otherwise(skills, mode),
        program: Program::Skill {
            name: said.name.clone(),
            folder: relative.to_owned(),
            entry: entry.to_owned(),
            image,
        },
    };
    Ok(Some(ToolSpec {
        name: format!("{PREFIX}{}", said.name),
        description: said.description.clone(),
        parameters: parameters(folder, &place.join(PARAMETERS))?,
        recovery: recovery(sandboxed.engine),
        read_only: changes_nothing(skills, &sandboxed),
        timeout_ms: match mode {
            Mode::Wasm => skills.sandbox.wasm_timeout_ms,
            Mode::Subprocess | Mode::Container => skills.sandbox.timeout_ms,
        },
        sandbox: Some(sandboxed),
    }))
}

/// How and what. Without a `mode`, the file that is there says it.
fn program(
    folder: &Folder,
    said: &SkillFile,
) -> Result<Option<(Mode, &'static str)>, &'static str> {
    let script = SCRIPTS.into_iter().find(|name| folder.has(name));
    let guest = folder.has(GUEST).then_some(GUEST);
    match said.mode {
        None => {
            let guest = guest.map(|entry| (Mode::Wasm, entry));
            Ok(guest.or(script.map(|entry| (Mode::Subprocess, entry))))
        }
        Some(Mode::Wasm) => match guest {
            Some(entry) => Ok(Some((Mode::Wasm, entry))),
            None => Err("`mode: wasm` needs a main.wasm in the folder"),
        },
        Some(mode) => match script {
            Some(entry) => Ok(Some((mode, entry))),
            None => Err("the `mode` needs a run.sh or a main.py in the folder"),
        },
    }
}

fn engine(mode: Mode) -> Engine {
    match mode {
        Mode::Subprocess => Engine::Subprocess,
        Mode::Wasm => Engine::Wasm,
        Mode::Container => Engine::Docker,
    }
}

fn otherwise(skills: &Skills, mode: Mode) -> Option<Engine> {
    match mode {
        Mode::Container => skills.sandbox.otherwise(),
        Mode::Subprocess | Mode::Wasm => None,
    }
}

/// What a crash leaves behind of each.
fn recovery(engine: Engine) -> Recovery {
    match engine {
        Engine::Wasm => Recovery::Repeat,
        Engine::Docker => Recovery::Probe,
        Engine::Subprocess => Recovery::Doubt,
    }
}

/// Sandboxes keep everything but a process that the operator lets run unconfined.
fn changes_nothing(skills: &Skills, sandboxed: &Sandboxed) -> bool {
    let engines = [Some(sandboxed.engine), sandboxed.otherwise];
    !(skills.sandbox.unconfined && engines.contains(&Some(Engine::Subprocess)))
}

/// The program itself may be a link, but into the workspace: that is what sandboxes see.
fn check_inside(workspace: &Path, entry: &Path) -> Result<(), Broken> {
    let wrong = |message: String| Broken::new(entry, message);
    let real = |path: &Path| -> Result<PathBuf, Broken> {
        let real = path.canonicalize();
        real.map_err(|error| wrong(format!("cannot be read: {error}; let this user read it")))
    };
    let found = real(entry)?;
    if !found.starts_with(real(workspace)?) {
        let message = "this link leads out of the workspace: put the file itself here";
        return Err(wrong(message.to_owned()));
    }
    match found.is_file() {
        true => Ok(()),
        false => Err(wrong("this is not a file: expected one".to_owned())),
    }
}

fn parameters(folder: &Folder, file: &Path) -> Result<String, Broken> {
    if !folder.has(PARAMETERS) {
        return Ok(ANY_OBJECT.to_owned());
    }
    let wrong = |line: Option<usize>, message: String| Broken {
        file: file.to_owned(),
        line,
        message,
    };
    let bytes =
        read_file(file, PARAMETERS_BYTES).map_err(|error| wrong(None, error.to_string()))?;
    let schema: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(Some(error.line()), format!("this is not JSON: {error}")))?;
    match schema["type"] == "object" {
        true => Ok(schema.to_string()),
        false => Err(wrong(
            None,
            "expected a JSON Schema of an object: {\"type\": \"object\", \"properties\": …}"
                .to_owned(),
        )),
    }
}
