//! Peers of the gateway that mean no good, many of them, in a process of their own, so that what
//! is measured beside them is the gateway.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several programs, and each uses a part of it"
)]

use openpista_shell_smol::source::quic::CERTIFICATE_FILE;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, SmolRuntime};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use smol::{Timer, block_on};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many bad peers there are at once: more than the gateway has room for strangers.
const AT_ONCE: usize = 100;
/// How long one stays that is not thrown out.
const STAY: Duration = Duration::from_secs(1);
/// How many kinds there are.
pub const KINDS: usize = 6;

/// A way of meaning no good.
#[derive(Clone)]
pub struct Kind {
    pub name: &'static str,
    bytes: Vec<u8>,
    /// The stream is ended behind the bytes.
    ends: bool,
}

/// All of them.
pub fn kinds() -> [Kind; KINDS] {
    let kind = |name, bytes, ends| Kind { name, bytes, ends };
    let message = framed(br#"{"type":"message","id":"k","text":"let me in"}"#);
    let wrong = framed(br#"{"type":"auth","token":"x","client":"y"}"#);
    [
        kind("never authenticated", Vec::new(), false),
        kind("malformed", framed(b"\xff\xff\xff"), true),
        kind("oversized", [0xff; 60_000].to_vec(), false),
        kind("half-sent", vec![0, 0, 0, 200, b'{'], false),
        kind("unauthenticated", message, true),
        kind("with a wrong token", wrong, true),
    ]
}

/// What the process does that is the crowd: `count` bad peers, of these kinds by turns.
pub fn throng(to: SocketAddr, data_dir: &Path, kinds: &[Kind], count: usize) {
    let config = trusting(data_dir);
    block_on(async {
        let endpoint = endpoint();
        let (place, free) = async_channel::bounded(AT_ONCE);
        for number in 0..count {
            place.send(()).await.expect("we hold the other end");
            let from = (endpoint.clone(), config.clone());
            let peer = be_bad(from, to, kinds[number % kinds.len()].clone());
            let free = free.clone();
            smol::spawn(async move {
                peer.await;
                let _ = free.recv().await;
            })
            .detach();
        }
        for _ in 0..AT_ONCE {
            place.send(()).await.expect("we hold the other end");
        }
    });
}

/// One bad peer. It stays until the gateway throws it out, or for a while.
async fn be_bad(from: (Endpoint, ClientConfig), to: SocketAddr, kind: Kind) {
    let (endpoint, config) = from;
    let connecting = endpoint.connect_with(config, to, "localhost");
    let bad = async {
        let Ok(connection) = connecting.expect("an address").await else {
            return;
        };
        if let Ok((mut send, _recv)) = connection.open_bi().await {
            // The gateway may have had enough before it has read all.
            let _ = send.write_all(&kind.bytes).await;
            match kind.ends {
                true => drop(send.finish()),
                false => drop(connection.closed().await),
            }
        }
        connection.closed().await;
    };
    let patience = async {
        Timer::after(STAY).await;
    };
    futures_lite::future::or(bad, patience).await;
}

/// A socket to dial from.
pub fn endpoint() -> Endpoint {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port on loopback");
    let runtime = Arc::new(SmolRuntime);
    Endpoint::new(EndpointConfig::default(), None, socket, runtime).expect("an endpoint")
}

/// Trusts the gateway's certificate as any program would that was given the file.
pub fn trusting(data_dir: &Path) -> ClientConfig {
    let file = data_dir.join(CERTIFICATE_FILE);
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(file).expect("the gateway's certificate");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"openpista/1".to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")))
}

/// A frame of these bytes.
pub fn framed(json: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).expect("a short frame");
    [&length.to_be_bytes(), json].concat()
}
