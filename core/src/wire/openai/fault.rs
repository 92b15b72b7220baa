//! Errors: an HTTP status, or an error object where a reply should have been, becomes a
//! [`ModelFault`] with the provider's own words, made fit to be shown.

use crate::effect::model::ModelFault;
use alloc::borrow::ToOwned;
use alloc::string::String;
use serde_json::Value;

/// The most characters of a provider's words that are kept.
const MESSAGE_CHARS: usize = 300;
/// How much of an error page is looked at.
const PAGE_BYTES: usize = 16_384;

/// The fault behind a response whose HTTP status is not a success. `retry_after` is the header of
/// that name, in seconds or as an HTTP date, which `now_unix_ms` makes relative.
pub fn decode_fault(
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
    now_unix_ms: u64,
) -> ModelFault {
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(value) => words(&value).unwrap_or_else(|| excerpt(body)),
        Err(_) => excerpt(body),
    };
    match status {
        408 => ModelFault::TimedOut,
        429 => ModelFault::RateLimited {
            retry_after_ms: retry_after.and_then(|text| wait_ms(text, now_unix_ms)),
            message,
        },
        500..=599 => ModelFault::Server { status, message },
        _ => ModelFault::Rejected { status, message },
    }
}

/// The fault that a JSON value of a successful response holds in place of a reply, if it does.
pub(super) fn fault_in(value: &Value) -> Option<ModelFault> {
    let value = value.get(0).unwrap_or(value);
    match value.get("error") {
        Some(Value::Null | Value::Bool(false)) | None => {}
        Some(Value::String(text)) if text.is_empty() => {}
        Some(error) => return Some(fault_of(error, value)),
    }
    let named = |key| value.get(key).and_then(Value::as_str) == Some("error");
    (named("object") || named("type")).then(|| fault_of(value, value))
}

/// The fault that an error object, inside of `whole`, tells of.
pub(super) fn fault_of(error: &Value, whole: &Value) -> ModelFault {
    let message = words(whole).unwrap_or_else(|| excerpt_of(&compact(whole)));
    let marks = || ["code", "status", "status_code", "type"].map(|key| error.get(key));
    let limited = |mark: &Value| {
        mark.as_str()
            .is_some_and(|text| text.contains("rate_limit"))
    };
    match marks().into_iter().flatten().find_map(http_status) {
        Some(429) => ModelFault::RateLimited {
            retry_after_ms: None,
            message,
        },
        Some(408) => ModelFault::TimedOut,
        Some(status @ 400..=499) => ModelFault::Rejected { status, message },
        None if marks().into_iter().flatten().any(limited) => ModelFault::RateLimited {
            retry_after_ms: None,
            message,
        },
        _ => ModelFault::Server {
            status: 200,
            message,
        },
    }
}

fn http_status(mark: &Value) -> Option<u16> {
    let number = match mark {
        Value::Number(number) => number.as_u64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    u16::try_from(number)
        .ok()
        .filter(|n| (400..600).contains(n))
}

/// The provider's words, wherever it put them.
fn words(value: &Value) -> Option<String> {
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(&Value::Null);
    let detail = value.get("detail").unwrap_or(&Value::Null);
    let places = [
        error.get("message"),
        Some(error),
        value.get("message"),
        Some(detail),
        detail.get(0).and_then(|first| first.get("msg")),
    ];
    let mut texts = places.into_iter().flatten().filter_map(Value::as_str);
    texts.find(|text| !text.trim().is_empty()).map(excerpt_of)
}

fn compact(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The beginning of a body that is not what was expected, as one short line.
pub(super) fn excerpt(body: &[u8]) -> String {
    let page = &body[..body.len().min(PAGE_BYTES)];
    excerpt_of(&String::from_utf8_lossy(page))
}

fn excerpt_of(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let shown = if text.starts_with('<') {
        page_text(text)
    } else {
        text.to_owned()
    };
    let line = one_line(&shown);
    if line.is_empty() {
        "no reason was given".to_owned()
    } else {
        line
    }
}

/// What an HTML page says: its title, or else its text.
fn page_text(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let from = at + lower[at..].find('>')? + 1;
        let to = from + lower[from..].find("</title")?;
        Some(page[from..to].trim())
    });
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        return title.to_owned();
    }
    let mut text = String::new();
    let mut at = 0;
    while let Some(open) = page[at..].find('<').map(|found| at + found) {
        text.push_str(&page[at..open]);
        text.push(' ');
        let close = match ["<script", "<style"]
            .into_iter()
            .find(|tag| lower[open..].starts_with(tag))
        {
            Some("<script") => "</script>",
            Some(_) => "</style>",
            None => ">",
        };
        match lower[open..].find(close) {
            Some(found) => at = open + found + close.len(),
            None => return text,
        }
    }
    text.push_str(&page[at..]);
    text
}

/// Without control characters and the marks that turn text around, its white space made single
/// spaces, cut with an ellipsis.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut count = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = !line.is_empty();
            continue;
        }
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            continue;
        }
        count += 1 + usize::from(gap);
        if count > MESSAGE_CHARS {
            line.push('…');
            break;
        }
        if core::mem::take(&mut gap) {
            line.push(' ');
        }
        line.push(c);
    }
    line
}

/// A `Retry-After` header, in milliseconds from now.
fn wait_ms(text: &str, now_unix_ms: u64) -> Option<u64> {
    let text = text.trim();
    seconds(text).or_else(|| Some(http_date_unix_ms(text)?.saturating_sub(now_unix_ms)))
}

/// Whole or decimal seconds, in milliseconds, rounded up.
fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u64 = whole.parse().unwrap_or(u64::MAX);
    let digit = |at: usize| u64::from(part.as_bytes().get(at).map_or(0, |b| b - b'0'));
    let part_ms = digit(0) * 100 + digit(1) * 10 + digit(2);
    let beyond = part.bytes().skip(3).any(|b| b != b'0');
    Some(
        whole
            .saturating_mul(1000)
            .saturating_add(part_ms + u64::from(beyond)),
    )
}

/// An HTTP date in the one form that servers must send: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date_unix_ms(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = number(words.next()?, 2, 1..=31)?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = number(words.next()?, 4, 1970..=9999)?;
    let mut clock = words.next()?.split(':');
    let hour = number(clock.next()?, 2, 0..=23)?;
    let minute = number(clock.next()?, 2, 0..=59)?;
    let second = number(clock.next()?, 2, 0..=60)?;
    if clock.next().is_some() || words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000)
}

fn number(text: &str, digits: usize, range: core::ops::RangeInclusive<u64>) -> Option<u64> {
    let fits = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    let number = fits.then(|| text.parse().ok())??;
    range.contains(&number).then_some(number)
}

/// Days of the Gregorian calendar, counted with years that begin in March, so that the leap day
/// comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let before_month = (153 * month + 2) / 5;
    // 719,468 days lie between the first of March of the year 0 and 1970.
    year * 365 + leap_days + before_month + day - 1 - 719_468
}
