//! `config.example.toml`, which documents every key, and configurations made from it.
//!
//! What `init` writes is the example with some of its lines set, so the two cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The example, with every key commented out.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// What stands above the example in a file that was made from it.
const MADE: &str =
    "# Written by `openpistacrab init`: what it asked for is set; all the rest is a comment.
#
";

/// The example with these keys set, by their full names. All else stays a comment.
///
/// # Panics
/// When the example lacks one of them, which a test excludes.
pub fn filled(values: &BTreeMap<&str, Value>) -> String {
    let mut left = values.clone();
    let mut section = "";
    let mut text = MADE.to_owned();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        }
        match key_of(line).and_then(|key| Some((key, take(&mut left, section, key)?))) {
            Some((key, value)) => text.push_str(&format!("{key} = {value}")),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    assert!(
        left.is_empty(),
        "config.example.toml lacks {:?}",
        left.keys()
    );
    text
}

/// The key of a line that is one, commented out.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.strip_prefix("# ")?.split_once(" = ")?;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!key.is_empty() && key.chars().all(word)).then_some(key)
}

/// Takes the value that this key is to have.
fn take(values: &mut BTreeMap<&str, Value>, section: &str, key: &str) -> Option<Value> {
    values.remove(format!("{section}.{key}").as_str())
}

/// What a key is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text, or a path.
    Text(String),
    /// True or false.
    Switch(bool),
    /// Ids of people.
    Ids(BTreeSet<u64>),
}

/// As TOML writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A text in JSON is one in TOML, but for this character.
            Value::Text(text) => {
                let text = serde_json::Value::from(text.as_str()).to_string();
                f.write_str(&text.replace('\u{7f}', "\\u007f"))
            }
            Value::Switch(on) => on.fmt(f),
            Value::Ids(ids) => {
                let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
                write!(f, "[{}]", ids.join(", "))
            }
        }
    }
}
