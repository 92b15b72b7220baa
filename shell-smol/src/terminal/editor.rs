//! The line editor, on a thread of its own.
//!
//! Its prompt stands all the time; [`Printer`] writes above it. The history is kept in a file that
//! its owner alone can read.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor, ExternalPrinter};
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What stands before what is typed.
pub const PROMPT: &str = "openpista> ";
/// How many lines the history keeps.
const HISTORY: usize = 1_000;

/// What the person did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// They entered a line; several, if they were pasted.
    Line(String),
    /// They pressed Ctrl-C.
    Interrupt,
    /// They pressed Ctrl-D, or the terminal is gone.
    End,
}

/// Writes above the prompt.
pub struct Printer(Box<dyn ExternalPrinter + Send>);

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Printer")
    }
}

impl Printer {
    /// Writes a text, and a line break if it does not end with one.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        let text = match text.ends_with('\n') {
            true => text.to_owned(),
            false => format!("{text}\n"),
        };
        // The editor is gone once the person has left; then there is no prompt to keep clear of.
        self.0.print(text.clone()).or_else(|_| {
            let mut out = io::stdout();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }
}

/// Starts the editor. It ends with [`Typed::End`], or with the line `/quit`, which is still sent.
///
/// # Errors
/// When the terminal cannot be used.
pub fn start(history: PathBuf) -> io::Result<(async_channel::Receiver<Typed>, Printer)> {
    let config = Config::builder()
        .max_history_size(HISTORY)
        .map_err(io::Error::other)?
        .history_ignore_space(true)
        .build();
    let mut editor: Editor<(), FileHistory> =
        Editor::with_config(config).map_err(io::Error::other)?;
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    // Without a history the editor works all the same.
    let kept =
        private(&history).and_then(|()| editor.load_history(&history).map_err(io::Error::other));
    if let Err(error) = kept {
        tracing::warn!("no history in {}: {error}", history.display());
    }
    // The reader must never wait for the one who prints, or each would wait for the other.
    let (sender, typed) = async_channel::unbounded();
    let read = move || {
        loop {
            let typed = read(&mut editor, &history);
            let last = matches!(&typed, Typed::End)
                || matches!(&typed, Typed::Line(line) if is_farewell(line));
            if sender.send_blocking(typed).is_err() || last {
                break;
            }
        }
    };
    std::thread::Builder::new()
        .name("editor".to_owned())
        .spawn(read)?;
    Ok((typed, Printer(Box::new(printer))))
}

/// The person wants to leave.
pub fn is_farewell(line: &str) -> bool {
    matches!(line.trim(), "/quit" | "/exit")
}

fn read(editor: &mut Editor<(), FileHistory>, history: &Path) -> Typed {
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                if editor.add_history_entry(&line).unwrap_or(false) {
                    let _ = editor.append_history(history);
                }
                return Typed::Line(line);
            }
            Err(ReadlineError::Interrupted) => return Typed::Interrupt,
            // The window has another size.
            Err(ReadlineError::Signal(_)) => {}
            Err(_) => return Typed::End,
        }
    }
}

/// Makes the file, if there is none, for its owner alone.
fn private(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    made.map(drop)
}

/// How the terminal was before the editor changed it.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Puts the terminal back when dropped: the editor's thread may not come to it.
#[derive(Debug)]
pub struct Restored(());

impl Restored {
    /// Remembers how the terminal is now.
    pub fn new() -> Restored {
        if let Ok(mut found) = FOUND.lock() {
            *found = tcgetattr(io::stdin()).ok();
        }
        Restored(())
    }
}

impl Default for Restored {
    fn default() -> Restored {
        Restored::new()
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was found. Does nothing the second time.
pub fn restore() {
    let found = FOUND.lock().ok().and_then(|mut found| found.take());
    if let Some(found) = found {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &found);
        let mut out = io::stdout();
        // Ends bracketed paste, which the editor switches on.
        let _ = out.write_all(b"\x1b[?2004l").and_then(|()| out.flush());
    }
}
