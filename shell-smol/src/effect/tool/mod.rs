//! Running tools: which there are, and one run of each.
//!
//! [`Tools`] never decides whether a call may run; what reaches it may. It turns every error into
//! an [`Outcome`], and a [`ToolFault`] from here means that nothing was started.

mod cgroup;
pub(crate) mod clip;
pub mod desktop;
mod family;
pub mod guard;
pub(crate) mod guarded;
pub(in crate::effect) mod hold;
pub(crate) mod process;
mod system_run;

use self::desktop::Desktop;
use crate::effect::Stop;
use crate::secret::Secrets;
use openpista_core::effect::tool::{RunTool, ToolFault};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::message::ToolSpec;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What tools are built from.
#[derive(Clone, Debug)]
pub struct ToolConfig {
    /// Where commands run, and what a relative `working_dir` of a call starts from.
    pub working_dir: PathBuf,
    /// How long a command may take, in milliseconds.
    pub timeout_ms: u64,
    /// How many characters of each of a command's streams are kept.
    pub output_chars: usize,
    /// What commands must not see, and nobody must see of their output.
    pub secrets: Secrets,
    /// Our own program, which [`guard`]s commands. On Linux `/proc/self/exe` stays right even
    /// when the file was replaced meanwhile.
    pub guard: PathBuf,
}

/// The tools on offer.
#[derive(Clone, Debug)]
pub struct Tools {
    config: ToolConfig,
    shell: Option<Shell>,
    desktop: Option<Desktop>,
}

impl Tools {
    /// Looks once for what the tools need.
    pub fn new(config: ToolConfig) -> Tools {
        Tools {
            config,
            shell: Shell::find(),
            desktop: None,
        }
    }

    /// These, and those of the desktop.
    pub fn with_desktop(self, desktop: Desktop) -> Tools {
        let desktop = Some(desktop);
        Tools { desktop, ..self }
    }

    /// What the model is told of them.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let desktop = self.desktop.iter().flat_map(Desktop::specs);
        let own = system_run::spec(&self.config, self.shell.as_ref());
        std::iter::once(own).chain(desktop.cloned()).collect()
    }

    /// Runs one call for the session of this name. Calls `progress` at a bounded rate with what it prints, without secrets; it
    /// must return at once. Dropping the future ends the tool, as `stop` does.
    pub async fn run(
        &self,
        run: &RunTool,
        session: &str,
        stop: Stop,
        progress: impl Fn(Chunk),
    ) -> Outcome {
        if stop.is_requested() {
            return Outcome::Tool(Err(ToolFault::Cancelled));
        }
        if run.tool == system_run::NAME {
            let shell = self.shell.as_ref();
            let ran = system_run::run(&self.config, shell, run, &stop, &progress).await;
            return Outcome::Tool(ran);
        }
        let desktop = self.desktop.as_ref().filter(|one| one.has(&run.tool));
        Outcome::Tool(match desktop {
            Some(desktop) => desktop.run(run, session, &stop, &progress).await,
            None => Err(ToolFault::Arguments {
                message: format!("there is no tool `{}` here and now", run.tool),
            }),
        })
    }
}

/// What a value of an argument is, for an error to say.
pub(in crate::effect) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The shell that reads commands.
#[derive(Clone, Debug)]
pub struct Shell(PathBuf);

impl Shell {
    /// bash, or where there is none sh, from the PATH.
    pub fn find() -> Option<Shell> {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let in_dir = |name: &str| {
            dirs.iter()
                .map(|dir| dir.join(name))
                .find(|path| path.is_file())
        };
        in_dir("bash").or_else(|| in_dir("sh")).map(Shell)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `bash` or `sh`.
    pub fn name(&self) -> &str {
        self.0
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("sh")
    }
}
