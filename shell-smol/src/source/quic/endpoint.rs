//! The socket, and who may come in while nobody knows them yet.
//!
//! Everything that strangers can make us hold is bounded: how many there are, how much each may
//! send before it has said who it is, and for how long it may try. Where many come at once they
//! must first show that they can be reached at the address they write from, and the newest takes
//! the place of the oldest, so that a crowd of silent ones shuts nobody out.

use super::certificate::{Certificate, Memory};
use super::connection::{self, Close};
use super::runtime::Runtime;
use super::worker::Admits;
use super::{ALPN, GatewayConfig, GatewayError, Shared};
use async_io::Timer;
use futures_lite::future;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::server::ServerSessionMemoryCache;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Connections, those that are being closed included.
const CONNECTIONS: usize = 256;
/// Connections that have not said who they are.
const STRANGERS: usize = 64;
/// With more strangers than this, a new one must show that it can be reached.
const CROWD: usize = 16;
/// How long each of a crowd waits for the one before it, at the least.
const CROWD_PACE: Duration = Duration::from_millis(2);
/// Sessions that can be resumed.
const SESSIONS: usize = 1_024;
/// What a connection may have in flight before it has said who it is, in bytes.
const STRANGER_WINDOW: u32 = 16 * 1024;
/// The same, once it has.
pub(super) const KNOWN_WINDOW: u32 = 4 * 1024 * 1024;
/// The same, for a worker.
pub(super) const WORKER_WINDOW: u32 = STREAM_WINDOW;
/// What may be in flight on one stream, in bytes. A longer frame comes in several rounds.
const STREAM_WINDOW: u32 = 64 * 1024;
/// What waits to be sent or acknowledged on one connection, in bytes.
const SEND_WINDOW: u64 = 2 * 1024 * 1024;
/// Streams at once before a peer has said who it is: those that its early data fills.
const STRANGER_STREAMS: u32 = 16;
/// Streams at once after that.
pub(super) const KNOWN_STREAMS: u32 = 256;
/// Datagrams held for connections that were not looked at yet, in bytes.
const INCOMING_BYTES: u64 = 1024 * 1024;

/// Binds the socket.
pub(super) fn bind(
    config: &GatewayConfig,
    certificate: Certificate,
) -> Result<Endpoint, GatewayError> {
    let bind_failed = |error| GatewayError::bind(config.listen, &error);
    let Memory {
        resets,
        identifiers,
    } = certificate.memory();
    let mut endpoint = EndpointConfig::new(Arc::new(resets));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(identifiers)));
    let server = server_config(config, certificate)?;
    let socket = UdpSocket::bind(config.listen).map_err(bind_failed)?;
    let runtime = Arc::new(Runtime);
    Endpoint::new(endpoint, Some(server), socket, runtime).map_err(bind_failed)
}

fn server_config(
    config: &GatewayConfig,
    certificate: Certificate,
) -> Result<ServerConfig, GatewayError> {
    let unusable = |error: &dyn std::fmt::Display| GatewayError::Certificate {
        path: config.data_dir.join(super::KEY_FILE),
        cause: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.certificate], certificate.key)
        .map_err(|error| unusable(&error))?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // Early data: a resumed session is kept here and used once. A ticketer would switch it off.
    tls.max_early_data_size = u32::MAX;
    tls.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    let crypto = QuicServerConfig::try_from(tls).map_err(|error| unusable(&error))?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport(config)))
        .max_incoming(CONNECTIONS)
        .incoming_buffer_size(STRANGER_WINDOW.into())
        .incoming_buffer_size_total(INCOMING_BYTES);
    Ok(server)
}

fn transport(config: &GatewayConfig) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(STRANGER_WINDOW))
        .send_window(SEND_WINDOW)
        // Longer than fits is as good as for ever.
        .max_idle_timeout(config.idle_timeout.try_into().ok())
        .keep_alive_interval(Some(config.idle_timeout / 3));
    transport
}

/// Takes connections until the endpoint is closed.
pub(super) async fn serve(endpoint: Endpoint, shared: Arc<Shared>, admits: Admits) {
    let strangers = Strangers::default();
    while let Some(incoming) = endpoint.accept().await {
        let remote = incoming.remote_address();
        // The one that is coming in counts already.
        if endpoint.open_connections() > CONNECTIONS {
            tracing::debug!(%remote, "refused: too many connections");
            incoming.refuse();
            continue;
        }
        let crowded = strangers.count() >= CROWD;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            // It can be told so only if it can be told at all.
            let _ = incoming.retry();
            continue;
        }
        match open(incoming) {
            Ok((connection, handshake)) => {
                let place = strangers.enter(connection.clone());
                let shared = Arc::clone(&shared);
                let way_in = (admits, place);
                smol::spawn(connection::serve(shared, connection, handshake, way_in)).detach();
            }
            Err(error) => tracing::debug!(%remote, "no connection: {error}"),
        }
        // A handshake costs as much as many messages: those who are known go first.
        match crowded {
            true => drop(Timer::after(CROWD_PACE).await),
            false => future::yield_now().await,
        }
    }
}

fn open(
    incoming: Incoming,
) -> Result<(Connection, quinn::ZeroRttAccepted), quinn::ConnectionError> {
    let connecting = incoming.accept()?;
    // Of a server's side this always succeeds; it lets early data be read.
    connecting
        .into_0rtt()
        .map_err(|_| quinn::ConnectionError::LocallyClosed)
}

/// The connections that have not said who they are.
#[derive(Clone, Debug, Default)]
struct Strangers(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    oldest_first: BTreeMap<u64, Connection>,
}

/// A stranger's place, until dropped.
pub(super) struct Place {
    strangers: Strangers,
    number: u64,
}

impl Strangers {
    fn count(&self) -> usize {
        self.lock().oldest_first.len()
    }

    /// Makes room by closing the oldest.
    fn enter(&self, connection: Connection) -> Place {
        let mut waiting = self.lock();
        if waiting.oldest_first.len() >= STRANGERS
            && let Some((_, oldest)) = waiting.oldest_first.pop_first()
        {
            Close::CROWDED.apply(&oldest);
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.oldest_first.insert(number, connection);
        Place {
            strangers: self.clone(),
            number,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.lock().oldest_first.remove(&self.number);
    }
}
