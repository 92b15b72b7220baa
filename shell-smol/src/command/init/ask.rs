//! Questions at the terminal. Ctrl-C and Ctrl-D leave, from every one.

use super::leave::NOTHING;
use crate::command::Error;
use crate::secret::Secret;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::termios::{tcgetattr, tcsetattr};
use rustix::time::Timespec;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{self, BufRead, IsTerminal, Write};

/// A person at a terminal.
pub(super) struct Asker {
    editor: Editor<(), MemHistory>,
}

impl Asker {
    /// The one at the standard streams; none when these are no terminal.
    pub(super) fn at_terminal() -> Option<Asker> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let editor = Editor::with_history(Config::default(), MemHistory::new()).ok()?;
        Some(Asker { editor })
    }

    /// A line, without the blanks around it; what stands in brackets when nothing was typed.
    pub(super) fn line(&mut self, question: &str, default: &str) -> Result<String, Error> {
        let prompt = match default {
            "" => format!("{question}: "),
            default => format!("{question} [{default}]: "),
        };
        loop {
            match self.editor.readline(&prompt) {
                Ok(line) if line.trim().is_empty() => return Ok(default.to_owned()),
                Ok(line) => return Ok(line.trim().to_owned()),
                // The window has another size.
                Err(ReadlineError::Signal(_)) => {}
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Err(left()),
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// A line that fits, asked for until one does. `fits` says what is wrong.
    pub(super) fn fitting(
        &mut self,
        question: &str,
        default: &str,
        fits: impl Fn(&str) -> Result<(), String>,
    ) -> Result<String, Error> {
        loop {
            let line = self.line(question, default)?;
            match fits(&line) {
                Ok(()) => return Ok(line),
                Err(wrong) => self.say(&format!("  {wrong}")),
            }
        }
    }

    /// Yes or no.
    pub(super) fn yes(&mut self, question: &str, default: bool) -> Result<bool, Error> {
        let choice = if default { "Y/n" } else { "y/N" };
        loop {
            let line = self.line(question, choice)?;
            match line.to_ascii_lowercase().as_str() {
                "y/n" => return Ok(default),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("  y or n"),
            }
        }
    }

    /// A secret, which is not shown; none when nothing was typed.
    pub(super) fn hidden(&mut self, question: &str) -> Result<Option<Secret>, Error> {
        loop {
            let typed = typed_unseen(question)?;
            let secret = Secret::new(&typed);
            match secret.fault() {
                _ if typed.trim().is_empty() => return Ok(None),
                None => return Ok(Some(secret)),
                Some(fault) => self.say(&format!("  what you typed {fault}: once more")),
            }
        }
    }

    /// Waits a moment for the person to press Enter.
    pub(super) fn entered(&mut self) -> Result<bool, Error> {
        let stdin = io::stdin();
        let mut waits = [PollFd::new(&stdin, PollFlags::IN)];
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        match poll(&mut waits, Some(&moment)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Err(error) => Err(lost(&error)),
            Ok(_) => {
                let mut line = String::new();
                match stdin.read_line(&mut line) {
                    Ok(0) => Err(left()),
                    Ok(_) => Ok(true),
                    Err(error) => Err(lost(&error)),
                }
            }
        }
    }

    /// Shows a line.
    pub(super) fn say(&mut self, text: &str) {
        // A terminal that is gone is noticed at the next question.
        let _ = writeln!(io::stdout(), "{text}");
    }
}

fn left() -> Error {
    Error::left(NOTHING)
}

fn lost(error: &dyn std::fmt::Display) -> Error {
    Error::failed(format!(
        "cannot read what is typed: {error}; use options instead, see openpistacrab init --help"
    ))
}

/// Puts the terminal back when dropped.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Reads a line key by key, so that nothing is echoed and Ctrl-C does not leave the terminal mute.
fn typed_unseen(question: &str) -> Result<String, Error> {
    let found = tcgetattr(io::stdin()).map_err(|error| lost(&error))?;
    let mut mute = found.clone();
    mute.local_modes -=
        LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
    mute.special_codes[SpecialCodeIndex::VMIN] = 1;
    mute.special_codes[SpecialCodeIndex::VTIME] = 0;
    let restored = Restored(found);
    tcsetattr(io::stdin(), OptionalActions::Now, &mute).map_err(|error| lost(&error))?;
    let mut out = io::stdout();
    let _ = write!(out, "{question}: ").and_then(|()| out.flush());
    let line = unseen_line(io::stdin().lock());
    drop(restored);
    let _ = writeln!(out);
    line
}

fn unseen_line(keys: impl BufRead) -> Result<String, Error> {
    let mut line = Vec::new();
    for key in keys.bytes() {
        match key.map_err(|error| lost(&error))? {
            b'\r' | b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
            // Ctrl-C, Ctrl-D.
            3 | 4 => return Err(left()),
            // Backspace, by either name, and Ctrl-U.
            8 | 127 => drop(line.pop()),
            21 => line.clear(),
            byte => line.push(byte),
        }
    }
    Err(left())
}

#[cfg(test)]
mod tests {
    use super::unseen_line;

    #[test]
    fn what_is_not_shown_can_still_be_mended() {
        let typed = |keys: &str| unseen_line(keys.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(
            typed("a\u{15}sk-x\u{7f}y\u{8}z\rrest"),
            Ok("sk-z".to_owned())
        );
        assert_eq!(typed("\u{7f}\n"), Ok(String::new()));
        for leaving in ["sk\u{3}\r", "sk\u{4}\r", "sk"] {
            assert_eq!(typed(leaving), Err("left; nothing was written".to_owned()));
        }
    }
}
