//! What sandboxed work can run in: whether Docker answers, whether the kernel can confine, and whether
//! the programs beside ours are there.

use super::{Finding, fault, off, ok, warn};
use crate::alarm::block_on;
use crate::command::sandbox::{self, Shared};
use crate::config::Config;
use crate::guest;
use openpista_core::effect::sandbox::Engine;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Does Docker answer? Without it other things still work, so it is no fault.
pub(super) fn docker(config: &Config) -> Finding {
    let subject = "docker";
    if !config.sandbox.docker {
        return off(subject, "switched off by [sandbox] docker");
    }
    match smol::block_on(sandbox::docker(config, &Shared::nobodys()).version()) {
        Ok(version) => {
            let answers = format!("answers, version {version}");
            match closed_to_others(&config.workspace) {
                true => warn(
                    subject,
                    format!(
                        "{answers}\ncontainers run as nobody's user, who cannot read the workspace"
                    ),
                    format!("chmod o+rx {}", config.workspace.display()),
                ),
                false => ok(subject, answers),
            }
        }
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

/// The folder is there, and its mode lets only its own people in.
fn closed_to_others(folder: &Path) -> bool {
    let mode = folder.metadata().map(|found| found.permissions().mode());
    mode.is_ok_and(|mode| mode & 0o005 != 0o005)
}

/// Can the kernel confine a process?
pub(super) fn confinement(config: &Config) -> Finding {
    let subject = "confinement";
    match sandbox::subprocess(config, Shared::nobodys()).confinement() {
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

/// Is there a program for workers? Without it there are none; one that was named must be there.
pub(super) fn workers(config: &Config) -> Finding {
    let subject = "workers";
    match sandbox::worker_program(config) {
        Ok(program) => ok(subject, program.display().to_string()),
        Err(why) if !config.gateway.enabled || !config.sandbox.docker => {
            off(subject, format!("none: {why}"))
        }
        Err(why) if config.sandbox.worker.is_some() => fault(
            subject,
            format!("{why}\nuntil then the daemon does not start"),
            "put the program there, or correct `worker` under [sandbox]",
        ),
        Err(why) => warn(
            subject,
            format!("{why}\nuntil then there is no `worker.run`"),
            "put openpista-worker beside openpistacrab, or set `worker` under [sandbox]",
        ),
    }
}

/// Is there a program for WebAssembly skills, and do its walls hold? Without it they do not run.
pub(super) fn guests(config: &Config) -> Finding {
    let subject = "wasm";
    let wasm = sandbox::wasm(config, &Shared::nobodys());
    match block_on(wasm.check()) {
        Ok(found) => match (found.walls, found.possible.as_slice()) {
            (Ok(how), []) => ok(subject, format!("confined by {how}, which was tried")),
            (Ok(how), possible) => warn(
                subject,
                format!(
                    "{how} does not keep a guest that broke out from: {}",
                    possible.join(", ")
                ),
                "tell us of it, and of your kernel; until then trust the skills that you run",
            ),
            (Err(why), _) => warn(
                subject,
                format!("{why}\nguests run behind WebAssembly's own walls alone"),
                "use a kernel that can confine",
            ),
        },
        Err(why) => warn(
            subject,
            format!("{why}\nuntil then skills in WebAssembly do not run"),
            format!(
                "put {} beside openpistacrab, of the same version",
                guest::PROGRAM
            ),
        ),
    }
}
