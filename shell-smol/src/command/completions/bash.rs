//! Completions for bash, from 3.2 on.

use crate::command::table::{COMMANDS, GLOBAL, Opt, Takes, names};
use std::fmt::Write;

/// Splits the line, as far as it is typed, into the command and what follows it.
const HEAD: &str = r#"# Completes command lines of openpistacrab in bash.
# Made by `openpistacrab completions bash`.

# Files (-f) or folders (-d) that begin with a text.
_openpistacrab_paths() {
    local IFS=$'\n'
    # Without it, as in bash 3, a folder gets no slash.
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$2"))
}

_openpistacrab() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command='' operands=0 options='' words='' at
    COMPREPLY=()
    # bash takes --option=value for three words.
    if [[ $word == = ]]; then
        word=''
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
"#;

const FOUND: &str = r#"                at=$((at + 1))
                if [[ ${COMP_WORDS[at]-} == = ]]; then at=$((at + 1)); fi
                ;;
            -*) ;;
            *) if [[ -z $command ]]; then command=${COMP_WORDS[at]}; else operands=$((operands + 1)); fi ;;
        esac
    done
    case $command:$before in
"#;

const TAIL: &str = r#"    if [[ -z $words || $word == -* ]]; then words=$options; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}

complete -F _openpistacrab openpistacrab
"#;

/// The script.
pub(super) fn script() -> String {
    let mut out = HEAD.to_owned();
    let all = || COMMANDS.iter().flat_map(|spec| spec.options).chain(GLOBAL);
    let mut valued: Vec<String> = all()
        .filter(|opt| opt.value.is_some())
        .flat_map(Opt::forms)
        .collect();
    valued.sort_unstable();
    valued.dedup();
    let _ = writeln!(out, "            {})", valued.join(" | "));
    out.push_str(FOUND);
    for spec in COMMANDS {
        values(&mut out, spec.name, spec.options);
    }
    values(&mut out, "*", GLOBAL);
    out.push_str("    esac\n    case $command in\n");
    let global = forms(GLOBAL);
    let commands: Vec<&str> = names().chain(["help"]).collect();
    let commands = commands.join(" ");
    let _ = writeln!(
        out,
        "        '') options='{global}' words='{commands}' ;;\n        \
         help) if ((operands == 0)); then words='{commands}'; fi ;;"
    );
    for spec in COMMANDS {
        let own = [forms(spec.options), global.clone()];
        let own = own.join(" ");
        let _ = writeln!(
            out,
            "        {})\n            options='{}'",
            spec.name,
            own.trim()
        );
        let operand = match spec.operand {
            Takes::OneOf(words) => format!("words='{}'", words.join(" ")),
            Takes::File => {
                "if [[ $word != -* ]]; then _openpistacrab_paths -f \"$word\"; return; fi"
                    .to_owned()
            }
            Takes::Folder => {
                "if [[ $word != -* ]]; then _openpistacrab_paths -d \"$word\"; return; fi"
                    .to_owned()
            }
            Takes::Nothing | Takes::Text => String::new(),
        };
        if !operand.is_empty() {
            let _ = writeln!(out, "            if ((operands == 0)); then {operand}; fi");
        }
        out.push_str("            ;;\n");
    }
    out.push_str("    esac\n");
    out.push_str(TAIL);
    out
}

/// What can follow each option that takes a value.
fn values(out: &mut String, command: &str, options: &[Opt]) {
    for opt in options {
        let after: Vec<String> = opt
            .forms()
            .map(|form| format!("{command}:{form}"))
            .collect();
        let after = after.join(" | ");
        let does = match opt.takes {
            Takes::Nothing => continue,
            Takes::Text => "return".to_owned(),
            Takes::File => "_openpistacrab_paths -f \"$word\"; return".to_owned(),
            Takes::Folder => "_openpistacrab_paths -d \"$word\"; return".to_owned(),
            Takes::OneOf(words) => format!(
                "COMPREPLY=($(compgen -W '{}' -- \"$word\")); return",
                words.join(" ")
            ),
        };
        let _ = writeln!(out, "        {after}) {does} ;;");
    }
}

fn forms(options: &[Opt]) -> String {
    let forms: Vec<String> = options.iter().flat_map(Opt::forms).collect();
    forms.join(" ")
}
