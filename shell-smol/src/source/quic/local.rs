//! How programs of the same user find the daemon: a file in the data directory that only this user
//! may read. It names the daemon's process, its address, and a token of their own.
//!
//! Who shows that token is the person at this machine's terminal, `cli:local`.

use super::{Fingerprint, GatewayError};
use crate::client::ClientError;
use crate::journal::{LOCK_FILE_NAME, TokenError, Tokens};
use crate::secret::Secret;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The name of the token.
pub const TOKEN_NAME: &str = "local";
/// The file's name in the data directory.
pub const FILE_NAME: &str = "gateway-local";

/// The way to a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// What to show there.
    pub token: Secret,
}

impl Door {
    /// The door of the daemon that holds this data directory, if one does.
    pub fn find(data_dir: &Path) -> Option<Door> {
        let door = read(data_dir)?;
        let holder = fs::read_to_string(data_dir.join(LOCK_FILE_NAME)).ok()?;
        let holder: u32 = holder.lines().next()?.parse().ok()?;
        (holder == door.pid).then_some(door)
    }

    /// Opens the door of this process, which listens on `address`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(data_dir: &Path, address: SocketAddr, token: Secret) -> io::Result<()> {
        let door = Door {
            pid: std::process::id(),
            address: near(address),
            token,
        };
        write(data_dir, &door)
    }

    /// Closes it again. The token stays for the next time.
    pub fn close(data_dir: &Path) {
        if let Some(mut door) = read(data_dir) {
            door.pid = 0;
            // A door that nobody is behind is not found anyway.
            let _ = write(data_dir, &door);
        }
    }
}

/// The token of this user's programs: the one from before, or a new one.
///
/// # Errors
/// When the tokens cannot be read or written.
pub fn token(data_dir: &Path, tokens: &Tokens) -> Result<Secret, TokenError> {
    if let Some(door) = read(data_dir)
        && tokens.verify(door.token.expose())?.as_deref() == Some(TOKEN_NAME)
    {
        return Ok(door.token);
    }
    match tokens.revoke(TOKEN_NAME) {
        Ok(()) | Err(TokenError::Unknown(_)) => tokens.add(TOKEN_NAME),
        Err(error) => Err(error),
    }
}

/// What the daemon's certificate is known by.
///
/// # Errors
/// When it cannot be read.
pub fn fingerprint(data_dir: &Path) -> Result<Fingerprint, ClientError> {
    Fingerprint::kept_in(data_dir)
        .map_err(|error: GatewayError| ClientError::Setup(error.to_string()))
}

/// The same address as this machine reaches it.
fn near(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = match address {
        _ if !address.ip().is_unspecified() => address.ip(),
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

fn read(data_dir: &Path) -> Option<Door> {
    let text = fs::read_to_string(data_dir.join(FILE_NAME)).ok()?;
    let mut lines = text.lines();
    Some(Door {
        pid: lines.next()?.parse().ok()?,
        address: lines.next()?.parse().ok()?,
        token: Secret::new(lines.next()?),
    })
}

fn write(data_dir: &Path, door: &Door) -> io::Result<()> {
    let Door {
        pid,
        address,
        token,
    } = door;
    let place: PathBuf = data_dir.join(FILE_NAME);
    let draft = data_dir.join(format!("{FILE_NAME}.new"));
    let _ = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    write!(file, "{pid}\n{address}\n{}\n", token.expose())?;
    file.sync_all()?;
    fs::rename(draft, place)
}
