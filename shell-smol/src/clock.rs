//! The journal's time from the system's clocks.
//!
//! The wall clock is asked once, at the start of a life; from then on the monotonic clock tells
//! how much later it is. So time never runs backward, within a life or from one to the next, and
//! a wall clock that is set while the program runs does not matter.

use openpista_core::time::Time;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells what time it is in the journal.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Time,
    started: Instant,
    unix_ms: u64,
}

impl Clock {
    /// A clock for a journal that began at `began_unix_ms` and whose last step was taken at
    /// `last`. It starts at `last`, when the wall clock says an earlier time than that.
    pub fn start(began_unix_ms: u64, last: Time) -> Clock {
        Clock::starting(began_unix_ms, last, unix_now_ms())
    }

    fn starting(began_unix_ms: u64, last: Time, unix_ms: u64) -> Clock {
        let wall = Time::from_ms(unix_ms.saturating_sub(began_unix_ms));
        Clock {
            start: last.max(wall),
            started: Instant::now(),
            unix_ms,
        }
    }

    /// The moment. Never earlier than an answer before.
    pub fn now(&self) -> Time {
        self.start.after_ms(whole_ms(self.started.elapsed()))
    }

    /// What the wall clock said when this clock started: milliseconds since 1970 in UTC.
    pub fn started_unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// When it will be `time`; now, if that has passed.
    pub fn instant_of(&self, time: Time) -> Instant {
        let wait = std::time::Duration::from_millis(time.since_ms(self.start));
        self.started.checked_add(wait).unwrap_or(self.started)
    }
}

/// The wall clock: milliseconds since 1970 in UTC.
pub fn unix_now_ms() -> u64 {
    whole_ms(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// A wall clock's time as people and programs write it, for example `2026-11-22T15:04:05Z`.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    // Years that begin in March put the leap day last, and eras of 400 years repeat.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn whole_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_the_wall_clock() {
        let clock = Clock::starting(1_000, Time::from_ms(500), 61_000);
        assert!(clock.now() >= Time::from_ms(60_000));
        assert_eq!(clock.started_unix_ms(), 61_000);
    }

    #[test]
    fn a_wall_clock_that_was_set_back_does_not_turn_time_back() {
        let last = Time::from_ms(90_000);
        assert!(Clock::starting(1_000, last, 61_000).now() >= last);
        assert!(Clock::starting(1_000, last, 0).now() >= last);
    }

    #[test]
    fn never_decreases_and_moves_on() {
        let clock = Clock::starting(0, Time::ZERO, 0);
        let mut before = clock.now();
        while before < Time::from_ms(3) {
            let now = clock.now();
            assert!(now >= before);
            before = now;
        }
    }

    #[test]
    fn writes_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(951_868_799_999), "2000-02-29T23:59:59Z");
        assert_eq!(utc(1_735_689_599_000), "2024-12-31T23:59:59Z");
        assert_eq!(utc(1_772_323_200_000), "2026-03-01T00:00:00Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn tells_when_it_will_be_a_time() {
        let clock = Clock::starting(0, Time::from_ms(100), 0);
        let later = clock.instant_of(Time::from_ms(350));
        assert_eq!((later - clock.started).as_millis(), 250);
        assert_eq!(clock.instant_of(Time::from_ms(1)), clock.started);
    }
}
