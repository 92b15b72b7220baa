//! Time zones: from moments to local times and back, where a local time may be missing or come
//! twice. The rules of each zone are compiled in; after the year 2099 a zone keeps its last offset.

use super::LAST_YEAR;
use super::error::excerpt;
use alloc::string::{String, ToString};
use chrono::{DateTime, Datelike, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(Tz::UTC);

    /// Reads an IANA name such as `Europe/Berlin`, or `UTC`, in any case.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn parse(name: &str) -> Result<Zone, ZoneError> {
        let named = |zone: &&Tz| zone.name().eq_ignore_ascii_case(name);
        match TZ_VARIANTS.iter().find(named) {
            Some(zone) => Ok(Zone(*zone)),
            None => Err(ZoneError {
                found: excerpt(name),
                near: of_city(name),
            }),
        }
    }

    /// The name in the IANA database.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What clocks show at the moment; `None` after [`LAST_YEAR`].
    pub(super) fn local(self, unix_ms: u64) -> Option<NaiveDateTime> {
        let moment = DateTime::from_timestamp_millis(i64::try_from(unix_ms).ok()?)?;
        (moment.year() <= LAST_YEAR).then(|| moment.with_timezone(&self.0).naive_local())
    }

    /// The first moment at which clocks show `local`.
    pub(super) fn first(self, local: NaiveDateTime) -> Option<u64> {
        unix_ms(self.0.from_local_datetime(&local).earliest()?)
    }

    /// The last moment at which clocks show `local`.
    pub(super) fn last(self, local: NaiveDateTime) -> Option<u64> {
        unix_ms(self.0.from_local_datetime(&local).latest()?)
    }

    /// The first moment at which clocks show `local`, or that at which they leap over it.
    pub(super) fn first_or_gap_end(self, local: NaiveDateTime) -> Option<u64> {
        self.first(local)
            .or_else(|| unix_ms(GapInfo::new(&local, &self.0)?.end?))
    }

    /// How far clocks were put back, or will be, when they show `local` twice; else zero.
    pub(super) fn repetition(self, local: NaiveDateTime) -> TimeDelta {
        match self.0.from_local_datetime(&local) {
            MappedLocalTime::Ambiguous(first, last) => last - first,
            MappedLocalTime::Single(_) | MappedLocalTime::None => TimeDelta::zero(),
        }
    }
}

fn unix_ms(moment: DateTime<Tz>) -> Option<u64> {
    u64::try_from(moment.timestamp_millis()).ok()
}

/// The zone whose last part is `name`, as people write a city alone.
fn of_city(name: &str) -> Option<&'static str> {
    let city = name.rsplit('/').next()?.trim_ascii();
    TZ_VARIANTS.iter().map(|zone| zone.name()).find(|known| {
        known
            .rsplit('/')
            .next()
            .is_some_and(|last| same_words(last, city))
    })
}

/// Equal but for case, and for how words are joined.
fn same_words(a: &str, b: &str) -> bool {
    let plain = |byte: u8| match byte {
        b' ' | b'-' => b'_',
        other => other.to_ascii_lowercase(),
    };
    a.len() == b.len() && a.bytes().map(plain).eq(b.bytes().map(plain))
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Zone, ZoneError> {
        Zone::parse(name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
        Zone::parse(&String::deserialize(deserializer)?)
            .map_err(|error| de::Error::custom(error.to_string()))
    }
}

/// A name that is no time zone's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// The name, cut when long.
    pub found: String,
    /// A zone that may be meant.
    pub near: Option<&'static str>,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a time zone; ", self.found)?;
        match self.near {
            Some(near) => write!(f, "did you mean {near}?"),
            None => f.write_str("write an IANA name such as Europe/Berlin, or UTC"),
        }
    }
}

impl core::error::Error for ZoneError {}
