//! Sandboxed work: making, using and removing what a task runs in, one module an engine.
//!
//! [`Sandboxes`] only hands an action to its engine. An engine decides nothing: it does what the
//! action says, once, and turns every error into a `SandboxFault`, by whose kinds it makes
//! promises: after `Unavailable` and `Arguments` of a creation
//! nothing was made, and after every fault of a run but `Lost` nothing has run.
//! Removing what is not there is a success.
//!
//! All engines show the workspace to what they run. One that has something private in it is shown to
//! nobody: see [`exposed`].

pub mod docker;
pub mod subprocess;
pub mod wasm;

use self::docker::Docker;
use self::subprocess::Subprocess;
use self::wasm::Wasm;
use super::Stop;
use openpista_core::effect::sandbox::{Action, Engine, SandboxFault, UseSandbox};
use openpista_core::effect::{Chunk, Outcome};
use std::path::{Path, PathBuf};

/// The engines.
#[derive(Debug, Default)]
pub struct Sandboxes {
    /// Containers.
    pub docker: Docker,
    /// WebAssembly guests.
    pub wasm: Wasm,
    /// Confined processes.
    pub subprocess: Subprocess,
    /// Why nothing may run in any of them, if so.
    pub refused: Option<String>,
}

impl Sandboxes {
    /// Performs one action. Calls `progress` at a bounded rate with what there is to see, without
    /// secrets; it must return at once. Dropping the future ends what runs, as `stop` does.
    pub async fn perform(&self, used: UseSandbox, stop: Stop, progress: impl Fn(Chunk)) -> Outcome {
        let (used, stop, progress) = (&used, &stop, &progress);
        if let Some(why) = self.refused.as_ref().filter(|_| begins(used)) {
            let message = why.clone();
            return Outcome::Sandbox(Err(SandboxFault::Unavailable { message }));
        }
        Outcome::Sandbox(match used.engine {
            Engine::Docker => self.docker.perform(used, stop, progress).await,
            Engine::Wasm => self.wasm.perform(used, stop, progress).await,
            Engine::Subprocess => self.subprocess.perform(used, stop, progress).await,
        })
    }
}

/// Whether this lets something run that does not run yet.
fn begins(used: &UseSandbox) -> bool {
    match used.action {
        Action::Create(_) | Action::Run(_) => true,
        // A guest is run again.
        Action::Resume(_) => used.engine == Engine::Wasm,
        Action::Destroy => false,
    }
}

/// Why this workspace must not be shown to what runs in sandboxes: something private is in it, or
/// is it. None when all of it may be seen. Links are followed; what is not there yet is where it
/// will be.
pub fn exposed<'a>(
    workspace: &Path,
    private: impl IntoIterator<Item = &'a Path>,
) -> Option<String> {
    let workspace = real(workspace);
    let mut private = private.into_iter().map(real);
    let inside = private.find(|path| path.starts_with(&workspace))?;
    Some(format!(
        "the data directory {} is in the workspace {}, where every task could read it: choose \
         another workspace",
        inside.display(),
        workspace.display()
    ))
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| {
        let real = above.canonicalize().ok()?;
        Some(real.join(path.strip_prefix(above).ok()?))
    });
    found.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_private_is_found_in_a_workspace_whatever_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        std::fs::create_dir_all(at("home/data/workspace")).unwrap();
        symlink(at("home/data"), at("data-link")).unwrap();
        symlink(at("home"), at("home-link")).unwrap();
        symlink("data-link/workspace", at("workspace-link")).unwrap();
        for (workspace, private, is_exposed) in [
            ("home/data/workspace", "home/data", false),
            ("workspace-link", "home/data", false),
            ("home/data/workspace", "home/data/memory.db", false),
            ("home/data-2", "home/data", false),
            ("home/data", "home/data", true),
            ("home/data", "home/data/later/memory.db", true),
            ("home", "data-link", true),
            ("home-link", "home/data", true),
            ("data-link", "home/data/scratch", true),
            ("home/data/workspace/..", "home/data", true),
            ("workspace-link/..", "data-link/memory.db", true),
        ] {
            let (workspace, private) = (at(workspace), at(private));
            let why = exposed(&workspace, [private.as_path()]);
            assert_eq!(
                why.is_some(),
                is_exposed,
                "{workspace:?} {private:?} {why:?}"
            );
        }
    }
}
