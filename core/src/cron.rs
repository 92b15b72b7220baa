//! When a job is due: crontab's five fields, read as `crontab(5)` reads them, in a time zone.
//!
//! [`Cron`] owns one expression and answers one question: the first due moment strictly after a
//! given one. It reads no clock and keeps no state, so the same question always has the same
//! answer. Nothing here panics, whatever the text or the moment.
//!
//! **Reading.** `minute hour day-of-month month day-of-week`, separated by spaces or tabs; each is
//! `*`, a value, a range `a-b`, a step over a range `a-b/n` or `*/n`, or a list of these with
//! commas. Months and weekdays have three-letter names in any case, also in ranges and lists; 0 and
//! 7 are Sunday. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually`
//! stand for five fields. When neither day field begins with `*`, a day that matches either is
//! due; else it must match both. Where cron's authors differ, or others went further:
//! - A range may wrap: `22-2` is `22-23,0-2`, `FRI-SUN` is `5-6,0`. A step runs on through the wrap:
//!   `22-3/2` is 22, 0 and 2. Crontab refuses such ranges.
//! - A step after a single value (`7/5`) is refused, as in crontab: it means one thing to some
//!   programs and another to others. A step longer than its range (`*/60`) is allowed, as there,
//!   and leaves the first value alone.
//! - `@reboot` is refused, because a job needs a due time, and so are `L`, `W`, `#`, `?` and `~`,
//!   which crontab does not have.
//! - A day that no calendar has (30 February) is an error at once, not a job that never runs.
//!
//! **Daylight saving.** The rule is that of vixie's cron and cronie, applied by the hour field:
//! - An hour field that begins with `*` makes a job run by real time. Each moment whose local time
//!   matches is due: a local time that does not exist is not made up for, one that happens twice is
//!   due twice. So `*/15 * * * *` comes every 15 minutes through both changes.
//! - Every other job has fixed times. One that does not exist is due at the first moment after the
//!   gap; several of the same gap are due together, once. One that happens twice is due at the
//!   first. Cronie takes a `*` in the minutes for real time too; here `*/10 2 * * *` is not skipped
//!   on the day that lacks two o'clock, and does not run twelve times on the day that has it twice.
//!
//! **What does the work.** Saffron finds the next match in plain calendar time. It reads wrapping
//! ranges and numeric weekdays differently and cannot ask for both day fields, so it never sees
//! the person's text: it is given each field as a plain list of values, and a weekday that is
//! required beside a day of the month is checked here.

mod error;
mod field;
mod zone;

pub use self::error::{CronError, Problem};
pub use self::field::Field;
pub use self::zone::{Zone, ZoneError};

use self::error::excerpt;
use self::field::Values;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use chrono::{Datelike, NaiveDateTime, NaiveTime};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest text that is read, in bytes. Every field as a full list takes some 370.
pub const MAX_BYTES: usize = 512;

/// The last year in which anything is due. It bounds every search.
pub const LAST_YEAR: i32 = 9999;

/// How many local times one question may look at. Only those of one gap or one repetition are
/// ever passed over, and the longest known is a day.
const LOCAL_TIMES: usize = 2 * 24 * 60;

/// A cron expression. Two are equal when their texts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    calendar: saffron::Cron,
    /// Weekdays required beside what `calendar` says.
    weekdays: Option<Values>,
    /// The hour field begins with `*`.
    real_time: bool,
}

impl Cron {
    /// Reads five fields or a nickname; see the module's documentation.
    ///
    /// # Errors
    /// What is wrong, in which field, and what is allowed there.
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        if text.len() > MAX_BYTES {
            return Err(CronError::TooLong { bytes: text.len() });
        }
        let fields: Vec<&str> = nickname(text)?
            .split([' ', '\t', '\r', '\n'])
            .filter(|field| !field.is_empty())
            .collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(CronError::FieldCount {
                found: fields.len(),
            });
        };
        let minute = Field::Minute.parse(minute)?;
        let hour = Field::Hour.parse(hour)?;
        let day = Field::DayOfMonth.parse(day)?;
        let month = Field::Month.parse(month)?;
        let weekday = Field::DayOfWeek.parse(weekday)?;

        // Saffron takes `*` for "as the other day field says", and lists on both for "either".
        let both = day.star || weekday.star;
        let (day_list, weekday_list, required) = match (day.is_full(), weekday.is_full()) {
            (true, _) if both => ("*".into(), weekday.list(), None),
            (_, true) if both => (day.list(), "*".into(), None),
            _ if both => (day.list(), "*".into(), Some(weekday)),
            _ => (day.full_list(), weekday.full_list(), None),
        };
        let calendar: saffron::Cron = format!(
            "{} {} {day_list} {} {weekday_list}",
            minute.list(),
            hour.list(),
            month.list(),
        )
        .parse()
        .map_err(|_| CronError::Unreadable {
            found: excerpt(text),
        })?;
        if !calendar.any() {
            return Err(CronError::Never {
                found: excerpt(text),
            });
        }
        Ok(Cron {
            text: text.into(),
            calendar,
            weekdays: required,
            real_time: hour.star,
        })
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first due moment strictly after `unix_ms`, both in milliseconds since 1970 in UTC.
    /// `None` when there is none up to the end of [`LAST_YEAR`].
    pub fn next_after(&self, unix_ms: u64, zone: Zone) -> Option<u64> {
        let now = zone.local(unix_ms)?;
        if !self.real_time {
            return self.search(now, unix_ms, |local| zone.first_or_gap_end(local));
        }
        let first = self.search(now, unix_ms, |local| zone.first(local));
        // While a local time has yet to come again, so have those before it since the repetition
        // began.
        let repeated = now.checked_sub_signed(zone.repetition(now))?;
        let again = self.search(repeated, unix_ms, |local| zone.last(local));
        match (first, again) {
            (Some(first), Some(again)) => Some(first.min(again)),
            (first, again) => first.or(again),
        }
    }

    /// The first moment after `unix_ms` among those of the matching local times after `local`.
    fn search(
        &self,
        mut local: NaiveDateTime,
        unix_ms: u64,
        moment: impl Fn(NaiveDateTime) -> Option<u64>,
    ) -> Option<u64> {
        for _ in 0..LOCAL_TIMES {
            local = self.next_local(local)?;
            if let Some(found) = moment(local).filter(|found| *found > unix_ms) {
                return Some(found);
            }
        }
        None
    }

    /// The first matching local time in a later minute than `local`'s, up to [`LAST_YEAR`].
    fn next_local(&self, mut local: NaiveDateTime) -> Option<NaiveDateTime> {
        loop {
            local = self.calendar.next_after(local.and_utc())?.naive_utc();
            if local.year() > LAST_YEAR {
                return None;
            }
            let weekday = local.weekday().num_days_from_sunday();
            match self.weekdays {
                // Every day of the month meets every weekday within 40 years.
                Some(required) if !required.contains(weekday) => {
                    local = local.date().and_time(NaiveTime::from_hms_opt(23, 59, 0)?);
                }
                _ => return Some(local),
            }
        }
    }
}

/// The five fields that a nickname stands for; any other text as it is.
fn nickname(text: &str) -> Result<&str, CronError> {
    let trimmed = text.trim_ascii();
    let Some(name) = trimmed.strip_prefix('@') else {
        return Ok(trimmed);
    };
    match name.to_ascii_lowercase().as_str() {
        "hourly" => Ok("0 * * * *"),
        "daily" | "midnight" => Ok("0 0 * * *"),
        "weekly" => Ok("0 0 * * 0"),
        "monthly" => Ok("0 0 1 * *"),
        "yearly" | "annually" => Ok("0 0 1 1 *"),
        "reboot" => Err(CronError::Reboot),
        _ => Err(CronError::Nickname {
            found: excerpt(trimmed),
        }),
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Cron, CronError> {
        Cron::parse(text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cron, D::Error> {
        Cron::parse(&String::deserialize(deserializer)?)
            .map_err(|error| de::Error::custom(error.to_string()))
    }
}
