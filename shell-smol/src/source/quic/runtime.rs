//! quinn on smol, sparing the system what it need not be asked.
//!
//! smol's own way asks before each datagram whether the socket takes one, and sets a timer anew
//! after each. Both wake the thread that waits for the system, which is the one that serves the
//! connections. Here the socket is asked once it has refused, and a timer that is put off rings
//! at its old moment and is set anew then.

use async_io::Timer;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncTimer, AsyncUdpSocket, SmolRuntime, UdpPoller};
use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

/// The runtime of the gateway's endpoint.
#[derive(Debug)]
pub(crate) struct Runtime;

impl quinn::Runtime for Runtime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        Box::pin(LazyTimer {
            due: at,
            rings: Some(at),
            timer: Timer::at(at),
        })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        SmolRuntime.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Socket {
            socket: SmolRuntime.wrap_udp_socket(socket)?,
            full: AtomicBool::new(false),
        }))
    }
}

/// A timer that may ring before it is due, to itself.
#[derive(Debug)]
struct LazyTimer {
    due: Instant,
    /// When the timer rings; none once it has.
    rings: Option<Instant>,
    timer: Timer,
}

impl LazyTimer {
    fn arm(&mut self) {
        self.rings = Some(self.due);
        self.timer.set_at(self.due);
    }
}

impl AsyncTimer for LazyTimer {
    fn reset(mut self: Pin<&mut Self>, due: Instant) {
        self.due = due;
        if self.rings.is_none_or(|rings| due < rings) {
            self.arm();
        }
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(Future::poll(Pin::new(&mut self.timer), context));
            self.rings = None;
            if self.due <= Instant::now() {
                return Poll::Ready(());
            }
            self.arm();
        }
    }
}

/// A socket that is taken to be writable until it refuses.
#[derive(Debug)]
struct Socket {
    socket: Arc<dyn AsyncUdpSocket>,
    full: AtomicBool,
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller {
            poller: Arc::clone(&self.socket).create_io_poller(),
            socket: self,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.socket.try_send(transmit);
        if let Err(error) = &sent
            && error.kind() == ErrorKind::WouldBlock
        {
            self.full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

/// Waits for the socket to take more.
struct Poller {
    poller: Pin<Box<dyn UdpPoller>>,
    socket: Arc<Socket>,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").finish_non_exhaustive()
    }
}

impl UdpPoller for Poller {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.full.load(Ordering::Relaxed) {
            ready!(self.poller.as_mut().poll_writable(context))?;
            self.socket.full.store(false, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::Runtime;
    use futures_lite::future::{block_on, poll_fn};
    use quinn::Runtime as _;
    use std::time::{Duration, Instant};

    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn a_timer_rings_when_it_is_due_however_it_was_put_off_or_brought_forward() {
        let began = Instant::now();
        let mut timer = Runtime.new_timer(began + SOON);
        timer.as_mut().reset(began + 3 * SOON);
        block_on(poll_fn(|context| timer.as_mut().poll(context)));
        assert!(began.elapsed() >= 3 * SOON);
        timer.as_mut().reset(began + Duration::from_secs(600));
        timer.as_mut().reset(began + 4 * SOON);
        block_on(poll_fn(|context| timer.as_mut().poll(context)));
        assert!(began.elapsed() >= 4 * SOON);
        assert!(began.elapsed() < Duration::from_secs(500));
    }
}
