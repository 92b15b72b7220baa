//! Completions for zsh, to be put into a folder of `fpath` or sourced.

use super::quoted;
use crate::command::table::{COMMANDS, GLOBAL, Opt, Takes, names};
use std::fmt::Write;

const HEAD: &str = r"#compdef openpistacrab
# Completes command lines of openpistacrab in zsh.
# Made by `openpistacrab completions zsh`.

_openpistacrab() {
    local curcontext=$curcontext state line
    local -a commands
    typeset -A opt_args
";

const TAIL: &str = r#"    esac
}

# Sourced, it makes itself known; out of fpath, it is called.
if [[ ${funcstack[1]-} == _openpistacrab ]]; then
    _openpistacrab "$@"
elif (( $+functions[compdef] )); then
    compdef _openpistacrab openpistacrab
fi
"#;

/// The script.
pub(super) fn script() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("    commands=(\n");
    for spec in COMMANDS {
        let about = quoted(&format!("{}:{}", spec.name, spec.about));
        let _ = writeln!(out, "        {about}");
    }
    out.push_str("        'help:show help, for the program or a command'\n    )\n");
    arguments(
        &mut out,
        "    ",
        "-C ",
        GLOBAL,
        &["1: :->command", "*:: :->rest"],
    );
    out.push_str(
        "    case $state in\n        command) _describe -t commands command commands ;;\n        \
         rest)\n            case $words[1] in\n",
    );
    for spec in COMMANDS {
        let _ = writeln!(out, "                {})", spec.name);
        let operand = operand(spec.operand);
        let all = spec.options.iter().chain(GLOBAL);
        arguments(
            &mut out,
            "                    ",
            "",
            all,
            &[operand.as_str()],
        );
        out.push_str("                    ;;\n");
    }
    let all: Vec<&str> = names().collect();
    let _ = writeln!(
        out,
        "                help) _arguments '1:command:({})' ;;\n            esac\n            ;;",
        all.join(" ")
    );
    out.push_str(TAIL);
    out
}

/// A call of `_arguments` for these options, and for what is none.
fn arguments<'a>(
    out: &mut String,
    indent: &str,
    how: &str,
    options: impl IntoIterator<Item = &'a Opt>,
    operands: &[&str],
) {
    let _ = write!(out, "{indent}_arguments {how}-s");
    let options = options.into_iter().flat_map(option);
    let operands = operands.iter().filter(|operand| !operand.is_empty());
    for spec in options.chain(operands.map(|operand| (*operand).to_owned())) {
        let _ = write!(out, " \\\n{indent}    {}", quoted(&spec));
    }
    out.push('\n');
}

/// Each way to write an option, which excludes the others.
fn option(opt: &Opt) -> Vec<String> {
    let forms: Vec<String> = opt.forms().collect();
    let about = opt.about.replace('[', r"\[").replace(']', r"\]");
    let value = opt
        .value
        .map(|name| format!(":{name}:{}", action(opt.takes)));
    let value = value.unwrap_or_default();
    let all = forms.join(" ");
    let spec = |form: &String| {
        let equals = if value.is_empty() || !form.starts_with("--") {
            ""
        } else {
            "="
        };
        format!("({all}){form}{equals}[{about}]{value}")
    };
    forms.iter().map(spec).collect()
}

fn operand(takes: Takes) -> String {
    match takes {
        Takes::Nothing => String::new(),
        takes => format!("1: :{}", action(takes)),
    }
}

fn action(takes: Takes) -> String {
    match takes {
        Takes::Nothing | Takes::Text => " ".to_owned(),
        Takes::File => "_files".to_owned(),
        Takes::Folder => "_files -/".to_owned(),
        Takes::OneOf(words) => format!("({})", words.join(" ")),
    }
}
