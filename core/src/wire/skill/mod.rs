//! `SKILL.md`, as the Agent Skills standard has it: front matter between two lines `---`, and below
//! it what the skill teaches. `mode` and `image` are ours.
//!
//! Of the front matter this reads what is obeyed: `name`, `description`, `mode`, `image`. Every other
//! key is passed over unread, the standard's too: a licence decides nothing here, and what a skill
//! may do is for the operator's policy to say, never for its `allowed-tools`. So a file with keys
//! of tomorrow, or of another agent, is a skill today. The four are read strictly: whatever is
//! wrong with them is an error that names the line and what was expected.
//!
//! Law 19: no bytes panic, line ends of Windows change nothing, and what is kept is in proportion to
//! what came, which is at most [`MAX_BYTES`].

mod error;
mod yaml;

pub use self::error::{BadValue, Problem, SkillError};

use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The longest name, in bytes.
const NAME_BYTES: usize = 64;
/// The longest description, in characters.
const DESCRIPTION_CHARS: usize = 1_024;
/// The longest name of an image, in bytes.
const IMAGE_BYTES: usize = 255;

/// The keys that are read.
const KEYS: [&str; 4] = ["name", "description", "mode", "image"];

/// What a `SKILL.md` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillFile {
    /// The skill's name, which is its folder's.
    pub name: String,
    /// What it is for. Not empty; it may have several lines.
    pub description: String,
    /// How its program runs, if the file says so.
    pub mode: Option<Mode>,
    /// The image that its program runs in; only with [`Mode::Container`].
    pub image: Option<String>,
    /// Everything below the front matter, with line feeds at the ends of lines.
    pub body: String,
}

/// How a skill's program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a process that the kernel confines.
    Subprocess,
    /// As a WebAssembly guest.
    Wasm,
    /// In a container.
    Container,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Subprocess, Mode::Wasm, Mode::Container];

    /// As the file has it.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Subprocess => "subprocess",
            Mode::Wasm => "wasm",
            Mode::Container => "container",
        }
    }
}

impl SkillFile {
    /// Reads the `SKILL.md` of the folder that is called `folder`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(bytes: &[u8], folder: &str) -> Result<SkillFile, SkillError> {
        let (front, body) = split(text(bytes)?)?;
        let texts = yaml::texts(&front, &KEYS)?;
        let find = |key| texts.iter().find(|text| text.key == key);
        let required = |key| find(key).ok_or(SkillError::at(1, Problem::Missing { key }));
        let name = required("name")?;
        check_name(&name.value, folder).map_err(|bad| SkillError::value(name.line, bad))?;
        let description = required("description")?;
        let chars = description.value.chars().count();
        if chars > DESCRIPTION_CHARS {
            let bad = BadValue::LongDescription { chars };
            return Err(SkillError::value(description.line, bad));
        }
        let mode = find("mode").map(mode).transpose()?;
        let image = match find("image") {
            Some(text) if mode == Some(Mode::Container) => Some(image(text)?),
            Some(text) => {
                return Err(SkillError::value(
                    text.line,
                    BadValue::ImageWithoutContainer,
                ));
            }
            None => None,
        };
        Ok(SkillFile {
            name: name.value.clone(),
            description: description.value.clone(),
            mode,
            image,
            body,
        })
    }
}

/// Lowercase letters, digits and single hyphens between them.
pub fn is_name(name: &str) -> bool {
    let is_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=NAME_BYTES).contains(&name.len())
        && name.chars().all(is_char)
        && name.split('-').all(|part| !part.is_empty())
}

fn check_name(name: &str, folder: &str) -> Result<(), BadValue> {
    if !is_name(name) {
        return Err(BadValue::Name {
            found: error::excerpt(name),
        });
    }
    match name == folder {
        true => Ok(()),
        false => Err(BadValue::OtherFolder {
            name: name.to_string(),
            folder: error::excerpt(folder),
        }),
    }
}

fn mode(text: &yaml::Text) -> Result<Mode, SkillError> {
    let mut modes = Mode::ALL.into_iter();
    modes.find(|mode| mode.name() == text.value).ok_or_else(|| {
        let found = error::excerpt(&text.value);
        SkillError::value(text.line, BadValue::Mode { found })
    })
}

/// Only what can be a name: whether there is such an image is for others to find out.
fn image(text: &yaml::Text) -> Result<String, SkillError> {
    let is_char = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let image = &text.value;
    match image.len() <= IMAGE_BYTES && image.chars().all(is_char) {
        true => Ok(image.clone()),
        false => {
            let found = error::excerpt(image);
            Err(SkillError::value(text.line, BadValue::Image { found }))
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, SkillError> {
    if bytes.len() > MAX_BYTES {
        let bytes = bytes.len();
        return Err(SkillError::at(1, Problem::TooLong { bytes }));
    }
    let text = core::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        SkillError::at(line, Problem::NotUtf8)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The lines of the front matter, and what is below it.
fn split(text: &str) -> Result<(Vec<&str>, String), SkillError> {
    let fence = |line: &str| line.trim_end() == "---";
    let mut rest = text;
    if !next_line(&mut rest).is_some_and(fence) {
        return Err(SkillError::at(1, Problem::NoFrontMatter));
    }
    let mut front = Vec::new();
    while let Some(line) = next_line(&mut rest) {
        if fence(line) {
            return Ok((front, unix(rest)));
        }
        front.push(line);
    }
    Err(SkillError::at(front.len() + 1, Problem::Unclosed))
}

fn next_line<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (line, after) = match rest.split_once('\n') {
        Some((line, after)) => (line, after),
        None if rest.is_empty() => return None,
        None => (*rest, ""),
    };
    *rest = after;
    Some(line.trim_end_matches('\r'))
}

/// With line feeds at the ends of lines: a file that was turned twice has several `\r` there.
fn unix(text: &str) -> String {
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
    lines.collect::<Vec<_>>().join("\n")
}
