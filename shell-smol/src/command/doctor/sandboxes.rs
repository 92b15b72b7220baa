//! What sandboxed work can run in: whether Docker answers, and whether the kernel can confine.

use super::{Finding, off, ok, warn};
use crate::command::sandbox::{self, Shared};
use crate::config::Config;
use crate::secret::Secrets;
use openpista_core::effect::sandbox::Engine;
use std::path::PathBuf;

/// Does Docker answer? Without it other things still work, so it is no fault.
pub(super) fn docker(config: &Config) -> Finding {
    let subject = "docker";
    if !config.sandbox.docker {
        return off(subject, "switched off by [sandbox] docker");
    }
    match smol::block_on(sandbox::docker(config, &nobody()).version()) {
        Ok(version) => ok(subject, format!("answers, version {version}")),
        Err(why) => {
            let instead = match config.sandbox.otherwise() {
                Some(Engine::Subprocess) => "until then its work runs as a confined process",
                _ => "until then its work is refused",
            };
            let cure = "start Docker and let this user reach it, or set [sandbox] docker = false";
            warn(subject, format!("{why}\n{instead}"), cure)
        }
    }
}

/// Can the kernel confine a process?
pub(super) fn confinement(config: &Config) -> Finding {
    let subject = "confinement";
    match sandbox::subprocess(config, nobody()).confinement() {
        Ok(how) => ok(subject, format!("{how}")),
        Err(why) if config.sandbox.unconfined => warn(
            subject,
            format!("{why}\nprocesses run without it: [sandbox] unconfined is true"),
            "use a kernel that can, or containers",
        ),
        Err(why) => warn(
            subject,
            format!("{why}\nskills that are programs are refused"),
            "use a kernel that can, or containers; [sandbox] unconfined = true goes without",
        ),
    }
}

/// Nothing runs, and nothing is anybody's.
fn nobody() -> Shared {
    Shared {
        began_unix_ms: 0,
        secrets: Secrets::default(),
        guard: PathBuf::new(),
    }
}
