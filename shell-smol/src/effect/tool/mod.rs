//! Running tools: which there are, and one run of each.
//!
//! [`Tools`] never decides whether a call may run; what reaches it may. It turns every error into
//! an [`Outcome`], and a [`ToolFault`] from here means that nothing was started.

mod cgroup;
pub(crate) mod clip;
mod family;
pub mod guard;
pub(crate) mod guarded;
pub(in crate::effect) mod hold;
pub(crate) mod process;
mod system_run;

use crate::effect::Stop;
use crate::secret::Secrets;
use openpista_core::effect::tool::{RunTool, ToolFault};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::message::ToolSpec;
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
}

impl Tools {
    /// Looks once for what the tools need.
    pub fn new(config: ToolConfig) -> Tools {
        Tools {
            config,
            shell: Shell::find(),
        }
    }

    /// What the model is told of them.
    pub fn specs(&self) -> Vec<ToolSpec> {
        vec![system_run::spec(&self.config, self.shell.as_ref())]
    }

    /// Runs one call. Calls `progress` at a bounded rate with what it prints, without secrets; it
    /// must return at once. Dropping the future ends the tool, as `stop` does.
    pub async fn run(&self, run: &RunTool, stop: Stop, progress: impl Fn(Chunk)) -> Outcome {
        if stop.is_requested() {
            return Outcome::Tool(Err(ToolFault::Cancelled));
        }
        let shell = self.shell.as_ref();
        Outcome::Tool(match run.tool.as_str() {
            system_run::NAME => system_run::run(&self.config, shell, run, &stop, &progress).await,
            other => Err(ToolFault::Arguments {
                message: format!("there is no tool `{other}`, only {}", system_run::NAME),
            }),
        })
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
