//! Reading the journal, also beside the process that writes it.
//!
//! A reader opens the database read-only, takes no lock, and sees it as it was at its first
//! question, however long it reads.

use super::error::JournalError;
use super::{int, schema};
use openpista_core::id::Seq;
use openpista_core::id::SessionId;
use rusqlite::{Connection, Row};
use std::path::{Path, PathBuf};

/// A view of the journal at one moment.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Its identity.
    pub id: SessionId,
    /// Its name.
    pub name: String,
    /// When it was opened: milliseconds since 1970 in UTC.
    pub created_at: u64,
    /// When its last message came: milliseconds since 1970 in UTC.
    pub updated_at: u64,
    /// How many messages it has.
    pub messages: u64,
}

/// Something that was said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// The step that said it.
    pub seq: Seq,
    /// Who.
    pub role: Role,
    /// What.
    pub content: String,
    /// Assistant: a JSON array of the calls it made, if it made any.
    pub tool_calls: Option<String>,
    /// Tool: the id of the call that this is the result of.
    pub call_id: Option<String>,
    /// When: milliseconds since 1970 in UTC.
    pub created_at: u64,
}

/// Who says something in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A person.
    User,
    /// The model.
    Assistant,
    /// A tool, to the model.
    Tool,
    /// The daemon, to the person.
    Notice,
}

impl Role {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
            Role::Notice => "notice",
        }
    }

    fn from_stored(text: &str) -> Role {
        match text {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            _ => Role::Notice,
        }
    }
}

/// A step as it is stored: its input and records are JSON text.
#[derive(Debug)]
pub struct StoredStep<'a> {
    /// Its position.
    pub seq: u64,
    /// Milliseconds since the journal began.
    pub at: u64,
    /// The one session it touches.
    pub session: Option<u64>,
    /// What happened.
    pub input: &'a str,
    /// What was decided.
    pub records: &'a str,
}

impl Reader {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read, or another version of the program wrote it.
    pub fn open(path: &Path) -> Result<Reader, JournalError> {
        let conn = schema::open_read_only(path, &schema::SCHEMA)?;
        conn.execute_batch("BEGIN")
            .map_err(|error| JournalError::database(path, &error))?;
        Ok(Reader {
            conn,
            path: path.to_owned(),
        })
    }

    /// When the journal began: milliseconds since 1970 in UTC.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn began_unix_ms(&self) -> Result<u64, JournalError> {
        began_unix_ms(&self.conn, &self.path)
    }

    /// All sessions, the latest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sessions(&self) -> Result<Vec<SessionRow>, JournalError> {
        let read = || -> rusqlite::Result<Vec<SessionRow>> {
            self.conn
                .prepare(
                    "SELECT id, name, created_at, \
                     coalesce((SELECT created_at FROM messages WHERE session = sessions.id \
                     ORDER BY number DESC LIMIT 1), created_at) AS updated_at, \
                     coalesce((SELECT max(number) FROM messages WHERE session = sessions.id), 0) \
                     FROM sessions ORDER BY updated_at DESC, id DESC",
                )?
                .query_map([], session_row)?
                .collect()
        };
        read().map_err(|error| self.failed(&error))
    }

    /// The session of this name.
    ///
    /// # Errors
    /// When there is none (the error names the nearest), or it cannot be read.
    pub fn session(&self, name: &str) -> Result<SessionRow, JournalError> {
        let sessions = self.sessions()?;
        let near = sessions
            .iter()
            .map(|session| (strsim::jaro_winkler(name, &session.name), &session.name))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, near)| near.clone());
        sessions
            .into_iter()
            .find(|session| session.name == name)
            .ok_or_else(|| JournalError::NoSession {
                name: name.to_owned(),
                near,
            })
    }

    /// Shows every message of a session, oldest first.
    ///
    /// # Errors
    /// When they cannot be read, or what `show` returns.
    pub fn messages<E: From<JournalError>>(
        &self,
        session: SessionId,
        mut show: impl FnMut(MessageRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(self.failed(&error));
        let mut query = self
            .conn
            .prepare(
                "SELECT seq, role, content, tool_calls, call_id, created_at FROM messages \
                 WHERE session = ?1 ORDER BY number",
            )
            .map_err(failed)?;
        let mut rows = query.query([int(session.0.0)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            show(message_row(row).map_err(failed)?)?;
        }
        Ok(())
    }

    /// Shows every step, or those that a session's export holds: its own, and those about all.
    ///
    /// # Errors
    /// When they cannot be read, or what `show` returns.
    pub fn steps<E: From<JournalError>>(
        &self,
        session: Option<SessionId>,
        mut show: impl FnMut(StoredStep<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(self.failed(&error));
        let sql = match session {
            None => "SELECT seq, at, session, input, records FROM steps ORDER BY seq",
            Some(_) => {
                "SELECT seq, at, session, input, records FROM steps \
                 WHERE session = ?1 OR session IS NULL ORDER BY seq"
            }
        };
        let mut query = self.conn.prepare(sql).map_err(failed)?;
        let mut rows = query
            .query(rusqlite::params_from_iter(session.map(|id| int(id.0.0))))
            .map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            show(stored_step(row).map_err(failed)?)?;
        }
        Ok(())
    }

    fn failed(&self, error: &rusqlite::Error) -> JournalError {
        JournalError::database(&self.path, error)
    }
}

/// When the journal in this database began.
pub(super) fn began_unix_ms(conn: &Connection, path: &Path) -> Result<u64, JournalError> {
    let sql = "SELECT value FROM meta WHERE key = 'began_unix_ms'";
    conn.query_row(sql, [], |row| natural(row, 0))
        .map_err(|error| JournalError::database(path, &error))
}

fn natural(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(index).map(i64::cast_unsigned)
}

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: SessionId(Seq(natural(row, 0)?)),
        name: row.get(1)?,
        created_at: natural(row, 2)?,
        updated_at: natural(row, 3)?,
        messages: natural(row, 4)?,
    })
}

fn message_row(row: &Row<'_>) -> rusqlite::Result<MessageRow> {
    Ok(MessageRow {
        seq: Seq(natural(row, 0)?),
        role: Role::from_stored(row.get_ref(1)?.as_str()?),
        content: row.get(2)?,
        tool_calls: row.get(3)?,
        call_id: row.get(4)?,
        created_at: natural(row, 5)?,
    })
}

fn stored_step<'a>(row: &'a Row<'_>) -> rusqlite::Result<StoredStep<'a>> {
    Ok(StoredStep {
        seq: natural(row, 0)?,
        at: natural(row, 1)?,
        session: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
        input: row.get_ref(3)?.as_str()?,
        records: row.get_ref(4)?.as_str()?,
    })
}
