//! What became of each message of a client of the gateway, so that one who asks again is told the
//! same and nothing runs twice, however long ago it was.
//!
//! Written with the records that say it (`projection.rs`), for the origins of the gateway and of this
//! machine's terminal: other channels never ask. [`Lookup`] reads it beside the process that writes.

use super::error::JournalError;
use super::token::{self, Tokens};
use super::{int, schema};
use openpista_core::id::Seq;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

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

/// Looks things up in the journal for the gateway, while the loop writes it. Whoever
/// asks waits for the answer: a few pages out of memory take less than to have another thread read
/// them would.
#[derive(Debug)]
pub struct Lookup {
    conn: Mutex<Connection>,
    path: PathBuf,
}

impl Lookup {
    /// Opens the database at `path`, which must be up to date.
    ///
    /// # Errors
    /// When there is none, or it cannot be read, or another version of the program wrote it.
    pub fn open(path: &Path) -> Result<Lookup, JournalError> {
        let conn = schema::open_read_only(path, &schema::SCHEMA)?;
        Ok(Lookup {
            conn: Mutex::new(conn),
            path: path.to_owned(),
        })
    }

    /// What became of the message with this key; none when the token of that name and hash is not
    /// valid any more.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn message(
        &self,
        token: &Identity,
        origin: &str,
        key: &str,
    ) -> Result<Option<Asked>, JournalError> {
        self.read(|conn| asked(conn, token, origin, key))
    }

    /// The token is valid still.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stands(&self, token: &Identity) -> Result<bool, JournalError> {
        self.read(|conn| token.stands(conn))
    }

    /// Whose token this is, if it is a valid one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn identify(&self, token: &str) -> Result<Option<Identity>, JournalError> {
        let hash = token::hash(token);
        self.read(|conn| Tokens::identify(conn, hash))
    }

    /// The names that have a valid token.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn names(&self) -> Result<Vec<String>, JournalError> {
        let rows = self.read(Tokens::rows)?;
        let valid = rows.into_iter().filter(|row| row.revoked_at.is_none());
        Ok(valid.map(|row| row.name).collect())
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, JournalError> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        read(&conn).map_err(|error| JournalError::database(&self.path, &error))
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

fn asked(
    conn: &Connection,
    token: &Identity,
    origin: &str,
    key: &str,
) -> rusqlite::Result<Option<Asked>> {
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM tokens \
         WHERE name = ?1 AND hash = ?2 AND revoked_at IS NULL), is_error, content \
         FROM (SELECT 1) LEFT JOIN responses ON origin = ?3 AND key = ?4",
    )?
    .query_row(params![token.name, token.hash, origin, key], |row| {
        let (stands, known) = (row.get(0)?, row.get::<_, Option<bool>>(1)?);
        let content: Option<String> = row.get(2)?;
        Ok(match (stands, known, content) {
            (false, ..) => None,
            (true, None, _) => Some(Asked::New),
            (true, Some(_), None) => Some(Asked::Pending),
            (true, Some(is_error), Some(content)) => Some(Asked::Over { content, is_error }),
        })
    })
}
