//! The tokens of the gateway's clients: 256 random bits each, of which only the SHA-256 is kept.
//!
//! The operator adds and revokes them, also while the daemon runs: every use of a token looks here.
//! They are no part of any record, so no export or replay has them.

use super::error::JournalError;
use super::lock::Lock;
use super::response::Identity;
use super::{data_dir, int, schema};
use crate::secret::Secret;
use openpista_core::digest;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};

/// The longest name of a token, in bytes.
const NAME_BYTES: usize = 64;

/// The tokens, to be managed.
#[derive(Debug)]
pub struct Tokens {
    conn: Connection,
    path: PathBuf,
    /// None when a running daemon holds it.
    _lock: Option<Lock>,
}

/// A token, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Whose it is.
    pub name: String,
    /// When it was made: milliseconds since 1970 in UTC.
    pub created_at: u64,
    /// When it was revoked, in the same way; none while it is valid.
    pub revoked_at: Option<u64>,
}

impl Tokens {
    /// Opens the database at `path`, making or upgrading it unless a daemon runs on it. Blocks.
    ///
    /// # Errors
    /// When it cannot be made, opened or upgraded.
    pub fn open(path: &Path) -> Result<Tokens, JournalError> {
        let dir = data_dir(path);
        schema::make_dir(&dir)?;
        let (conn, lock) = match Lock::take(&dir) {
            Ok(lock) => {
                let now = crate::clock::unix_now_ms();
                (schema::open(path, &schema::SCHEMA, now)?, Some(lock))
            }
            Err(JournalError::InUse { .. }) => (schema::open_beside(path, &schema::SCHEMA)?, None),
            Err(error) => return Err(error),
        };
        Ok(Tokens {
            conn,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Makes a token for a client. It is the only time that it can be read. A name whose token
    /// was revoked may get a new one, and is the same client then.
    ///
    /// # Errors
    /// When the name cannot be one or has a valid token, or the database cannot be written.
    pub fn add(&self, name: &str) -> Result<Secret, TokenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(plain) {
            return Err(TokenError::BadName);
        }
        let token = random()?;
        let added = self.conn.execute(
            "INSERT INTO tokens (name, hash, created_at, revoked_at) VALUES (?1, ?2, ?3, NULL) \
             ON CONFLICT (name) DO UPDATE \
             SET hash = excluded.hash, created_at = excluded.created_at, revoked_at = NULL \
             WHERE revoked_at IS NOT NULL",
            params![name, hash(&token), int(crate::clock::unix_now_ms())],
        );
        match added.map_err(|error| self.failed(&error))? {
            0 => Err(TokenError::Exists(name.to_owned())),
            _ => Ok(Secret::new(&token)),
        }
    }

    /// All tokens by name, revoked ones included.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self) -> Result<Vec<TokenRow>, JournalError> {
        Tokens::rows(&self.conn).map_err(|error| self.failed(&error))
    }

    /// Ends a token's validity, also of connections that were made with it.
    ///
    /// # Errors
    /// When there is no valid token of this name, or the database cannot be written.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let revoked = self.conn.execute(
            "UPDATE tokens SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
            params![name, int(crate::clock::unix_now_ms())],
        );
        match revoked.map_err(|error| self.failed(&error))? {
            0 => Err(TokenError::Unknown(name.to_owned())),
            _ => Ok(()),
        }
    }

    /// Whose token this is, if it is a valid one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn verify(&self, token: &str) -> Result<Option<String>, JournalError> {
        let found = Tokens::identify(&self.conn, hash(token));
        let found = found.map_err(|error| self.failed(&error))?;
        Ok(found.map(|identity| identity.name))
    }

    pub(super) fn rows(conn: &Connection) -> rusqlite::Result<Vec<TokenRow>> {
        conn.prepare("SELECT name, created_at, revoked_at FROM tokens ORDER BY name")?
            .query_map([], |row| {
                let revoked: Option<i64> = row.get(2)?;
                Ok(TokenRow {
                    name: row.get(0)?,
                    created_at: row.get::<_, i64>(1)?.cast_unsigned(),
                    revoked_at: revoked.map(i64::cast_unsigned),
                })
            })?
            .collect()
    }

    /// Compares with every token, so that the time it takes tells nothing.
    pub(super) fn identify(
        conn: &Connection,
        hash: [u8; 32],
    ) -> rusqlite::Result<Option<Identity>> {
        let mut query =
            conn.prepare_cached("SELECT name, hash FROM tokens WHERE revoked_at IS NULL")?;
        let mut rows = query.query([])?;
        let mut found = None;
        while let Some(row) = rows.next()? {
            if same(&row.get::<_, Vec<u8>>(1)?, &hash) {
                let name = row.get(0)?;
                found = Some(Identity { name, hash });
            }
        }
        Ok(found)
    }

    fn failed(&self, error: &rusqlite::Error) -> JournalError {
        JournalError::database(&self.path, error)
    }
}

/// What is kept of a token.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Equal, without telling by the time where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

/// 256 bits of the operating system's randomness, in hexadecimal.
fn random() -> Result<String, TokenError> {
    let mut bytes = [0; 32];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| TokenError::NoRandom)?;
    Ok(digest::Digest(bytes).to_string())
}

/// Why a token was not added or revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// That cannot be a name.
    BadName,
    /// There is a valid token of this name.
    Exists(String),
    /// There is no valid token of this name.
    Unknown(String),
    /// The operating system gives no random bytes.
    NoRandom,
    /// The database fails.
    Journal(JournalError),
}

impl From<JournalError> for TokenError {
    fn from(error: JournalError) -> TokenError {
        TokenError::Journal(error)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::BadName => write!(
                f,
                "a token's name has 1 to {NAME_BYTES} letters, digits, dots, dashes or underscores; \
                 for example: laptop"
            ),
            TokenError::Exists(name) => write!(
                f,
                "{name} has a token already; `openpistacrab token revoke {name}` ends it"
            ),
            TokenError::Unknown(name) => write!(
                f,
                "{name} has no valid token; `openpistacrab token list` shows them"
            ),
            TokenError::NoRandom => f.write_str(
                "the operating system gives no random bytes; try again when it has started fully",
            ),
            TokenError::Journal(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TokenError {}
