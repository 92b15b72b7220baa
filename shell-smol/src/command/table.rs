//! The table of commands, options and variables, as people see them.
//!
//! Parsing ([`super::args`]), help, completions and the manual page are made from it and from
//! nothing else, so what one of them knows the others know.

use crate::config::policy::MODE_NAMES;
use crate::config::{Provider, env};

/// The program.
pub(super) const PROGRAM: &str = "openpistacrab";

/// What the program is, in a few words.
pub(super) const ABOUT: &str = "lets a language model work on this computer for you";

/// What `--log` takes, from the quietest to the loudest.
pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What `--log-format` takes.
pub(super) const FORMATS: [&str; 2] = ["text", "json"];

/// The shells that completions are made for.
pub(super) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// A command.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    pub(super) options: &'static [Opt],
    /// What the first word that is no option can be.
    pub(super) operand: Takes,
    /// More to know, then examples.
    pub(super) more: &'static str,
}

/// An option.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// The name of its value, if it takes one.
    pub(super) value: Option<&'static str>,
    /// What that can be.
    pub(super) takes: Takes,
    pub(super) about: &'static str,
}

impl Opt {
    /// The way it is usually written.
    pub(super) fn shown(&self) -> String {
        let long = || format!("--{}", self.long);
        self.short.map_or_else(long, |short| format!("-{short}"))
    }

    /// Every way to write it, the short one first.
    pub(super) fn forms(&self) -> impl Iterator<Item = String> {
        let short = self.short.map(|c| format!("-{c}"));
        short.into_iter().chain([format!("--{}", self.long)])
    }
}

/// What a word on the command line can be, for those who help to type it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing comes here.
    Nothing,
    /// Something that nobody can guess.
    Text,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// A command without options.
const fn command(name: &'static str, usage: &'static str, about: &'static str) -> Spec {
    Spec {
        name,
        usage,
        about,
        options: &[],
        operand: Takes::Nothing,
        more: "",
    }
}

const fn flag(long: &'static str, about: &'static str) -> Opt {
    Opt {
        long,
        short: None,
        value: None,
        takes: Takes::Nothing,
        about,
    }
}

const fn opt(long: &'static str, value: &'static str, takes: Takes, about: &'static str) -> Opt {
    Opt {
        value: Some(value),
        takes,
        ..flag(long, about)
    }
}

const fn short(c: char, opt: Opt) -> Opt {
    Opt {
        short: Some(c),
        ..opt
    }
}

const SESSION: Opt = opt(
    "session",
    "NAME",
    Takes::Text,
    "in this session instead of the usual one",
);

pub(super) static GLOBAL: &[Opt] = &[
    opt(
        "config",
        "FILE",
        Takes::File,
        "read this configuration file",
    ),
    opt(
        "data-dir",
        "DIR",
        Takes::Folder,
        "keep everything in DIR (default ~/.openpistacrab)",
    ),
    opt(
        "log",
        "LEVEL",
        Takes::OneOf(&LEVELS),
        "off, error, warn (default), info, debug or trace, on stderr",
    ),
    opt(
        "log-format",
        "FORMAT",
        Takes::OneOf(&FORMATS),
        "text (default), or json, one object a line",
    ),
    short('h', flag("help", "show help, for the program or a command")),
    short('V', flag("version", "show the version")),
];

/// The variables that the program reads, and what for.
pub(super) static VARIABLES: &[(&str, &str)] = &[
    (env::CONFIG, "as --config"),
    (env::DATA_DIR, "as --data-dir"),
    (env::WORKSPACE, "the directory that commands run in"),
    (
        env::API_KEY,
        "the provider's key; else OPENAI_API_KEY and others",
    ),
    (env::BOT_TOKEN, "the Telegram bot's token"),
    ("NO_COLOR", "no colours"),
];

/// What to try first.
pub(super) const EXAMPLES: &str = "Examples:
  openpistacrab init                    sets everything up
  openpistacrab run -e '! uname -a'     works without any key
  openpistacrab repl
  openpistacrab help run
";

const INIT: Spec = Spec {
    options: &[
        opt(
            "provider",
            "NAME",
            Takes::OneOf(&Provider::NAMES),
            "where the model is: openai, anthropic, ollama, …",
        ),
        opt(
            "model",
            "NAME",
            Takes::Text,
            "the model; without it the provider's usual one",
        ),
        opt(
            "base-url",
            "URL",
            Takes::Text,
            "the server, for the provider custom",
        ),
        opt(
            "api-key-file",
            "FILE",
            Takes::File,
            "take the key from FILE ('-' is stdin) and keep it, mode 0600",
        ),
        flag("api-key-env", "leave the key in the environment"),
        opt(
            "telegram-token-file",
            "FILE",
            Takes::File,
            "take the bot's token from FILE, likewise",
        ),
        flag(
            "telegram-token-env",
            "leave the token in TELEGRAM_BOT_TOKEN",
        ),
        opt(
            "telegram-api-url",
            "URL",
            Takes::Text,
            "a server of the Bot API of your own",
        ),
        opt("owner", "ID", Takes::Text, "your numeric id in Telegram"),
        opt(
            "policy",
            "MODE",
            Takes::OneOf(&MODE_NAMES),
            "what runs without asking: ask (default), full, read-only",
        ),
        opt(
            "workspace",
            "DIR",
            Takes::Folder,
            "the directory that commands run in",
        ),
        flag("systemd", "write a unit, so that systemd can run it"),
        flag("enable", "and start it, now and at each login"),
        flag(
            "yes",
            "ask nothing: what no option says stays, or is the default",
        ),
        flag("force", "replace the file that is there; a copy is kept"),
    ],
    more: "At a terminal it asks for what no option says. Without one, name at least --provider, and \
           for a\nprovider that needs a key --api-key-file or --api-key-env. Nothing is written \
           before the last\nanswer. A key or token is never an option's value: others could see \
           it.\n\nExamples:\n  openpistacrab init\n  \
           openpistacrab init --provider builtin\n  \
           openpistacrab init --provider openai --api-key-file key.txt --systemd\n  \
           pass show openai | openpistacrab init --provider openai --api-key-file -\n",
    ..command(
        "init",
        "[OPTION]...",
        "set up: asks what it needs, writes the configuration",
    )
};

pub(super) static COMMANDS: &[Spec] = &[
    INIT,
    Spec {
        options: &[
            short(
                'e',
                opt(
                    "execute",
                    "TEXT",
                    Takes::Text,
                    "what to say; '-', or no -e and a pipe, reads it from stdin",
                ),
            ),
            SESSION,
            flag("json", "print the reply as one JSON object"),
            flag("yes", "allow what the policy would ask about"),
        ],
        more: "The reply goes to stdout, progress to stderr. Exit status: 0 replied, 1 the turn \
               failed,\n2 usage or configuration.\n\nExamples:\n  \
               openpistacrab run -e '! uname -a'\n  \
               openpistacrab run -e 'which files here are larger than 1 MB?' --session disk\n  \
               git log -5 | openpistacrab run\n",
        ..command(
            "run",
            "-e TEXT [--session NAME] [--json] [--yes]",
            "say one thing, print the reply",
        )
    },
    Spec {
        options: &[SESSION],
        more: "In it, /help lists what you can type; /stop or Ctrl-C cancels, /quit leaves.\n\n\
               Examples:\n  openpistacrab repl\n  openpistacrab repl --session work\n",
        ..command("repl", "[--session NAME]", "have a conversation")
    },
    Spec {
        more: "It stays in the foreground and logs to stderr. SIGTERM or Ctrl-C ends it in order; a \
               second one ends\nit at once, and loses nothing that was confirmed. While it runs, repl \
               and run talk to it.\n\nExamples:\n  openpistacrab start\n  \
               openpistacrab init --systemd --enable    as a service, also after a reboot\n",
        ..command(
            "start",
            "",
            "run as a daemon: the gateway, the channels and the schedule",
        )
    },
    Spec {
        operand: Takes::OneOf(&["add", "list", "revoke"]),
        more: "add prints the token on stdout, once; only its hash is kept. A running daemon follows at \
               once.\n\nExamples:\n  openpistacrab token add laptop\n  \
               openpistacrab token list\n  openpistacrab token revoke laptop\n",
        ..command(
            "token",
            "add NAME | list | revoke NAME",
            "make, list or take away the tokens of the gateway's clients",
        )
    },
    Spec {
        operand: Takes::Text,
        more: "A PEER is CHANNEL:USER, as the bot tells a stranger. forbid takes it back.\n\n\
               Examples:\n  openpistacrab allow telegram:12345\n",
        ..command(
            "allow",
            "PEER",
            "let somebody in who is not named in the configuration",
        )
    },
    Spec {
        operand: Takes::Text,
        more: "Those whom the configuration names are shut out there.\n\n\
               Examples:\n  openpistacrab forbid telegram:12345\n",
        ..command("forbid", "PEER", "shut somebody out again")
    },
    Spec {
        operand: Takes::OneOf(&["show"]),
        more: "Examples:\n  openpistacrab sessions\n  openpistacrab sessions show work\n",
        ..command(
            "sessions",
            "[show NAME]",
            "list what is remembered, or show one session",
        )
    },
    Spec {
        options: &[
            opt("session", "NAME", Takes::Text, "only this session"),
            flag("redact", "leave out what people, models and tools said"),
        ],
        more: "Examples:\n  openpistacrab export > journal.jsonl\n  \
               openpistacrab export --session work --redact > report.jsonl\n",
        ..command(
            "export",
            "[--session NAME] [--redact]",
            "print the journal as JSON Lines",
        )
    },
    Spec {
        options: &[flag("fold", "fold the records only, decide nothing again")],
        operand: Takes::File,
        more: "FILE is what export printed; '-' reads stdin. Exit status: 0 no difference, 1 a \
               difference,\n2 usage.\n\nExamples:\n  openpistacrab replay journal.jsonl\n  \
               openpistacrab export | openpistacrab replay -\n",
        ..command(
            "replay",
            "FILE [--fold]",
            "step a fresh core through an export, stop at the first difference",
        )
    },
    Spec {
        more: "Each line says ok, warn or fault. Then it says what works, and how to mend what does \
               not.\nExit status: 0 no fault, 1 a fault.\n\nExamples:\n  openpistacrab doctor\n  \
               openpistacrab doctor --config other.toml\n",
        ..command(
            "doctor",
            "",
            "check everything, say what works and what to mend",
        )
    },
    Spec {
        operand: Takes::OneOf(&SHELLS),
        more: "Examples:\n  source <(openpistacrab completions bash)    in ~/.bashrc\n  \
               openpistacrab completions zsh > ~/.zfunc/_openpistacrab\n  \
               openpistacrab completions fish > ~/.config/fish/completions/openpistacrab.fish\n",
        ..command(
            "completions",
            "bash | zsh | fish",
            "print what completes command lines in a shell",
        )
    },
    Spec {
        more: "Examples:\n  openpistacrab man | man -l -\n  \
               openpistacrab man > ~/.local/share/man/man1/openpistacrab.1\n",
        ..command("man", "", "print the manual page")
    },
];

/// The names of the commands.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|spec| spec.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_has_the_name_of_another_that_is_known_beside_it() {
        for spec in COMMANDS {
            let all = || spec.options.iter().chain(GLOBAL);
            for opt in all() {
                let same = |other: &&Opt| {
                    other.long == opt.long || opt.short.is_some() && other.short == opt.short
                };
                let count = all().filter(same).count();
                assert_eq!(count, 1, "{} --{}", spec.name, opt.long);
            }
        }
    }

    #[test]
    fn a_value_has_a_name_and_a_name_a_value() {
        for opt in COMMANDS.iter().flat_map(|s| s.options).chain(GLOBAL) {
            assert_eq!(opt.value.is_none(), opt.takes == Takes::Nothing, "{opt:?}");
        }
    }

    /// What is said of the environment is said of all of it.
    #[test]
    fn every_variable_of_ours_is_named() {
        let known = [env::CONFIG, env::DATA_DIR, env::WORKSPACE, env::API_KEY];
        for name in known.iter().chain([&env::BOT_TOKEN]) {
            assert!(VARIABLES.iter().any(|(named, _)| named == name), "{name}");
        }
    }
}
