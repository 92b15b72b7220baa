//! What the model is told of each tool.
//!
//! All may have done something when we crash, so they are never repeated, and none only reads: a
//! policy that does not name them asks.

use super::call::{CLICKS, DRAG_DEFAULT_MS, DRAG_MS, NOTCHES, TEXT_CHARS};
use openpista_core::effect::Recovery;
use openpista_core::message::ToolSpec;
use serde_json::{Value, json};

/// How long a call may take, in milliseconds: more than the longest needs.
const TIMEOUT_MS: u64 = 60_000;

/// What coordinates are, for every tool that takes some.
const PLACES: &str = "Coordinates are in the pixels of the last screen.capture as you saw it, or \
                      of the screen when there was none yet.";

pub(super) fn all() -> Vec<ToolSpec> {
    vec![click(), pointer_move(), text(), key(), scroll(), drag()]
}

fn spec(name: &str, description: String, properties: Value, required: &[&str]) -> ToolSpec {
    let parameters = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false
    });
    ToolSpec {
        name: format!("input.{name}"),
        description,
        parameters: parameters.to_string(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: TIMEOUT_MS,
        sandbox: None,
    }
}

fn pixel(of: &str) -> Value {
    json!({ "type": "integer", "description": of })
}

fn point(of: &str) -> Value {
    json!({
        "type": "object",
        "description": of,
        "properties": { "x": pixel("From the left."), "y": pixel("From the top.") },
        "required": ["x", "y"],
        "additionalProperties": false
    })
}

fn button() -> Value {
    json!({ "type": "string", "enum": ["left", "right", "middle"], "description": "Default: left." })
}

fn click() -> ToolSpec {
    let description = format!(
        "Click with the mouse on this computer's screen. {PLACES} Without x and y it clicks where \
         the pointer is."
    );
    let properties = json!({
        "x": pixel("From the left."),
        "y": pixel("From the top."),
        "button": button(),
        "count": {
            "type": "integer", "minimum": 1, "maximum": CLICKS,
            "description": "2 is a double click. Default: 1."
        },
        "modifiers": {
            "type": "array",
            "items": { "type": "string", "enum": ["ctrl", "shift", "alt", "super"] },
            "description": "Keys that are held meanwhile."
        }
    });
    spec("click", description, properties, &[])
}

fn pointer_move() -> ToolSpec {
    let description = format!("Move the mouse pointer on this computer's screen. {PLACES}");
    let properties = json!({ "x": pixel("From the left."), "y": pixel("From the top.") });
    spec("move", description, properties, &["x", "y"])
}

fn text() -> ToolSpec {
    let description = "Type text into the window of this computer that has the keyboard's focus: \
                       click into it first. Line breaks are Enter."
        .to_owned();
    let properties = json!({
        "text": {
            "type": "string", "minLength": 1, "maxLength": TEXT_CHARS,
            "description": "Any characters."
        }
    });
    spec("type", description, properties, &["text"])
}

fn key() -> ToolSpec {
    let description = "Press a key or a chord on this computer, for shortcuts and keys that write \
                       nothing. Its window is the one with the keyboard's focus."
        .to_owned();
    let properties = json!({
        "keys": {
            "type": "string",
            "description": "For example `enter`, `ctrl+shift+t`, `alt+f4`, `super`, `pagedown`."
        }
    });
    spec("key", description, properties, &["keys"])
}

fn scroll() -> ToolSpec {
    let description = format!(
        "Turn the mouse wheel on this computer. {PLACES} Without x and y it scrolls where the \
         pointer is."
    );
    let notches = |way: &str| {
        json!({
            "type": "integer", "minimum": -NOTCHES, "maximum": NOTCHES,
            "description": format!("Notches; more than 0 is {way}. Default: 0.")
        })
    };
    let properties = json!({
        "x": pixel("From the left."),
        "y": pixel("From the top."),
        "dx": notches("right"),
        "dy": notches("down")
    });
    spec("scroll", description, properties, &[])
}

fn drag() -> ToolSpec {
    let description = format!(
        "Press a mouse button on this computer's screen, move the pointer, and release. {PLACES}"
    );
    let properties = json!({
        "from": point("Where to press."),
        "to": point("Where to release."),
        "button": button(),
        "duration_ms": {
            "type": "integer", "minimum": 0, "maximum": DRAG_MS,
            "description": format!("How long the way takes. Default: {DRAG_DEFAULT_MS}.")
        }
    });
    spec("drag", description, properties, &["from", "to"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_repeated_and_none_only_reads() {
        let specs = all();
        assert_eq!(specs.len(), 6);
        for spec in specs {
            assert_eq!(spec.recovery, Recovery::Doubt, "{}", spec.name);
            assert!(!spec.read_only, "{}", spec.name);
            assert!(serde_json::from_str::<Value>(&spec.parameters).is_ok());
        }
    }
}
