//! To be written: processes.

use crate::effect::Stop;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{Done, SandboxFault, UseSandbox};

/// The engine.
#[derive(Debug, Default)]
pub struct Subprocess;

impl Subprocess {
    /// Performs one action.
    pub async fn perform(
        &self,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Done, SandboxFault> {
        let _ = (used, stop, progress);
        Err(SandboxFault::Unavailable {
            message: "this engine is not there yet".to_owned(),
        })
    }
}
