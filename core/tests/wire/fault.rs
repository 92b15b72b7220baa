//! Responses whose status is an error.

use crate::support::nearly;
use openpista_core::effect::model::ModelFault;
use openpista_core::wire::openai::decode_fault;
use proptest::prelude::*;

/// Sat, 22 Nov 2025 12:00:00 GMT.
const NOON_MS: u64 = 1_763_812_800_000;

fn fault(status: u16, body: &str) -> ModelFault {
    decode_fault(status, None, body.as_bytes(), NOON_MS)
}

fn said(body: &str) -> String {
    match fault(400, body) {
        ModelFault::Rejected {
            status: 400,
            message,
        } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_status_says_what_kind_of_fault_it_is() {
    let message = || "m".to_owned();
    let body = r#"{"error":{"message":"m"}}"#;
    assert_eq!(
        fault(429, body),
        ModelFault::RateLimited {
            retry_after_ms: None,
            message: message(),
        }
    );
    assert_eq!(fault(408, body), ModelFault::TimedOut);
    for status in [500, 502, 503, 529, 599] {
        let message = message();
        assert_eq!(fault(status, body), ModelFault::Server { status, message });
    }
    for status in [101, 204, 301, 400, 401, 403, 404, 422, 600, 999] {
        let message = message();
        assert_eq!(
            fault(status, body),
            ModelFault::Rejected { status, message }
        );
    }
}

#[test]
fn the_providers_words_are_found() {
    for body in [
        r#"{"error":{"message":"words","code":1}}"#,
        r#"{"error":"words"}"#,
        r#"{"message":"words"}"#,
        r#"{"detail":"words"}"#,
        r#"{"detail":[{"loc":["body"],"msg":"words"}]}"#,
        r#"[{"error":{"message":"words"}}]"#,
        r#"{"error":{"message":" "},"message":"words"}"#,
        " words\n",
        "\u{feff}words",
        "<html><head><title> words </title></head><body>many more</body></html>",
        "<p><style>p {}</style><script>let x = '<b>';</script><b>words</b></p>",
        "\u{1b}wo\u{7}rds\u{202e}",
    ] {
        assert_eq!(said(body), "words", "for {body:?}");
    }
    assert_eq!(
        said(r#"{"error":{"message":"a\n\n  b\tc\u0000\u001b[31m"}}"#),
        "a b c[31m"
    );
    assert_eq!(said(r#"{"error":{"code":7}}"#), r#"{"error":{"code":7}}"#);
    assert_eq!(said(""), "no reason was given");
    assert_eq!(said("<html><body></body>"), "no reason was given");
    assert_eq!(
        decode_fault(500, None, b"\xff\xfe", 0),
        fault(500, "\u{fffd}\u{fffd}")
    );
}

#[test]
fn the_providers_words_are_cut() {
    let expected = format!("{}…", "ž".repeat(300));
    assert_eq!(said(&"ž".repeat(9_000)), expected);
    assert_eq!(
        said(&format!(r#"{{"message":"{}"}}"#, "ž".repeat(301))),
        expected
    );
    assert_eq!(said(&"ž".repeat(300)), "ž".repeat(300));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for (header, expected) in [
        ("20", Some(20_000)),
        (" 0 ", Some(0)),
        ("1.5", Some(1_500)),
        ("0.0001", Some(1)),
        ("0.0210", Some(21)),
        ("99999999999999999999", Some(u64::MAX)),
        ("Sat, 22 Nov 2025 12:00:07 GMT", Some(7_000)),
        ("Sun, 23 Nov 2025 12:00:00 GMT", Some(86_400_000)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("", None),
        ("-1", None),
        ("1e3", None),
        (".", None),
        ("1.", None),
        ("soon", None),
        ("NaN", None),
        ("Sat, 22 Nov 2025 12:00:07", None),
        ("Sat, 22 Nov 2025 25:00:07 GMT", None),
        ("Sat, 22 Nov 2025 12:00:07 CET", None),
        ("Saturday, 22-Nov-25 12:00:07 GMT", None),
    ] {
        let fault = decode_fault(429, Some(header), b"", NOON_MS);
        let ModelFault::RateLimited { retry_after_ms, .. } = fault else {
            panic!("{fault:?}");
        };
        assert_eq!(retry_after_ms, expected, "for {header:?}");
    }
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (date, unix_s) in [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
        ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Fri, 31 Dec 2100 00:00:00 GMT", 4_133_894_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
    ] {
        let fault = decode_fault(429, Some(date), b"", 0);
        let ModelFault::RateLimited { retry_after_ms, .. } = fault else {
            panic!("{fault:?}");
        };
        assert_eq!(retry_after_ms, Some(unix_s * 1_000), "for {date}");
    }
}

proptest! {
    #[test]
    fn law_19_faults_are_fit_to_be_shown(
        status in any::<u16>(),
        header in proptest::option::of(prop_oneof![
            ".{0,12}",
            "[A-Z][a-z]{2}, [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ]),
        body in nearly(&[
            "<", ">", "<title>", "</title>", "<script>", "</script", "{\"error\":", "\"a\u{1b}\"",
            "{\"message\":", "}", "a b", "\n", "\u{202e}",
        ]),
        now in any::<u64>(),
    ) {
        let message = match decode_fault(status, header.as_deref(), &body, now) {
            ModelFault::RateLimited { message, .. }
            | ModelFault::Server { message, .. }
            | ModelFault::Rejected { message, .. } => message,
            other => {
                prop_assert_eq!(other, ModelFault::TimedOut);
                return Ok(());
            }
        };
        prop_assert!((1..=301).contains(&message.chars().count()));
        prop_assert!(!message.chars().any(char::is_control));
    }
}
