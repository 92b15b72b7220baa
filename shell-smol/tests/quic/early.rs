//! Early data: a client that comes again is heard at once, and a replay of it changes nothing.

use crate::block_on;
use crate::daemon::Home;
use crate::server::{Answer, Server};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn echo() -> Server {
    Server::start(|request| Answer::text(request.last("user").unwrap_or_default()))
}

#[test]
fn a_client_that_comes_again_is_heard_before_the_handshake_is_over() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        let early = daemon.client.connect_early(daemon.address).await.unwrap();
        assert!(early.is_none(), "nothing is remembered yet");
        let connected = daemon.connect().await;
        connected.ping().await.unwrap();
        connected.close().await;
        let early = daemon.client.connect_early(daemon.address).await.unwrap();
        let mut early = early.expect("a session to resume");
        let mut exchange = early.message("k", "hello", None).await.unwrap();
        assert!(early.taken_early().await);
        assert_eq!(
            exchange.response().await.unwrap(),
            ("hello".to_owned(), false)
        );
        assert_eq!(early.welcomed().await.unwrap(), "quic:laptop");
        early.close().await;
    });
}

#[test]
fn early_data_that_is_sent_again_in_another_flight_runs_once() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    block_on(async {
        let connected = daemon.connect().await;
        connected.ping().await.unwrap();
        connected.close().await;
        for _ in 0..5 {
            let early = daemon.client.connect_early(daemon.address).await.unwrap();
            let mut early = early.expect("a session to resume");
            let mut exchange = early.message("k", "once", None).await.unwrap();
            let response = exchange.response().await.unwrap();
            assert_eq!(response, ("once".to_owned(), false));
            assert!(early.taken_early().await);
            // The next ticket has come when this has.
            early.ping().await.unwrap();
            early.close().await;
        }
    });
    assert_eq!(server.count(), 1);
}

/// Passes datagrams on between one client and the gateway, and keeps what the client sent before
/// the gateway's first answer.
struct Relay {
    address: SocketAddr,
    flight: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
}

impl Relay {
    /// With `twice` every datagram of the first flight goes to the gateway two times, the first
    /// of them from an address of its own.
    fn to(gateway: SocketAddr, twice: bool) -> Relay {
        let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
        let outer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [&inner, &outer] {
            let patience = Some(Duration::from_millis(50));
            socket.set_read_timeout(patience).unwrap();
        }
        outer.connect(gateway).unwrap();
        let relay = Relay {
            address: inner.local_addr().unwrap(),
            flight: Arc::default(),
            over: Arc::default(),
        };
        let client = Arc::new(Mutex::new(None));
        let answered = Arc::new(AtomicBool::new(false));
        let back = {
            let (inner, outer) = (inner.try_clone().unwrap(), outer.try_clone().unwrap());
            let (client, answered) = (Arc::clone(&client), Arc::clone(&answered));
            move |over: &AtomicBool| {
                let mut buffer = [0; 65_536];
                while !over.load(Ordering::Relaxed) {
                    let Ok(length) = outer.recv(&mut buffer) else {
                        continue;
                    };
                    answered.store(true, Ordering::Relaxed);
                    let client: Option<SocketAddr> = *client.lock().unwrap();
                    let _ = inner.send_to(&buffer[..length], client.unwrap());
                }
            }
        };
        let (flight, over) = (Arc::clone(&relay.flight), Arc::clone(&relay.over));
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !over.load(Ordering::Relaxed) {
                let Ok((length, from)) = inner.recv_from(&mut buffer) else {
                    continue;
                };
                *client.lock().unwrap() = Some(from);
                if !answered.load(Ordering::Relaxed) {
                    flight.lock().unwrap().push(buffer[..length].to_vec());
                    if twice {
                        let _ = other.send_to(&buffer[..length], gateway);
                    }
                }
                let _ = outer.send(&buffer[..length]);
            }
        });
        let over = Arc::clone(&relay.over);
        std::thread::spawn(move || back(&over));
        relay
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Sends a flight from elsewhere until the gateway answers its handshake. Before that the first
/// connection may not be forgotten yet, and the copies go to it.
fn replay(flight: &[Vec<u8>], gateway: SocketAddr) {
    for _ in 0..300 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let patience = Some(Duration::from_millis(200));
        socket.set_read_timeout(patience).unwrap();
        for datagram in flight {
            socket.send_to(datagram, gateway).unwrap();
        }
        if socket.recv(&mut [0; 65_536]).is_ok() {
            return;
        }
    }
    panic!("the gateway never answered the replay");
}

#[test]
fn a_captured_flight_that_is_sent_twice_runs_once() {
    let (home, server) = (Home::new(), echo());
    let daemon = home.start(&server);
    for twice in [false, true] {
        let text = format!("twice at once: {twice}");
        block_on(async {
            let connected = daemon.connect().await;
            connected.ping().await.unwrap();
            connected.close().await;
            let relay = Relay::to(daemon.address, twice);
            let early = daemon.client.connect_early(relay.address).await.unwrap();
            let early = early.expect("a session to resume");
            let mut exchange = early.message(&text, &text, None).await.unwrap();
            // Were the copy first, the gateway would take this flight for the replay and not take
            // its early data: a client then sends it again, with the same id.
            let response = match exchange.response().await {
                Ok(response) => response,
                Err(_) => {
                    let connected = daemon.connect().await;
                    let again = connected.message(&text, &text, None).await;
                    again.unwrap().response().await.unwrap()
                }
            };
            assert_eq!(response, (text.clone(), false));
            let flight = relay.flight.lock().unwrap().clone();
            assert!(!flight.is_empty(), "something was captured");
            drop(exchange);
            early.close().await;
            replay(&flight, daemon.address);
            // Whatever came of it is before this in the journal.
            let connected = daemon.connect().await;
            let mut after = connected
                .message(&format!("after {twice}"), "after", None)
                .await
                .unwrap();
            after.response().await.unwrap();
        });
        let sent = server.requests();
        let about = sent
            .iter()
            .filter(|r| r.last("user").as_deref() == Some(&text));
        assert_eq!(about.count(), 1);
        let messages = if twice { 4 } else { 2 };
        assert_eq!(home.recorded("\"accepted\""), messages);
    }
}
