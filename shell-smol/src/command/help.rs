//! Help, made from the table of commands.

use super::table::{ABOUT, COMMANDS, EXAMPLES, GLOBAL, Opt, PROGRAM, Spec, VARIABLES, names};
use std::fmt::Write;

/// Columns of the names, unless one is longer.
const NAMES: usize = 24;

/// What to print when there is no command.
pub(super) fn short() -> String {
    let names: Vec<&str> = names().collect();
    format!(
        "no command given\nusage: openpistacrab [OPTIONS] COMMAND\ncommands: {}",
        names.join(", ")
    )
}

/// The help of one command, or of the program.
pub(super) fn of(spec: Option<&Spec>) -> String {
    match spec {
        Some(spec) => command(spec),
        None => program(),
    }
}

fn program() -> String {
    let mut out =
        format!("{PROGRAM} {ABOUT}.\n\nUsage: {PROGRAM} [OPTIONS] COMMAND\n\nCommands:\n");
    for spec in COMMANDS {
        line(&mut out, spec.name, spec.about);
    }
    out.push_str("\nOptions, before or after the command:\n");
    options(&mut out, GLOBAL);
    out.push_str("\nEnvironment:\n");
    for (name, about) in VARIABLES {
        line(&mut out, name, about);
    }
    let _ = write!(out, "\n{EXAMPLES}");
    out
}

fn command(spec: &Spec) -> String {
    let usage = format!("openpistacrab [OPTIONS] {} {}", spec.name, spec.usage);
    let usage = usage.trim_end();
    let about = spec.about;
    let mut out = format!("openpistacrab {}: {about}\n\nUsage: {usage}\n", spec.name);
    if !spec.options.is_empty() {
        out.push_str("\nOptions:\n");
        options(&mut out, spec.options);
    }
    out.push_str("\nOptions of every command:\n");
    options(&mut out, GLOBAL);
    let _ = write!(out, "\n{}", spec.more);
    out
}

fn options(out: &mut String, options: &[Opt]) {
    let written = |opt: &Opt| {
        let short = opt.short.map_or("    ".to_owned(), |c| format!("-{c}, "));
        let value = opt.value.map(|value| format!(" {value}"));
        format!("{short}--{}{}", opt.long, value.unwrap_or_default())
    };
    let names: Vec<String> = options.iter().map(written).collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(NAMES);
    for (name, opt) in names.iter().zip(options) {
        let _ = writeln!(out, "  {name:<width$}  {}", opt.about);
    }
}

fn line(out: &mut String, name: &str, about: &str) {
    let _ = writeln!(out, "  {name:<NAMES$}  {about}");
}
