//! Showing how two records differ.

use openpista_core::record::Record;
use openpista_core::replay::Difference;
use serde_json::Value;
use std::io::{self, Write};

/// Lines shown before and after what differs.
const CONTEXT: usize = 3;
/// Lines of what differs that are shown of each side.
const LINES: usize = 40;
/// Characters of a line that are shown, beginning shortly before they differ.
const WIDTH: usize = 160;

/// Writes where a replay first differed, and how.
pub(super) fn write(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let Difference { seq, index, .. } = difference;
    writeln!(out, "step {seq}, record {index} (from 0) differs:")?;
    writeln!(out, "--- expected, in the journal")?;
    writeln!(out, "+++ actual, decided now")?;
    let expected = pretty(difference.expected.as_deref());
    let actual = pretty(difference.actual.as_deref());
    let before = common(expected.iter().zip(&actual));
    let after = common(
        expected[before..]
            .iter()
            .rev()
            .zip(actual[before..].iter().rev()),
    );
    let changed = |lines: &[String]| lines[before..lines.len() - after].to_vec();
    let (removed, added) = (changed(&expected), changed(&actual));
    for line in &expected[before.saturating_sub(CONTEXT)..before] {
        writeln!(out, "  {}", excerpt(line, 0))?;
    }
    let starts: Vec<usize> = removed
        .iter()
        .zip(&added)
        .map(|(one, other)| common(one.chars().zip(other.chars())))
        .collect();
    side('-', &removed, &starts, out)?;
    side('+', &added, &starts, out)?;
    let rest = expected.len() - after;
    for line in expected[rest..].iter().take(CONTEXT) {
        writeln!(out, "  {}", excerpt(line, 0))?;
    }
    Ok(())
}

/// What kind of record this is, as the journal names it.
pub(super) fn kind(record: &Record) -> String {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        Ok(Value::String(kind)) => kind,
        _ => String::new(),
    }
}

fn pretty(record: Option<&Record>) -> Vec<String> {
    let Some(record) = record else {
        return vec!["no record".to_owned()];
    };
    let text = serde_json::to_string_pretty(record).unwrap_or_else(|error| error.to_string());
    text.lines().map(str::to_owned).collect()
}

/// How many pairs are equal before the first that is not.
fn common<T: PartialEq>(pairs: impl Iterator<Item = (T, T)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

fn side(mark: char, lines: &[String], starts: &[usize], out: &mut impl Write) -> io::Result<()> {
    for (index, line) in lines.iter().take(LINES).enumerate() {
        let start = starts.get(index).copied().unwrap_or(0);
        writeln!(out, "{mark} {}", excerpt(line, start))?;
    }
    match lines.len().saturating_sub(LINES) {
        0 => Ok(()),
        more => writeln!(out, "{mark} … {more} more lines"),
    }
}

/// The part of a line around the place where it begins to differ.
fn excerpt(line: &str, differs_at: usize) -> String {
    let length = line.chars().count();
    if length <= WIDTH {
        return line.to_owned();
    }
    let start = differs_at.saturating_sub(WIDTH / 4).min(length - WIDTH);
    let part: String = line.chars().skip(start).take(WIDTH).collect();
    let (left, right) = (start > 0, start + WIDTH < length);
    let mark = |shown| if shown { "…" } else { "" };
    format!("{}{part}{}", mark(left), mark(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openpista_core::id::{Seq, SessionId};
    use openpista_core::record::TurnEnd;

    fn shown(expected: Option<Record>, actual: Option<Record>) -> String {
        let difference = Difference {
            seq: Seq(12),
            index: 1,
            expected: expected.map(Box::new),
            actual: actual.map(Box::new),
        };
        let mut out = Vec::new();
        write(&difference, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn asked(round: u16) -> Record {
        Record::Asked {
            session: SessionId(Seq(2)),
            round,
        }
    }

    #[test]
    fn shows_the_field_that_differs_in_its_place() {
        let expected = "\
step 12, record 1 (from 0) differs:
--- expected, in the journal
+++ actual, decided now
  {
    \"asked\": {
      \"session\": 2,
-     \"round\": 1
+     \"round\": 2
    }
  }
";
        assert_eq!(shown(Some(asked(1)), Some(asked(2))), expected);
    }

    #[test]
    fn shows_a_record_that_is_missing() {
        let text = shown(Some(asked(1)), None);
        assert!(text.contains("+ no record\n"), "{text}");
        assert!(text.contains("-     \"round\": 1\n"), "{text}");
    }

    #[test]
    fn shows_where_in_a_long_text_the_difference_is() {
        let ended = |tail: &str| Record::TurnEnded {
            session: SessionId(Seq(2)),
            turn: None,
            end: TurnEnd::Failed("é".repeat(5_000) + tail),
            ends: Vec::new(),
        };
        let text = shown(Some(ended("one")), Some(ended("two")));
        assert!(text.contains("one\"\n"), "{text}");
        assert!(text.contains("two\"\n"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH + 4),
            "{text}"
        );
    }

    #[test]
    fn names_kinds_as_the_journal_does() {
        assert_eq!(kind(&asked(1)), "asked");
    }
}
