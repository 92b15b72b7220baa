//! Completions for fish.

use super::quoted;
use crate::command::table::{COMMANDS, GLOBAL, Opt, Takes, names};
use std::fmt::Write;

const HEAD: &str = "# Completes command lines of openpistacrab in fish.
# Made by `openpistacrab completions fish`.

complete -c openpistacrab -f
";

/// The script.
pub(super) fn script() -> String {
    let mut out = HEAD.to_owned();
    for spec in COMMANDS {
        let about = quoted(spec.about);
        let _ = writeln!(
            out,
            "complete -c openpistacrab -n __fish_use_subcommand -a {} -d {about}",
            spec.name
        );
    }
    let all: Vec<&str> = names().collect();
    let all = all.join(" ");
    let _ = writeln!(
        out,
        "complete -c openpistacrab -n __fish_use_subcommand -a help -d 'show help'\n\
         complete -c openpistacrab -n '__fish_seen_subcommand_from help' -a '{all}'"
    );
    for opt in GLOBAL {
        option(&mut out, "", opt);
    }
    for spec in COMMANDS {
        let within = format!("__fish_seen_subcommand_from {}", spec.name);
        for opt in spec.options {
            option(&mut out, &format!(" -n '{within}'"), opt);
        }
        let offers = match spec.operand {
            Takes::Nothing | Takes::Text => continue,
            Takes::File => format!("'{within}' -F"),
            Takes::Folder => format!("'{within}' -a '(__fish_complete_directories)'"),
            Takes::OneOf(words) => {
                let words = words.join(" ");
                format!("'{within}; and not __fish_seen_subcommand_from {words}' -a '{words}'")
            }
        };
        let _ = writeln!(out, "complete -c openpistacrab -n {offers}");
    }
    out
}

fn option(out: &mut String, within: &str, opt: &Opt) {
    let short = opt.short.map(|c| format!(" -s {c}")).unwrap_or_default();
    let value = match opt.takes {
        Takes::Nothing => String::new(),
        Takes::Text => " -x".to_owned(),
        Takes::File => " -r -F".to_owned(),
        Takes::Folder => " -x -a '(__fish_complete_directories)'".to_owned(),
        Takes::OneOf(words) => format!(" -x -a '{}'", words.join(" ")),
    };
    let (long, about) = (opt.long, quoted(opt.about));
    let _ = writeln!(
        out,
        "complete -c openpistacrab{within}{short} -l {long}{value} -d {about}"
    );
}
