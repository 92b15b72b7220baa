//! Exports: a header and one line of JSON for each step (see [`openpista_core::replay`]).

use super::error::JournalError;
use super::read::{Reader, SessionRow, StoredStep};
use super::redact::redact;
use openpista_core::replay::{FORMAT, Header, VERSION};
use serde_json::Value;
use std::io::{self, Write};

/// Writes the journal, or what concerns one session: its own steps, and those that concern all.
///
/// # Errors
/// When the journal cannot be read, or `out` cannot be written to.
pub fn export<E>(
    reader: &Reader,
    session: Option<&SessionRow>,
    redacted: bool,
    out: &mut impl Write,
) -> Result<(), E>
where
    E: From<JournalError> + From<io::Error>,
{
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        began_unix_ms: reader.began_unix_ms()?,
        session: session.map(|session| session.name.clone()),
        redacted,
    };
    serde_json::to_writer(&mut *out, &header).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    reader.steps(session.map(|session| session.id), |step| {
        if redacted {
            let input = without_words(step.input)?;
            let records = without_words(step.records)?;
            write_line(
                &StoredStep {
                    input: &input,
                    records: &records,
                    ..step
                },
                out,
            )?;
        } else {
            write_line(&step, out)?;
        }
        Ok(())
    })
}

/// The stored JSON goes out as it is, so an export says exactly what the journal says.
fn write_line(step: &StoredStep<'_>, out: &mut impl Write) -> io::Result<()> {
    write!(out, r#"{{"seq":{},"at":{},"session":"#, step.seq, step.at)?;
    match step.session {
        Some(session) => write!(out, "{session}")?,
        None => out.write_all(b"null")?,
    }
    writeln!(
        out,
        r#","input":{},"records":{}}}"#,
        step.input, step.records
    )
}

fn without_words(json: &str) -> io::Result<String> {
    let mut value: Value = serde_json::from_str(json)?;
    redact(&mut value);
    Ok(value.to_string())
}
