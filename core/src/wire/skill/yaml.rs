//! As much of YAML as front matter needs: a map at the left margin, of which some values are texts
//! that are wanted, and all others are passed over by their indentation alone.
//!
//! A text may be plain, in single or double quotes, or a block after `|` or `>`, over any number of
//! lines. White space at its ends does not count, so `|-` and `|+` come to the same. In one thing
//! this takes more than YAML does: a plain text may contain a colon and a space, since many files
//! in the wild have such descriptions and there is nothing else they could mean.

use super::error::{Problem, SkillError, excerpt};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// The front matter begins on the file's second line.
const FIRST_LINE: usize = 2;

/// Signs that no plain text begins with.
const SIGNS: &str = ",[]{}#&*!|>'\"%@`";

/// The text of a key.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) key: &'static str,
    /// The key's line in the file.
    pub(super) line: usize,
    /// Not empty, and without white space at its ends.
    pub(super) value: String,
}

/// The texts of those of the `wanted` keys that are there.
pub(super) fn texts(lines: &[&str], wanted: &[&'static str]) -> Result<Vec<Text>, SkillError> {
    let mut reader = Reader { lines, at: 0 };
    let mut texts: Vec<Text> = Vec::new();
    while let Some(line) = reader.peek() {
        if is_nothing(line) {
            reader.at += 1;
            continue;
        }
        let (name, rest) = reader.key(line)?;
        let at = reader.line();
        reader.at += 1;
        let Some(&key) = wanted.iter().find(|key| **key == name) else {
            reader.pass_over();
            continue;
        };
        if texts.iter().any(|text| text.key == key) {
            return Err(SkillError::at(at, Problem::Twice { key }));
        }
        let value = reader.value(key, rest)?.trim().to_owned();
        if value.is_empty() {
            return Err(SkillError::at(at, Problem::Empty { key }));
        }
        texts.push(Text {
            key,
            line: at,
            value,
        });
    }
    Ok(texts)
}

struct Reader<'a> {
    lines: &'a [&'a str],
    /// The next line, counted from zero.
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    /// The next line's number in the file.
    fn line(&self) -> usize {
        self.at + FIRST_LINE
    }

    /// An error in the next line.
    fn wrong<T>(&self, problem: Problem) -> Result<T, SkillError> {
        Err(SkillError::at(self.line(), problem))
    }

    /// Splits a line that must be `key: value` at the left margin.
    fn key(&self, line: &'a str) -> Result<(&'a str, &'a str), SkillError> {
        let found = || excerpt(line.trim());
        if line.starts_with('\t') {
            return self.wrong(Problem::Tab);
        }
        if line.starts_with(' ') {
            return self.wrong(Problem::Unexpected { found: found() });
        }
        match split_key(line) {
            Some(split) => Ok(split),
            None => self.wrong(Problem::NotAKey { found: found() }),
        }
    }

    /// Leaves out the value of a key: what is indented, and the lists and closing brackets that
    /// may stand at the margin.
    fn pass_over(&mut self) {
        let belongs = |line: &str| is_nothing(line) || line.starts_with([' ', '\t', '-', ']', '}']);
        while self.peek().is_some_and(belongs) {
            self.at += 1;
        }
    }

    /// The text after a key, whose line has been taken. `rest` is what that line has of it.
    fn value(&mut self, key: &'static str, rest: &'a str) -> Result<String, SkillError> {
        if !is_nothing(rest) {
            return self.text(key, rest.trim());
        }
        while self.peek().is_some_and(is_nothing) {
            self.at += 1;
        }
        let Some(line) = self.peek().filter(|line| line.starts_with(' ')) else {
            return Ok(String::new());
        };
        let line = line.trim();
        // A sentence may begin with some words and a colon; a key has no spaces.
        let is_map = split_key(line).is_some_and(|(key, _)| !key.contains(' '));
        if is_map && !line.starts_with(['\'', '"']) {
            return self.wrong(Problem::NotText { key });
        }
        self.at += 1;
        self.text(key, line)
    }

    /// A text that begins with `first`, which is not empty and on the line before the next.
    fn text(&mut self, key: &'static str, first: &'a str) -> Result<String, SkillError> {
        let line = self.line() - 1;
        let mut chars = first.chars();
        let sign = chars.next().unwrap_or_default();
        let alone = chars.next().is_none_or(|c| c == ' ' || c == '\t');
        match sign {
            '\'' | '"' => self.quoted(sign, first),
            '|' | '>' => self.block(first),
            '[' | '{' => Err(SkillError::at(line, Problem::NotText { key })),
            '-' if alone => Err(SkillError::at(line, Problem::NotText { key })),
            '?' | ':' if alone => Err(SkillError::at(line, Problem::Sign { found: sign })),
            sign if SIGNS.contains(sign) => {
                Err(SkillError::at(line, Problem::Sign { found: sign }))
            }
            _ => Ok(self.plain(first)),
        }
    }

    fn plain(&mut self, first: &str) -> String {
        let mut folded = Folded::default();
        let (text, mut ended) = uncommented(first);
        folded.line(text);
        while let Some(line) = self.peek().filter(|_| !ended) {
            if line.trim().is_empty() {
                folded.line("");
            } else if line.starts_with(' ') && !is_nothing(line) {
                let text;
                (text, ended) = uncommented(line.trim());
                folded.line(text);
            } else {
                break;
            }
            self.at += 1;
        }
        folded.text
    }

    fn quoted(&mut self, quote: char, first: &str) -> Result<String, SkillError> {
        let open = SkillError::at(self.line() - 1, Problem::OpenQuote { quote });
        let mut folded = Folded::default();
        let mut rest = first.get(1..).unwrap_or_default();
        loop {
            let piece = match quote {
                '"' => double(rest).map_err(|found| {
                    let found = excerpt(found);
                    SkillError::at(self.line() - 1, Problem::Escape { found })
                })?,
                _ => single(rest),
            };
            folded.piece(&piece);
            if let Some(after) = piece.after {
                return match is_nothing(after) {
                    true => Ok(folded.text),
                    false => {
                        let found = excerpt(after.trim());
                        Err(SkillError::at(
                            self.line() - 1,
                            Problem::Unexpected { found },
                        ))
                    }
                };
            }
            match self.peek() {
                Some(line) if line.trim().is_empty() || line.starts_with([' ', '\t']) => {
                    rest = line.trim_start();
                }
                _ => return Err(open),
            }
            self.at += 1;
        }
    }

    fn block(&mut self, header: &str) -> Result<String, SkillError> {
        let (signs, _) = uncommented(header);
        let mut explicit = None;
        let mut chomps = 0;
        for sign in signs.chars().skip(1) {
            match sign {
                '1'..='9' if explicit.is_none() => explicit = sign.to_digit(10),
                '+' | '-' if chomps == 0 => chomps = 1,
                _ => {
                    let found = excerpt(signs);
                    let line = self.line() - 1;
                    return Err(SkillError::at(line, Problem::Block { found }));
                }
            }
        }
        let mut indent = explicit.map(|indent| indent as usize);
        let mut lines = Vec::new();
        while let Some(line) = self.peek() {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            if line.trim().is_empty() {
                lines.push("");
            } else if spaces > 0 && spaces >= indent.unwrap_or(1) {
                lines.push(&line[*indent.get_or_insert(spaces)..]);
            } else {
                break;
            }
            self.at += 1;
        }
        Ok(match header.starts_with('|') {
            true => lines.join("\n"),
            false => fold_block(&lines),
        })
    }
}

/// Lines that become one text: a line end is a space, and an empty line a line end.
#[derive(Default)]
struct Folded {
    text: String,
    /// How much of the text was escaped white space, which stays.
    keep: usize,
    /// Empty lines that are not in the text yet.
    empty: usize,
    /// The next line follows without a space.
    joined: bool,
    begun: bool,
}

impl Folded {
    fn line(&mut self, line: &str) {
        self.piece(&Piece {
            text: line.to_owned(),
            ..Piece::default()
        });
    }

    fn piece(&mut self, piece: &Piece<'_>) {
        let ends = piece.after.is_some();
        if self.begun && piece.text.is_empty() && !ends && !piece.joined {
            self.empty += 1;
            return;
        }
        if self.begun && !self.joined {
            let end = self.text.trim_end().len().max(self.keep);
            self.text.truncate(end);
            match self.empty {
                0 => self.text.push(' '),
                empty => self.text.extend(core::iter::repeat_n('\n', empty)),
            }
        }
        self.begun = true;
        self.empty = 0;
        self.joined = piece.joined;
        if piece.keep > 0 {
            self.keep = self.text.len() + piece.keep;
        }
        self.text.push_str(&piece.text);
    }
}

/// What one line has of a text in quotes.
#[derive(Default)]
struct Piece<'a> {
    text: String,
    /// How much of it stays whatever follows.
    keep: usize,
    /// The line's end was escaped.
    joined: bool,
    /// What follows the closing quote; none when there was none.
    after: Option<&'a str>,
}

fn single(line: &str) -> Piece<'_> {
    let mut piece = Piece::default();
    let mut rest = line;
    while let Some((text, after)) = rest.split_once('\'') {
        piece.text.push_str(text);
        match after.strip_prefix('\'') {
            Some(more) => {
                piece.text.push('\'');
                rest = more;
            }
            None => {
                piece.after = Some(after);
                return piece;
            }
        }
    }
    piece.text.push_str(rest);
    piece
}

/// Gives what follows a backslash when that means nothing.
fn double(line: &str) -> Result<Piece<'_>, &str> {
    let mut piece = Piece::default();
    let mut rest = line;
    while let Some(at) = rest.find(['"', '\\']) {
        piece.text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if rest[at..].starts_with('"') {
            piece.after = Some(after);
            return Ok(piece);
        }
        if after.is_empty() {
            piece.joined = true;
            return Ok(piece);
        }
        rest = escape(after, &mut piece.text)?;
        piece.keep = piece.text.len();
    }
    piece.text.push_str(rest);
    Ok(piece)
}

/// Adds what an escape stands for, and gives what follows it.
fn escape<'a>(after: &'a str, text: &mut String) -> Result<&'a str, &'a str> {
    let mut chars = after.chars();
    let sign = chars.next().unwrap_or_default();
    let digits = match sign {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    };
    let shown = || after.get(..=digits).unwrap_or(after);
    let rest = chars.as_str();
    text.push(match sign {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        't' | '\t' => '\t',
        'n' => '\n',
        'v' => '\u{b}',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        ' ' | '"' | '/' | '\\' => sign,
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        'x' | 'u' | 'U' => {
            let digits = rest.get(..digits).ok_or_else(shown)?;
            // `from_str_radix` would take a sign.
            let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
            let code = is_hex.then(|| u32::from_str_radix(digits, 16).ok());
            let found = code.flatten().and_then(char::from_u32);
            text.push(found.ok_or_else(shown)?);
            return Ok(&rest[digits.len()..]);
        }
        _ => return Err(after.get(..sign.len_utf8()).unwrap_or(after)),
    });
    Ok(rest)
}

/// Joins the lines of a `>` block: those that are indented further stay lines.
fn fold_block(lines: &[&str]) -> String {
    let is_further = |line: &str| line.starts_with([' ', '\t']);
    let mut text = String::new();
    let mut before: Option<&str> = None;
    let mut empty = 0;
    for &line in lines {
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if let Some(before) = before {
            match (is_further(before) || is_further(line), empty) {
                (false, 0) => text.push(' '),
                (further, empty) => {
                    let ends = empty + usize::from(further);
                    text.extend(core::iter::repeat_n('\n', ends));
                }
            }
        }
        text.push_str(line);
        (before, empty) = (Some(line), 0);
    }
    text
}

/// Splits `key: value`; the key may be in quotes.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (key, rest) = match quote {
        Some(quote) => {
            let (key, rest) = line[1..].split_once(quote)?;
            (key, rest.trim_start().strip_prefix(':')?)
        }
        None => {
            let mut colons = line.match_indices(':').map(|(at, _)| at);
            let ends = |at: &usize| {
                let after = line[at + 1..].chars().next();
                after.is_none_or(|c| c == ' ' || c == '\t')
            };
            let at = colons.find(ends)?;
            (line[..at].trim_end(), &line[at + 1..])
        }
    };
    let is_list = key == "-" || key.starts_with("- ");
    let is_key = !key.is_empty() && !is_list && (quote.is_some() || !key.starts_with(is_sign));
    (is_key && (rest.is_empty() || rest.starts_with([' ', '\t']))).then_some((key, rest))
}

fn is_sign(c: char) -> bool {
    SIGNS.contains(c)
}

/// The part before a comment, and whether there was one.
fn uncommented(text: &str) -> (&str, bool) {
    let mut hashes = text.match_indices('#').map(|(at, _)| at);
    let begins = |at: &usize| *at == 0 || text[..*at].ends_with([' ', '\t']);
    match hashes.find(begins) {
        Some(at) => (text[..at].trim_end(), true),
        None => (text, false),
    }
}

/// Empty, or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}
