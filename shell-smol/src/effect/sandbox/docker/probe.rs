//! What earlier lives of ours left: what became of a container, and which of them nobody owns.

use super::create::{OWNER_LABEL, SANDBOX_LABEL, remove};
use super::daemon::{ANSWER, Daemon, Trouble};
use super::{Acting, Shared};
use bollard::Docker as Client;
use bollard::models::{ContainerState, ContainerStateStatusEnum, ContainerSummary};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use chrono::DateTime;
use futures_lite::future::{or, pending};
use openpista_core::effect::sandbox::{Done, Program, SandboxFault, Task};
use openpista_core::id::{SandboxId, Seq};
use std::collections::{BTreeSet, HashMap};

/// How often to try to listen for a worker.
const MEET_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// What a container looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// It runs, or has run.
    pub(super) started: bool,
    /// For how long, in milliseconds: until its end, or by now.
    pub(super) ran_ms: u64,
    /// Something in it was killed because its memory was used up.
    pub(super) out_of_memory: bool,
}

/// Looks at a container.
pub(super) async fn look(
    daemon: &Daemon,
    client: &Client,
    container: &str,
) -> Result<Found, Trouble> {
    let look = client.inspect_container(container, None::<InspectContainerOptions>);
    let state = daemon.ask(ANSWER, look).await?.state.unwrap_or_default();
    Ok(Found::new(&state, crate::clock::unix_now_ms()))
}

impl Found {
    fn new(state: &ContainerState, now_ms: u64) -> Found {
        let ms = |time: &Option<String>| {
            let time = DateTime::parse_from_rfc3339(time.as_deref()?).ok()?;
            // Docker writes the year 1 for what has not happened.
            u64::try_from(time.timestamp_millis()).ok()
        };
        let started_ms = ms(&state.started_at);
        let ended_ms = match state.running {
            Some(true) => now_ms,
            _ => ms(&state.finished_at).unwrap_or(now_ms),
        };
        let waits = state.status == Some(ContainerStateStatusEnum::CREATED);
        Found {
            started: !waits && started_ms.is_some(),
            ran_ms: started_ms.map_or(0, |started_ms| ended_ms.saturating_sub(started_ms)),
            out_of_memory: state.oom_killed == Some(true),
        }
    }
}

impl Acting {
    /// Finds out what became of a task that may have been running when we died.
    pub(super) async fn resume(&self, task: &Task) -> Result<Done, SandboxFault> {
        let daemon = &self.shared.daemon;
        if task.program == Program::Worker && self.shared.config.worker.is_none() {
            // Nobody here hears its report, and it would wait for somebody.
            return Err(SandboxFault::Lost);
        }
        let client = daemon.client().await.map_err(|_| SandboxFault::Lost)?;
        match look(daemon, &client, &self.container()).await {
            Ok(found) => {
                self.shared.slots.keep_found(self.used.sandbox);
                let resumed = async {
                    match found.started {
                        true => self.take_up(task, client.clone(), found.ran_ms).await,
                        false => self.start(task, client.clone()).await,
                    }
                };
                or(resumed, self.wait_for_worker(task, &client)).await
            }
            Err(_) => Err(SandboxFault::Lost),
        }
    }

    /// Sees to it that a worker which was there before us finds the gateway again. Never ends.
    async fn wait_for_worker(&self, task: &Task, client: &Client) -> Result<Done, SandboxFault> {
        if let (Program::Worker, Some(worker)) = (&task.program, &self.shared.config.worker) {
            loop {
                let held = self.shared.networking.lock_arc().await;
                let met = self.shared.meet_workers(client, worker, &held).await;
                drop(held);
                let Err(fault) = met else { break };
                // The one before us may not have let go of the address yet.
                tracing::warn!("a worker cannot report: {fault}");
                tokio::time::sleep(MEET_EVERY).await;
            }
        }
        pending().await
    }
}

impl Shared {
    /// Removes what is ours by its label and is not among these. One that cannot be removed keeps
    /// no other one.
    pub(super) async fn sweep(
        &self,
        owned: &BTreeSet<SandboxId>,
        through: Seq,
    ) -> Result<usize, String> {
        let message = |trouble: Trouble| trouble.message;
        let client = self.daemon.client().await.map_err(message)?;
        let ours = self.containers(&client).await.map_err(message)?;
        let mut swept = Ok(0);
        for found in ours {
            let labels = found.labels.unwrap_or_default();
            let sandbox = labels.get(SANDBOX_LABEL).and_then(|id| id.parse().ok());
            let stays = |s: SandboxId| s.seq > through || owned.contains(&s);
            if sandbox.is_some_and(stays) {
                continue;
            }
            let removed = remove(&self.daemon, &client, &found.id.unwrap_or_default()).await;
            swept = match (swept, removed) {
                (Ok(count), Ok(())) => Ok(count + 1),
                (Ok(_), Err(trouble)) => Err(trouble.message),
                (Err(message), _) => Err(message),
            };
        }
        self.sweep_network(&client).await;
        swept
    }

    /// All that are ours by their label.
    pub(super) async fn containers(
        &self,
        client: &Client,
    ) -> Result<Vec<ContainerSummary>, Trouble> {
        let label = format!("{OWNER_LABEL}={}", self.config.owner);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&HashMap::from([("label", vec![label])]))
            .build();
        let ours = client.list_containers(Some(options));
        self.daemon.ask(ANSWER, ours).await
    }

    /// What the daemon calls itself.
    pub(super) async fn version(&self) -> Result<String, String> {
        let asked = async {
            let client = self.daemon.client().await?;
            self.daemon.ask(ANSWER, client.version()).await
        };
        let version = asked.await.map_err(|trouble: Trouble| trouble.message)?;
        Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(
        status: ContainerStateStatusEnum,
        started_at: &str,
        finished_at: &str,
    ) -> ContainerState {
        ContainerState {
            running: Some(status == ContainerStateStatusEnum::RUNNING),
            status: Some(status),
            started_at: Some(started_at.to_owned()),
            finished_at: Some(finished_at.to_owned()),
            ..ContainerState::default()
        }
    }

    #[test]
    fn how_long_it_ran_is_read_from_the_daemons_times() {
        let (began, never) = ("2026-01-02T03:04:05.25Z", "0001-01-01T00:00:00Z");
        let began_ms = 1_767_323_045_250;
        let running = state(ContainerStateStatusEnum::RUNNING, began, never);
        let found = Found::new(&running, began_ms + 750);
        assert_eq!((found.started, found.ran_ms), (true, 750));
        let ended = state(
            ContainerStateStatusEnum::EXITED,
            began,
            "2026-01-02T04:04:07.25+01:00",
        );
        let found = Found::new(&ended, began_ms + 99_999);
        assert_eq!((found.started, found.ran_ms), (true, 2_000));
        let created = state(ContainerStateStatusEnum::CREATED, never, never);
        assert_eq!(Found::new(&created, began_ms), Found::default());
    }
}
