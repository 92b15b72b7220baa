//! What a call asks for: the arguments of each tool, read and held against their bounds.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest text that is typed by one call, in characters.
pub(super) const TEXT_CHARS: usize = 2_000;
/// The most notches that one call scrolls in a direction.
pub(super) const NOTCHES: i32 = 50;
/// The longest that a drag may take, in milliseconds.
pub(super) const DRAG_MS: u64 = 10_000;
/// How long a drag takes that does not say, in milliseconds.
pub(super) const DRAG_DEFAULT_MS: u64 = 500;
/// The most clicks of one call.
pub(super) const CLICKS: u8 = 3;

/// A call that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Click(Click),
    Move(At),
    Type(String),
    Key(String),
    Scroll(Scroll),
    Drag(Drag),
}

/// A place, in the pixels of the picture that was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// From the left.
    pub(super) x: i64,
    /// From the top.
    pub(super) y: i64,
}

/// A button of the mouse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Button {
    /// The usual one.
    #[default]
    Left,
    /// The one for menus.
    Right,
    /// The wheel.
    Middle,
}

impl Button {
    /// Its number, as X counts them.
    pub(super) fn number(self) -> u8 {
        match self {
            Button::Left => 1,
            Button::Middle => 2,
            Button::Right => 3,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Button::Left => "left",
            Button::Right => "right",
            Button::Middle => "middle",
        }
    }
}

/// Arguments of `input.click`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Click {
    x: Option<i64>,
    y: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) button: Button,
    count: Option<u8>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) modifiers: Vec<String>,
}

impl Click {
    /// Where; none is where the pointer is.
    pub(super) fn at(&self) -> Option<At> {
        point(self.x, self.y)
    }

    pub(super) fn count(&self) -> u8 {
        self.count.unwrap_or(1)
    }
}

/// Arguments of `input.scroll`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scroll {
    x: Option<i64>,
    y: Option<i64>,
    /// Notches to the right.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dx: i32,
    /// Notches down.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) dy: i32,
}

impl Scroll {
    /// Where; none is where the pointer is.
    pub(super) fn at(&self) -> Option<At> {
        point(self.x, self.y)
    }
}

/// Arguments of `input.drag`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drag {
    pub(super) from: At,
    pub(super) to: At,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) button: Button,
    duration_ms: Option<u64>,
}

impl Drag {
    pub(super) fn duration_ms(&self) -> u64 {
        self.duration_ms.unwrap_or(DRAG_DEFAULT_MS)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: String,
}

impl Call {
    /// Reads the arguments of a tool.
    ///
    /// # Errors
    /// What is wrong with them, in words for who made them.
    pub(super) fn read(tool: &str, arguments: &str) -> Result<Call, String> {
        let call = match tool {
            "input.click" => Call::Click(arguments_of(tool, arguments)?),
            "input.move" => Call::Move(arguments_of(tool, arguments)?),
            "input.type" => Call::Type(arguments_of::<Text>(tool, arguments)?.text),
            "input.key" => Call::Key(arguments_of::<Keys>(tool, arguments)?.keys),
            "input.scroll" => Call::Scroll(arguments_of(tool, arguments)?),
            "input.drag" => Call::Drag(arguments_of(tool, arguments)?),
            other => return Err(format!("there is no tool `{other}`")),
        };
        call.bounded()
    }

    fn bounded(self) -> Result<Call, String> {
        let wrong = match &self {
            Call::Click(Click { x, y, .. }) | Call::Scroll(Scroll { x, y, .. })
                if x.is_some() != y.is_some() =>
            {
                Some("`x` and `y` go together: give both, or none for where the pointer is".into())
            }
            Call::Click(click) if !(1..=CLICKS).contains(&click.count()) => {
                Some(format!("`count` must be from 1 to {CLICKS}"))
            }
            Call::Type(text) => wrong_text(text),
            Call::Scroll(Scroll { dx: 0, dy: 0, .. }) => {
                Some("`dx` or `dy` must say how many notches to scroll".into())
            }
            Call::Scroll(Scroll { dx, dy, .. })
                if [dx, dy]
                    .iter()
                    .any(|notches| notches.unsigned_abs() > NOTCHES as u32) =>
            {
                Some(format!(
                    "`dx` and `dy` are at most {NOTCHES} notches either way"
                ))
            }
            Call::Drag(drag) if drag.duration_ms() > DRAG_MS => {
                Some(format!("`duration_ms` is at most {DRAG_MS}"))
            }
            _ => None,
        };
        wrong.map_or(Ok(self), Err)
    }
}

fn wrong_text(text: &str) -> Option<String> {
    let chars = text.chars().count();
    if chars == 0 {
        return Some("`text` is empty".into());
    }
    if chars > TEXT_CHARS {
        return Some(format!(
            "`text` has {chars} characters, of at most {TEXT_CHARS}: type it in several calls"
        ));
    }
    let typed = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let odd = text.chars().find(|c| !typed(*c))?;
    Some(format!(
        "`text` has the control character U+{:04X} in it, which no key writes: use input.key",
        u32::from(odd)
    ))
}

fn point(x: Option<i64>, y: Option<i64>) -> Option<At> {
    x.zip(y).map(|(x, y)| At { x, y })
}

/// Some models send null for what they leave out.
fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn arguments_of<T: DeserializeOwned>(tool: &str, text: &str) -> Result<T, String> {
    let wrong = |error| format!("the arguments of {tool} make no sense: {error}");
    serde_json::from_str(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read() {
        let read = |tool: &str, text: &str| Call::read(tool, text).expect(text);
        match read(
            "input.click",
            r#"{"x":1,"y":2,"button":null,"modifiers":["ctrl"]}"#,
        ) {
            Call::Click(click) => {
                assert_eq!(click.at(), Some(At { x: 1, y: 2 }));
                assert_eq!((click.button, click.count()), (Button::Left, 1));
                assert_eq!(click.modifiers, ["ctrl"]);
            }
            other => panic!("{other:?}"),
        }
        match read("input.drag", r#"{"from":{"x":1,"y":2},"to":{"x":3,"y":4}}"#) {
            Call::Drag(drag) => assert_eq!(drag.duration_ms(), DRAG_DEFAULT_MS),
            other => panic!("{other:?}"),
        }
        let text = Call::Type("Wörld_漢字\n".into());
        assert_eq!(read("input.type", r#"{"text":"Wörld_漢字\n"}"#), text);
    }

    #[test]
    fn wrong_calls_are_named() {
        let long = format!(r#"{{"text":"{}"}}"#, "a".repeat(TEXT_CHARS + 1));
        let table = [
            ("input.click", r#"{"x":1}"#, "`x` and `y` go together"),
            (
                "input.click",
                r#"{"count":0}"#,
                "`count` must be from 1 to 3",
            ),
            (
                "input.click",
                r#"{"count":4}"#,
                "`count` must be from 1 to 3",
            ),
            (
                "input.click",
                r#"{"button":"top"}"#,
                "the arguments of input.click make no sense",
            ),
            (
                "input.click",
                r#"{"z":1}"#,
                "the arguments of input.click make no sense: unknown",
            ),
            (
                "input.move",
                r#"{"x":1}"#,
                "the arguments of input.move make no sense: missing",
            ),
            ("input.type", r#"{"text":""}"#, "`text` is empty"),
            ("input.type", &long, "`text` has 2001 characters"),
            (
                "input.type",
                r#"{"text":"a\u001b"}"#,
                "`text` has the control character U+001B",
            ),
            ("input.scroll", "{}", "`dx` or `dy` must say"),
            (
                "input.scroll",
                r#"{"dy":-51}"#,
                "`dx` and `dy` are at most 50",
            ),
            (
                "input.scroll",
                r#"{"dy":-2147483648}"#,
                "`dx` and `dy` are at most 50",
            ),
            (
                "input.scroll",
                r#"{"y":1,"dy":1}"#,
                "`x` and `y` go together",
            ),
            (
                "input.drag",
                r#"{"from":{"x":1,"y":2},"to":{"x":3,"y":4},"duration_ms":10001}"#,
                "`duration_ms` is at most 10000",
            ),
            ("input.wave", "{}", "there is no tool `input.wave`"),
        ];
        for (tool, arguments, expected) in table {
            let said = Call::read(tool, arguments).expect_err(arguments);
            assert!(said.starts_with(expected), "{tool} {arguments}: {said}");
        }
    }
}
