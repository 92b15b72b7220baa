//! Making a container, with everything that confines what will run in it; and removing it.

use super::arguments::{Arguments, SCRATCH, WORKSPACE};
use super::daemon::{ANSWER, Daemon, Kind, Trouble, WORK};
use super::{Acting, DockerConfig, Shared, image, token};
use bollard::Docker as Client;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountBindOptions,
    MountType, MountVolumeOptions,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
};
use futures_lite::future::or;
use openpista_core::effect::sandbox::{Done, Program, SandboxFault, Task};
use openpista_core::id::SandboxId;
use smol::lock::{MutexGuardArc, SemaphoreGuardArc};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Where a worker finds its program.
pub const WORKER: &str = "/run/openpista-worker";

/// Nobody's user and group. There is no other: what needs root needs more than it could get.
const USER: &str = "65534:65534";

/// The group of it.
pub(super) const GROUP: u32 = 65534;

/// Whose containers they are, and for which sandbox.
pub(super) const OWNER_LABEL: &str = "openpista.owner";
pub(super) const SANDBOX_LABEL: &str = "openpista.sandbox";

/// How often to look whether what somebody else began is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Acting {
    /// Makes the sandbox, ready to run.
    pub(super) async fn create(&self, task: &Task) -> Result<Done, SandboxFault> {
        let shared = &self.shared;
        let arguments = arguments(task, &shared.config)?;
        shared.slots.give_back(self.used.sandbox);
        let ready = async {
            let slot = self.slot().await;
            let client = shared.daemon.client().await.map_err(unreachable)?;
            let image = image::find(shared, &client, &arguments.image, &self.shown).await?;
            Ok((slot, client, image))
        };
        let limit = tokio::time::Instant::now() + Duration::from_millis(self.used.timeout_ms);
        let stopped = async {
            self.stop.requested().await;
            Err(SandboxFault::Cancelled)
        };
        let ready = tokio::time::timeout_at(limit, or(stopped, ready));
        let (slot, client, image) = ready.await.map_err(|_| SandboxFault::TimedOut)??;
        let mut body = body(self, &arguments, &image);
        let mut network = None;
        if task.program == Program::Worker {
            let held = shared.networking.lock_arc().await;
            self.add_worker(&client, &mut body, &arguments, &held)
                .await?;
            network = Some(held);
        }
        // From here on it is not to be stopped, so that it is known what there is: it takes a
        // moment only.
        let made = self.make(client, body, &task.program, slot, network);
        let made = tokio::time::timeout_at(limit, made);
        made.await.map_err(|_| SandboxFault::TimedOut)?
    }

    /// Waits until there may be one more.
    async fn slot(&self) -> SemaphoreGuardArc {
        if let Some(slot) = self.shared.slots.try_take() {
            return slot;
        }
        let at_once = self.shared.config.at_once;
        self.shown.show(format!(
            "waiting: there may be {at_once} containers at once, and there are\n"
        ));
        self.shared.slots.take().await
    }

    async fn make(
        &self,
        client: Client,
        body: ContainerCreateBody,
        program: &Program,
        slot: SemaphoreGuardArc,
        network: Option<MutexGuardArc<()>>,
    ) -> Result<Done, SandboxFault> {
        let (shared, sandbox) = (&self.shared, self.used.sandbox);
        make(Arc::clone(shared), client.clone(), sandbox, (body, network))
            .await
            .map_err(failed)?;
        let mut digest = None;
        if *program == Program::Worker {
            let token = token::draw().ok_or_else(|| SandboxFault::Failed {
                message: "the system gives no random bytes for a token".to_owned(),
            })?;
            token::put(&shared.daemon, &client, &self.container(), &token)
                .await
                .map_err(failed)?;
            digest = Some(token::digest(token.expose()));
        }
        shared.slots.keep(sandbox, slot);
        Ok(Done::Created { token: digest })
    }

    /// Ends what runs in the sandbox, and removes it.
    pub(super) async fn destroy(&self) -> Result<Done, SandboxFault> {
        let limit = Duration::from_millis(self.used.timeout_ms);
        let removal = async {
            let making = self.shared.making().get(&self.used.sandbox).cloned();
            if let Some(making) = making {
                let _ = making.recv().await;
            }
            let client = self.shared.daemon.client().await?;
            let container = self.container();
            remove(&self.shared.daemon, &client, &container).await
        };
        let removed = tokio::time::timeout(limit, removal).await;
        // Whatever came of it: what cannot be removed must not keep others waiting for ever.
        self.shared.slots.give_back(self.used.sandbox);
        if self.shared.config.worker.is_some()
            && let Ok(client) = self.shared.daemon.client().await
        {
            // It may have been the last one.
            self.shared.sweep_network(&client).await;
        }
        match removed {
            Ok(Ok(())) => Ok(Done::Destroyed),
            Ok(Err(trouble)) => Err(failed(trouble)),
            Err(_) => Err(SandboxFault::TimedOut),
        }
    }
}

/// What a task asks for.
pub(super) fn arguments(task: &Task, config: &DockerConfig) -> Result<Arguments, SandboxFault> {
    match &task.program {
        Program::Command | Program::Worker => Arguments::parse(&task.arguments, config),
        Program::Skill {
            folder,
            entry,
            image,
            ..
        } => Arguments::of_skill((folder, entry), image.as_deref(), &task.arguments, config),
    }
}

/// Makes a container. Once Docker was asked there is no way back, so this goes on when nobody
/// waits for it any more, and who removes the sandbox waits for it.
async fn make(
    shared: Arc<Shared>,
    client: Client,
    sandbox: SandboxId,
    (body, network): (ContainerCreateBody, Option<MutexGuardArc<()>>),
) -> Result<(), Trouble> {
    let (making, over) = async_channel::bounded(1);
    shared.making().insert(sandbox, over);
    let made = tokio::spawn(async move {
        let container = shared.container(sandbox);
        let made = make_fresh(&shared.daemon, &client, &container, body).await;
        shared.making().remove(&sandbox);
        drop((making, network));
        made
    });
    made.await.unwrap_or_else(|error| {
        Err(Trouble {
            kind: Kind::Unclear,
            message: format!("internal error: {error}"),
        })
    })
}

/// Makes a container in the place of the one that an earlier try left.
async fn make_fresh(
    daemon: &Daemon,
    client: &Client,
    container: &str,
    body: ContainerCreateBody,
) -> Result<(), Trouble> {
    let options = CreateContainerOptionsBuilder::default()
        .name(container)
        .build();
    let give_up = tokio::time::Instant::now() + WORK;
    loop {
        let made = client.create_container(Some(options.clone()), body.clone());
        match daemon.ask(WORK, made).await {
            // It may also be that Docker is still busy with what we asked for before we died.
            Err(trouble)
                if trouble.kind == Kind::Conflict && tokio::time::Instant::now() < give_up =>
            {
                remove(daemon, client, container).await?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            made => return made.map(drop),
        }
    }
}

/// Kills and removes a container with its volumes. It is gone afterwards, whoever removed it.
pub(super) async fn remove(
    daemon: &Daemon,
    client: &Client,
    container: &str,
) -> Result<(), Trouble> {
    let options = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    loop {
        let removal = client.remove_container(container, Some(options.clone()));
        match daemon.ask(WORK, removal).await {
            Ok(()) => return Ok(()),
            Err(trouble) if trouble.kind == Kind::Absent => return Ok(()),
            // Somebody else is at it.
            Err(trouble) if trouble.kind == Kind::Conflict => {}
            Err(trouble) => return Err(trouble),
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let look = client.inspect_container(container, None::<InspectContainerOptions>);
        if let Err(trouble) = daemon.ask(ANSWER, look).await
            && trouble.kind == Kind::Absent
        {
            return Ok(());
        }
    }
}

fn unreachable(trouble: Trouble) -> SandboxFault {
    SandboxFault::Unavailable {
        message: trouble.message,
    }
}

pub(super) fn failed(trouble: Trouble) -> SandboxFault {
    SandboxFault::Failed {
        message: trouble.message,
    }
}

/// What the container is.
fn body(acting: &Acting, arguments: &Arguments, image: &image::Image) -> ContainerCreateBody {
    let (config, sandbox) = (&acting.shared.config, acting.used.sandbox);
    // A later variable of the same name wins.
    let mut env = vec![format!("HOME={SCRATCH}")];
    env.extend_from_slice(&arguments.env);
    ContainerCreateBody {
        image: Some(arguments.image.clone()),
        // In the place of the image's own, which would get the command as its arguments.
        entrypoint: Some(arguments.command.clone()),
        cmd: Some(Vec::new()),
        env: Some(env),
        working_dir: Some(arguments.working_dir.clone()),
        user: Some(USER.to_owned()),
        hostname: Some("sandbox".to_owned()),
        // The image's own check would be one more program in there.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        labels: Some(HashMap::from([
            (OWNER_LABEL.to_owned(), config.owner.clone()),
            (SANDBOX_LABEL.to_owned(), sandbox.to_string()),
        ])),
        host_config: Some(confined(config, arguments, image)),
        ..ContainerCreateBody::default()
    }
}

/// What the container may do and use.
fn confined(config: &DockerConfig, arguments: &Arguments, image: &image::Image) -> HostConfig {
    let size = config.tmpfs_bytes;
    // Not `noexec`: what compiles a program wants to run it, and a script needs no such right.
    let tmpfs = format!("rw,exec,nosuid,nodev,mode=1777,size={size}");
    // What the image declares as a volume would be a place to write without a bound.
    let writable = image.volumes.iter().map(String::as_str).chain([SCRATCH]);
    let writable = writable.filter(|place| !place.starts_with(WORKSPACE));
    let memory = i64::try_from(arguments.memory_bytes).unwrap_or(i64::MAX);
    HostConfig {
        network_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(
            writable
                .map(|place| (place.to_owned(), tmpfs.clone()))
                .collect(),
        ),
        ipc_mode: Some("private".to_owned()),
        shm_size: i64::try_from(size).ok(),
        mounts: Some(vec![read_only(
            &config.workspace.to_string_lossy(),
            WORKSPACE,
        )]),
        nano_cpus: Some((arguments.cpus * 1e9) as i64),
        memory: Some(memory),
        // With swap included: none on top of it.
        memory_swap: Some(memory),
        pids_limit: i64::try_from(arguments.pids).ok(),
        // Reaps what the command leaves behind, and passes on how it ended.
        init: Some(true),
        log_config: Some(bounded_log()),
        ..HostConfig::default()
    }
}

/// What is printed is also written to the host's disk, for whoever comes after a crash.
fn bounded_log() -> HostConfigLogConfig {
    let options = [("max-size", "1m"), ("max-file", "2"), ("compress", "false")];
    HostConfigLogConfig {
        typ: Some("local".to_owned()),
        config: Some(
            options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
    }
}

/// A file or directory of the host, without what is mounted below it: that would be writable.
fn read_only(source: &str, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(true),
        bind_options: Some(MountBindOptions {
            non_recursive: Some(true),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

impl Acting {
    /// What a worker has on top of it: its program, a place for its token, its network. Its command
    /// line tells it what to do and whom to report to.
    async fn add_worker(
        &self,
        client: &Client,
        body: &mut ContainerCreateBody,
        arguments: &Arguments,
        network: &MutexGuardArc<()>,
    ) -> Result<(), SandboxFault> {
        let (shared, none) = (&self.shared, "there are no workers in this configuration");
        let worker = shared.config.worker.as_ref();
        let worker = worker.ok_or_else(|| super::unavailable(none.to_owned()))?;
        let program = &worker.program;
        crate::worker::program::check(program).map_err(super::unavailable)?;
        let meeting = shared.meet_workers(client, worker, network).await?;
        let timeout_ms = arguments.timeout_ms.unwrap_or(u64::MAX);
        let options = [
            ("--gateway", meeting.address.to_string()),
            ("--fingerprint", meeting.fingerprint.to_string()),
            ("--token", token::TOKEN_FILE.to_owned()),
            (
                "--timeout-ms",
                timeout_ms.min(shared.config.timeout_ms).to_string(),
            ),
            ("--output-chars", shared.config.output_chars.to_string()),
        ];
        let mut line = vec![WORKER.to_owned()];
        line.extend(
            options
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value]),
        );
        line.push("--".to_owned());
        body.cmd = body.entrypoint.replace(line);
        let host = body.host_config.get_or_insert_default();
        host.network_mode = Some(shared.network());
        let mounts = host.mounts.get_or_insert_default();
        mounts.push(read_only(&program.to_string_lossy(), WORKER));
        mounts.push(Mount {
            typ: Some(MountType::VOLUME),
            target: Some(token::DIR.to_owned()),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        });
        Ok(())
    }
}
