//! The network of this journal's workers: one that leads nowhere but to this machine, where the
//! gateway listens for workers alone; what else this machine serves on all of its addresses, the
//! worker keeps from its task (`worker/walls.rs`). It is made with the first worker, used by all, and
//! removed with the last container; after a crash, by the sweep.

use super::create::OWNER_LABEL;
use super::daemon::{ANSWER, Kind, Trouble, WORK};
use super::{Shared, WorkerConfig};
use crate::source::quic::annex::Meeting;
use bollard::Docker as Client;
use bollard::models::{Ipam, NetworkCreateRequest};
use bollard::query_parameters::InspectNetworkOptions;
use openpista_core::effect::sandbox::SandboxFault;
use smol::lock::MutexGuardArc;
use std::collections::HashMap;
use std::net::IpAddr;

/// What keeps workers from each other.
const ALONE: &str = "com.docker.network.bridge.enable_icc";

impl Shared {
    /// The network's name.
    pub(super) fn network(&self) -> String {
        let owner = self.config.owner.get(..8).unwrap_or(&self.config.owner);
        format!("openpista-{owner}-workers")
    }

    /// Sees to it that there is a network, and that the gateway listens on it. It stays as long as
    /// the lock is held, or a container is on it.
    pub(super) async fn meet_workers(
        &self,
        client: &Client,
        worker: &WorkerConfig,
        _one_at_a_time: &MutexGuardArc<()>,
    ) -> Result<Meeting, SandboxFault> {
        let ip = self.network_address(client).await.map_err(|trouble| {
            let message = format!("there is no network for workers: {}", trouble.message);
            SandboxFault::Failed { message }
        })?;
        let failed = |message| SandboxFault::Failed { message };
        worker.annex.open(ip).map_err(failed)
    }

    /// This machine's address on the network, which is made if there is none.
    async fn network_address(&self, client: &Client) -> Result<IpAddr, Trouble> {
        let name = self.network();
        if let Some(ip) = self.look_at_network(client).await? {
            return Ok(ip);
        }
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            options: Some(HashMap::from([(ALONE.to_owned(), "false".to_owned())])),
            labels: Some(HashMap::from([(
                OWNER_LABEL.to_owned(),
                self.config.owner.clone(),
            )])),
            ..NetworkCreateRequest::default()
        };
        match self.daemon.ask(WORK, client.create_network(request)).await {
            Ok(_) => {}
            // Another worker's making was first.
            Err(trouble) if trouble.kind == Kind::Conflict => {}
            Err(trouble) => return Err(trouble),
        }
        self.look_at_network(client).await?.ok_or_else(|| Trouble {
            kind: Kind::Unclear,
            message: format!("Docker gave the network {name} no address of this machine"),
        })
    }

    async fn look_at_network(&self, client: &Client) -> Result<Option<IpAddr>, Trouble> {
        let name = self.network();
        let look = client.inspect_network(&name, None::<InspectNetworkOptions>);
        match self.daemon.ask(ANSWER, look).await {
            // Nothing else may have that name and lead elsewhere.
            Ok(found) if found.internal != Some(true) => Err(Trouble {
                kind: Kind::Conflict,
                message: format!(
                    "the network {name} is not internal: remove it (`docker network rm {name}`)"
                ),
            }),
            Ok(found) => Ok(found.ipam.as_ref().and_then(gateway_of)),
            Err(trouble) if trouble.kind == Kind::Absent => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Removes the network, unless some container of ours may be on it: then it goes with the last
    /// one. Docker itself would only count those that were started.
    pub(super) async fn sweep_network(&self, client: &Client) {
        let _one_at_a_time = self.networking.lock_arc().await;
        if matches!(self.containers(client).await, Ok(ours) if ours.is_empty()) {
            let name = self.network();
            // There may be none.
            let _ = self.daemon.ask(WORK, client.remove_network(&name)).await;
        }
    }
}

fn gateway_of(ipam: &Ipam) -> Option<IpAddr> {
    let configs = ipam.config.as_ref()?;
    let gateways = configs.iter().filter_map(|config| config.gateway.as_ref());
    // With its prefix length, in some versions.
    let address = |text: &String| text.split('/').next()?.parse().ok();
    gateways.filter_map(address).next()
}
