//! Sandboxed work: making, using and removing what a task runs in, one module an engine.
//!
//! [`Sandboxes`] only hands an action to its engine. An engine decides nothing: it does what the
//! action says, once, and turns every error into a `SandboxFault`, by whose kinds it makes
//! promises: after `Unavailable` and `Arguments` of a creation
//! nothing was made, and after every fault of a run but `Lost` nothing has run.
//! Removing what is not there is a success.

pub mod docker;
pub mod subprocess;
pub mod wasm;

use self::docker::Docker;
use self::subprocess::Subprocess;
use self::wasm::Wasm;
use super::Stop;
use openpista_core::effect::sandbox::{Engine, UseSandbox};
use openpista_core::effect::{Chunk, Outcome};

/// The engines.
#[derive(Debug, Default)]
pub struct Sandboxes {
    /// Containers.
    pub docker: Docker,
    /// WebAssembly guests.
    pub wasm: Wasm,
    /// Confined processes.
    pub subprocess: Subprocess,
}

impl Sandboxes {
    /// Performs one action. Calls `progress` at a bounded rate with what there is to see, without
    /// secrets; it must return at once. Dropping the future ends what runs, as `stop` does.
    pub async fn perform(&self, used: UseSandbox, stop: Stop, progress: impl Fn(Chunk)) -> Outcome {
        let (used, stop, progress) = (&used, &stop, &progress);
        Outcome::Sandbox(match used.engine {
            Engine::Docker => self.docker.perform(used, stop, progress).await,
            Engine::Wasm => self.wasm.perform(used, stop, progress).await,
            Engine::Subprocess => self.subprocess.perform(used, stop, progress).await,
        })
    }
}
