//! Reading an export, one line at a time.

use indicatif::{ProgressBar, ProgressStyle};
use openpista_core::id::Seq;
use openpista_core::recover::Unreadable;
use openpista_core::replay::{FORMAT, Header, Line, VERSION};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line that is read, in bytes: a step holds at most some messages and outputs.
const LINE_BYTES: u64 = 64 * 1024 * 1024;

/// Why an export could not be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// The file could not be read.
    Read(PathBuf, io::Error),
    /// The file does not begin like an export.
    NoExport(PathBuf, String),
    /// A newer program wrote it.
    Newer(PathBuf, u32),
    /// What was said was taken out, so the inputs no longer lead to the records.
    Redacted,
    /// A line is not a step.
    Line {
        /// The file.
        file: PathBuf,
        /// Which line, from 1.
        number: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// The records do not fold.
    Unreadable(Unreadable),
    /// The result could not be written.
    Write(io::Error),
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> ReplayError {
        ReplayError::Write(error)
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Read(file, error) => write!(f, "cannot read {}: {error}", file.display()),
            ReplayError::NoExport(file, cause) => write!(
                f,
                "{} is no export ({cause}); `openpistacrab export > FILE` makes one",
                file.display(),
            ),
            ReplayError::Newer(file, version) => write!(
                f,
                "{} is an export of version {version}, and this program knows up to {VERSION}; \
                 use the newer openpistacrab that wrote it",
                file.display(),
            ),
            ReplayError::Redacted => f.write_str(
                "the export is redacted, so its inputs no longer lead to its records; \
                 `replay --fold` folds the records alone",
            ),
            ReplayError::Line {
                file,
                number,
                cause,
            } => write!(
                f,
                "{} line {number} is not a step of a journal: {cause}",
                file.display(),
            ),
            ReplayError::Unreadable(unreadable) => {
                write!(f, "the records do not fold: {unreadable}")
            }
            ReplayError::Write(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {}

/// An open export.
pub(super) struct ExportFile {
    file: PathBuf,
    lines: Box<dyn BufRead>,
    header: Header,
    number: u64,
    seq: Seq,
    progress: ProgressBar,
}

impl ExportFile {
    /// Opens the file and reads its header.
    pub(super) fn open(file: &Path) -> Result<ExportFile, ReplayError> {
        let failed = |error| ReplayError::Read(file.to_owned(), error);
        let no_export = |cause: String| ReplayError::NoExport(file.to_owned(), cause);
        let (mut lines, length): (Box<dyn BufRead>, u64) = if file == Path::new("-") {
            (Box::new(BufReader::new(io::stdin())), 0)
        } else {
            let open = File::open(file).map_err(failed)?;
            let length = open.metadata().map_err(failed)?.len();
            (Box::new(BufReader::with_capacity(1 << 16, open)), length)
        };
        let first = read_line(&mut lines).map_err(failed)?;
        if first.is_empty() {
            return Err(no_export("it is empty".to_owned()));
        }
        let header: Header = serde_json::from_slice(&first)
            .map_err(|error| no_export(format!("its first line is no header: {error}")))?;
        if header.format != FORMAT {
            return Err(no_export(format!("its format is {:?}", header.format)));
        }
        if header.version > VERSION {
            return Err(ReplayError::Newer(file.to_owned(), header.version));
        }
        Ok(ExportFile {
            file: file.to_owned(),
            lines,
            header,
            number: 1,
            seq: Seq(0),
            progress: progress(length),
        })
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The next step; none at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, ReplayError> {
        let read = read_line(&mut self.lines)
            .map_err(|error| ReplayError::Read(self.file.clone(), error))?;
        if read.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        self.progress.inc(read.len() as u64);
        let line: Line = serde_json::from_slice(&read).map_err(|e| self.bad(e.to_string()))?;
        if line.seq <= self.seq {
            let cause = format!("its seq {} does not follow {}", line.seq, self.seq);
            return Err(self.bad(cause));
        }
        self.seq = line.seq;
        Ok(Some(line))
    }

    fn bad(&self, cause: String) -> ReplayError {
        ReplayError::Line {
            file: self.file.clone(),
            number: self.number,
            cause,
        }
    }

    /// Takes the progress away.
    pub(super) fn done(&self) {
        self.progress.finish_and_clear();
    }
}

/// One line with its end; empty at the end of the file.
fn read_line(lines: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    lines.take(LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(line)
}

/// On standard error, if a terminal is there.
fn progress(length: u64) -> ProgressBar {
    let bar = match length {
        0 => ProgressBar::new_spinner(),
        length => ProgressBar::new(length),
    };
    match ProgressStyle::with_template("replaying {bytes}/{total_bytes} {wide_bar} {eta}") {
        Ok(style) if length > 0 => bar.with_style(style),
        _ => bar.with_message("replaying"),
    }
}
