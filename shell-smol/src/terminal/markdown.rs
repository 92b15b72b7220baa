//! Replies in Markdown, for a terminal and for a pipe.
//!
//! Code blocks come out verbatim, so that what is copied from the screen is what was meant; prose
//! is wrapped to the width of the terminal. Into a pipe goes the text as it is, except that a
//! reply that is one code block and nothing else loses its fence: a command's output stays clean.

use super::Screen;
use super::clean::neutralise;
use termimad::MadSkin;

/// How much room the narrowest cell of a table takes, its border included.
const CELL_COLUMNS: usize = 4;

/// A stretch of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Text with inline formatting.
    Prose(&'a str),
    /// The lines between two fences.
    Code(&'a str),
}

/// `reply` as it is written to `screen`, ending with a newline unless it is empty.
pub fn render(reply: &str, screen: Screen) -> String {
    let text = match screen.terminal {
        true => rendered(&neutralise(reply), screen),
        false => sole_code(reply).unwrap_or(reply).to_owned(),
    };
    match text.is_empty() || text.ends_with('\n') {
        true => text,
        false => text + "\n",
    }
}

fn rendered(text: &str, screen: Screen) -> String {
    let skin = match screen.color {
        true => MadSkin::default(),
        false => MadSkin::no_style(),
    };
    let mut out = String::with_capacity(text.len() * 2);
    for piece in pieces(text) {
        match piece {
            Piece::Prose(prose) if has_wide_table(prose, screen.columns) => out.push_str(prose),
            Piece::Prose(prose) => {
                out.push_str(&skin.text(prose, Some(screen.columns)).to_string());
            }
            Piece::Code(code) if screen.color => {
                for line in code.lines() {
                    out.push_str(&format!("\x1b[36m{line}\x1b[0m\n"));
                }
            }
            Piece::Code(code) => out.push_str(code),
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    out
}

/// A table has more columns than there is room for. Termimad would leave some out, and panics where
/// it wraps a cell of what is left: so it is shown as it was written.
fn has_wide_table(prose: &str, columns: usize) -> bool {
    let rows = prose
        .lines()
        .filter(|line| line.trim_start().starts_with('|'));
    let cells = rows.map(|row| row.matches('|').count()).max();
    cells.is_some_and(|cells| cells * CELL_COLUMNS + 1 > columns)
}

/// The content of the one code block that `text` consists of, if it does.
fn sole_code(text: &str) -> Option<&str> {
    let mut pieces = pieces(text)
        .into_iter()
        .filter(|piece| !matches!(piece, Piece::Prose(prose) if prose.trim().is_empty()));
    match (pieces.next(), pieces.next()) {
        (Some(Piece::Code(code)), None) => Some(code),
        _ => None,
    }
}

/// Splits a text at its fences. A fence that is never closed reaches to the end.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut fence: Option<(char, usize)> = None;
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let (here, next) = (at, at + line.len());
        at = next;
        match fence {
            None => {
                let Some(opened) = opening(line) else {
                    continue;
                };
                if start < here {
                    pieces.push(Piece::Prose(&text[start..here]));
                }
                (fence, start) = (Some(opened), next);
            }
            Some(opened) if closes(line, opened) => {
                pieces.push(Piece::Code(&text[start..here]));
                (fence, start) = (None, next);
            }
            Some(_) => {}
        }
    }
    match fence {
        Some(_) => pieces.push(Piece::Code(&text[start..])),
        None if start < text.len() => pieces.push(Piece::Prose(&text[start..])),
        None => {}
    }
    pieces
}

/// The character and length of the fence that `line` opens.
fn opening(line: &str) -> Option<(char, usize)> {
    let (mark, length, rest) = fence_marks(line)?;
    // Backticks after a backtick fence make it inline code.
    let is_fence = length >= 3 && !(mark == '`' && rest.contains('`'));
    is_fence.then_some((mark, length))
}

fn closes(line: &str, (mark, length): (char, usize)) -> bool {
    fence_marks(line).is_some_and(|(other, marks, rest)| {
        other == mark && marks >= length && rest.trim().is_empty()
    })
}

fn fence_marks(line: &str) -> Option<(char, usize, &str)> {
    let text = line.trim_start_matches(' ');
    let mark = text.chars().next().filter(|mark| "`~".contains(*mark))?;
    let rest = text.trim_start_matches(mark);
    let indent = line.len() - text.len();
    (indent <= 3).then_some((mark, text.len() - rest.len(), rest))
}

#[cfg(test)]
mod tests {
    use super::{Piece, pieces, render};
    use crate::terminal::Screen;
    use proptest::prelude::*;

    const PLAIN: Screen = Screen {
        terminal: true,
        color: false,
        columns: 20,
    };

    #[test]
    fn a_pipe_gets_the_text_as_it_is() {
        let reply = "# Title\n\n```\ncode\n```\n\n**bold**\x1b[1m";
        assert_eq!(render(reply, Screen::PIPE), format!("{reply}\n"));
        assert_eq!(render("", Screen::PIPE), "");
    }

    #[test]
    fn a_table_that_is_too_wide_is_shown_as_it_was_written() {
        let narrow = Screen {
            columns: 9,
            ..PLAIN
        };
        let table = "||``||\n|~~~> x\n";
        assert_eq!(render(table, narrow), table);
        let table = "|a|b|c|d|e|\n|-|-|-|-|-|\n|1|2|3|4|5|\n";
        assert_eq!(render(table, PLAIN), table, "no column is left out");
        assert_ne!(
            render("|a|b|\n|-|-|\n|1|2|\n", PLAIN),
            "|a|b|\n|-|-|\n|1|2|\n"
        );
    }

    #[test]
    fn a_reply_that_is_one_code_block_loses_its_fence_in_a_pipe() {
        assert_eq!(render("```\nLinux\n```", Screen::PIPE), "Linux\n");
        assert_eq!(
            render("\n````text\n```\na\n````\n\n", Screen::PIPE),
            "```\na\n"
        );
        assert_eq!(render("```\ncut off", Screen::PIPE), "cut off\n");
        let two = "```\na\n```\n```\nb\n```\n";
        assert_eq!(render(two, Screen::PIPE), two);
    }

    #[test]
    fn code_is_verbatim_on_a_terminal() {
        let line = "let x = **not bold** // a line that is longer than the screen is wide";
        let shown = render(
            &format!("Look:\n```rust\n{line}\n    indented\n```\nDone."),
            PLAIN,
        );
        assert_eq!(shown, format!("Look:\n{line}\n    indented\nDone.\n"));
    }

    #[test]
    fn prose_is_wrapped_and_formatted_on_a_terminal() {
        let shown = render(
            "Some **bold** words that do not fit on a single line",
            PLAIN,
        );
        assert!(shown.contains("Some bold words"), "{shown:?}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 20),
            "{shown:?}"
        );
    }

    #[test]
    fn a_reply_cannot_steer_the_terminal() {
        let color = Screen {
            color: true,
            ..PLAIN
        };
        for screen in [PLAIN, color] {
            let shown = render("a\x1b[2J\n```\nb\x1b]52;c;eA==\x07\n```\n", screen);
            assert!(
                !shown.contains("\x1b[2J") && !shown.contains("\x1b]52"),
                "{shown:?}"
            );
            assert!(
                shown.contains("␛[2J") && shown.contains("␛]52"),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn fences_follow_commonmark() {
        use Piece::{Code, Prose};
        assert_eq!(
            pieces("a\n~~~\nb\n```\n~~~\nc"),
            [Prose("a\n"), Code("b\n```\n"), Prose("c")]
        );
        assert_eq!(pieces("```not`a fence\n"), [Prose("```not`a fence\n")]);
        assert_eq!(pieces("    ```\n"), [Prose("    ```\n")]);
        assert_eq!(pieces("```\n``` x\n```"), [Code("``` x\n")]);
    }

    proptest! {
        #[test]
        fn any_reply_renders(reply in "(?s)([`~]{0,4}[a-z|*#>\\- \n]{0,6}.?){0,30}", columns in 1usize..90) {
            for color in [false, true] {
                render(&reply, Screen { terminal: true, color, columns });
            }
            render(&reply, Screen::PIPE);
        }
    }
}
