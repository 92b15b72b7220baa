//! Our own client of the gateway. It speaks the documented frames alone, so any other program can
//! do what it does.
//!
//! It trusts one certificate: the one whose fingerprint it was given. A client that connects again
//! resumes its session, and what it then sends first goes out at once, as early data.

use crate::secret::Secret;
use crate::source::quic::runtime::Runtime;
use crate::source::quic::stream::{self, Broken, Frames};
use crate::source::quic::{ALPN, Fingerprint};
use openpista_core::id::ApprovalId;
use openpista_core::wire::frame::{
    ClientFrame, Decision, MAX_FRAME_BYTES, Role, ServerFrame, Token,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, SendStream, TransportConfig,
    TransportErrorCode, ZeroRttAccepted,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, DigitallySignedStruct, SignatureScheme};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// The name that the gateway's certificate is for.
const SERVER_NAME: &str = "localhost";
/// A gateway that is silent for so long is gone.
const IDLE: Duration = Duration::from_secs(30);

/// A client, before it is connected. Keep it to connect again: it remembers its session.
#[derive(Debug)]
pub struct Client {
    config: quinn::ClientConfig,
    pin: Fingerprint,
    token: Secret,
    name: String,
}

/// A client that is connected. Dropping it closes the connection.
pub struct Connected {
    endpoint: Endpoint,
    connection: Connection,
    session: Option<String>,
    model: Option<String>,
    control: Exchange,
    early: Option<ZeroRttAccepted>,
}

/// A stream on which the gateway tells what comes of something.
pub struct Exchange {
    /// Held so that the gateway does not take it for given up.
    send: SendStream,
    frames: Frames<ServerFrame>,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connected").field(&self.connection).finish()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exchange").field(&self.send.id()).finish()
    }
}

impl Client {
    /// A client that trusts the gateway with this fingerprint. `name` is what the gateway's
    /// operator reads of it in the log; who it is, its token says.
    ///
    /// # Errors
    /// When the system's cryptography cannot be set up.
    pub fn new(pin: Fingerprint, token: Secret, name: &str) -> Result<Client, ClientError> {
        let failed = |error: &dyn fmt::Display| ClientError::Setup(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Pinned {
            pin,
            provider: Arc::clone(&provider),
        };
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| failed(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.enable_early_data = true;
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| failed(&error))?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport(IDLE)));
        Ok(Client {
            config,
            pin,
            token,
            name: name.to_owned(),
        })
    }

    /// Connects, and waits for the gateway's welcome.
    ///
    /// # Errors
    /// When nobody answers there, or it is another gateway, or it turns the token away.
    pub async fn connect(&self, address: SocketAddr) -> Result<Connected, ClientError> {
        let (endpoint, connection) = self.dial(address).await?;
        let mut connected = self.greet(endpoint, connection).await?;
        connected.welcomed().await?;
        Ok(connected)
    }

    /// Connects to a gateway that was connected to before: what is sent goes out at once. None
    /// when nothing is remembered of it; then [`Client::connect`] is the way.
    ///
    /// The gateway may not take early data; what was sent then fails with [`ClientError::Lost`]
    /// and is to be sent again over a new connection, with the same ids.
    ///
    /// # Errors
    /// When the greeting cannot be sent.
    pub async fn connect_early(
        &self,
        address: SocketAddr,
    ) -> Result<Option<Connected>, ClientError> {
        let (endpoint, connecting) = self.start(address)?;
        match connecting.into_0rtt() {
            Ok((connection, accepted)) => {
                let mut connected = self.greet(endpoint, connection).await?;
                connected.early = Some(accepted);
                Ok(Some(connected))
            }
            Err(_) => Ok(None),
        }
    }

    /// A client that gives a gateway up when it is silent for so long.
    pub(crate) fn with_patience(mut self, idle: Duration) -> Client {
        self.config.transport_config(Arc::new(transport(idle)));
        self
    }

    /// Connects, and says nothing.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
    ) -> Result<(Endpoint, Connection), ClientError> {
        let (endpoint, connecting) = self.start(address)?;
        match connecting.await {
            Ok(connection) => Ok((endpoint, connection)),
            Err(error) => Err(self.refused(address, &error)),
        }
    }

    /// The first frame of a connection.
    pub(crate) fn auth(&self, role: Option<Role>) -> ClientFrame {
        ClientFrame::Auth {
            token: Token(self.token.expose().to_owned()),
            client: self.name.clone(),
            role,
        }
    }

    fn start(&self, address: SocketAddr) -> Result<(Endpoint, quinn::Connecting), ClientError> {
        let failed = |error: &dyn fmt::Display| ClientError::Setup(error.to_string());
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).map_err(|error| failed(&error))?;
        let runtime = Arc::new(Runtime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)
            .map_err(|error| failed(&error))?;
        let connecting = endpoint
            .connect_with(self.config.clone(), address, SERVER_NAME)
            .map_err(|error| failed(&error))?;
        Ok((endpoint, connecting))
    }

    async fn greet(
        &self,
        endpoint: Endpoint,
        connection: Connection,
    ) -> Result<Connected, ClientError> {
        let control = open(&connection, &self.auth(None)).await?;
        Ok(Connected {
            endpoint,
            connection,
            session: None,
            model: None,
            control,
            early: None,
        })
    }

    fn refused(&self, address: SocketAddr, error: &ConnectionError) -> ClientError {
        // The verifier's word comes back as the alert that it makes TLS send.
        let alert = u8::from(AlertDescription::from(NOT_PINNED));
        let told = TransportErrorCode::crypto(alert);
        match error {
            ConnectionError::TransportError(error) if error.code == told => {
                ClientError::OtherGateway {
                    address,
                    pin: self.pin,
                }
            }
            error => ClientError::Unreachable {
                address,
                cause: error.to_string(),
            },
        }
    }
}

impl Connected {
    /// Waits for the gateway's welcome, if it has not come, and returns the name of the session
    /// that messages go to.
    ///
    /// # Errors
    /// When the gateway turns the token away, or the connection is lost.
    pub async fn welcomed(&mut self) -> Result<&str, ClientError> {
        while self.session.is_none() {
            match self.control.next().await? {
                Some(ServerFrame::AuthOk { session, model, .. }) => {
                    (self.session, self.model) = (Some(session), model);
                }
                Some(ServerFrame::AuthError { message }) => {
                    return Err(ClientError::Refused(message));
                }
                Some(_) => {}
                None => return Err(ClientError::Lost("the gateway did not answer".to_owned())),
            }
        }
        Ok(self.session.as_deref().unwrap_or_default())
    }

    /// The model's name, if the gateway's welcome told it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Waits until it is known whether the gateway has taken what was sent early. False, if nothing
    /// could be.
    pub async fn taken_early(&mut self) -> bool {
        match self.early.take() {
            Some(accepted) => accepted.await,
            None => false,
        }
    }

    /// Sends a message. The same `id` is the same message, whenever and wherever it is sent.
    ///
    /// # Errors
    /// When the message is too long, or the connection is lost.
    pub async fn message(
        &self,
        id: &str,
        text: &str,
        session: Option<&str>,
    ) -> Result<Exchange, ClientError> {
        let message = ClientFrame::Message {
            id: id.to_owned(),
            text: text.to_owned(),
            session: session.map(str::to_owned),
        };
        open(&self.connection, &message).await
    }

    /// Answers a question. Late and repeated answers change nothing.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn decide(
        &self,
        approval: ApprovalId,
        decision: Decision,
    ) -> Result<(), ClientError> {
        self.order(ClientFrame::Approval { approval, decision })
            .await
    }

    /// Stops the turn that a message of this client is in.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn cancel(&self, id: &str) -> Result<(), ClientError> {
        self.order(ClientFrame::Cancel { id: id.to_owned() }).await
    }

    /// Asks whether the gateway is there, and waits for its answer.
    ///
    /// # Errors
    /// When the connection is lost, or the answer is none.
    pub async fn ping(&self) -> Result<(), ClientError> {
        let mut exchange = open(&self.connection, &ClientFrame::Ping).await?;
        match exchange.next().await? {
            Some(ServerFrame::Pong) => Ok(()),
            answer => Err(ClientError::Lost(format!(
                "the gateway answered a ping with {answer:?}"
            ))),
        }
    }

    /// What belongs to no message that this client has open: questions of its session, responses
    /// that it did not wait for. None when the gateway has closed the connection.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn unasked(&mut self) -> Result<Option<ServerFrame>, ClientError> {
        self.control.next().await
    }

    /// The connection itself.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Closes the connection and waits until the gateway knows.
    pub async fn close(self) {
        self.endpoint.close(0_u32.into(), b"");
        self.endpoint.wait_idle().await;
    }

    async fn order(&self, order: ClientFrame) -> Result<(), ClientError> {
        let mut exchange = open(&self.connection, &order).await?;
        match exchange.next().await? {
            Some(ServerFrame::Error { message }) => Err(ClientError::Refused(message)),
            _ => Ok(()),
        }
    }
}

impl Exchange {
    /// The next thing that the gateway says; none when it has said all.
    ///
    /// # Errors
    /// When the connection is lost, or what came is no frame.
    pub async fn next(&mut self) -> Result<Option<ServerFrame>, ClientError> {
        self.frames.next().await.map_err(ClientError::from)
    }

    /// Waits for the response, passing over everything else. Returns it, and whether it is an
    /// error.
    ///
    /// # Errors
    /// When the connection is lost before it, or the gateway does not take the message.
    pub async fn response(&mut self) -> Result<(String, bool), ClientError> {
        loop {
            match self.next().await? {
                Some(ServerFrame::Response {
                    content, is_error, ..
                }) => return Ok((content, is_error)),
                Some(ServerFrame::Error { message }) => return Err(ClientError::Refused(message)),
                Some(_) => {}
                None => return Err(ClientError::Lost("no response came".to_owned())),
            }
        }
    }
}

fn transport(idle: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(idle.try_into().ok())
        // A gateway that came back says that it knows nothing of us to whoever asks it.
        .keep_alive_interval(Some(idle / 12))
        .max_concurrent_bidi_streams(0_u32.into())
        .max_concurrent_uni_streams(0_u32.into());
    transport
}

/// Opens a stream with its first frame.
async fn open(connection: &Connection, frame: &ClientFrame) -> Result<Exchange, ClientError> {
    let opened = connection.open_bi().await;
    let (mut send, recv) = opened.map_err(|error| ClientError::Lost(error.to_string()))?;
    stream::write(&mut send, frame).await?;
    // Nothing more is said on it; the gateway goes on.
    let _ = send.finish();
    Ok(Exchange {
        send,
        frames: Frames::new(recv, MAX_FRAME_BYTES),
    })
}

/// What the verifier says of another certificate.
const NOT_PINNED: CertificateError = CertificateError::ApplicationVerificationFailure;

/// Trusts one certificate.
#[derive(Debug)]
struct Pinned {
    pin: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match Fingerprint::of(end_entity) == self.pin {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(NOT_PINNED.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // QUIC has no earlier version than 1.3.
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Why a client cannot do what it is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// This machine cannot even try.
    Setup(String),
    /// Nobody answers there.
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What happened.
        cause: String,
    },
    /// Whoever answers there is not the gateway that was meant.
    OtherGateway {
        /// Where.
        address: SocketAddr,
        /// The fingerprint that it was to have.
        pin: Fingerprint,
    },
    /// The gateway does not take what was sent.
    Refused(String),
    /// The connection was lost.
    Lost(String),
}

impl From<Broken> for ClientError {
    fn from(broken: Broken) -> ClientError {
        match broken {
            Broken::TooLarge(error) => ClientError::Refused(error.to_string()),
            broken => ClientError::Lost(broken.to_string()),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Setup(cause) => write!(f, "no connection can be made here: {cause}"),
            ClientError::Unreachable { address, cause } => write!(
                f,
                "no gateway answers at {address}: {cause}; is the daemon running there?"
            ),
            ClientError::OtherGateway { address, pin } => write!(
                f,
                "the gateway at {address} is not the one with fingerprint {pin}; compare it with \
                 what the daemon prints at its start"
            ),
            ClientError::Refused(message) => f.write_str(message),
            ClientError::Lost(cause) => write!(
                f,
                "the connection to the gateway was lost: {cause}; connect again and send the \
                 message again with the same id"
            ),
        }
    }
}

impl std::error::Error for ClientError {}
