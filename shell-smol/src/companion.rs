//! Programs of ours that lie beside the daemon, and do for it what it must not do itself: run
//! guests, touch a display.
//!
//! A companion is a process of its own, so that what it links (a compiler, a display's libraries)
//! costs the daemon neither memory nor trust: it gets an environment made for it, in which no
//! secret is, and a fault of it is the end of one call. It is spoken to in lines of JSON over a
//! socket that is its standard input; its first line says its version, which must be ours. It ends
//! when the socket closes, however the daemon came to its end: [`Served`] sees to that.
//!
//! This module owns finding, starting and the lines. What they say is between each companion and
//! the effect that uses it.

use async_io::Async;
use async_process::{Child, Command, Stdio};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The longest line, in bytes.
const LINE_BYTES: u64 = 16 * 1_048_576;
/// How much is read at once.
const CHUNK_BYTES: usize = 16 * 1_024;

/// The first line of a companion.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: String,
}

/// Where a companion is: as configured, else beside our own program.
pub fn find(name: &str, configured: Option<&Path>) -> PathBuf {
    let beside = || std::env::current_exe().map(|own| own.with_file_name(name));
    match configured {
        Some(path) => path.to_owned(),
        None => beside().unwrap_or_else(|_| name.into()),
    }
}

/// The daemon's end of a companion. Dropping it ends the companion.
#[derive(Debug)]
pub struct Companion {
    child: Child,
    socket: Async<UnixStream>,
    inbox: Vec<u8>,
}

impl Companion {
    /// Starts a program with this environment and no other, and hears its version. What it prints
    /// goes where our own standard error goes.
    ///
    /// # Errors
    /// It cannot be started, does not say who it is, or is of another version.
    pub async fn start(
        program: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> io::Result<Companion> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let mut companion = Companion {
            child,
            socket: Async::new(ours)?,
            inbox: Vec::new(),
        };
        let Hello { version } = companion.hear().await?;
        match version == env!("CARGO_PKG_VERSION") {
            true => Ok(companion),
            false => Err(io::Error::other(format!(
                "{} is of version {version}, we are of {}: restart openpistacrab",
                program.display(),
                env!("CARGO_PKG_VERSION")
            ))),
        }
    }

    /// Says one line.
    ///
    /// # Errors
    /// The companion is gone.
    pub async fn say(&self, line: &impl Serialize) -> io::Result<()> {
        let line = to_line(line)?;
        let mut rest = &line[..];
        while !rest.is_empty() {
            let wrote = self.socket.write_with(|mut socket| socket.write(rest));
            rest = &rest[wrote.await?..];
        }
        Ok(())
    }

    /// Hears the next line. May be dropped and called again.
    ///
    /// # Errors
    /// The companion is gone, or what it says makes no sense.
    pub async fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut looked = 0;
        loop {
            let fresh = &self.inbox[looked..];
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.inbox.drain(..=looked + end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            looked = self.inbox.len();
            if looked as u64 > LINE_BYTES {
                return Err(ErrorKind::InvalidData.into());
            }
            let mut buffer = [0; CHUNK_BYTES];
            let read = self.socket.read_with(|mut io| io.read(&mut buffer)).await?;
            match read {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.inbox.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// It has not ended, as far as the system knows.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_status(), Ok(None))
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Its process, for what must be known of it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// A companion's own end.
#[derive(Debug)]
pub struct Served {
    lines: BufReader<File>,
    socket: File,
}

impl Served {
    /// Takes the socket that the daemon made standard input, and says hello.
    ///
    /// # Errors
    /// Nobody is there: it was started by hand.
    pub fn new() -> io::Result<Served> {
        let socket = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let served = Served {
            lines: BufReader::new(socket.try_clone()?),
            socket,
        };
        served.voice()?.say(&Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })?;
        Ok(served)
    }

    /// What answers are said with, from any thread.
    ///
    /// # Errors
    /// There is no room for another descriptor.
    pub fn voice(&self) -> io::Result<Voice> {
        self.socket.try_clone().map(Voice)
    }

    /// Waits for the next line; none once the daemon is gone or makes no sense, which is the time
    /// to end. Call it from a thread that does nothing else, or the end is not noticed.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Option<T> {
        let mut line = Vec::new();
        let mut bounded = self.lines.by_ref().take(LINE_BYTES);
        bounded.read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice(&line).ok()
    }
}

/// Says a companion's lines.
#[derive(Debug)]
pub struct Voice(File);

impl Voice {
    /// Says one line.
    ///
    /// # Errors
    /// The daemon is gone.
    pub fn say(&self, line: &impl Serialize) -> io::Result<()> {
        (&self.0).write_all(&to_line(line)?)
    }
}

fn to_line(line: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    Ok(line)
}
