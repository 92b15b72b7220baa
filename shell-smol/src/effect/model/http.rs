//! Chat completions over HTTP.
//!
//! A request runs on a blocking thread that passes on what it reads; the caller waits for that as
//! a future, so a stop or a timeout never waits for a socket. A thread that nobody listens to any
//! more ends at the next byte, or when what it waits for has taken a call's time. Connections are
//! kept and shared by all calls. Redirects are not followed: the key goes to the configured server alone.

use super::provider::{ProviderError, checked};
use crate::alarm::Alarm;
use crate::secret::Secret;
use async_channel::{Receiver, Sender};
use futures_lite::future;
use openpista_core::effect::Chunk;
use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::message::Prompt;
use openpista_core::wire::openai::{self, ReplyStream};
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use ureq::{Agent, Timeout};

const CONNECT: Duration = Duration::from_secs(10);
/// What a connection holds, open or kept for the next request, in each direction, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// How long the end of the transport may take after the end of the reply. It is waited for because
/// a connection that was read to its end can be used again.
const PARTING: Duration = Duration::from_millis(500);

/// How much of an error's body is read.
const FAULT_BYTES: usize = 64 * 1024;

/// The server of one provider.
#[derive(Debug)]
pub(super) struct Client {
    server: Arc<Server>,
    idle: Duration,
}

#[derive(Debug)]
struct Server {
    agent: Agent,
    url: String,
    /// For messages.
    host: String,
    headers: HeaderMap,
}

/// What a request's thread reports, in this order.
enum Event {
    Head(Head),
    Body(Vec<u8>),
    End,
    Fault(ModelFault),
}

struct Head {
    status: u16,
    retry_after: Option<String>,
    location: Option<String>,
}

impl Client {
    pub(super) fn new(
        base_url: &str,
        key: Option<&Secret>,
        more: &[(String, String)],
        idle: Duration,
    ) -> Result<Client, ProviderError> {
        let base_url = checked(base_url)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers.insert(header::AUTHORIZATION, bearer(key)?);
        }
        for (name, value) in more {
            let bad = || ProviderError::BadHeader { name: name.clone() };
            let name: HeaderName = name.parse().map_err(|_| bad())?;
            headers.insert(name, value.parse().map_err(|_| bad())?);
        }
        let uri: Uri = base_url.parse().map_err(|_| ProviderError::BadBaseUrl {
            why: "it is not a URL",
        })?;
        let server = Server {
            agent: agent(&uri),
            url: format!("{base_url}/chat/completions"),
            host: host(&uri),
            headers,
        };
        Ok(Client {
            server: Arc::new(server),
            idle,
        })
    }

    pub(super) fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// Sends one request and reads its reply, whole or streamed as the server likes.
    pub(super) async fn ask(
        &self,
        request: Vec<u8>,
        prompt: &Prompt,
        max_reply_bytes: usize,
        timeout: Duration,
        progress: impl Fn(Chunk) + Send,
    ) -> Result<Reply, ModelFault> {
        let mut answer = Answer {
            events: self.send(request, timeout),
            deadline: Instant::now() + timeout,
            idle: self.idle,
            begun: false,
        };
        let head = match answer.next().await? {
            Event::Head(head) => head,
            Event::Fault(fault) => return Err(fault),
            Event::Body(_) | Event::End => return Err(self.server.broken()),
        };
        if !(200..300).contains(&head.status) {
            return Err(self.fault(&head, &mut answer).await);
        }
        let mut stream = ReplyStream::new(prompt, max_reply_bytes);
        let mut parting = false;
        loop {
            match answer.more().await {
                Ok(Some(bytes)) => stream.push(&bytes)?.into_iter().for_each(&progress),
                Ok(None) => return stream.finish(),
                // What came may be a whole reply, without the proper end of its transport.
                Err(fault) => return stream.finish().or(Err(fault)),
            }
            if stream.is_complete() && !std::mem::replace(&mut parting, true) {
                answer.deadline = answer.deadline.min(Instant::now() + PARTING);
            }
        }
    }

    /// What an answer of another status than 2xx means.
    async fn fault(&self, head: &Head, answer: &mut Answer) -> ModelFault {
        if (300..400).contains(&head.status) {
            let to = head.location.as_deref().unwrap_or("another address");
            return ModelFault::Rejected {
                status: head.status,
                message: format!(
                    "{} redirects to {to}: set base_url to where the API is",
                    self.server.host
                ),
            };
        }
        let body = answer.words().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_ms = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        openai::decode_fault(head.status, head.retry_after.as_deref(), &body, now_ms)
    }

    fn send(&self, request: Vec<u8>, timeout: Duration) -> Receiver<Event> {
        let (sender, receiver) = async_channel::bounded(64);
        let server = self.server.clone();
        blocking::unblock(move || {
            let last = match server.exchange(&request, timeout, &sender) {
                Ok(()) => Event::End,
                Err(error) => Event::Fault(server.explain(error)),
            };
            // Nobody listens any more: the call is over.
            let _ = sender.send_blocking(last);
        })
        .detach();
        receiver
    }
}

/// An answer as it comes in.
struct Answer {
    events: Receiver<Event>,
    deadline: Instant,
    idle: Duration,
    begun: bool,
}

impl Answer {
    /// The next event. Before the body begins only the deadline counts: a local server may have
    /// to load its model first, and a reasoning model thinks before it speaks.
    async fn next(&mut self) -> Result<Event, ModelFault> {
        let until = match self.begun {
            true => self.deadline.min(Instant::now() + self.idle),
            false => self.deadline,
        };
        let late = async {
            Alarm::at(until).await;
            Err(ModelFault::TimedOut)
        };
        let event = async {
            let lost = |_| ModelFault::Network {
                message: "the request was abandoned".to_owned(),
            };
            self.events.recv().await.map_err(lost)
        };
        let event = future::or(event, late).await?;
        self.begun |= matches!(event, Event::Body(_));
        Ok(event)
    }

    /// More of the body; none at its end.
    async fn more(&mut self) -> Result<Option<Vec<u8>>, ModelFault> {
        loop {
            match self.next().await? {
                Event::Head(_) => {}
                Event::Body(bytes) => return Ok(Some(bytes)),
                Event::End => return Ok(None),
                Event::Fault(fault) => return Err(fault),
            }
        }
    }

    /// The beginning of the body that explains an error, as far as it comes.
    async fn words(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < FAULT_BYTES {
            match self.more().await {
                Ok(Some(bytes)) => body.extend(bytes),
                Ok(None) | Err(_) => break,
            }
        }
        body
    }
}

impl Server {
    /// Sends the request and passes on what comes back, until its end or until nobody listens.
    fn exchange(
        &self,
        request: &[u8],
        timeout: Duration,
        events: &Sender<Event>,
    ) -> Result<(), ureq::Error> {
        let mut post = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let post = post.header(header::CONTENT_TYPE, "application/json");
        let post = post.header(header::ACCEPT, "text/event-stream, application/json");
        // Each part has a bound. One for all of them would have ureq look the host up on yet another
        // thread, at every call.
        let part = Some(timeout);
        let post = post.config();
        let post = post.timeout_send_request(part).timeout_send_body(part);
        let post = post.timeout_recv_response(part).timeout_recv_body(part);
        let response = post.build().send(request)?;
        let text = |name| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let head = Head {
            status: response.status().as_u16(),
            retry_after: text(header::RETRY_AFTER),
            location: text(header::LOCATION).map(|l| l.split('?').next().unwrap_or("").into()),
        };
        if events.send_blocking(Event::Head(head)).is_err() {
            return Ok(());
        }
        let mut reader = response.into_body().into_reader();
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match reader.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            let body = Event::Body(buffer[..read].to_vec());
            if read == 0 || events.send_blocking(body).is_err() {
                return Ok(());
            }
        }
    }

    /// An error in plain words.
    fn explain(&self, error: ureq::Error) -> ModelFault {
        let host = &self.host;
        let message = match error {
            ureq::Error::Timeout(Timeout::Connect) => {
                format!("no connection to {host} within {} s", CONNECT.as_secs())
            }
            ureq::Error::Timeout(_) => return ModelFault::TimedOut,
            ureq::Error::HostNotFound => self.unknown(),
            // The standard library has no kind for this.
            ureq::Error::Io(error) if error.to_string().contains("lookup address") => {
                self.unknown()
            }
            ureq::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => {
                    format!("{host} refused the connection: is the server running there?")
                }
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                    format!("{host} cannot be reached from this network")
                }
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => return self.broken(),
                ErrorKind::TimedOut => return ModelFault::TimedOut,
                // What rustls finds wrong while it reads.
                ErrorKind::InvalidData => self.insecure(&error),
                _ => format!("talking to {host} failed: {error}"),
            },
            ureq::Error::Rustls(error) => self.insecure(&error),
            ureq::Error::Protocol(error) => {
                return ModelFault::Garbled {
                    message: format!("{host} does not speak proper HTTP: {error}"),
                };
            }
            ureq::Error::LargeResponseHeader(..) => {
                return ModelFault::Garbled {
                    message: format!("{host} sent more headers than can be read"),
                };
            }
            error => format!("talking to {host} failed: {error}"),
        };
        ModelFault::Network { message }
    }

    fn unknown(&self) -> String {
        let host = &self.host;
        format!("the address of {host} was not found: check base_url and the network")
    }

    fn insecure(&self, error: &dyn std::error::Error) -> String {
        format!("the secure connection to {} failed: {error}", self.host)
    }

    fn broken(&self) -> ModelFault {
        ModelFault::Network {
            message: format!(
                "{} closed the connection before its answer was complete",
                self.host
            ),
        }
    }
}

/// The first model that the server at `base_url` lists and that can chat, by its name.
pub(super) fn first_model(
    base_url: &str,
    key: Option<&Secret>,
    patience: Duration,
) -> Option<String> {
    let uri: Uri = base_url.parse().ok()?;
    let mut get = agent(&uri).get(format!("{base_url}/models"));
    if let Some(key) = key {
        get = get.header(header::AUTHORIZATION, bearer(key).ok()?);
    }
    let get = get.config().timeout_global(Some(patience)).build();
    let mut response = get.call().ok()?;
    if !response.status().is_success() {
        return None;
    }
    let list: serde_json::Value =
        serde_json::from_slice(&response.body_mut().read_to_vec().ok()?).ok()?;
    let ids = list["data"].as_array()?.iter();
    let mut ids = ids.filter_map(|model| model["id"].as_str());
    ids.find(|id| !id.contains("embed")).map(str::to_owned)
}

fn agent(uri: &Uri) -> Agent {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_connections(64)
        .max_idle_connections_per_host(64)
        .user_agent(concat!("openpistacrab/", env!("CARGO_PKG_VERSION")));
    // A proxy cannot reach what listens on this machine's loopback interface.
    if uri.host().is_some_and(is_loopback) {
        config = config.proxy(None);
    }
    Agent::new_with_config(config.build())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn host(uri: &Uri) -> String {
    uri.authority().map(ToString::to_string).unwrap_or_default()
}

fn bearer(key: &Secret) -> Result<HeaderValue, ProviderError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
    let mut value = value.map_err(|_| ProviderError::BadKey)?;
    value.set_sensitive(true);
    Ok(value)
}
