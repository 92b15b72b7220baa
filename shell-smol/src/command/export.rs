//! `export`: the journal, or what concerns one session, as JSON Lines.

use super::output::{PrintError, printed};
use crate::journal::{self, Reader};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub database: PathBuf,
    /// One session, by name; none for all.
    pub session: Option<String>,
    /// Take out what was said.
    pub redact: bool,
}

/// Writes the export to `out`. Needs no lock: a daemon may be at work meanwhile.
///
/// # Errors
/// When there is no such database or session, or they cannot be read, or `out` fails in another
/// way than by being closed.
pub fn run(options: &Options, out: &mut impl Write) -> Result<ExitCode, PrintError> {
    printed(write(options, out))
}

fn write(options: &Options, out: &mut impl Write) -> Result<(), PrintError> {
    let reader = Reader::open(&options.database)?;
    let session = match &options.session {
        Some(name) => Some(reader.session(name)?),
        None => None,
    };
    let mut out = BufWriter::with_capacity(1 << 16, out);
    journal::export::<PrintError>(&reader, session.as_ref(), options.redact, &mut out)?;
    out.flush()?;
    Ok(())
}
