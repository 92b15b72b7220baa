//! `[sandbox]`: what sandboxed work runs in, and what of the machine it may have.

use openpista_core::effect::sandbox::Engine;
use std::path::PathBuf;

/// What holds for sandboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// What becomes of work for a container where there is no Docker.
    pub fallback: Fallback,
    /// Containers may be made, where a Docker daemon answers.
    pub docker: bool,
    /// The daemon's socket, `unix:///PATH`; else what `DOCKER_HOST` names, else the usual one.
    pub docker_host: Option<String>,
    /// The image of calls and skills that name none.
    pub image: Option<String>,
    /// Images that are not on this machine are fetched.
    pub pull: bool,
    /// How much of the processors one container may use: 1000 is one of them.
    pub millicpus: u64,
    /// How much memory a container or a confined process may have.
    pub memory_mib: u64,
    /// How many processes and threads at once.
    pub pids: u64,
    /// How large a container's `/tmp` may become.
    pub tmp_mib: u64,
    /// The largest file that a confined process may write.
    pub file_mib: u64,
    /// How long a container or a confined process may run.
    pub timeout_ms: u64,
    /// How many containers there may be at once; further ones wait.
    pub at_once: usize,
    /// The program that runs workers' tasks; else the one beside our own.
    pub worker: Option<PathBuf>,
    /// Processes run also where the kernel cannot confine them.
    pub unconfined: bool,
    /// The program that WebAssembly skills run in; else the one beside our own.
    pub wasm_host: Option<PathBuf>,
    /// How long a WebAssembly skill may run.
    pub wasm_timeout_ms: u64,
    /// How much memory a WebAssembly skill may have.
    pub wasm_memory_mib: u64,
}

/// What becomes of work for a container where there is no Docker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// It runs as a process that the kernel confines.
    #[default]
    Subprocess,
    /// It does not run.
    Refuse,
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox {
            fallback: Fallback::default(),
            docker: true,
            docker_host: None,
            image: None,
            pull: false,
            millicpus: 1_000,
            memory_mib: 512,
            pids: 256,
            tmp_mib: 64,
            file_mib: 64,
            timeout_ms: 60_000,
            at_once: 4,
            worker: None,
            unconfined: false,
            wasm_host: None,
            wasm_timeout_ms: 30_000,
            wasm_memory_mib: 64,
        }
    }
}

impl Sandbox {
    /// The engine that stands in for Docker.
    pub fn otherwise(&self) -> Option<Engine> {
        match self.fallback {
            Fallback::Subprocess => Some(Engine::Subprocess),
            Fallback::Refuse => None,
        }
    }
}
