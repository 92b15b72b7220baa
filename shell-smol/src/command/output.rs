//! How the commands that print end.

use crate::journal::JournalError;
use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// Why a command that reads the journal and prints could not finish.
#[derive(Debug)]
pub enum PrintError {
    /// The journal could not be read.
    Journal(JournalError),
    /// The output could not be written.
    Write(io::Error),
}

impl From<JournalError> for PrintError {
    fn from(error: JournalError) -> PrintError {
        PrintError::Journal(error)
    }
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> PrintError {
        PrintError::Write(error)
    }
}

impl fmt::Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrintError::Journal(error) => error.fmt(f),
            PrintError::Write(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for PrintError {}

/// The end of a command that only prints. A reader that has seen enough, like `head`, is no fault.
pub(super) fn printed(result: Result<(), PrintError>) -> Result<ExitCode, PrintError> {
    match result {
        Err(PrintError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        result => result.map(|()| ExitCode::SUCCESS),
    }
}
