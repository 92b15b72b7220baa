//! What can be wrong with a `SKILL.md`: the line, and what was expected there.

use super::{DESCRIPTION_CHARS, IMAGE_BYTES, MAX_BYTES, NAME_BYTES};
use alloc::string::String;
use core::fmt;

/// The most characters of somebody's text that an error repeats.
const EXCERPT_CHARS: usize = 40;

/// A file that is no skill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillError {
    /// Where, from 1.
    pub line: usize,
    /// What.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file is longer than [`MAX_BYTES`].
    TooLong {
        /// How long, in bytes.
        bytes: usize,
    },
    /// The file is not UTF-8 from here on.
    NotUtf8,
    /// The first line is not `---`.
    NoFrontMatter,
    /// No second line is `---`.
    Unclosed,
    /// Not `key: value`.
    NotAKey {
        /// How the line begins.
        found: String,
    },
    /// A tab where spaces must be.
    Tab,
    /// Text that belongs to nothing.
    Unexpected {
        /// How it begins.
        found: String,
    },
    /// A key that was there before.
    Twice {
        /// Which.
        key: &'static str,
    },
    /// A key that must be there.
    Missing {
        /// Which.
        key: &'static str,
    },
    /// Nothing where a text must be.
    Empty {
        /// Of which key.
        key: &'static str,
    },
    /// A list or a map where a text must be.
    NotText {
        /// Of which key.
        key: &'static str,
    },
    /// A text that begins with a sign that means something else in YAML.
    Sign {
        /// The sign.
        found: char,
    },
    /// A text in quotes without an end.
    OpenQuote {
        /// The quote.
        quote: char,
    },
    /// An escape that does not exist.
    Escape {
        /// What follows the backslash.
        found: String,
    },
    /// Signs after `|` or `>` that are not an indentation and `+` or `-`.
    Block {
        /// These.
        found: String,
    },
    /// A key that reads well and says what cannot be.
    Value(BadValue),
}

/// What cannot be the value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValue {
    /// A name that is none.
    Name {
        /// The name, cut when long.
        found: String,
    },
    /// A name that is not the folder's.
    OtherFolder {
        /// The name.
        name: String,
        /// The folder's, cut when long.
        folder: String,
    },
    /// A description that is too long.
    LongDescription {
        /// How long, in characters.
        chars: usize,
    },
    /// A mode that does not exist.
    Mode {
        /// What is there, cut when long.
        found: String,
    },
    /// What cannot be the name of an image.
    Image {
        /// What is there, cut when long.
        found: String,
    },
    /// An image for a skill that does not run in a container.
    ImageWithoutContainer,
}

impl SkillError {
    pub(super) fn at(line: usize, problem: Problem) -> SkillError {
        SkillError { line, problem }
    }

    pub(super) fn value(line: usize, bad: BadValue) -> SkillError {
        SkillError::at(line, Problem::Value(bad))
    }
}

impl fmt::Display for SkillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::TooLong { bytes } => {
                write!(
                    f,
                    "the file is {bytes} bytes long; at most {MAX_BYTES} are read"
                )
            }
            Problem::NotUtf8 => f.write_str("this is not UTF-8: save the file as UTF-8 text"),
            Problem::NoFrontMatter => f.write_str(
                "expected `---`, then `name:` and `description:`, then `---` before the text",
            ),
            Problem::Unclosed => {
                f.write_str("expected a line `---` that ends what the first `---` began")
            }
            Problem::NotAKey { found } => {
                write!(f, "expected `key: value`, found `{found}`")
            }
            Problem::Tab => f.write_str("expected spaces, found a tab: indent with spaces alone"),
            Problem::Unexpected { found } => {
                write!(f, "expected a new `key: value` here, found `{found}`")
            }
            Problem::Twice { key } => write!(f, "`{key}` is here twice: keep one of them"),
            Problem::Missing { key } => {
                write!(
                    f,
                    "`{key}` is missing: expected a line `{key}: …` before the second `---`"
                )
            }
            Problem::Empty { key } => {
                write!(f, "`{key}` is empty: expected a text after the colon")
            }
            Problem::NotText { key } => {
                write!(
                    f,
                    "`{key}` must be a text, not a list or a map: put it in quotes"
                )
            }
            Problem::Sign { found } => {
                write!(
                    f,
                    "a text cannot begin with `{found}` in YAML: put it in quotes"
                )
            }
            Problem::OpenQuote { quote } => {
                write!(
                    f,
                    "the text that begins with {quote} here has no end: expected {quote}"
                )
            }
            Problem::Escape { found } => write!(
                f,
                "`\\{found}` means nothing in double quotes: write `\\\\` for a backslash"
            ),
            Problem::Block { found } => write!(
                f,
                "expected `+`, `-` or a digit after `|` or `>`, found `{found}`: the text itself \
                 begins on the next line"
            ),
            Problem::Value(bad) => write!(f, "{bad}"),
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadValue::Name { found } => write!(
                f,
                "`{found}` cannot be a name: expected 1 to {NAME_BYTES} of a-z, 0-9 and single \
                 hyphens between them"
            ),
            BadValue::OtherFolder { name, folder } => write!(
                f,
                "the name is `{name}`, but the folder is `{folder}`: expected the same"
            ),
            BadValue::LongDescription { chars } => write!(
                f,
                "the description has {chars} characters; at most {DESCRIPTION_CHARS} are allowed"
            ),
            BadValue::Mode { found } => {
                write!(
                    f,
                    "`mode` is `{found}`: expected subprocess, wasm or container"
                )
            }
            BadValue::Image { found } => write!(
                f,
                "`{found}` cannot be an image: expected a name like debian:12, {IMAGE_BYTES} \
                 characters at most"
            ),
            BadValue::ImageWithoutContainer => {
                f.write_str("`image` is for containers alone: add `mode: container`, or remove it")
            }
        }
    }
}

impl core::error::Error for SkillError {}

/// Somebody's text, fit to be repeated in an error: short, on one line, no control characters.
pub(super) fn excerpt(text: &str) -> String {
    let shown = text.chars().take(EXCERPT_CHARS);
    let mut shown: String = shown.flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
