//! One field of a cron expression: from text to the set of its values, and to a plain list.

use super::error::{CronError, Problem, excerpt};
use alloc::string::String;
use core::fmt::{self, Write};

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The five fields, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    DayOfMonth,
    /// 1 to 12, or names.
    Month,
    /// 0 to 7, where 0 and 7 are Sunday, or names.
    DayOfWeek,
}

/// The values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values {
    field: Field,
    /// Bit `n` is value `n`. Sunday is 0 alone.
    bits: u64,
    /// The field begins with `*`.
    pub(super) star: bool,
}

impl Field {
    /// Reads the whole field.
    pub(super) fn parse(self, text: &str) -> Result<Values, CronError> {
        let mut bits = 0;
        for element in text.split(',') {
            if element.is_empty() {
                return Err(self.error(text, Problem::Missing));
            }
            bits |= self.element(element)?;
        }
        Ok(Values {
            field: self,
            bits,
            star: text.starts_with('*'),
        })
    }

    /// Reads what stands between commas.
    fn element(self, text: &str) -> Result<u64, CronError> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let stride = match step {
            Some(step) => number(step)
                .filter(|stride| *stride > 0)
                .ok_or_else(|| self.error(text, Problem::Step))?,
            None => 1,
        };
        let (first, last) = if range == "*" {
            (self.min(), self.max())
        } else if let Some((first, last)) = range.split_once('-') {
            if first.is_empty() || last.is_empty() {
                return Err(self.error(text, Problem::Missing));
            }
            (self.value(first)?, self.value(last)?)
        } else if range.is_empty() {
            return Err(self.error(text, Problem::Missing));
        } else {
            let value = self.value(range)?;
            if step.is_some() {
                return Err(self.error(text, Problem::StepWithoutRange));
            }
            (value, value)
        };
        Ok(self.span(first, last, stride))
    }

    /// Every `step`th value from `first` to `last`, on through the end of the field when it wraps.
    fn span(self, first: u32, last: u32, step: u32) -> u64 {
        let (min, size) = (self.min(), self.size());
        // A range can end with Sunday as 7; one that wraps from there begins with Sunday as 0.
        let first = if first > last {
            first % (min + size)
        } else {
            first
        };
        let last = if first > last { last + size } else { last };
        (first..=last)
            .step_by(step as usize)
            .fold(0, |bits, value| bits | 1 << ((value - min) % size + min))
    }

    /// Reads a number or a name.
    fn value(self, text: &str) -> Result<u32, CronError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return number(text)
                .filter(|value| (self.min()..=self.max()).contains(value))
                .ok_or_else(|| self.error(text, Problem::OutOfRange));
        }
        let named = self
            .names()
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        match named {
            Some(index) => Ok(index as u32 + self.min()),
            None if is_extension(text) => Err(self.error(text, Problem::Extension)),
            None => Err(self.error(text, Problem::Unknown)),
        }
    }

    fn error(self, found: &str, problem: Problem) -> CronError {
        CronError::Field {
            field: self,
            found: excerpt(found),
            problem,
        }
    }

    /// What a single value of it may be, in words.
    pub(super) fn allowed(self) -> &'static str {
        match self {
            Field::Minute => "0 to 59",
            Field::Hour => "0 to 23",
            Field::DayOfMonth => "1 to 31",
            Field::Month => "1 to 12, JAN to DEC",
            Field::DayOfWeek => "0 to 7 (0 and 7 are Sunday), SUN to SAT",
        }
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Field::Month => &MONTHS,
            Field::DayOfWeek => &WEEKDAYS,
            Field::Minute | Field::Hour | Field::DayOfMonth => &[],
        }
    }

    fn min(self) -> u32 {
        match self {
            Field::Minute | Field::Hour | Field::DayOfWeek => 0,
            Field::DayOfMonth | Field::Month => 1,
        }
    }

    /// The highest number that may be written.
    pub(super) fn max(self) -> u32 {
        match self {
            Field::Minute => 59,
            Field::Hour => 23,
            Field::DayOfMonth => 31,
            Field::Month => 12,
            Field::DayOfWeek => 7,
        }
    }

    /// How many values there are.
    fn size(self) -> u32 {
        match self {
            Field::DayOfWeek => 7,
            other => other.max() - other.min() + 1,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::DayOfMonth => "day of month",
            Field::Month => "month",
            Field::DayOfWeek => "day of week",
        })
    }
}

impl Values {
    pub(super) fn contains(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }

    /// Whether every value of the field is in it.
    pub(super) fn is_full(self) -> bool {
        self.bits.count_ones() == self.field.size()
    }

    /// The values with commas, or `*` for all.
    pub(super) fn list(self) -> String {
        if self.is_full() {
            "*".into()
        } else {
            self.full_list()
        }
    }

    /// The values with commas. Weekdays go by their names, which have one meaning everywhere.
    pub(super) fn full_list(self) -> String {
        let mut list = String::new();
        for value in (0..u64::BITS).filter(|value| self.contains(*value)) {
            if !list.is_empty() {
                list.push(',');
            }
            // Writing to a string cannot fail.
            let _ = match WEEKDAYS.get(value as usize) {
                Some(name) if self.field == Field::DayOfWeek => list.write_str(name),
                _ => write!(list, "{value}"),
            };
        }
        list
    }
}

/// A number of at most four digits; zeros before it do not count.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let significant = text.trim_start_matches('0');
    match (digits, text.is_empty(), significant.is_empty()) {
        (false, ..) | (_, true, _) => None,
        (true, false, true) => Some(0),
        (true, false, false) if significant.len() <= 4 => significant.parse().ok(),
        (true, false, false) => None,
    }
}

/// Whether this reads like the signs of other schedulers: `L`, `15W`, `LW`, `FRI#2`, `?`.
fn is_extension(text: &str) -> bool {
    text.contains(['#', '?', '~'])
        || text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'L' | b'W'))
}
