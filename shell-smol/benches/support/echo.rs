//! quinn's own bare echo: as little as a QUIC server can do, in a process of its own.

use crate::crowd;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, SmolRuntime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// As long as the frame of a ping.
const PING: &[u8; 19] = b"\0\0\0\x0f{\"type\":\"ping\"}";

/// What the other process does: tells its address and certificate, and echoes until it is killed.
pub(crate) fn serve() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a certificate");
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port on loopback");
    smol::block_on(async {
        let runtime = Arc::new(SmolRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, runtime);
        let endpoint = endpoint.expect("an endpoint");
        let hex: String = certificate
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        println!("{} {hex}", endpoint.local_addr().expect("its address"));
        while let Some(incoming) = endpoint.accept().await {
            smol::spawn(async move {
                let Ok(connection) = incoming.await else {
                    return;
                };
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    smol::spawn(async move {
                        let mut frame = [0; PING.len()];
                        if recv.read_exact(&mut frame).await.is_ok() {
                            let _ = send.write_all(&frame).await;
                            let _ = send.finish();
                        }
                    })
                    .detach();
                }
            })
            .detach();
        }
    });
}

/// The other process.
pub(crate) struct Echo {
    child: Child,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Echo {
    pub(crate) fn start() -> Echo {
        let mut command = Command::new(std::env::current_exe().expect("ourselves"));
        let mut child = command
            .arg("echo")
            .stdout(Stdio::piped())
            .spawn()
            .expect("ourselves");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("UTF-8");
        let (address, hex) = line.trim().split_once(' ').expect("both");
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("a byte");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        Echo {
            address: address.parse().expect("an address"),
            certificate: bytes.into(),
            child,
        }
    }

    pub(crate) async fn connect(&self) -> Bare {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3");
        let config = ClientConfig::new(Arc::new(crypto));
        let endpoint = crowd::endpoint();
        let connecting = endpoint.connect_with(config, self.address, "localhost");
        Bare(connecting.expect("an address").await.expect("a connection"))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to it.
pub(crate) struct Bare(Connection);

impl Bare {
    pub(crate) async fn echo(&self) {
        let (mut send, mut recv) = self.0.open_bi().await.expect("a connection");
        send.write_all(PING).await.expect("a connection");
        let _ = send.finish();
        let echoed = recv.read_to_end(PING.len()).await.expect("a connection");
        assert_eq!(echoed, PING);
    }
}
