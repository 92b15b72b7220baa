//! The Docker daemon: finding it, speaking its version, and what its refusals mean.
//!
//! Whatever is asked of it has a time limit, so a daemon that hangs is one more kind of error. An
//! error says how much it leaves open ([`Kind`]), for what may have happened must not be denied.

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker as Client};
use std::error::Error as _;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

/// How long the daemon may take to answer a question.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to make, start or remove something: disks can be slow.
pub(super) const WORK: Duration = Duration::from_secs(60);

const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// Where the daemon is, and the client once it has answered.
#[derive(Debug)]
pub(super) struct Daemon {
    host: String,
    client: Mutex<Option<Client>>,
}

/// Why the daemon did not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What happened, and what to do about it.
    pub(super) message: String,
}

/// How much of it may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: there is nobody to do it.
    Unreachable,
    /// Nothing: what it is about does not exist.
    Absent,
    /// Nothing: something else stands in the way, or it has happened already.
    Conflict,
    /// Nothing: the daemon said no.
    Refused,
    /// Nobody knows: the answer did not come.
    Unclear,
}

impl Daemon {
    /// The configured one, else the one that `DOCKER_HOST` names, else the usual one.
    pub(super) fn new(host: Option<&str>) -> Daemon {
        let host = match host {
            Some(host) => host.to_owned(),
            None => std::env::var("DOCKER_HOST")
                .ok()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| DEFAULT_SOCKET.to_owned()),
        };
        Daemon {
            host: match host.starts_with('/') {
                true => format!("unix://{host}"),
                false => host,
            },
            client: Mutex::default(),
        }
    }

    /// A client that speaks a version of the API which the daemon knows.
    pub(super) async fn client(&self) -> Result<Client, Trouble> {
        if let Some(client) = self.known() {
            return Ok(client);
        }
        if !self.host.starts_with("unix://") {
            let host = &self.host;
            return Err(Trouble {
                kind: Kind::Unreachable,
                message: format!(
                    "the Docker host {host} is not a local socket: use unix:///PATH, since \
                     containers need the workspace of this computer"
                ),
            });
        }
        let client = Client::connect_with_unix(&self.host, WORK.as_secs(), API_DEFAULT_VERSION)
            .map_err(|error| self.trouble(error))?;
        let client = self.ask(ANSWER, client.negotiate_version()).await?;
        if let Ok(mut known) = self.client.lock() {
            *known = Some(client.clone());
        }
        Ok(client)
    }

    fn known(&self) -> Option<Client> {
        self.client.lock().ok()?.clone()
    }

    /// Waits for an answer, but no longer than this.
    pub(super) async fn ask<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.trouble(error)),
            Err(_) => Err(self.trouble(Error::RequestTimeoutError)),
        }
    }

    /// What an error of the client means.
    pub(super) fn trouble(&self, error: Error) -> Trouble {
        let host = &self.host;
        let (kind, message) = match &error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => {
                let kind = match status_code {
                    404 => Kind::Absent,
                    409 => Kind::Conflict,
                    _ => Kind::Refused,
                };
                (kind, format!("Docker says: {}", message.trim()))
            }
            Error::SocketNotFoundError(_) => (
                Kind::Unreachable,
                format!(
                    "there is no Docker daemon at {host}: install Docker and start it \
                     (`systemctl start docker`), or set `sandbox.docker_host`"
                ),
            ),
            Error::HyperLegacyError { err } if err.is_connect() => (
                Kind::Unreachable,
                match io_kind(&error) {
                    Some(io::ErrorKind::PermissionDenied) => format!(
                        "this user may not use the Docker daemon at {host}: add it to the group \
                         `docker` (`usermod -aG docker USER`) and log in again"
                    ),
                    Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => format!(
                        "nothing listens at {host}: start the Docker daemon (`systemctl start \
                         docker`)"
                    ),
                    _ => format!("the Docker daemon at {host} cannot be reached: {error}"),
                },
            ),
            Error::RequestTimeoutError => (
                Kind::Unclear,
                format!(
                    "the Docker daemon at {host} does not answer: look at its log, restart it \
                     (`systemctl restart docker`)"
                ),
            ),
            other => (
                Kind::Unclear,
                format!("the connection to the Docker daemon at {host} broke: {other}"),
            ),
        };
        Trouble { kind, message }
    }
}

/// What the system said, when it is the system that an error comes from.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::sandbox::docker::island::Island;
    use futures_lite::future::block_on;
    use std::os::unix::net::UnixListener;

    fn trouble_at(host: &str) -> Trouble {
        let daemon = Daemon::new(Some(host));
        let client = async move { daemon.client().await.map(|_| ()) };
        block_on(Island::default().run(client))
            .unwrap()
            .unwrap_err()
    }

    #[test]
    fn what_is_missing_is_named_with_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let host = format!("unix://{}", socket.display());
        let trouble = trouble_at(&host);
        assert_eq!(trouble.kind, Kind::Unreachable);
        assert!(
            trouble.message.contains("there is no Docker daemon at"),
            "{trouble:?}"
        );

        // The socket of one that has died.
        drop(UnixListener::bind(&socket).unwrap());
        let trouble = trouble_at(socket.to_str().unwrap());
        assert_eq!(trouble.kind, Kind::Unreachable);
        assert!(
            trouble.message.contains("nothing listens at"),
            "{trouble:?}"
        );

        let trouble = trouble_at("tcp://127.0.0.1:2375");
        assert_eq!(trouble.kind, Kind::Unreachable);
        assert!(trouble.message.contains("unix:///PATH"), "{trouble:?}");
    }

    #[test]
    fn one_that_hangs_up_leaves_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || drop(listener.accept()));
        let trouble = trouble_at(socket.to_str().unwrap());
        server.join().unwrap();
        assert_eq!(trouble.kind, Kind::Unclear, "{trouble:?}");
    }

    #[test]
    fn one_that_never_answers_is_not_waited_for() {
        let daemon = Daemon::new(Some("unix:///nowhere"));
        let silence = std::future::pending::<Result<(), Error>>();
        let asked = async move { daemon.ask(Duration::from_millis(1), silence).await };
        let trouble = block_on(Island::default().run(asked)).unwrap().unwrap_err();
        assert_eq!(trouble.kind, Kind::Unclear);
        assert!(trouble.message.contains("does not answer"), "{trouble:?}");
    }
}
