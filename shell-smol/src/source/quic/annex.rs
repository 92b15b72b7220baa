//! Where workers come in: further sockets of the gateway, on networks of containers, for workers
//! alone. A client's token is worth nothing there.
//!
//! The port is always the same, on an address that belongs to the network, so that a worker finds
//! the gateway again after a restart of the daemon.

use super::worker::Admits;
use super::{Fingerprint, GatewayConfig, Shared, certificate, connection, endpoint};
use quinn::Endpoint;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The port of every such socket.
pub const PORT: u16 = 4434;

/// Opens sockets for workers once the gateway runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Annex(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    /// None while no gateway runs.
    gateway: Option<(GatewayConfig, Arc<Shared>)>,
    open: BTreeMap<IpAddr, Endpoint>,
}

/// Where a worker finds the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Its address.
    pub address: SocketAddr,
    /// By which certificate it is known.
    pub fingerprint: Fingerprint,
}

impl Annex {
    /// Listens on this address for workers, if that is not so already.
    ///
    /// # Errors
    /// In words for a person: no gateway runs, or the socket cannot be had.
    pub fn open(&self, ip: IpAddr) -> Result<Meeting, String> {
        let address = SocketAddr::new(ip, PORT);
        let mut inside = self.inside();
        let Some((config, shared)) = inside.gateway.clone() else {
            return Err(
                "workers report over the gateway, which does not run: set `enabled = true` under \
                 [gateway] and use the daemon (`openpistacrab start`)"
                    .to_owned(),
            );
        };
        let meet = |error: super::GatewayError| error.to_string();
        let kept = certificate::keep(&config.data_dir).map_err(meet)?;
        let fingerprint = Fingerprint::of(&kept.certificate);
        if let std::collections::btree_map::Entry::Vacant(place) = inside.open.entry(ip) {
            let config = GatewayConfig {
                listen: address,
                ..config
            };
            let bound = endpoint::bind(&config, kept).map_err(|error| {
                format!("workers cannot report: {error} (the port of workers is always {PORT})")
            })?;
            smol::spawn(endpoint::serve(bound.clone(), shared, Admits::WorkersAlone)).detach();
            tracing::info!(%address, "listening for workers");
            place.insert(bound);
        }
        Ok(Meeting {
            address,
            fingerprint,
        })
    }

    /// The gateway runs from here on.
    pub(super) fn of(&self, config: GatewayConfig, shared: Arc<Shared>) {
        let config = GatewayConfig {
            annex: Annex::default(),
            ..config
        };
        self.inside().gateway = Some((config, shared));
    }

    /// The gateway ends: so do these.
    pub(super) fn close(&self) -> Vec<Endpoint> {
        let mut inside = self.inside();
        inside.gateway = None;
        let (code, reason) = connection::Close::SHUTDOWN.parts();
        let open = std::mem::take(&mut inside.open);
        let open: Vec<Endpoint> = open.into_values().collect();
        for endpoint in &open {
            endpoint.close(code, reason);
        }
        open
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Annex;

    #[test]
    fn without_a_gateway_there_is_nothing_to_open() {
        let refused = Annex::default().open("127.0.0.1".parse().unwrap());
        assert!(refused.unwrap_err().contains("[gateway]"));
    }
}
