//! What a person sees on a terminal.
//!
//! [`clean`] keeps text that others wrote from steering the terminal, [`markdown`] makes a reply
//! readable, [`progress`] says that something goes on, and [`prompt`] words a question. All of it
//! is text in and text out; [`progress::Spinner`] and [`writer`] alone write.

pub mod clean;
pub mod editor;
pub mod markdown;
pub mod progress;
pub mod prompt;
pub mod writer;

use rustix::fd::AsFd;
use std::io::IsTerminal;

/// Columns of a terminal that does not say how wide it is.
const USUAL_COLUMNS: usize = 80;

/// What one of the standard streams can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// A person looks at it; otherwise it is a pipe or a file.
    pub terminal: bool,
    /// Styles may be used.
    pub color: bool,
    /// Columns of a line.
    pub columns: usize,
}

impl Screen {
    /// A pipe or a file.
    pub const PIPE: Screen = Screen {
        terminal: false,
        color: false,
        columns: USUAL_COLUMNS,
    };

    /// Looks at a stream. Styles are left out when `NO_COLOR` is set to anything, or the terminal
    /// is a dumb one.
    pub fn of(stream: &(impl AsFd + IsTerminal)) -> Screen {
        if !stream.is_terminal() {
            return Screen::PIPE;
        }
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Screen {
            terminal: true,
            color: !dumb && set("NO_COLOR").is_none(),
            columns: columns(stream),
        }
    }

    /// `text` as it may be written here: as it is into a pipe, neutralised on a terminal.
    pub fn safe<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        match self.terminal {
            true => clean::neutralise(text),
            false => text.into(),
        }
    }

    /// `text` in faint letters, where styles may be used. The text must be neutralised already.
    pub fn faint(&self, text: &str) -> String {
        match self.color {
            true => format!("\x1b[2m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

fn columns(stream: &impl AsFd) -> usize {
    rustix::termios::tcgetwinsize(stream)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0)
        .unwrap_or(USUAL_COLUMNS)
}
