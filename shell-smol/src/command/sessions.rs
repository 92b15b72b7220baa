//! `sessions`: what is remembered. `sessions show NAME`: one conversation.

use super::output::{PrintError, printed};
use crate::clock::{unix_now_ms, utc};
use crate::journal::{JournalError, MessageRow, Reader, Role, SessionRow};
use openpista_core::message::ToolCall;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub database: PathBuf,
    /// The session to show, by name; none to list them all.
    pub show: Option<String>,
    /// A person reads it: aligned columns. Otherwise they are separated by tabs, without a head.
    pub terminal: bool,
}

/// Writes the list, or the conversation, to `out`. Needs no lock.
///
/// # Errors
/// When there is no such session, or the database cannot be read, or `out` fails in another way
/// than by being closed.
pub fn run(options: &Options, out: &mut impl Write) -> Result<ExitCode, PrintError> {
    let mut out = BufWriter::new(out);
    let result = match &options.show {
        Some(name) => show(options, name, &mut out),
        None => list(options, &mut out),
    };
    printed(result.and_then(|()| Ok(out.flush()?)))
}

fn list(options: &Options, out: &mut impl Write) -> Result<(), PrintError> {
    let sessions = match Reader::open(&options.database) {
        Ok(reader) => reader.sessions()?,
        Err(JournalError::Missing(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if !options.terminal {
        for session in &sessions {
            let (name, when) = (one_line(&session.name), utc(session.updated_at));
            writeln!(out, "{name}\t{}\t{when}", session.messages)?;
        }
    } else if sessions.is_empty() {
        writeln!(out, "No sessions yet; `openpistacrab repl` begins one.")?;
    } else {
        table(&sessions, unix_now_ms(), out)?;
    }
    Ok(())
}

fn table(sessions: &[SessionRow], now_ms: u64, out: &mut impl Write) -> std::io::Result<()> {
    let names: Vec<String> = sessions.iter().map(|s| one_line(&s.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).max("SESSION".len());
    writeln!(out, "{:width$}  MESSAGES  LAST ACTIVITY", "SESSION")?;
    for (session, name) in sessions.iter().zip(names) {
        let when = ago(now_ms.saturating_sub(session.updated_at));
        writeln!(out, "{name:width$}  {:>8}  {when}", session.messages)?;
    }
    Ok(())
}

fn show(options: &Options, name: &str, out: &mut impl Write) -> Result<(), PrintError> {
    let no_session = || JournalError::NoSession {
        name: name.to_owned(),
        near: None,
    };
    let reader = Reader::open(&options.database).map_err(|error| match error {
        JournalError::Missing(_) => no_session(),
        error => error,
    })?;
    let session = reader.session(name)?;
    let mut first = true;
    reader.messages(session.id, |message| {
        if !std::mem::take(&mut first) {
            writeln!(out)?;
        }
        Ok(write_message(&message, out)?)
    })
}

fn write_message(message: &MessageRow, out: &mut impl Write) -> std::io::Result<()> {
    let when = utc(message.created_at);
    match &message.call_id {
        Some(id) => writeln!(out, "[{when}] tool, call {}", one_line(id))?,
        None => writeln!(out, "[{when}] {}", speaker(message.role))?,
    }
    let content = printable(&message.content);
    if !content.is_empty() {
        writeln!(out, "{}", content.trim_end_matches('\n'))?;
    }
    let calls = message.tool_calls.as_deref().unwrap_or("[]");
    // A person reads this: calls that cannot be understood are shown as they are stored.
    match serde_json::from_str::<Vec<ToolCall>>(calls) {
        Ok(calls) => calls.iter().try_for_each(|call| {
            let (tool, arguments) = (one_line(&call.tool), one_line(&call.arguments));
            writeln!(out, "> {tool} {arguments} ({})", one_line(&call.id))
        }),
        Err(_) => writeln!(out, "> {}", one_line(calls)),
    }
}

fn speaker(role: Role) -> &'static str {
    match role {
        Role::User => "you",
        Role::Assistant => "model",
        Role::Tool => "tool",
        Role::Notice => "openpista",
    }
}

/// Text that cannot do anything to a terminal.
fn printable(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    let shown = |c| if harmless(c) { c } else { '\u{fffd}' };
    text.chars().map(shown).collect()
}

/// Text that keeps to its line and column.
fn one_line(text: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(shown).collect()
}

/// How long ago, in the largest unit of which at least one has passed.
fn ago(ms: u64) -> String {
    let units = [
        ("day", 86_400_000),
        ("hour", 3_600_000),
        ("minute", 60_000),
        ("second", 1_000),
    ];
    match units.into_iter().find(|(_, unit)| ms >= *unit) {
        Some((name, unit)) => match ms / unit {
            1 => format!("1 {name} ago"),
            count => format!("{count} {name}s ago"),
        },
        None => "just now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_long_ago_in_words() {
        let told = [
            0,
            999,
            1_000,
            59_999,
            60_000,
            7_200_000,
            86_400_000,
            u64::MAX,
        ]
        .map(ago);
        assert_eq!(
            told,
            [
                "just now",
                "just now",
                "1 second ago",
                "59 seconds ago",
                "1 minute ago",
                "2 hours ago",
                "1 day ago",
                "213503982334 days ago",
            ]
        );
    }

    #[test]
    fn text_of_tools_and_people_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\tb\n\u{1b}[2Jc\r"),
            "a\tb\n\u{fffd}[2Jc\u{fffd}"
        );
        assert_eq!(one_line("a\tb\nc"), "a b c");
    }
}
