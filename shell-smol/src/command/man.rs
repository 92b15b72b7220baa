//! `man`: prints the manual page, made from the table of commands, in the macros of man(7).

use super::table::{ABOUT, COMMANDS, EXAMPLES, GLOBAL, Opt, PROGRAM, Spec, VARIABLES};
use super::{Error, print};
use std::fmt::Write;
use std::process::ExitCode;

/// What the program is, in more words than the table has.
const DESCRIPTION: &str = "\
It reads a message, lets a language model reason over tools, runs commands, and answers: in a terminal, \
over QUIC, and in Telegram. Whatever it decides is committed before it acts, so that no message is lost \
and no command runs twice, also when the power fails.

Without configuration it takes the first of a key in the environment, an Ollama that answers on its usual \
port, and a small model inside the program.";

/// Where things are kept.
const FILES: &[(&str, &str)] = &[
    (
        "~/.openpistacrab/config.toml",
        "the configuration; each key is explained in it, as init writes it",
    ),
    (
        "~/.openpistacrab/memory.db",
        "the journal: everything that was said and done, an SQLite database",
    ),
    (
        "~/.openpistacrab/workspace",
        "the directory that commands run in, and that skills are found in",
    ),
    (
        "~/.config/systemd/user/openpistacrab.service",
        "the unit for systemd, as init --systemd writes it",
    ),
    (
        "~/.config/openpistacrab.env",
        "variables for that unit, one NAME=value a line",
    ),
];

const STATUS: &[(&str, &str)] = &[
    ("0", "it was done"),
    ("1", "it failed: the message says why, and what to do"),
    ("2", "the command line or the configuration is wrong"),
];

/// Prints the page.
///
/// # Errors
/// When the output cannot be written.
pub fn run() -> Result<ExitCode, Error> {
    print(&page())
}

fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!(
        ".\\\" Made by `{PROGRAM} man`.\n.TH {} 1 \"\" \"{PROGRAM} {version}\" \"User Commands\"\n",
        PROGRAM.to_uppercase()
    );
    let about = escaped(ABOUT);
    let _ = writeln!(out, ".SH NAME\n{PROGRAM} \\- {about}");
    let _ = writeln!(
        out,
        ".SH SYNOPSIS\n.B {PROGRAM}\n[\\fIOPTIONS\\fR]\n\\fICOMMAND\\fR"
    );
    out.push_str(".SH DESCRIPTION\n");
    prose(&mut out, DESCRIPTION);
    out.push_str(".SH OPTIONS\nThey go before or after the command.\n");
    options(&mut out, GLOBAL);
    out.push_str(".SH COMMANDS\n");
    for spec in COMMANDS {
        command(&mut out, spec);
    }
    out.push_str(".SH ENVIRONMENT\n");
    for (name, about) in VARIABLES {
        item(&mut out, &bold(name), about);
    }
    out.push_str(".SH FILES\n");
    for (name, about) in FILES {
        item(&mut out, &format!("\\fI{}\\fR", escaped(name)), about);
    }
    out.push_str(".SH EXIT STATUS\n");
    for (status, about) in STATUS {
        item(&mut out, &bold(status), about);
    }
    out.push_str(".SH EXAMPLES\n");
    prose(&mut out, EXAMPLES.trim_start_matches("Examples:\n"));
    out
}

fn command(out: &mut String, spec: &Spec) {
    let head = format!("{} {}", spec.name, spec.usage);
    let _ = writeln!(out, ".SS \"{}\"", escaped(head.trim_end()));
    let mut about = spec.about.to_owned();
    about[..1].make_ascii_uppercase();
    let _ = writeln!(out, "{}.", escaped(&about));
    options(out, spec.options);
    out.push_str(".PP\n");
    prose(out, spec.more);
}

fn options(out: &mut String, options: &[Opt]) {
    for opt in options {
        let forms: Vec<String> = opt.forms().map(|form| bold(&form)).collect();
        let mut tag = forms.join(", ");
        if let Some(value) = opt.value {
            let _ = write!(tag, " \\fI{value}\\fR");
        }
        item(out, &tag, opt.about);
    }
}

fn item(out: &mut String, tag: &str, about: &str) {
    let _ = writeln!(out, ".TP\n{tag}\n{}", escaped(about));
}

/// Paragraphs; lines that are indented stay as they are.
fn prose(out: &mut String, text: &str) {
    let mut listing = false;
    for line in text.lines() {
        let indented = line.starts_with("  ");
        match (listing, indented) {
            (false, true) => out.push_str(".PP\n.RS 4\n.nf\n"),
            (true, false) => out.push_str(".fi\n.RE\n"),
            _ => {}
        }
        listing = indented;
        match line.trim() {
            "" => out.push_str(".PP\n"),
            line => drop(writeln!(out, "{}", escaped(line))),
        }
    }
    if listing {
        out.push_str(".fi\n.RE\n");
    }
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// A text with nothing in it that the formatter would take for its own.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('~', "\\(ti")
        .replace('^', "\\(ha")
        .replace('"', "\\(dq")
        .replace('…', "...");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}
