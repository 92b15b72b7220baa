//! What people query: the conversations, computed from the records alone.
//!
//! Runs in the transaction that commits the records and keeps nothing in memory. What a record
//! only refers to (which call an effect runs, what the provider named that call) is looked up in
//! the journal itself, so rebuilding gives the same rows.

use super::int;
use super::read::Role;
use super::response::Responses;
use openpista_core::effect::deliver::Body;
use openpista_core::effect::sandbox::render_sandboxed;
use openpista_core::effect::tool::render;
use openpista_core::effect::{Op, Outcome};
use openpista_core::id::{ApprovalId, EffectId, Seq, SessionId};
use openpista_core::message::ToolCall;
use openpista_core::record::{Answer, Record, TurnEnd, Verdict};
use openpista_core::time::Time;
use rusqlite::{Connection, OptionalExtension, params};

/// A row of `messages` in the making.
struct Row<'a> {
    session: SessionId,
    role: Role,
    content: &'a str,
    tool_calls: Option<String>,
    call_id: Option<String>,
}

/// Adds what a step's records mean. The step's own row must be there already.
pub(super) fn project(
    conn: &Connection,
    began_unix_ms: u64,
    seq: Seq,
    at: Time,
    records: &[Record],
) -> rusqlite::Result<()> {
    let step = Step {
        conn,
        seq,
        unix_ms: int(began_unix_ms.saturating_add(at.as_ms())),
    };
    records.iter().try_for_each(|record| step.record(record))
}

struct Step<'c> {
    conn: &'c Connection,
    seq: Seq,
    unix_ms: i64,
}

impl Step<'_> {
    fn record(&self, record: &Record) -> rusqlite::Result<()> {
        match record {
            Record::Opened { session, name } => self.open(*session, name),
            Record::Moved { session, to, .. } => self.rename(*session, to),
            Record::Accepted(accepted) => {
                self.responses().expect(&accepted.origin, &accepted.key)?;
                match accepted.command {
                    None => self.say(accepted.session, Role::User, &accepted.text),
                    Some(_) => Ok(()),
                }
            }
            Record::Refused {
                origin,
                key,
                refusal,
                ..
            } => self.responses().keep(origin, key, refusal.reason(), true),
            Record::Queued { body, ends, .. } => {
                let is_error = matches!(body, Body::Failure(_));
                let text = body.text().unwrap_or_default();
                ends.iter().try_for_each(|end| {
                    self.responses().keep(&end.origin, &end.key, text, is_error)
                })
            }
            Record::Answered { session, reply, .. } => {
                self.answer(*session, &reply.text, &reply.calls)
            }
            Record::Settled {
                session,
                effect,
                outcome: Outcome::Tool(result),
            } => self.effect_result(*session, *effect, &render(result)),
            Record::Settled {
                session,
                effect,
                outcome: Outcome::Sandbox(result),
            } => self.effect_result(*session, *effect, &render_sandboxed(result)),
            Record::Doubted { session, effect } => self.effect_result(
                *session,
                *effect,
                "[it may or may not have run: the program stopped in the middle of it]",
            ),
            Record::Judged {
                session,
                call,
                verdict: Verdict::Deny { reason } | Verdict::Invalid { reason },
            } => self.call_result(*session, self.seq, *call, reason),
            Record::Decided {
                session,
                approval,
                answer,
            } => self.decision(*session, *approval, answer),
            Record::Served {
                session,
                call,
                content,
            } => self.call_result(*session, self.seq, *call, content),
            Record::Refreshed { session } => {
                self.say(*session, Role::Notice, "The context was cleared.")
            }
            Record::TurnEnded { session, end, .. } => match end {
                TurnEnd::Replied(_) => Ok(()),
                TurnEnd::Failed(text) => self.say(*session, Role::Notice, text),
                TurnEnd::Stopped => self.say(*session, Role::Notice, "Stopped."),
            },
            _ => Ok(()),
        }
    }

    /// Adds the result of a call that a person was asked about, when it is not to run.
    fn decision(
        &self,
        session: SessionId,
        approval: ApprovalId,
        answer: &Answer,
    ) -> rusqlite::Result<()> {
        let text = match answer {
            Answer::Allowed(_) | Answer::AllowedForSession(_) => return Ok(()),
            Answer::Denied(by) => format!("[denied by {by}]"),
            Answer::Expired => "[denied: nobody answered in time]".to_owned(),
        };
        self.call_result(session, approval.seq, approval.slot, &text)
    }

    fn responses(&self) -> Responses<'_> {
        Responses {
            conn: self.conn,
            seq: self.seq,
        }
    }

    fn open(&self, session: SessionId, name: &str) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("INSERT INTO sessions (id, name, created_at) VALUES (?1, ?2, ?3)")?
            .execute(params![int(session.0.0), name, self.unix_ms])?;
        Ok(())
    }

    fn rename(&self, session: SessionId, name: &str) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached("UPDATE sessions SET name = ?2 WHERE id = ?1")?
            .execute(params![int(session.0.0), name])?;
        Ok(())
    }

    fn say(&self, session: SessionId, role: Role, content: &str) -> rusqlite::Result<()> {
        self.add(Row {
            session,
            role,
            content,
            tool_calls: None,
            call_id: None,
        })
    }

    fn answer(
        &self,
        session: SessionId,
        content: &str,
        calls: &[ToolCall],
    ) -> rusqlite::Result<()> {
        let tool_calls = match calls {
            [] => None,
            calls => Some(super::writer::json(&calls)?),
        };
        self.add(Row {
            session,
            role: Role::Assistant,
            content,
            tool_calls,
            call_id: None,
        })
    }

    /// Adds the result of an effect, if it is a tool's.
    fn effect_result(
        &self,
        session: SessionId,
        effect: EffectId,
        content: &str,
    ) -> rusqlite::Result<()> {
        match self.call_of(effect)? {
            Some(call) => self.call_result(session, effect.seq, call, content),
            None => Ok(()),
        }
    }

    /// Adds the result of one of the calls that the model's last answer before `asked` made.
    fn call_result(
        &self,
        session: SessionId,
        asked: Seq,
        call: u16,
        content: &str,
    ) -> rusqlite::Result<()> {
        let calls = self.calls(session, asked)?;
        self.add(Row {
            session,
            role: Role::Tool,
            content,
            tool_calls: None,
            call_id: calls.into_iter().nth(call.into()).map(|call| call.id),
        })
    }

    /// Which of its round's calls an effect runs: the step that intended it says so.
    fn call_of(&self, id: EffectId) -> rusqlite::Result<Option<u16>> {
        let records: Option<String> = self
            .conn
            .prepare_cached("SELECT records FROM steps WHERE seq = ?1")?
            .query_row([int(id.seq.0)], |row| row.get(0))
            .optional()?;
        let records: Vec<Record> = parse(records.as_deref().unwrap_or("[]"))?;
        Ok(records.into_iter().find_map(|record| match record {
            Record::Intended(effect) if effect.id == id => match effect.op {
                Op::Tool(run) => Some(run.call),
                Op::Sandbox(used) => used.runs().then_some(used.call),
                Op::Model(_) | Op::Deliver(_) | Op::Cancel(_) => None,
            },
            _ => None,
        }))
    }

    fn calls(&self, session: SessionId, asked: Seq) -> rusqlite::Result<Vec<ToolCall>> {
        let calls: Option<Option<String>> = self
            .conn
            .prepare_cached(
                "SELECT tool_calls FROM messages \
                 WHERE session = ?1 AND seq <= ?2 AND role = 'assistant' \
                 ORDER BY number DESC LIMIT 1",
            )?
            .query_row([int(session.0.0), int(asked.0)], |row| row.get(0))
            .optional()?;
        parse(calls.flatten().as_deref().unwrap_or("[]"))
    }

    fn add(&self, row: Row<'_>) -> rusqlite::Result<()> {
        self.conn
            .prepare_cached(
                "INSERT INTO messages \
                 (session, number, seq, role, content, tool_calls, call_id, created_at) \
                 VALUES (?1, (SELECT 1 + coalesce(max(number), 0) FROM messages WHERE session = ?1), \
                 ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                int(row.session.0.0),
                int(self.seq.0),
                row.role.as_str(),
                row.content,
                row.tool_calls,
                row.call_id,
                self.unix_ms,
            ])?;
        Ok(())
    }
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> rusqlite::Result<T> {
    serde_json::from_str(json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
    })
}
