//! The engines of sandboxed work, as the configuration wants them, and the tools that they add.

use crate::config::Config;
use crate::effect::sandbox::docker::{self, Docker, DockerConfig};
use crate::effect::sandbox::subprocess::{Subprocess, SubprocessConfig};
use crate::effect::sandbox::wasm::{Wasm, WasmConfig};
use crate::effect::sandbox::{self, Sandboxes};
use crate::secret::Secrets;
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
}

/// The engines. Nothing is started or looked for until something is to run in one.
pub(super) fn engines(config: &Config, shared: Shared) -> Sandboxes {
    let own = config.data_dir_of_journal();
    Sandboxes {
        docker: match config.sandbox.docker {
            true => Docker::new(containers(config, &shared)),
            false => Docker::default(),
        },
        wasm: Wasm::new(WasmConfig {
            workspace: config.workspace.clone(),
            cache_dir: own.join("wasm-cache"),
            output_chars: config.tools.output_chars,
            memory_bytes: config.sandbox.wasm_memory_mib * MIB,
            secrets: shared.secrets.clone(),
        }),
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

/// Confined processes alone, likewise.
pub(super) fn subprocess(config: &Config, shared: Shared) -> Subprocess {
    Subprocess::new(processes(config, shared))
}

/// The tools that need no skill.
pub(super) fn specs(config: &Config) -> Option<ToolSpec> {
    let shared = Shared {
        began_unix_ms: 0,
        secrets: Secrets::default(),
        guard: PathBuf::new(),
    };
    let offered = containers(config, &shared);
    let otherwise = config.sandbox.otherwise();
    config
        .sandbox
        .docker
        .then(|| docker::spec(&offered, otherwise))
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
        worker: None,
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
