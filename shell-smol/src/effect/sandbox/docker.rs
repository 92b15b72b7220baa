//! To be written: containers.

use crate::effect::Stop;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{Done, SandboxFault, UseSandbox};

/// The engine.
#[derive(Debug, Default)]
pub struct Docker;

impl Docker {
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
