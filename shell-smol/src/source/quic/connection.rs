//! One connection: who is there, and a task for each of its streams.
//!
//! The first stream says who is there and stays open: what belongs to no open exchange of the
//! client comes over it. A connection that breaks the rules is closed with a code and a reason.

use super::endpoint::{KNOWN_STREAMS, KNOWN_WINDOW, Place};
use super::exchange::{self, Stream};
use super::front::request;
use super::greeting::{Greeting, STRANGER_FRAME_BYTES};
use super::stream::{self, Broken, Frames};
use super::{Shared, origin_of};
use crate::journal::Identity;
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::FutureExt;
use openpista_core::id::ApprovalId;
use openpista_core::input::{Input, Order};
use openpista_core::wire::frame::{ClientFrame, ServerFrame, Token};
use quinn::{Connection, SendStream, VarInt, ZeroRttAccepted};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a peer is given to read why it is turned away.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How much of what a client calls itself the log shows, in characters.
const NAME_CHARS: usize = 64;
/// Who lets in those whom the operator gave a token.
const OPERATOR: &str = "cli:local";

/// Why a connection is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Close {
    code: u32,
    reason: &'static str,
}

impl Close {
    pub(super) const SHUTDOWN: Close = Close::new(1, "the daemon is stopping");
    const AUTH: Close = Close::new(2, "not authenticated: the first frame must be a valid auth");
    const LATE: Close = Close::new(3, "not authenticated in time");
    pub(super) const CROWDED: Close = Close::new(4, "too many connections; try again later");
    const MALFORMED: Close = Close::new(5, "what was sent is no frame that is taken here");
    const SLOW: Close = Close::new(6, "too slow");
    pub(super) const REVOKED: Close = Close::new(7, "the token was revoked");
    pub(super) const BROKEN: Close = Close::new(8, "internal error: the journal cannot be read");

    const fn new(code: u32, reason: &'static str) -> Close {
        Close { code, reason }
    }

    /// As the wire has it.
    pub(super) fn parts(self) -> (VarInt, &'static [u8]) {
        (VarInt::from_u32(self.code), self.reason.as_bytes())
    }

    /// Closes the connection, if it is open.
    pub(super) fn apply(self, connection: &Connection) {
        let (code, reason) = self.parts();
        connection.close(code, reason);
    }
}

/// A client that has said who it is.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Connection,
    pub(super) identity: Identity,
    /// `quic:` and the token's name.
    pub(super) origin: String,
    /// What it calls itself, made safe: for the log alone.
    called: String,
    confirmed: Receiver<Infallible>,
}

impl Client {
    /// Waits until the handshake is over: until then what came may be a replay. False when it came
    /// to nothing.
    pub(super) async fn confirmed(&self) -> bool {
        let _ = self.confirmed.recv().await;
        self.connection.close_reason().is_none()
    }

    /// Closes the connection because of what came over one of its streams.
    pub(super) fn break_off(&self, broken: &Broken) {
        let close = match broken {
            Broken::Frame(error) => {
                tracing::info!(client = self.origin, "closed: {error}");
                let code = VarInt::from_u32(Close::MALFORMED.code);
                return self.connection.close(code, error.to_string().as_bytes());
            }
            Broken::Slow => Close::SLOW,
            // A stream that has ended says nothing against the connection.
            Broken::Ended(_) | Broken::TooLarge(_) => return,
        };
        tracing::info!(client = self.origin, "closed: {}", close.reason);
        close.apply(&self.connection);
    }
}

/// Serves a connection until it is closed.
pub(super) async fn serve(
    shared: Arc<Shared>,
    connection: Connection,
    handshake: ZeroRttAccepted,
    place: Place,
) {
    let patience = shared.auth_timeout;
    let (confirming, confirmed) = async_channel::bounded(1);
    let watched = connection.clone();
    smol::spawn(async move {
        let done = async {
            // What it tells is the client's affair.
            let _ = handshake.await;
            true
        };
        let late = async {
            Timer::after(patience).await;
            false
        };
        if !done.or(late).await {
            Close::LATE.apply(&watched);
        }
        drop(confirming);
    })
    .detach();
    let known = async { authenticate(&shared, &connection).await.map_err(Some) };
    let late = async {
        Timer::after(patience).await;
        Err(Some(Close::LATE))
    };
    let gone = async {
        connection.closed().await;
        Err(None)
    };
    let (identity, called, control) = match known.or(late).or(gone).await {
        Ok(known) => known,
        Err(close) => {
            if let Some(close) = close {
                let remote = connection.remote_address();
                tracing::debug!(%remote, "closed: {}", close.reason);
                close.apply(&connection);
            }
            return;
        }
    };
    drop(place);
    let client = Arc::new(Client {
        origin: origin_of(&identity.name),
        called: made_safe(&called),
        shared,
        connection,
        identity,
        confirmed,
    });
    welcome(client, control).await;
}

/// Reads the first frame. Whoever is turned away is told so, before the connection closes.
async fn authenticate(
    shared: &Shared,
    connection: &Connection,
) -> Result<(Identity, String, SendStream), Close> {
    let (mut send, recv) = connection.accept_bi().await.map_err(|_| Close::AUTH)?;
    let mut frames = Frames::<ClientFrame>::new(recv, STRANGER_FRAME_BYTES);
    let greeting = match frames.next().await {
        Ok(frame) => Greeting::of(frame),
        Err(Broken::Ended(_)) => return Err(Close::AUTH),
        Err(broken) => Greeting::TurnedAway(broken.to_string()),
    };
    let message = match greeting {
        Greeting::Client {
            token: Token(token),
            name,
        } => match shared.lookup.identify(&token) {
            Ok(Some(identity)) => return Ok((identity, name, send)),
            Ok(None) => {
                "The token is not valid. `openpistacrab token add NAME` makes one.".to_owned()
            }
            Err(error) => {
                tracing::error!("a token cannot be checked: {error}");
                return Err(Close::BROKEN);
            }
        },
        Greeting::TurnedAway(message) => message,
    };
    let told = async {
        let frame = ServerFrame::AuthError { message };
        if stream::write(&mut send, &frame).await.is_ok() && send.finish().is_ok() {
            let _ = send.stopped().await;
        }
    };
    let patience = async {
        Timer::after(LAST_WORD).await;
    };
    told.or(patience).await;
    Err(Close::AUTH)
}

/// Serves a client from here on.
async fn welcome(client: Arc<Client>, control: SendStream) {
    admit(&client).await;
    let connection = &client.connection;
    connection.set_receive_window(VarInt::from_u32(KNOWN_WINDOW));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(KNOWN_STREAMS));
    tracing::info!(
        client = client.origin,
        called = client.called,
        remote = %connection.remote_address(),
        "connected"
    );
    smol::spawn(attend(Arc::clone(&client), control)).detach();
    while let Ok((send, recv)) = connection.accept_bi().await {
        let stream = Stream::new(Arc::clone(&client), send, recv);
        smol::spawn(exchange::serve(stream)).detach();
    }
    let reason = connection.close_reason().map(|reason| reason.to_string());
    tracing::info!(
        client = client.origin,
        called = client.called,
        "disconnected: {}",
        reason.unwrap_or_default()
    );
}

/// A name that somebody gave themselves: not too long, and nothing in it that could pass for
/// another line of the log.
fn made_safe(name: &str) -> String {
    let name = name.chars().take(NAME_CHARS);
    name.flat_map(char::escape_debug).collect()
}

/// A token that was added since the start: its holder may speak from here on.
async fn admit(client: &Client) {
    let shared = &client.shared;
    let new = {
        let mut admitted = shared
            .admitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        admitted.insert(client.identity.name.clone())
    };
    if new {
        let order = Order::Admit {
            peer: client.origin.clone(),
            by: OPERATOR.to_owned(),
        };
        shared.handle.send(Input::Order(order)).await;
    }
}

/// Sends over the first stream what belongs to no open exchange: first what waits for the client
/// in its own session, then what comes.
async fn attend(client: Arc<Client>, mut control: SendStream) {
    let attending = client.shared.front.attend(&client.origin);
    let session = client.origin.clone();
    let (provider, model) = client.shared.model.clone().unzip();
    let mut first = vec![ServerFrame::AuthOk {
        session,
        provider,
        model,
    }];
    let questions = client.shared.handle.questions(&client.origin).await;
    let mut asked: BTreeSet<ApprovalId> = questions.iter().map(|q| q.approval).collect();
    let open = questions.into_iter();
    first.extend(open.map(|question| request(String::new(), question)));
    for frame in first {
        if stream::write(&mut control, &frame).await.is_err() {
            return;
        }
    }
    let origin = client.origin.clone();
    client.shared.handle.send(Input::Present { origin }).await;
    let closed = async {
        client.connection.closed().await;
        None
    };
    let mut closed = std::pin::pin!(closed);
    loop {
        let next = async { attending.frames.recv().await.ok() };
        let Some(frame) = next.or(closed.as_mut()).await else {
            return;
        };
        if let ServerFrame::ApprovalRequest { approval, .. } = &frame
            && !asked.insert(*approval)
        {
            continue;
        }
        if let Some(bytes) = exchange::fitting(frame)
            && stream::write_bytes(&mut control, &bytes).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_CHARS, made_safe};

    #[test]
    fn a_name_in_the_log_is_short_and_on_one_line() {
        assert_eq!(made_safe("my laptop"), "my laptop");
        assert_eq!(made_safe("a\n\u{1b}[2J\u{202e}"), r"a\n\u{1b}[2J\u{202e}");
        assert_eq!(made_safe(&"x".repeat(10_000)).len(), NAME_CHARS);
    }
}
