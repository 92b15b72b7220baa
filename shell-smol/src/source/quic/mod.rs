//! The QUIC gateway: programs of the operator as a source of inputs, and a front end.
//!
//! It owns the UDP socket, the certificate, and who is connected. It decides nothing about
//! messages: what a client sends becomes an input, and what the loop shows goes to the client that
//! it is for (`front.rs`). A client is known by its token's name, as `quic:NAME`, whatever it
//! calls itself.
//!
//! Law 2: `accepted` goes out only on the loop's word. Law 3: the same id, on any connection and
//! in replayed early data, is one message, and its response is read from the journal. Nobody
//! without a token gets beyond one small frame, and everything that a peer can make us hold is
//! bounded (`endpoint.rs`).

pub mod annex;
mod certificate;
mod connection;
mod endpoint;
mod exchange;
mod front;
mod greeting;
pub mod local;
pub(crate) mod runtime;
pub(crate) mod stream;
mod worker;

pub use certificate::{BadFingerprint, CERTIFICATE_FILE, Fingerprint, KEY_FILE};

use crate::driver::Handle;
use crate::effect::deliver::Event;
use crate::journal::{JournalError, Lookup};
use crate::source::cli;
use annex::Annex;
use async_channel::Receiver;
use async_io::Timer;
use front::Front;
use futures_lite::FutureExt;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The kind of channel: the part of an origin before the first colon.
pub const CHANNEL: &str = "quic";
/// The protocol that both sides must speak.
pub const ALPN: &[u8] = b"openpista/1";
/// How long clients are given to take their leave at the end.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often it is looked whether they have their responses.
const LOOK: Duration = Duration::from_millis(5);

/// How the gateway is to work.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the certificate is kept.
    pub data_dir: PathBuf,
    /// How long a peer may take to say who it is.
    pub auth_timeout: Duration,
    /// A peer that is silent for so long is gone.
    pub idle_timeout: Duration,
    /// The names of tokens whose holders are among the settings' owners already. Others are let in
    /// when they first come.
    pub owners: BTreeSet<String>,
    /// The provider and the model, as clients are told of them.
    pub model: Option<(String, String)>,
    /// How many characters of each stream of a worker's command are kept.
    pub output_chars: usize,
    /// Where workers come in that have a network of their own. Workers may come in everywhere.
    pub annex: Annex,
}

impl GatewayConfig {
    /// The usual times, and nobody among the owners.
    pub fn new(listen: SocketAddr, data_dir: PathBuf) -> GatewayConfig {
        GatewayConfig {
            listen,
            data_dir,
            auth_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            owners: BTreeSet::new(),
            model: None,
            output_chars: 10_000,
            annex: Annex::default(),
        }
    }
}

/// The origin and the peer of a token's holder: `quic:NAME`, or the person at this machine's
/// terminal.
pub fn origin_of(token_name: &str) -> String {
    match token_name {
        local::TOKEN_NAME => cli::ORIGIN.to_owned(),
        name => format!("{CHANNEL}:{name}"),
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    endpoint: quinn::Endpoint,
    fingerprint: Fingerprint,
    local_addr: SocketAddr,
    annex: Annex,
    shared: Arc<Shared>,
}

/// What every connection needs.
#[derive(Debug)]
struct Shared {
    handle: Handle,
    lookup: Lookup,
    front: Front,
    auth_timeout: Duration,
    model: Option<(String, String)>,
    output_chars: usize,
    /// The names of tokens whose holders may give orders.
    admitted: Mutex<BTreeSet<String>>,
    /// New messages are turned away.
    draining: AtomicBool,
}

impl Gateway {
    /// Listens. `events` are those of the front end [`CHANNEL`]; `handle` and `lookup` belong to
    /// the same loop.
    ///
    /// # Errors
    /// When the address is beyond loopback and nobody has a token, or it cannot be had, or the
    /// certificate can be neither read nor made.
    pub fn start(
        config: GatewayConfig,
        handle: Handle,
        events: Receiver<Event>,
        lookup: Lookup,
    ) -> Result<Gateway, GatewayError> {
        let names = lookup.names().map_err(GatewayError::Journal)?;
        // That of this machine's own programs is always there.
        let nobody = names.iter().all(|name| name == local::TOKEN_NAME);
        if !config.listen.ip().is_loopback() && nobody {
            return Err(GatewayError::NoTokens(config.listen));
        }
        let certificate = certificate::keep(&config.data_dir)?;
        let fingerprint = Fingerprint::of(&certificate.certificate);
        let endpoint = endpoint::bind(&config, certificate)?;
        let bind_failed = |error| GatewayError::bind(config.listen, &error);
        let local_addr = endpoint.local_addr().map_err(bind_failed)?;
        let front = Front::default();
        let shared = Arc::new(Shared {
            handle,
            lookup,
            front: front.clone(),
            auth_timeout: config.auth_timeout,
            model: config.model.clone(),
            output_chars: config.output_chars,
            admitted: Mutex::new(config.owners.clone()),
            draining: AtomicBool::new(false),
        });
        smol::spawn(front.serve(events)).detach();
        let everybody = worker::Admits::Everybody;
        smol::spawn(endpoint::serve(
            endpoint.clone(),
            Arc::clone(&shared),
            everybody,
        ))
        .detach();
        let annex = config.annex.clone();
        annex.of(config, Arc::clone(&shared));
        Ok(Gateway {
            endpoint,
            fingerprint,
            local_addr,
            annex,
            shared,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// By which clients know it.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// From here on new messages are turned away. What was taken still gets its response.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Closes every connection, telling the clients so, and the socket.
    pub async fn close(self) {
        let told = async {
            while self.shared.front.owes() {
                Timer::after(LOOK).await;
            }
        };
        let late = async {
            Timer::after(FAREWELL).await;
        };
        // What was said to be delivered must not be cut off now.
        told.or(late).await;
        let (code, reason) = connection::Close::SHUTDOWN.parts();
        self.endpoint.close(code, reason);
        let further = self.annex.close();
        let gone = async {
            for endpoint in further.iter().chain([&self.endpoint]) {
                endpoint.wait_idle().await;
            }
        };
        let patience = async {
            Timer::after(FAREWELL).await;
        };
        gone.or(patience).await;
    }
}

/// Why the gateway does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayError {
    /// The address cannot be had.
    Bind {
        /// Which.
        listen: SocketAddr,
        /// What the system said.
        cause: String,
    },
    /// Anybody could reach it, and nobody could come in.
    NoTokens(SocketAddr),
    /// The certificate or its key can be neither read nor made.
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The journal cannot be read.
    Journal(JournalError),
}

impl GatewayError {
    fn bind(listen: SocketAddr, error: &std::io::Error) -> GatewayError {
        GatewayError::Bind {
            listen,
            cause: error.to_string(),
        }
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GatewayError::Bind { listen, cause } => write!(
                f,
                "the gateway cannot listen on {listen} (UDP): {cause}; stop what has that port, or \
                 set `listen` under [gateway] to another"
            ),
            GatewayError::NoTokens(listen) => write!(
                f,
                "the gateway is to listen on {listen}, beyond this machine, but nobody has a token; \
                 add one with `openpistacrab token add NAME`, or set `listen` under [gateway] to a \
                 loopback address"
            ),
            GatewayError::Certificate { path, cause } => write!(
                f,
                "the gateway cannot use {}: {cause}; put it right, or move {CERTIFICATE_FILE} and \
                 {KEY_FILE} away to have new ones made, which clients must then be told of",
                path.display()
            ),
            GatewayError::Journal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for GatewayError {}
