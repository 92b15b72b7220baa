//! What became of each message of a client of the gateway, so that one who asks again is told the
//! same and nothing runs twice, however long ago it was.
//!
//! Written with the records that say it (`projection.rs`), for the origins of the gateway and of this
//! machine's terminal: other channels never ask. [`Lookup`] reads it beside the process that writes.

use super::error::JournalError;
use super::token::{self, Tokens};
use super::{int, schema};
use openpista_core::id::Seq;
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The beginnings of the origins that ask again.
const ASKING: [&str; 2] = ["quic:", "cli:"];

fn asks(origin: &str) -> bool {
    ASKING.iter().any(|asking| origin.starts_with(asking))
}

/// The writing side, for one step.
pub(super) struct Responses<'c> {
    pub(super) conn: &'c Connection,
    pub(super) seq: Seq,
}

impl Responses<'_> {
    /// A message was taken: there will be a response.
    pub(super) fn expect(&self, origin: &str, key: &str) -> rusqlite::Result<()> {
        if asks(origin) {
            self.conn
                .prepare_cached(
                    "INSERT INTO responses (origin, key, content, is_error, seq) \
                     VALUES (?1, ?2, NULL, 0, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![origin, key, int(self.seq.0)])?;
        }
        Ok(())
    }

    /// A message has come to its end. The first end counts.
    pub(super) fn keep(
        &self,
        origin: &str,
        key: &str,
        content: &str,
        is_error: bool,
    ) -> rusqlite::Result<()> {
        if asks(origin) {
            self.conn
                .prepare_cached(
                    "INSERT INTO responses (origin, key, content, is_error, seq) \
                     VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE \
                     SET content = excluded.content, is_error = excluded.is_error, \
                     seq = excluded.seq WHERE content IS NULL",
                )?
                .execute(params![origin, key, content, is_error, int(self.seq.0)])?;
        }
        Ok(())
    }
}

/// What is known of a message that a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: it is new.
    New,
    /// It was taken, and is being worked on.
    Pending,
    /// It has come to its end.
    Over {
        /// The reply, or what went wrong.
        content: String,
        /// Something went wrong.
        is_error: bool,
    },
}

/// Looks things up in the journal for the gateway, while the journal's thread writes it. Cheap to
/// clone; the reading itself is done on a thread that may block.
#[derive(Clone, Debug)]
pub struct Lookup {
    conn: Arc<Mutex<Connection>>,
    path: Arc<PathBuf>,
}

impl Lookup {
    /// Opens the database at `path`, which must be up to date.
    ///
    /// # Errors
    /// When there is none, or it cannot be read, or another version of the program wrote it.
    pub fn open(path: &Path) -> Result<Lookup, JournalError> {
        let conn = schema::open_read_only(path, &schema::SCHEMA)?;
        Ok(Lookup {
            conn: Arc::new(Mutex::new(conn)),
            path: Arc::new(path.to_owned()),
        })
    }

    /// What became of the message with this key; none when the token of that name and hash is not
    /// valid any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn message(
        &self,
        token: &Identity,
        origin: &str,
        key: &str,
    ) -> Result<Option<Asked>, JournalError> {
        let (token, origin, key) = (token.clone(), origin.to_owned(), key.to_owned());
        self.read(move |conn| match token.stands(conn)? {
            true => asked(conn, &origin, &key).map(Some),
            false => Ok(None),
        })
        .await
    }

    /// The token is valid still.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stands(&self, token: &Identity) -> Result<bool, JournalError> {
        let token = token.clone();
        self.read(move |conn| token.stands(conn)).await
    }

    /// Whose token this is, if it is a valid one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn identify(&self, token: &str) -> Result<Option<Identity>, JournalError> {
        let hash = token::hash(token);
        self.read(move |conn| Tokens::identify(conn, hash)).await
    }

    /// The names that have a valid token.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn names(&self) -> Result<Vec<String>, JournalError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = Tokens::rows(&conn);
        let rows = rows.map_err(|error| JournalError::database(&self.path, &error))?;
        let valid = rows.into_iter().filter(|row| row.revoked_at.is_none());
        Ok(valid.map(|row| row.name).collect())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, JournalError> {
        let this = self.clone();
        blocking::unblock(move || {
            let conn = this.conn.lock().unwrap_or_else(PoisonError::into_inner);
            read(&conn).map_err(|error| JournalError::database(&this.path, &error))
        })
        .await
    }
}

/// A client that has shown a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's name.
    pub name: String,
    pub(super) hash: [u8; 32],
}

impl Identity {
    fn stands(&self, conn: &Connection) -> rusqlite::Result<bool> {
        conn.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM tokens \
             WHERE name = ?1 AND hash = ?2 AND revoked_at IS NULL)",
        )?
        .query_row(params![self.name, self.hash], |row| row.get(0))
    }
}

fn asked(conn: &Connection, origin: &str, key: &str) -> rusqlite::Result<Asked> {
    let found = conn
        .prepare_cached("SELECT content, is_error FROM responses WHERE origin = ?1 AND key = ?2")?
        .query_row([origin, key], |row| {
            let content: Option<String> = row.get(0)?;
            let is_error = row.get(1)?;
            Ok(content.map_or(Asked::Pending, |content| Asked::Over { content, is_error }))
        })
        .optional()?;
    Ok(found.unwrap_or(Asked::New))
}
