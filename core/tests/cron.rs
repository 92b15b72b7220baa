//! Cron expressions against examples from crontab(5), and against a walk minute by minute.

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use openpista_core::cron::{Cron, CronError, Field, LAST_YEAR, MAX_BYTES, Problem, Zone};

const MINUTE_MS: u64 = 60_000;

fn cron(text: &str) -> Cron {
    Cron::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap_or_else(|error| panic!("{error}"))
}

fn tz(zone: Zone) -> Tz {
    zone.name().parse().unwrap()
}

/// Milliseconds of a moment such as `2026-03-29T01:00:00+01:00`.
fn at(text: &str) -> u64 {
    let moment = DateTime::parse_from_rfc3339(text).unwrap();
    moment.timestamp_millis().try_into().unwrap()
}

/// The next `n` due moments after `from`, as local times with their offsets.
fn due(text: &str, zone_name: &str, from: &str, n: usize) -> Vec<String> {
    let (cron, zone) = (cron(text), zone(zone_name));
    let mut now = at(from);
    (0..n)
        .map(|_| {
            now = cron.next_after(now, zone).expect("due");
            shown(now, zone)
        })
        .collect()
}

fn shown(unix_ms: u64, zone: Zone) -> String {
    let moment = tz(zone).timestamp_millis_opt(unix_ms as i64).unwrap();
    moment.format("%a %F %R%:z").to_string()
}

#[test]
fn reads_what_crontab_reads() {
    // Thursday 1 January 2026, 00:00, in UTC.
    for (text, expected) in [
        (
            "5 0 * * *",
            ["Thu 2026-01-01 00:05", "Fri 2026-01-02 00:05"],
        ),
        (
            "15 14 1 * *",
            ["Thu 2026-01-01 14:15", "Sun 2026-02-01 14:15"],
        ),
        (
            "0 22 * * 1-5",
            ["Thu 2026-01-01 22:00", "Fri 2026-01-02 22:00"],
        ),
        (
            "23 0-23/2 * * *",
            ["Thu 2026-01-01 00:23", "Thu 2026-01-01 02:23"],
        ),
        (
            "5 4 * * sun",
            ["Sun 2026-01-04 04:05", "Sun 2026-01-11 04:05"],
        ),
        (
            "0 0 * * 0",
            ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"],
        ),
        (
            "0 0 * * 7",
            ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"],
        ),
        (
            "0 0 * * 1",
            ["Mon 2026-01-05 00:00", "Mon 2026-01-12 00:00"],
        ),
        (
            "0 0 * * 5-7",
            ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"],
        ),
        (
            "0 0 * * 7-1",
            ["Sun 2026-01-04 00:00", "Mon 2026-01-05 00:00"],
        ),
        (
            "0 0 * * Sat-MON/2",
            ["Sat 2026-01-03 00:00", "Mon 2026-01-05 00:00"],
        ),
        (
            "0 0 * * */7",
            ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"],
        ),
        (
            "*/20 * * * *",
            ["Thu 2026-01-01 00:20", "Thu 2026-01-01 00:40"],
        ),
        (
            "10-50/10 3 * * *",
            ["Thu 2026-01-01 03:10", "Thu 2026-01-01 03:20"],
        ),
        (
            "*/60 * * * *",
            ["Thu 2026-01-01 01:00", "Thu 2026-01-01 02:00"],
        ),
        (
            "08 09 * * *",
            ["Thu 2026-01-01 09:08", "Fri 2026-01-02 09:08"],
        ),
        (
            "0 22-2/3 * * *",
            ["Thu 2026-01-01 01:00", "Thu 2026-01-01 22:00"],
        ),
        (
            "0 0 1 NOV-feb *",
            ["Sun 2026-02-01 00:00", "Sun 2026-11-01 00:00"],
        ),
        (
            "0 0 1 mar,Dec *",
            ["Sun 2026-03-01 00:00", "Tue 2026-12-01 00:00"],
        ),
        (
            "0 0 29 2 *",
            ["Tue 2028-02-29 00:00", "Sun 2032-02-29 00:00"],
        ),
        (
            "\t5  0 *\t* * \n",
            ["Thu 2026-01-01 00:05", "Fri 2026-01-02 00:05"],
        ),
        // Either day, when neither field begins with a star …
        (
            "30 4 1,15 * 5",
            ["Thu 2026-01-01 04:30", "Fri 2026-01-02 04:30"],
        ),
        (
            "0 0 13 * 5",
            ["Fri 2026-01-02 00:00", "Fri 2026-01-09 00:00"],
        ),
        (
            "0 0 1-31 * 1",
            ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"],
        ),
        (
            "0 0 13 * 0-6",
            ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"],
        ),
        // … else both.
        (
            "0 0 */2 * 1",
            ["Mon 2026-01-05 00:00", "Mon 2026-01-19 00:00"],
        ),
        (
            "0 0 13 * */5",
            ["Fri 2026-02-13 00:00", "Fri 2026-03-13 00:00"],
        ),
        (
            "0 0 *,5 * 1",
            ["Mon 2026-01-05 00:00", "Mon 2026-01-12 00:00"],
        ),
        (
            "0 0 29 2 */7",
            ["Sun 2032-02-29 00:00", "Sun 2060-02-29 00:00"],
        ),
        ("@hourly", ["Thu 2026-01-01 01:00", "Thu 2026-01-01 02:00"]),
        ("@daily", ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"]),
        (
            " @Midnight ",
            ["Fri 2026-01-02 00:00", "Sat 2026-01-03 00:00"],
        ),
        ("@weekly", ["Sun 2026-01-04 00:00", "Sun 2026-01-11 00:00"]),
        ("@monthly", ["Sun 2026-02-01 00:00", "Sun 2026-03-01 00:00"]),
        ("@yearly", ["Fri 2027-01-01 00:00", "Sat 2028-01-01 00:00"]),
        (
            "@annually",
            ["Fri 2027-01-01 00:00", "Sat 2028-01-01 00:00"],
        ),
    ] {
        let found = due(text, "UTC", "2026-01-01T00:00:00Z", 2);
        let expected = expected.map(|moment| format!("{moment}+00:00"));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn wrapping_ranges_have_no_value_too_many() {
    let hours = due("0 22-2 * * *", "UTC", "2026-01-01T12:00:00Z", 6);
    let hours: Vec<&str> = hours.iter().map(|moment| &moment[15..17]).collect();
    assert_eq!(hours, ["22", "23", "00", "01", "02", "22"]);
    let days = due("0 0 * * FRI-SUN", "UTC", "2026-01-01T12:00:00Z", 4);
    let days: Vec<&str> = days.iter().map(|moment| &moment[..3]).collect();
    assert_eq!(days, ["Fri", "Sat", "Sun", "Fri"]);
    let months = due("0 0 1 NOV-FEB *", "UTC", "2026-01-15T12:00:00Z", 5);
    let months: Vec<&str> = months.iter().map(|moment| &moment[9..11]).collect();
    assert_eq!(months, ["02", "11", "12", "01", "02"]);
    let days = due("0 0 28-3/2 1 *", "UTC", "2026-01-01T12:00:00Z", 4);
    let days: Vec<&str> = days.iter().map(|moment| &moment[12..14]).collect();
    assert_eq!(days, ["03", "28", "30", "01"]);
}

#[test]
fn daylight_saving_begins() {
    let eve = "2026-03-29T00:45:00+01:00";
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", eve, 2),
        ["Sun 2026-03-29 03:00+02:00", "Mon 2026-03-30 02:30+02:00"]
    );
    // Several of the gap, and one that is due then anyway: once.
    assert_eq!(
        due("*/10 2,3 * * *", "Europe/Berlin", eve, 2),
        ["Sun 2026-03-29 03:00+02:00", "Sun 2026-03-29 03:10+02:00"]
    );
    assert_eq!(
        due("*/30 * * * *", "Europe/Berlin", eve, 4),
        [
            "Sun 2026-03-29 01:00+01:00",
            "Sun 2026-03-29 01:30+01:00",
            "Sun 2026-03-29 03:00+02:00",
            "Sun 2026-03-29 03:30+02:00",
        ]
    );
    assert_eq!(
        due(
            "15 * * * *",
            "Australia/Lord_Howe",
            "2026-10-04T01:00:00+10:30",
            2
        ),
        ["Sun 2026-10-04 01:15+10:30", "Sun 2026-10-04 03:15+11:00"]
    );
    // Midnight itself is missing.
    assert_eq!(
        due(
            "@daily",
            "America/Sao_Paulo",
            "2018-11-03T12:00:00-03:00",
            2
        ),
        ["Sun 2018-11-04 01:00-02:00", "Mon 2018-11-05 00:00-02:00"]
    );
    // A whole day is missing.
    assert_eq!(
        due("0 9 * * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", 2),
        ["Sat 2011-12-31 00:00+14:00", "Sat 2011-12-31 09:00+14:00"]
    );
}

#[test]
fn daylight_saving_ends() {
    let eve = "2026-10-25T01:45:00+02:00";
    assert_eq!(
        due("30 2 * * *", "Europe/Berlin", eve, 2),
        ["Sun 2026-10-25 02:30+02:00", "Mon 2026-10-26 02:30+01:00"]
    );
    assert_eq!(
        due("*/30 2-3 * * *", "Europe/Berlin", eve, 3),
        [
            "Sun 2026-10-25 02:00+02:00",
            "Sun 2026-10-25 02:30+02:00",
            "Sun 2026-10-25 03:00+01:00",
        ]
    );
    assert_eq!(
        due("*/30 * * * *", "Europe/Berlin", eve, 5),
        [
            "Sun 2026-10-25 02:00+02:00",
            "Sun 2026-10-25 02:30+02:00",
            "Sun 2026-10-25 02:00+01:00",
            "Sun 2026-10-25 02:30+01:00",
            "Sun 2026-10-25 03:00+01:00",
        ]
    );
    // Half an hour comes twice.
    assert_eq!(
        due(
            "45 * * * *",
            "Australia/Lord_Howe",
            "2026-04-05T01:00:00+11:00",
            3
        ),
        [
            "Sun 2026-04-05 01:45+11:00",
            "Sun 2026-04-05 01:45+10:30",
            "Sun 2026-04-05 02:45+10:30",
        ]
    );
}

#[test]
fn the_end_of_the_calendar_is_none() {
    let last = at("9999-12-31T23:59:00Z");
    let every_minute = cron("* * * * *");
    assert_eq!(every_minute.next_after(last - 1, Zone::UTC), Some(last));
    assert_eq!(every_minute.next_after(last, Zone::UTC), None);
    assert_eq!(every_minute.next_after(u64::MAX, Zone::UTC), None);
    assert_eq!(LAST_YEAR, 9999);
}

/// Every gap of every zone has an end that is found, so that no fixed time is lost in one.
#[test]
fn no_gap_of_any_zone_swallows_a_fixed_time() {
    for variant in TZ_VARIANTS {
        let zone = zone(variant.name());
        for (before, after) in changes(variant, 1970..2038) {
            let (from, to) = (local(variant, before), local(variant, after));
            if to - from <= TimeDelta::minutes(1) {
                continue;
            }
            let missing = from.with_second(0).unwrap() + TimeDelta::minutes(1);
            let text = missing.format("%-M %-H %-d %-m *").to_string();
            assert_eq!(
                cron(&text).next_after(before - MINUTE_MS, zone),
                Some(after),
                "{text} in {variant}"
            );
        }
    }
}

/// Each change of a zone's offset, as the last moment before it and the first after it.
fn changes(tz: Tz, years: std::ops::Range<i32>) -> Vec<(u64, u64)> {
    let day = |year| {
        Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0)
            .unwrap()
            .timestamp()
    };
    let step = 7 * 86_400;
    let mut found = Vec::new();
    let mut week = day(years.start);
    while week < day(years.end) {
        let (mut low, mut high) = (week, week + step);
        if offset(tz, low) != offset(tz, high) {
            while high - low > 1 {
                let middle = low.midpoint(high);
                if offset(tz, middle) == offset(tz, low) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            found.push((high as u64 * 1000 - 1000, high as u64 * 1000));
        }
        week += step;
    }
    found
}

fn offset(tz: Tz, unix: i64) -> TimeDelta {
    let utc = DateTime::from_timestamp(unix, 0).unwrap();
    utc.with_timezone(&tz).naive_local() - utc.naive_utc()
}

fn local(tz: Tz, unix_ms: u64) -> NaiveDateTime {
    tz.timestamp_millis_opt(unix_ms as i64)
        .unwrap()
        .naive_local()
}

#[test]
fn errors_name_the_field_what_was_found_and_what_is_allowed() {
    let said = |texts: &[&str]| {
        let mut lines = String::new();
        for text in texts {
            let error = Cron::parse(text).expect_err(text);
            lines.push_str(&format!("{error}\n"));
        }
        lines
    };
    insta::assert_snapshot!(said(&[
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "99999999999999999999 * * * *",
        "5-61 * * * *",
    ]), @r#"
    minute: `60` is out of range; allowed are 0 to 59
    hour: `24` is out of range; allowed are 0 to 23
    day of month: `0` is out of range; allowed are 1 to 31
    month: `13` is out of range; allowed are 1 to 12, JAN to DEC
    day of week: `8` is out of range; allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT
    minute: `99999999999999999999` is out of range; allowed are 0 to 59
    minute: `61` is out of range; allowed are 0 to 59
    "#);
    insta::assert_snapshot!(said(&[
        "x * * * *",
        "-5 * * * *",
        "1,,2 * * * *",
        "* 5- * * *",
        "* * 1-2-3 * *",
        "* *5 * * *",
        "* * * janu *",
        "* * * * monday",
        "jan * * * *",
    ]), @r#"
    minute: `x` is not understood; allowed are 0 to 59, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    minute: a value is missing in `-5`; allowed are 0 to 59
    minute: a value is missing in `1,,2`; allowed are 0 to 59
    hour: a value is missing in `5-`; allowed are 0 to 23
    day of month: `2-3` is not understood; allowed are 1 to 31, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    hour: `*5` is not understood; allowed are 0 to 23, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    month: `janu` is not understood; allowed are 1 to 12, JAN to DEC, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    day of week: `monday` is not understood; allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    minute: `jan` is not understood; allowed are 0 to 59, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    "#);
    insta::assert_snapshot!(said(&[
        "7/5 * * * *",
        "* * * * mon/2",
        "*/0 * * * *",
        "7/0 * * * *",
        "* 1-5/ * * *",
        "* * */x * *",
        "* * */-1 * *",
    ]), @r#"
    minute: the step in `7/5` needs a range before it; write 7-59/5 to begin at 7, or */5
    day of week: the step in `mon/2` needs a range before it; write mon-7/2 to begin at mon, or */2
    minute: the step in `*/0` must be a whole number from 1 to 9999, as in */2
    minute: the step in `7/0` must be a whole number from 1 to 9999, as in */2
    hour: the step in `1-5/` must be a whole number from 1 to 9999, as in */2
    day of month: the step in `*/x` must be a whole number from 1 to 9999, as in */2
    day of month: the step in `*/-1` must be a whole number from 1 to 9999, as in */2
    "#);
    insta::assert_snapshot!(said(&[
        "* * L * *",
        "* * 15W * *",
        "* * L-3 * *",
        "* * * * 5L",
        "* * * * fri#2",
        "* * ? * *",
        "0~59 * * * *",
    ]), @r#"
    day of month: `L` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 1 to 31, or * for all
    day of month: `15W` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 1 to 31, or * for all
    day of month: `L` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 1 to 31, or * for all
    day of week: `5L` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT, or * for all
    day of week: `fri#2` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 0 to 7 (0 and 7 are Sunday), SUN to SAT, or * for all
    day of month: `?` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 1 to 31, or * for all
    minute: `0~59` is not crontab's (L, W, #, ? and ~ are not supported); allowed are 0 to 59, or * for all
    "#);
    insta::assert_snapshot!(said(&[
        "",
        "*",
        "* * * *",
        "0 * * * * *",
        "@reboot",
        "@every 5m",
        "@",
        "0 0 30 2 *",
        "0 0 31 2,4,6,9,11 *",
        "0 0 31 4 */2",
        &"*".repeat(MAX_BYTES + 1),
        &format!("{}\u{1b}[2J\n * * * *", "é".repeat(10)),
        &format!("{} * * * *", "x".repeat(100)),
    ]), @r#"
    a schedule has five fields (minute, hour, day of month, month, day of week) or is a nickname such as @daily; found 0 fields
    a schedule has five fields (minute, hour, day of month, month, day of week) or is a nickname such as @daily; found 1 field
    a schedule has five fields (minute, hour, day of month, month, day of week) or is a nickname such as @daily; found 4 fields
    a schedule has five fields (minute, hour, day of month, month, day of week) or is a nickname such as @daily; found 6 fields
    `@reboot` has no due time and is not supported; allowed are five fields or @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually
    `@every 5m` is not a nickname; allowed are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually
    `@` is not a nickname; allowed are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually
    `0 0 30 2 *` never comes: no month it names has the day of month it names; change the day of month or the month
    `0 0 31 2,4,6,9,11 *` never comes: no month it names has the day of month it names; change the day of month or the month
    `0 0 31 4 */2` never comes: no month it names has the day of month it names; change the day of month or the month
    the schedule is 513 bytes long; at most 512 are allowed
    minute: `éééééééééé\u{1b}[2J` is not understood; allowed are 0 to 59, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    minute: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…` is not understood; allowed are 0 to 59, *, ranges (a-b), steps over these (*/2, a-b/2), and lists with commas and without spaces
    "#);
}

#[test]
fn errors_can_be_told_apart() {
    assert_eq!(
        Cron::parse("* 7/2 * * *"),
        Err(CronError::Field {
            field: Field::Hour,
            found: "7/2".into(),
            problem: Problem::StepWithoutRange,
        })
    );
    assert_eq!(Cron::parse("@REBOOT"), Err(CronError::Reboot));
}

#[test]
fn zones_go_by_their_names() {
    assert_eq!(zone("Europe/Berlin").to_string(), "Europe/Berlin");
    assert_eq!(zone("europe/berlin"), zone("Europe/Berlin"));
    assert_eq!(zone("UTC"), Zone::UTC);
    assert_eq!(Zone::default(), Zone::UTC);
    let said = |name: &str| Zone::parse(name).expect_err(name).to_string();
    insta::assert_snapshot!(said("Berlin"), @"`Berlin` is not a time zone; did you mean Europe/Berlin?");
    insta::assert_snapshot!(said("new york"), @"`new york` is not a time zone; did you mean America/New_York?");
    insta::assert_snapshot!(said("+02:00"), @"`+02:00` is not a time zone; write an IANA name such as Europe/Berlin, or UTC");
    insta::assert_snapshot!(said(""), @"`` is not a time zone; write an IANA name such as Europe/Berlin, or UTC");
    insta::assert_snapshot!(said(&"Middle/Earth".repeat(100)), @"`Middle/EarthMiddle/EarthMiddle/EarthMidd…` is not a time zone; write an IANA name such as Europe/Berlin, or UTC");
}

#[test]
fn both_are_serialised_as_their_text() {
    let text = r#""*/5  22-2 * * fri""#;
    let cron: Cron = serde_json::from_str(text).unwrap();
    assert_eq!(cron.as_str(), "*/5  22-2 * * fri");
    assert_eq!(serde_json::to_string(&cron).unwrap(), text);
    assert_eq!("*/5  22-2 * * fri".parse(), Ok(cron));
    let zone: Zone = serde_json::from_str(r#""asia/kolkata""#).unwrap();
    assert_eq!(serde_json::to_string(&zone).unwrap(), r#""Asia/Kolkata""#);
    let error = serde_json::from_str::<Cron>(r#""61 * * * *""#).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("minute: `61` is out of range")
    );
    assert!(serde_json::from_str::<Zone>(r#""Mars""#).is_err());
}

/// Random expressions whose meaning is known from how they were made, and an oracle that walks.
mod against_an_oracle {
    use super::*;
    use chrono::Datelike;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::collections::BTreeSet;

    /// How far the oracle walks.
    const HORIZON_MINUTES: u64 = 3 * 24 * 60;

    const ZONES: [&str; 8] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Africa/Casablanca",
        "UTC",
    ];

    #[derive(Clone, Debug)]
    struct Piece {
        text: String,
        values: BTreeSet<u32>,
    }

    #[derive(Clone, Debug)]
    struct Schedule {
        text: String,
        fields: Vec<BTreeSet<u32>>,
        stars: Vec<bool>,
    }

    /// A range written out value by value, round the end of the field when it wraps.
    fn walk(min: u32, max: u32, first: u32, last: u32) -> Vec<u32> {
        let mut values = vec![first];
        while values.last() != Some(&last) {
            let value = values[values.len() - 1];
            values.push(if value == max { min } else { value + 1 });
        }
        values
    }

    fn piece(min: u32, max: u32, names: &'static [&'static str]) -> impl Strategy<Value = Piece> {
        let value = move |value: u32, named: bool| match names.get((value - min) as usize) {
            Some(name) if named => name.to_string(),
            _ => value.to_string(),
        };
        let single = (min..=max, any::<bool>()).prop_map(move |(n, named)| Piece {
            text: value(n, named),
            values: [n].into(),
        });
        let range = (
            min..=max,
            min..=max,
            any::<bool>(),
            prop::option::of(1..70usize),
        )
            .prop_map(move |(first, last, named, step)| Piece {
                text: format!(
                    "{}-{}{}",
                    value(first, named),
                    value(last, !named),
                    step.map_or(String::new(), |step| format!("/{step}")),
                ),
                values: walk(min, max, first, last)
                    .into_iter()
                    .step_by(step.unwrap_or(1))
                    .collect(),
            });
        let star = (1..70usize).prop_map(move |step| Piece {
            text: if step == 1 {
                "*".into()
            } else {
                format!("*/{step}")
            },
            values: (min..=max).step_by(step).collect(),
        });
        prop_oneof![3 => single, 2 => range, 1 => star]
    }

    fn field(
        min: u32,
        max: u32,
        names: &'static [&'static str],
        stars: u32,
    ) -> impl Strategy<Value = (String, BTreeSet<u32>)> {
        let list = prop::collection::vec(piece(min, max, names), 1..4).prop_map(|pieces| {
            let texts: Vec<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
            let values = pieces.iter().flat_map(|piece| piece.values.clone());
            (texts.join(","), values.collect())
        });
        prop_oneof![
            stars => Just(("*".to_string(), (min..=max).collect())),
            2 => list,
        ]
    }

    fn schedule() -> impl Strategy<Value = Schedule> {
        const MONTHS: &[&str] = &[
            "jan", "FEB", "Mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        const WEEKDAYS: &[&str] = &["sun", "MON", "Tue", "wed", "thu", "fri", "sat"];
        (
            field(0, 59, &[], 1),
            field(0, 23, &[], 2),
            field(1, 31, &[], 3),
            field(1, 12, MONTHS, 8),
            field(0, 6, WEEKDAYS, 3),
        )
            .prop_map(|(a, b, c, d, e)| {
                let (texts, fields): (Vec<String>, Vec<_>) = [a, b, c, d, e].into_iter().unzip();
                // The oracle knows Sunday as 0 alone; a star's last step can come to 7 as well.
                let mut fields: Vec<BTreeSet<u32>> = fields;
                if texts[4].split(',').any(|piece| piece == "*/7") {
                    fields[4].insert(0);
                }
                Schedule {
                    text: texts.join(" "),
                    stars: texts.iter().map(|text| text.starts_with('*')).collect(),
                    fields,
                }
            })
    }

    impl Schedule {
        fn matches(&self, local: NaiveDateTime) -> bool {
            let has = |field: usize, value: u32| self.fields[field].contains(&value);
            let day = has(2, local.day());
            let weekday = has(4, local.weekday().num_days_from_sunday());
            has(0, local.minute())
                && has(1, local.hour())
                && has(3, local.month())
                && if self.stars[2] || self.stars[4] {
                    day && weekday
                } else {
                    day || weekday
                }
        }

        /// Whether the whole minute `now` is due, decided from that and earlier minutes alone.
        fn is_due(&self, tz: Tz, now: u64) -> bool {
            let (then, here) = (local(tz, now - MINUTE_MS), local(tz, now));
            if self.stars[1] {
                return self.matches(here);
            }
            let mut leapt = then + TimeDelta::minutes(1);
            while leapt < here {
                if self.matches(leapt) {
                    return true;
                }
                leapt += TimeDelta::minutes(1);
            }
            let seen_before =
                || (1..=180).any(|minutes| local(tz, now - minutes * MINUTE_MS) == here);
            self.matches(here) && !seen_before()
        }

        fn next_after(&self, tz: Tz, unix_ms: u64) -> Option<u64> {
            let first = unix_ms / MINUTE_MS + 1;
            (first..first + HORIZON_MINUTES)
                .map(|minute| minute * MINUTE_MS)
                .find(|now| self.is_due(tz, *now))
        }
    }

    /// A zone, and a moment that is often near one of its changes.
    fn moment() -> impl Strategy<Value = (Zone, u64)> {
        let near = (1975..2037i32, any::<prop::sample::Index>(), -5_000..500i64);
        (select(&ZONES[..]), near, 0..MINUTE_MS).prop_map(|(name, (year, which, minutes), ms)| {
            let zone = zone(name);
            let changes = changes(tz(zone), year..year + 1);
            let middle = Utc.with_ymd_and_hms(year, 6, 30, 0, 0, 0).unwrap();
            let base = match changes.len() {
                0 => middle.timestamp_millis() as u64,
                count => changes[which.index(count)].1,
            };
            let minutes = if minutes < -600 { minutes } else { minutes / 4 };
            (
                zone,
                base.saturating_add_signed(minutes * MINUTE_MS as i64) + ms,
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 600,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn the_next_due_moment_is_the_one_that_a_walk_finds(
            schedule in schedule(), (zone, now) in moment(),
        ) {
            let cron = match Cron::parse(&schedule.text) {
                Ok(cron) => cron,
                Err(CronError::Never { .. }) => {
                    prop_assert!(never_comes(&schedule), "{}", schedule.text);
                    return Ok(());
                }
                Err(error) => return Err(TestCaseError::fail(format!("{}: {error}", schedule.text))),
            };
            let found = cron.next_after(now, zone);
            match schedule.next_after(tz(zone), now) {
                Some(expected) => prop_assert_eq!(
                    found.map(|found| shown(found, zone)), Some(shown(expected, zone)),
                    "{} after {}", schedule.text, shown(now, zone)
                ),
                None => prop_assert!(
                    found.is_some_and(|found| found > now + (HORIZON_MINUTES - 1) * MINUTE_MS),
                    "{} after {}: {:?}", schedule.text, shown(now, zone), found
                ),
            }
        }

        #[test]
        fn due_moments_increase_and_do_not_depend_on_when_one_asks(
            schedule in schedule(), (zone, start) in moment(), share in 0.0..1.0f64,
        ) {
            let Ok(cron) = Cron::parse(&schedule.text) else { return Ok(()) };
            let mut now = start;
            for _ in 0..20 {
                let Some(next) = cron.next_after(now, zone) else { return Ok(()) };
                prop_assert!(next > now);
                let between = now + ((next - now - 1) as f64 * share) as u64;
                prop_assert_eq!(cron.next_after(between, zone), Some(next));
                prop_assert_eq!(cron.next_after(next - 1, zone), Some(next));
                now = next;
            }
        }

        #[test]
        fn no_text_and_no_moment_panics(
            text in prop_oneof![
                any::<String>(),
                "[0-9a-zA-Z*/,@#?~ -]{0,40}",
                "([0-9]{1,3}|[*]|mon|JAN)([-/][0-9]{1,3})?( ([0-9]{1,2}|[*])([-/,][0-9]{1,2})?){4}",
            ],
            at in prop_oneof![any::<u64>(), 0..400_000_000_000_000u64],
            zone in select(&TZ_VARIANTS[..]),
        ) {
            let zone = Zone::parse(zone.name()).unwrap();
            match Cron::parse(&text) {
                Ok(cron) => prop_assert!(cron.next_after(at, zone).is_none_or(|next| next > at)),
                Err(error) => prop_assert!(error.to_string().len() < 600),
            }
            if let Err(error) = Zone::parse(&text) {
                prop_assert!(error.to_string().len() < 600);
            }
        }
    }

    fn never_comes(schedule: &Schedule) -> bool {
        let longest = schedule.fields[3].iter().map(|month| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        });
        schedule.fields[2].first() > longest.max().as_ref()
    }
}
