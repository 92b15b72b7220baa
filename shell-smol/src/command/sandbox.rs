//! The engines of sandboxed work, as the configuration wants them, and the tools that they add.

use crate::config::Config;
use crate::effect::sandbox::docker::{self, Docker, DockerConfig, WorkerConfig};
use crate::effect::sandbox::subprocess::{Subprocess, SubprocessConfig};
use crate::effect::sandbox::wasm::{Wasm, WasmConfig};
use crate::effect::sandbox::{self, Sandboxes};
use crate::secret::Secrets;
use crate::source::quic::annex::Annex;
use crate::worker::program;
use openpista_core::digest::Digest;
use openpista_core::message::ToolSpec;
use std::path::PathBuf;

const MIB: u64 = 1 << 20;

/// What the engines share.
pub(super) struct Shared {
    /// When the journal began: with its place, what tells its containers from another journal's.
    pub(super) began_unix_ms: u64,
    /// What nobody must see of any output.
    pub(super) secrets: Secrets,
    /// Our own program, which guards processes.
    pub(super) guard: PathBuf,
    /// What workers are made of; none where there are no workers.
    pub(super) worker: Option<WorkerConfig>,
}

/// The engines. Nothing is started or looked for until something is to run in one.
pub(super) fn engines(config: &Config, shared: Shared) -> Sandboxes {
    Sandboxes {
        docker: match config.sandbox.docker {
            true => Docker::new(containers(config, &shared)),
            false => Docker::default(),
        },
        wasm: wasm(config, &shared),
        subprocess: Subprocess::new(processes(config, shared)),
        refused: exposed(config),
    }
}

/// Why the workspace must not be shown to what runs in sandboxes, if so.
pub(super) fn exposed(config: &Config) -> Option<String> {
    let own = config.data_dir_of_journal();
    let private = [config.data_dir.clone(), own.join("scratch"), own];
    let database = std::iter::once(config.database.as_path());
    let private = private.iter().map(PathBuf::as_path).chain(database);
    sandbox::exposed(&config.workspace, private)
}

/// Docker alone, for whoever only wants to know whether it answers.
pub(super) fn docker(config: &Config, shared: &Shared) -> Docker {
    Docker::new(containers(config, shared))
}

/// WebAssembly guests alone, likewise.
pub(super) fn wasm(config: &Config, shared: &Shared) -> Wasm {
    Wasm::new(WasmConfig {
        host: config.sandbox.wasm_host.clone(),
        workspace: config.workspace.clone(),
        cache_dir: config.data_dir_of_journal().join("wasm-cache"),
        output_chars: config.tools.output_chars,
        memory_bytes: config.sandbox.wasm_memory_mib * MIB,
        secrets: shared.secrets.clone(),
    })
}

/// Confined processes alone, likewise.
pub(super) fn subprocess(config: &Config, shared: Shared) -> Subprocess {
    Subprocess::new(processes(config, shared))
}

/// The tools that need no skill. Workers are offered only where there are any.
pub(super) fn specs(config: &Config, workers: bool) -> Vec<ToolSpec> {
    if !config.sandbox.docker {
        return Vec::new();
    }
    let offered = containers(config, &Shared::nobodys());
    let container = docker::spec(&offered, config.sandbox.otherwise());
    let worker = workers.then(|| docker::worker_spec(&offered));
    [container].into_iter().chain(worker).collect()
}

/// What workers are made of, where there is a gateway to report over.
///
/// # Errors
/// In words for a person: why there are none, and what to do about it.
pub(super) fn worker(config: &Config, annex: &Annex) -> Result<WorkerConfig, String> {
    let found = worker_program(config)?;
    Ok(WorkerConfig {
        program: found,
        annex: annex.clone(),
    })
}

/// Where the program is that runs workers' tasks.
///
/// # Errors
/// In words for a person: why there are no workers, and what to do about it.
pub(super) fn worker_program(config: &Config) -> Result<PathBuf, String> {
    if !config.gateway.enabled {
        return Err("they report over the gateway: set [gateway] enabled = true".to_owned());
    }
    if !config.sandbox.docker {
        return Err("they work in containers: set [sandbox] docker = true".to_owned());
    }
    let found = program::find(config.sandbox.worker.as_deref());
    program::check(&found).map(|()| found)
}

impl Shared {
    /// For when nothing runs, and nothing is anybody's.
    pub(super) fn nobodys() -> Shared {
        Shared {
            began_unix_ms: 0,
            secrets: Secrets::default(),
            guard: PathBuf::new(),
            worker: None,
        }
    }
}

fn containers(config: &Config, shared: &Shared) -> DockerConfig {
    let sandbox = &config.sandbox;
    DockerConfig {
        host: sandbox.docker_host.clone(),
        owner: owner(config, shared.began_unix_ms),
        workspace: config.workspace.clone(),
        default_image: sandbox.image.clone(),
        pull: sandbox.pull,
        cpus: sandbox.millicpus as f64 / 1_000.0,
        memory_bytes: sandbox.memory_mib * MIB,
        pids: sandbox.pids,
        timeout_ms: sandbox.timeout_ms,
        tmpfs_bytes: sandbox.tmp_mib * MIB,
        output_chars: config.tools.output_chars,
        at_once: sandbox.at_once,
        secrets: shared.secrets.clone(),
        worker: shared.worker.clone(),
    }
}

fn processes(config: &Config, shared: Shared) -> SubprocessConfig {
    let sandbox = &config.sandbox;
    SubprocessConfig {
        workspace: config.workspace.clone(),
        scratch_root: config.data_dir_of_journal().join("scratch"),
        guard: shared.guard,
        output_chars: config.tools.output_chars,
        secrets: shared.secrets,
        memory_bytes: sandbox.memory_mib * MIB,
        processes: sandbox.pids,
        file_bytes: sandbox.file_mib * MIB,
        unconfined: sandbox.unconfined,
    }
}

/// Two journals on one Docker never touch each other's containers: no two begin at the same
/// moment in the same place.
fn owner(config: &Config, began_unix_ms: u64) -> String {
    let place = config.database.as_os_str().as_encoded_bytes();
    let digest = Digest::of(&[&began_unix_ms.to_be_bytes(), place]);
    digest.to_string()[..16].to_owned()
}
