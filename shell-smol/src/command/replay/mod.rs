//! `replay FILE`: a fresh core steps through an export and must decide the same, record for
//! record. `replay FILE --fold` only folds the records, which a redacted export allows too.

mod difference;
mod file;

pub use file::ReplayError;

use file::ExportFile;
use openpista_core::Core;
use openpista_core::recover::Past;
use openpista_core::replay::Replay;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The export; `-` is standard input.
    pub file: PathBuf,
    /// Fold the records only.
    pub fold: bool,
}

/// Replays the export and says on `out` how it went. The exit code is 1 when a record differs.
///
/// # Errors
/// When the file cannot be read, is no export, or does not fold, or `out` cannot be written to.
pub fn run(options: &Options, out: &mut impl Write) -> Result<ExitCode, ReplayError> {
    let mut export = ExportFile::open(&options.file)?;
    let mut text = Vec::new();
    let code = match options.fold {
        true => fold(&mut export, &mut text)?,
        false if export.header().redacted => return Err(ReplayError::Redacted),
        false => follow(&mut export, &mut text)?,
    };
    match out.write_all(&text).and_then(|()| out.flush()) {
        // The exit code still tells.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(code),
        written => Ok(written.map(|()| code)?),
    }
}

fn follow(export: &mut ExportFile, out: &mut Vec<u8>) -> Result<ExitCode, ReplayError> {
    let mut replay = Replay::new();
    let (mut steps, mut records) = (0, 0);
    while let Some(line) = export.next_line()? {
        if let Err(difference) = replay.follow(&line) {
            export.done();
            difference::write(&difference, out)?;
            return Ok(ExitCode::FAILURE);
        }
        steps += 1;
        records += line.records.len() as u64;
    }
    export.done();
    let (steps, records) = (count(steps, "step"), count(records, "record"));
    writeln!(out, "{steps}, {records}: no difference")?;
    Ok(ExitCode::SUCCESS)
}

fn fold(export: &mut ExportFile, out: &mut Vec<u8>) -> Result<ExitCode, ReplayError> {
    let mut steps = 0;
    let mut kinds = BTreeMap::new();
    let mut stopped = None;
    let restored = Core::restore(
        None,
        std::iter::from_fn(|| match export.next_line() {
            Ok(line) => line.map(|line| {
                steps += 1;
                for record in &line.records {
                    *kinds.entry(difference::kind(record)).or_insert(0) += 1;
                }
                Past {
                    seq: line.seq,
                    at: line.at,
                    records: line.records,
                }
            }),
            Err(error) => {
                stopped = Some(error);
                None
            }
        }),
    );
    export.done();
    if let Some(error) = stopped {
        return Err(error);
    }
    let core = restored.map_err(ReplayError::Unreadable)?;
    let records = count(kinds.values().sum(), "record");
    let state = count(core.snapshot().len() as u64, "byte");
    writeln!(
        out,
        "{}, {records}: folded to a state of {state}",
        count(steps, "step")
    )?;
    for (kind, times) in kinds {
        writeln!(out, "{:>12}  {kind}", grouped(times))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with its thousands set apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let read = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(read, ["0", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(1_204, "step"), "1,204 steps");
    }
}
