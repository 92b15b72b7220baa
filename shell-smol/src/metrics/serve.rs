//! One page over HTTP/1.1, for whoever scrapes it. As little of HTTP as that needs: a request's head
//! is read, answered, and the connection closed. Whoever is slow, sends much or comes in numbers is
//! dropped; nobody can do anything here but read.

use super::{Metrics, Moment};
use async_io::Timer;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, io};
use smol::LocalExecutor;
use smol::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// The one page.
pub const METRICS_PATH: &str = "/metrics";
/// The most connections at once.
const AT_ONCE: usize = 16;
/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 8_192;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait after a connection that could not be taken, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers for as long as it is polled. `look` gives what is only known by looking; none when the
/// loop is over.
pub async fn serve<L, M>(listener: TcpListener, metrics: Metrics, look: L)
where
    L: Fn() -> M + Clone + 'static,
    M: Future<Output = Option<Moment>>,
{
    let executor = LocalExecutor::new();
    let open = Rc::new(());
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if Rc::strong_count(&open) <= AT_ONCE => {
                    let (held, metrics, look) = (Rc::clone(&open), metrics.clone(), look.clone());
                    let answer = async move {
                        // Somebody who went away is no fault of ours.
                        let _ = answer(stream, &metrics, look).or(late()).await;
                        drop(held);
                    };
                    executor.spawn(answer).detach();
                }
                Ok(_) => {}
                Err(_) => drop(Timer::after(PAUSE).await),
            }
        }
    };
    executor.run(accept).await
}

async fn late() -> io::Result<()> {
    Timer::after(PATIENCE).await;
    Ok(())
}

async fn answer<M: Future<Output = Option<Moment>>>(
    mut stream: TcpStream,
    metrics: &Metrics,
    look: impl Fn() -> M,
) -> io::Result<()> {
    let head = head(&mut stream).await?;
    let mut words = head.split(|byte| *byte == b' ' || *byte == b'\r');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    let (status, body) = match method {
        b"GET" | b"HEAD" if path == METRICS_PATH.as_bytes() => match look().await {
            Some(moment) => ("200 OK", metrics.text(&moment)),
            None => (
                "503 Service Unavailable",
                "the daemon is ending\n".to_owned(),
            ),
        },
        b"GET" | b"HEAD" => (
            "404 Not Found",
            format!("the metrics are at {METRICS_PATH}\n"),
        ),
        _ => (
            "405 Method Not Allowed",
            "only GET is answered here\n".to_owned(),
        ),
    };
    let allow = match status.starts_with("405") {
        true => "Allow: GET, HEAD\r\n",
        false => "",
    };
    let length = body.len();
    let mut response = format!(
        "HTTP/1.1 {status}\r\n\
         Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\n{allow}Connection: close\r\n\r\n"
    );
    if method != b"HEAD" {
        response.push_str(&body);
    }
    stream.write_all(response.as_bytes()).await?;
    stream.close().await
}

/// A request's head, or as much of it as anybody needs.
async fn head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1_024];
    loop {
        let count = stream.read(&mut buffer).await?;
        head.extend_from_slice(&buffer[..count]);
        let ended = head.windows(4).any(|end| end == b"\r\n\r\n");
        if ended {
            return Ok(head);
        }
        if count == 0 || head.len() > HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
