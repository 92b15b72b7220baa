//! What the tests and the bench of containers share: a Docker daemon that answers, an image made
//! of busybox, and an engine with a workspace of its own.

use bollard::Docker as Client;
use bollard::query_parameters::{CreateImageOptionsBuilder, ListContainersOptionsBuilder};
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::id::{SandboxId, Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::sandbox::docker::{Docker, DockerConfig};
use serde_json::Value;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Runtime;

/// A static busybox with a name for each of its programs.
pub(crate) const IMAGE: &str = "openpista-test:busybox";

/// An engine of a journal of its own, and its workspace.
pub(crate) struct Rig {
    pub(crate) config: DockerConfig,
    pub(crate) docker: Docker,
    pub(crate) dir: tempfile::TempDir,
}

/// An engine, unless there is no Docker here, which is said. In CI that is an error.
pub(crate) fn rig() -> Option<Rig> {
    rig_with(|_| {})
}

/// One that is set up in some other way.
pub(crate) fn rig_with(change: impl FnOnce(&mut DockerConfig)) -> Option<Rig> {
    static LACKING: OnceLock<Option<String>> = OnceLock::new();
    let lacking = LACKING.get_or_init(|| {
        let lacking = prepare().err()?;
        // Past the harness, which shows only what failing tests print.
        let _ = writeln!(io::stderr(), "skipped, for want of Docker: {lacking}");
        Some(lacking)
    });
    if let Some(lacking) = lacking {
        let must = std::env::var_os("CI").is_some();
        assert!(!must, "Docker is missing: {lacking}");
        return None;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let workspace = dir.path().join("workspace");
    fs::create_dir(&workspace).expect("a directory");
    let mut config = DockerConfig {
        owner: fresh_owner(),
        workspace,
        default_image: Some(IMAGE.to_owned()),
        ..DockerConfig::default()
    };
    change(&mut config);
    Some(Rig {
        docker: Docker::new(config.clone()),
        config,
        dir,
    })
}

/// Nobody else's.
fn fresh_owner() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:06x}{count:02x}test", std::process::id())
}

/// Looks for a daemon, and makes the image.
fn prepare() -> Result<(), String> {
    block_on(Docker::new(DockerConfig::default()).version())?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let root = dir.path();
    let busybox = |arguments: &[&str]| {
        Command::new("busybox")
            .args(arguments)
            .output()
            .map_err(|error| format!("busybox-static is missing: {error}"))
    };
    let programs = String::from_utf8_lossy(&busybox(&["--list"])?.stdout).into_owned();
    let path = busybox(&["which", "busybox"])?.stdout;
    for name in ["bin", "etc", "home"] {
        fs::create_dir(root.join(name)).map_err(|error| error.to_string())?;
    }
    fs::copy(
        String::from_utf8_lossy(&path).trim(),
        root.join("bin/busybox"),
    )
    .map_err(|error| error.to_string())?;
    for program in programs.lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(program)).map_err(|error| error.to_string())?;
    }
    import(root, IMAGE, Vec::new())
}

/// Makes an image of a directory.
pub(crate) fn import(root: &Path, image: &str, changes: Vec<String>) -> Result<(), String> {
    let tar = Command::new("tar")
        .args(["--numeric-owner", "--owner=0", "--group=0", "-C"])
        .arg(root)
        .args(["-c", "."])
        .output()
        .map_err(|error| format!("tar is missing: {error}"))?;
    let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .tag(tag)
        .changes(changes)
        .build();
    bare(async |client| {
        let body = bollard::body_full(tar.stdout.into());
        let mut news = client.create_image(Some(options), Some(body), None);
        while let Some(item) = news.next().await {
            item.map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}

/// Uses Docker without the engine.
pub(crate) fn bare<T>(work: impl AsyncFnOnce(Client) -> T) -> T {
    runtime().block_on(async {
        let client = Client::connect_with_defaults().expect("a daemon");
        work(client.negotiate_version().await.expect("a daemon")).await
    })
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A stop that is never asked for while the first part is held.
pub(crate) fn never() -> (async_channel::Sender<Infallible>, Stop) {
    let (held, watched) = async_channel::bounded(1);
    (held, Stop::when_closed(watched))
}

pub(crate) fn id(seq: u64) -> SandboxId {
    SandboxId {
        seq: Seq(seq),
        slot: 0,
    }
}

/// A call of `container.run`.
pub(crate) fn command(arguments: &Value) -> Task {
    Task {
        tool: "container.run".to_owned(),
        arguments: arguments.to_string(),
        program: Program::Command,
        timeout_ms: 60_000,
    }
}

pub(crate) fn used(seq: u64, action: Action) -> UseSandbox {
    let timeout_ms = match &action {
        Action::Run(task) | Action::Resume(task) => task.timeout_ms,
        Action::Create(_) | Action::Destroy => 60_000,
    };
    UseSandbox {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(1)),
        call: 0,
        sandbox: id(seq),
        engine: Engine::Docker,
        action,
        timeout_ms,
    }
}

impl Rig {
    /// Performs one action to its end.
    pub(crate) fn act(&self, seq: u64, action: Action) -> Result<Done, SandboxFault> {
        let (_held, stop) = never();
        block_on(self.docker.perform(&used(seq, action), &stop, &|_| {}))
    }

    /// The same, and whoever sees this text among the progress stops it.
    pub(crate) fn act_until(
        &self,
        seq: u64,
        action: Action,
        text: &str,
    ) -> Result<Done, SandboxFault> {
        let (held, stop) = never();
        let seen = |chunk| {
            if matches!(chunk, Chunk::Output(shown) if shown.contains(text)) {
                held.close();
            }
        };
        block_on(self.docker.perform(&used(seq, action), &stop, &seen))
    }

    pub(crate) fn create(&self, seq: u64, task: &Task) {
        let made = self.act(seq, Action::Create(task.clone()));
        assert!(matches!(made, Ok(Done::Created { .. })), "{made:?}");
    }

    pub(crate) fn destroy(&self, seq: u64) {
        assert_eq!(self.act(seq, Action::Destroy), Ok(Done::Destroyed));
    }

    /// Makes, runs and removes.
    pub(crate) fn whole(&self, seq: u64, task: &Task) -> Ended {
        self.create(seq, task);
        let done = self.act(seq, Action::Run(task.clone()));
        self.destroy(seq);
        ended(done)
    }

    /// A whole life, for what it printed.
    pub(crate) fn sh(&self, seq: u64, line: &str) -> Ended {
        self.whole(seq, &command(&serde_json::json!({ "command": line })))
    }

    /// The names of the containers that there are of this journal.
    pub(crate) fn left(&self) -> Vec<String> {
        let label = format!("openpista.owner={}", self.config.owner);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let found = bare(async |client| client.list_containers(Some(options)).await);
        let found = found.expect("a daemon").into_iter();
        found
            .flat_map(|one| one.names.unwrap_or_default())
            .collect()
    }
}

impl Drop for Rig {
    /// What a failed test leaves must not stay.
    fn drop(&mut self) {
        let _ = block_on(Docker::new(self.config.clone()).sweep([].into(), Seq(u64::MAX)));
    }
}

pub(crate) fn ended(done: Result<Done, SandboxFault>) -> Ended {
    match done {
        Ok(Done::Ended(ended)) => ended,
        other => panic!("it did not end: {other:?}"),
    }
}
