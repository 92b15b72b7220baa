//! Making text of others harmless to a terminal.
//!
//! A model's reply or a command's output may hold escape sequences that move the cursor, rename
//! the window, write to the clipboard or hide what a person is about to permit. On a terminal
//! every control character but newline and tab is shown instead of obeyed, and so are the
//! characters that turn the direction of writing around.

use std::borrow::Cow;

/// `text` with every control character but newline and tab replaced by a visible sign. A carriage
/// return before a newline is dropped.
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_steering) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            c if is_steering(c) => safe.push(sign(c)),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// `text` on one line: neutralised, with runs of white space as single spaces.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    neutralise(&words.join(" ")).into_owned()
}

fn is_steering(c: char) -> bool {
    let turns_direction = matches!(c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns_direction || (c.is_control() && c != '\n' && c != '\t')
}

/// The Unicode picture of a C0 control character; U+FFFD for everything else.
fn sign(c: char) -> char {
    match u32::from(c) {
        code @ 0..=0x1f => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::{neutralise, one_line};
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(neutralise("a\x1b[2Jb"), "a␛[2Jb");
        assert_eq!(neutralise("\x1b]0;title\x07"), "␛]0;title␇");
        assert_eq!(neutralise("c1 \u{9b}2J"), "c1 \u{fffd}2J");
        assert_eq!(neutralise("del\x7f"), "del␡");
    }

    #[test]
    fn a_carriage_return_cannot_overwrite_a_line() {
        assert_eq!(neutralise("rm -rf /\rls"), "rm -rf /␍ls");
        assert_eq!(neutralise("dos\r\nlines\r\n"), "dos\nlines\n");
    }

    #[test]
    fn direction_cannot_be_turned() {
        assert_eq!(neutralise("a\u{202e}b\u{2066}c"), "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn plain_text_is_not_touched() {
        let text = "line\n\ttab – ünïcödé 👩‍👩‍👧";
        assert!(matches!(neutralise(text), std::borrow::Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn one_line_has_one_line() {
        assert_eq!(one_line("  a\n b\t\tc\r\n\x1b"), "a b c ␛");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_is_left(text in ".*") {
            let safe = neutralise(&text);
            prop_assert!(!safe.chars().any(super::is_steering));
            prop_assert_eq!(neutralise(&safe).into_owned(), safe.into_owned());
        }
    }
}
