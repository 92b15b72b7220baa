//! Taking out of an export what was said, so that it can be shown to a stranger.
//!
//! What people, models, tools and the operator's prompt say is replaced by its length, wherever
//! it stands: texts, arguments, errors' messages, reasons, idempotency keys. What remains is who
//! did what when: sessions' names, channels, peers, tools' names, times and digests. The records
//! keep their shape, so they still fold; the inputs no longer lead to them, so they do not replay.

use serde_json::Value;

/// The fields whose text is what somebody said. A field of the same name that is not text (the
/// id in `message`, the object in `reply`) is left and looked into.
const FIELDS: [&str; 12] = [
    "arguments",
    "failed",
    "failure",
    "key",
    "message",
    "notice",
    "output",
    "reason",
    "replied",
    "reply",
    "system",
    "text",
];

/// Replaces what was said in an input or in records.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field {
                    Value::String(text) if is_said(name, text) => {
                        *text = format!("[redacted {} chars]", text.chars().count());
                    }
                    _ => redact(field),
                }
            }
        }
        _ => {}
    }
}

/// A call's tool and id are the model's words too, unless they look like what they should be.
fn is_said(field: &str, text: &str) -> bool {
    match field {
        "tool" | "id" => text.len() > 64 || !text.bytes().all(is_of_name),
        field => FIELDS.contains(&field),
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_goes_wherever_it_stands_and_the_shape_stays() {
        let mut value = json!([{
            "accepted": {"message": 7, "text": "né", "key": "k", "peer": "cli:local"},
        }, {
            "answered": {"reply": {"text": "", "calls": [
                {"id": "c1", "tool": "what do you think?", "arguments": "{}"},
            ]}},
        }, {
            "queued": {"body": {"reply": "words"}},
        }]);
        redact(&mut value);
        let expected = json!([{
            "accepted": {
                "message": 7, "text": "[redacted 2 chars]", "key": "[redacted 1 chars]",
                "peer": "cli:local",
            },
        }, {
            "answered": {"reply": {"text": "[redacted 0 chars]", "calls": [
                {
                    "id": "c1", "tool": "[redacted 18 chars]",
                    "arguments": "[redacted 2 chars]",
                },
            ]}},
        }, {
            "queued": {"body": {"reply": "[redacted 5 chars]"}},
        }]);
        assert_eq!(value, expected);
    }
}
