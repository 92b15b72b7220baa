//! What is wrong with a cron expression, in one sentence that says what to write instead.

use super::{Field, MAX_BYTES};
use alloc::string::String;
use core::fmt;

/// The most characters of somebody's text that an error repeats.
const EXCERPT_CHARS: usize = 40;

/// Text that is not a cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CronError {
    /// Longer than [`MAX_BYTES`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not five fields.
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// `@` and a word that stands for nothing.
    Nickname {
        /// The word, cut when long.
        found: String,
    },
    /// `@reboot`, which has no due time.
    Reboot,
    /// A field that cannot be read.
    Field {
        /// Which.
        field: Field,
        /// The part that is wrong, cut when long.
        found: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// No day of any year matches.
    Never {
        /// The expression, cut when long.
        found: String,
    },
    /// Every field is right, and still the expression cannot be used: a fault of ours.
    Unreadable {
        /// The expression, cut when long.
        found: String,
    },
}

/// What is wrong with a part of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Neither a number nor a name of the field.
    Unknown,
    /// A number beyond the field's.
    OutOfRange,
    /// Nothing where a value must be, as in `1,,2` or `5-`.
    Missing,
    /// A step that is not a whole number from 1.
    Step,
    /// A step after a single value.
    StepWithoutRange,
    /// A sign of other schedulers: `L`, `W`, `#`, `?` or `~`.
    Extension,
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CronError::TooLong { bytes } => write!(
                f,
                "the schedule is {bytes} bytes long; at most {MAX_BYTES} are allowed"
            ),
            CronError::FieldCount { found } => write!(
                f,
                "a schedule has five fields (minute, hour, day of month, month, day of week) \
                 or is a nickname such as @daily; found {found} field{}",
                if *found == 1 { "" } else { "s" }
            ),
            CronError::Nickname { found } => write!(
                f,
                "`{found}` is not a nickname; allowed are @hourly, @daily, @midnight, @weekly, \
                 @monthly, @yearly and @annually"
            ),
            CronError::Reboot => f.write_str(
                "`@reboot` has no due time and is not supported; allowed are five fields or \
                 @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually",
            ),
            CronError::Field {
                field,
                found,
                problem,
            } => problem.say(f, *field, found),
            CronError::Never { found } => write!(
                f,
                "`{found}` never comes: no month it names has the day of month it names; change \
                 the day of month or the month"
            ),
            CronError::Unreadable { found } => write!(
                f,
                "`{found}` cannot be scheduled though it reads well; please report this, and \
                 write it another way"
            ),
        }
    }
}

impl Problem {
    fn say(self, f: &mut fmt::Formatter<'_>, field: Field, found: &str) -> fmt::Result {
        let allowed = field.allowed();
        match self {
            Problem::Unknown => write!(
                f,
                "{field}: `{found}` is not understood; allowed are {allowed}, *, ranges (a-b), \
                 steps over these (*/2, a-b/2), and lists with commas and without spaces"
            ),
            Problem::OutOfRange => {
                write!(
                    f,
                    "{field}: `{found}` is out of range; allowed are {allowed}"
                )
            }
            Problem::Missing => write!(
                f,
                "{field}: a value is missing in `{found}`; allowed are {allowed}"
            ),
            Problem::Step => write!(
                f,
                "{field}: the step in `{found}` must be a whole number from 1 to 9999, as in */2"
            ),
            Problem::StepWithoutRange => {
                let (first, step) = found.split_once('/').unwrap_or((found, "2"));
                write!(
                    f,
                    "{field}: the step in `{found}` needs a range before it; write {first}-{}/{step} \
                     to begin at {first}, or */{step}",
                    field.max()
                )
            }
            Problem::Extension => write!(
                f,
                "{field}: `{found}` is not crontab's (L, W, #, ? and ~ are not supported); \
                 allowed are {allowed}, or * for all"
            ),
        }
    }
}

impl core::error::Error for CronError {}

/// Somebody's text, fit to be repeated in an error: short, on one line, no control characters.
pub(super) fn excerpt(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(EXCERPT_CHARS)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
