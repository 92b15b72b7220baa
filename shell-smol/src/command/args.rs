//! The command line: one table of commands and options drives parsing, help and suggestions.
//!
//! Nothing is read, opened or started here, so that help, version and mistakes answer at once.

use crate::config::Locations;
use crate::config::key::nearest;
use lexopt::Arg;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// To show a text: help or the version.
    Show(String),
    /// To do something.
    Do(Globals, Command),
}

/// The options that every command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// `--config` and `--data-dir`.
    pub locations: Locations,
    /// `--log`: one of [`LEVELS`].
    pub log: &'static str,
}

/// A command with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// One turn.
    Run(RunOptions),
    /// A conversation.
    Repl(ReplOptions),
    /// The daemon.
    Start,
    /// The clients of the gateway.
    Token(TokenOptions),
    /// Letting somebody in, or shutting them out again.
    Admit(AdmitOptions),
    /// What is remembered.
    Sessions(SessionsOptions),
    /// The journal as JSON Lines.
    Export(ExportOptions),
    /// Stepping a core through an export.
    Replay(ReplayOptions),
    /// A check of everything that the program stands on.
    Doctor,
}

/// `run -e TEXT [--session NAME] [--json] [--yes]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// What to say; none means what standard input holds.
    pub text: Option<String>,
    /// In which session; the channel's own when none.
    pub session: Option<String>,
    /// Print the reply as one JSON object.
    pub json: bool,
    /// Allow what the policy would ask about.
    pub yes: bool,
}

/// `repl [--session NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplOptions {
    /// In which session; the channel's own when none.
    pub session: Option<String>,
}

/// `token add NAME`, `token list`, `token revoke NAME`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOptions {
    /// Make one for a client.
    Add(String),
    /// All of them.
    List,
    /// Take a client's away.
    Revoke(String),
}

/// `allow PEER`, `forbid PEER`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmitOptions {
    /// Whom, as `channel:user`.
    pub peer: String,
    /// In, or out.
    pub let_in: bool,
}

/// `sessions`, `sessions show NAME`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionsOptions {
    /// All of them.
    List,
    /// The conversation of one.
    Show(String),
}

/// `export [--session NAME] [--redact]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// Only this session; all when none.
    pub session: Option<String>,
    /// Replace what people, models and tools said.
    pub redact: bool,
}

/// `replay FILE [--fold]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// The export; `-` is standard input.
    pub file: std::path::PathBuf,
    /// Fold the records instead of deciding them again.
    pub fold: bool,
}

/// What `--log` takes, from the quietest to the loudest.
pub const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The version, as `--version` prints it.
const VERSION: &str = concat!("openpistacrab ", env!("CARGO_PKG_VERSION"), "\n");

/// A command as people see it.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) name: &'static str,
    /// What follows the name.
    pub(super) usage: &'static str,
    pub(super) about: &'static str,
    pub(super) options: &'static [Opt],
    /// More to know, then examples.
    pub(super) more: &'static str,
}

/// An option as people see it.
#[derive(Debug)]
pub(super) struct Opt {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// The name of its value, if it takes one.
    pub(super) value: Option<&'static str>,
    pub(super) about: &'static str,
}

impl Opt {
    /// The way it is usually written.
    fn shown(&self) -> String {
        let long = || format!("--{}", self.long);
        self.short.map_or_else(long, |short| format!("-{short}"))
    }
}

const fn opt(long: &'static str, value: Option<&'static str>, about: &'static str) -> Opt {
    Opt {
        long,
        short: None,
        value,
        about,
    }
}

const SESSION: Opt = opt(
    "session",
    Some("NAME"),
    "in this session instead of the usual one",
);

pub(super) static GLOBAL: &[Opt] = &[
    opt("config", Some("FILE"), "read this configuration file"),
    opt(
        "data-dir",
        Some("DIR"),
        "keep everything in DIR (default ~/.openpistacrab)",
    ),
    opt(
        "log",
        Some("LEVEL"),
        "off, error, warn (default), info, debug or trace, on stderr",
    ),
    Opt {
        long: "help",
        short: Some('h'),
        value: None,
        about: "show help, for the program or a command",
    },
    Opt {
        long: "version",
        short: Some('V'),
        value: None,
        about: "show the version",
    },
];

pub(super) static COMMANDS: &[Spec] = &[
    Spec {
        name: "run",
        usage: "-e TEXT [--session NAME] [--json] [--yes]",
        about: "say one thing, print the reply",
        options: &[
            Opt {
                long: "execute",
                short: Some('e'),
                value: Some("TEXT"),
                about: "what to say; '-', or no -e and a pipe, reads it from stdin",
            },
            SESSION,
            opt("json", None, "print the reply as one JSON object"),
            opt("yes", None, "allow what the policy would ask about"),
        ],
        more: "The reply goes to stdout, progress to stderr. Exit status: 0 replied, 1 the turn \
               failed,\n2 usage or configuration.\n\nExamples:\n  \
               openpistacrab run -e '! uname -a'\n  \
               openpistacrab run -e 'which files here are larger than 1 MB?' --session disk\n  \
               git log -5 | openpistacrab run\n",
    },
    Spec {
        name: "repl",
        usage: "[--session NAME]",
        about: "have a conversation",
        options: &[SESSION],
        more: "In it, /help lists what you can type; /stop or Ctrl-C cancels, /quit leaves.\n\n\
               Examples:\n  openpistacrab repl\n  openpistacrab repl --session work\n",
    },
    Spec {
        name: "start",
        usage: "",
        about: "run as a daemon: the gateway, the channels and the schedule",
        options: &[],
        more: "It stays in the foreground and logs to stderr. SIGTERM or Ctrl-C ends it in order; a \
               second one ends\nit at once, and loses nothing that was confirmed. While it runs, repl \
               and run talk to it.\n\nExamples:\n  openpistacrab start\n  \
               systemctl --user enable --now openpistacrab    with packaging/openpistacrab.service\n",
    },
    Spec {
        name: "token",
        usage: "add NAME | list | revoke NAME",
        about: "make, list or take away the tokens of the gateway's clients",
        options: &[],
        more: "add prints the token on stdout, once; only its hash is kept. A running daemon follows at \
               once.\n\nExamples:\n  openpistacrab token add laptop\n  \
               openpistacrab token list\n  openpistacrab token revoke laptop\n",
    },
    Spec {
        name: "allow",
        usage: "PEER",
        about: "let somebody in who is not named in the configuration",
        options: &[],
        more: "A PEER is CHANNEL:USER, as the bot tells a stranger. forbid takes it back.\n\n\
               Examples:\n  openpistacrab allow telegram:12345\n",
    },
    Spec {
        name: "forbid",
        usage: "PEER",
        about: "shut somebody out again",
        options: &[],
        more: "Those whom the configuration names are shut out there.\n\n\
               Examples:\n  openpistacrab forbid telegram:12345\n",
    },
    Spec {
        name: "sessions",
        usage: "[show NAME]",
        about: "list what is remembered, or show one session",
        options: &[],
        more: "Examples:\n  openpistacrab sessions\n  openpistacrab sessions show work\n",
    },
    Spec {
        name: "export",
        usage: "[--session NAME] [--redact]",
        about: "print the journal as JSON Lines",
        options: &[
            opt("session", Some("NAME"), "only this session"),
            opt(
                "redact",
                None,
                "leave out what people, models and tools said",
            ),
        ],
        more: "Examples:\n  openpistacrab export > journal.jsonl\n  \
               openpistacrab export --session work --redact > report.jsonl\n",
    },
    Spec {
        name: "replay",
        usage: "FILE [--fold]",
        about: "step a fresh core through an export, stop at the first difference",
        options: &[opt(
            "fold",
            None,
            "fold the records only, decide nothing again",
        )],
        more: "FILE is what export printed; '-' reads stdin. Exit status: 0 no difference, 1 a \
               difference,\n2 usage.\n\nExamples:\n  openpistacrab replay journal.jsonl\n  \
               openpistacrab export | openpistacrab replay -\n",
    },
    Spec {
        name: "doctor",
        usage: "",
        about: "check configuration, provider, Docker, workspace, database",
        options: &[],
        more: "Each line says ok, warn or fault, and what to do. Exit status: 0 no fault, 1 a \
               fault.\n\nExamples:\n  openpistacrab doctor\n  \
               openpistacrab doctor --config other.toml\n",
    },
];

/// A command line that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError {
    message: String,
    command: Option<&'static str>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self
            .command
            .map(|name| format!("{name} "))
            .unwrap_or_default();
        write!(f, "{}\nSee openpistacrab {command}--help", self.message)
    }
}

/// The words of a command line, sorted by the table but not yet understood.
#[derive(Default)]
struct Words {
    command: Option<&'static Spec>,
    values: BTreeMap<&'static str, OsString>,
    positionals: Vec<OsString>,
    help: bool,
}

/// Parses what follows the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let mut words = Words::default();
    let mut parser = lexopt::Parser::from_args(args);
    loop {
        let spec = words.command;
        let arg = parser
            .next()
            .map_err(|error| bad(spec, error.to_string()))?;
        let opt = match arg {
            None => break,
            Some(Arg::Value(value)) => {
                words.word(value)?;
                continue;
            }
            Some(Arg::Long(name)) => find(spec, &format!("--{name}"), |o| o.long == name)?,
            Some(Arg::Short(c)) => find(spec, &format!("-{c}"), |o| o.short == Some(c))?,
        };
        let value = match (opt.long, opt.value) {
            ("version", _) => return Ok(Parsed::Show(VERSION.to_owned())),
            ("help", _) => {
                words.help = true;
                continue;
            }
            (_, None) => OsString::new(),
            (_, Some(_)) => parser
                .value()
                .map_err(|error| bad(spec, error.to_string()))?,
        };
        if words.values.insert(opt.long, value).is_some() {
            return Err(bad(spec, format!("{} is given twice", opt.shown())));
        }
    }
    if words.help {
        return Ok(Parsed::Show(super::help::of(words.command)));
    }
    words.understand()
}

/// Finds an option of the command, or a global one.
fn find(
    spec: Option<&'static Spec>,
    written: &str,
    is_it: impl Fn(&Opt) -> bool,
) -> Result<&'static Opt, UsageError> {
    let own = spec.map_or(&[][..], |spec| spec.options);
    let mut known = own.iter().chain(GLOBAL);
    if let Some(opt) = known.find(|opt| is_it(opt)) {
        return Ok(opt);
    }
    if spec.is_none() && COMMANDS.iter().any(|spec| spec.options.iter().any(&is_it)) {
        let message = format!("option {written} goes after its command");
        return Err(bad(None, message));
    }
    let others = COMMANDS.iter().filter(|_| spec.is_none());
    let others = others.flat_map(|spec| spec.options);
    let names = own.iter().chain(GLOBAL).chain(others).map(|opt| opt.long);
    let near = nearest(written.trim_start_matches('-'), names);
    let near = near.map(|near| format!("; did you mean --{near}?"));
    let of = spec.map(|spec| format!(" of {}", spec.name));
    let (of, near) = (of.unwrap_or_default(), near.unwrap_or_default());
    Err(bad(spec, format!("unknown option {written}{of}{near}")))
}

fn bad(spec: Option<&Spec>, message: impl Into<String>) -> UsageError {
    UsageError {
        message: message.into(),
        command: spec.map(|spec| spec.name),
    }
}

impl Words {
    /// Takes a word that is no option: the command, or what follows it.
    fn word(&mut self, word: OsString) -> Result<(), UsageError> {
        if self.command.is_some() {
            self.positionals.push(word);
            return Ok(());
        }
        let name = word.to_string_lossy();
        if name == "help" {
            self.help = true;
            return Ok(());
        }
        self.command = COMMANDS.iter().find(|spec| spec.name == name);
        if self.command.is_none() {
            let near = nearest(&name, COMMANDS.iter().map(|spec| spec.name));
            let near = near.map(|near| format!("; did you mean {near}?"));
            let near = near.unwrap_or_default();
            return Err(bad(None, format!("unknown command {name:?}{near}")));
        }
        Ok(())
    }

    fn understand(mut self) -> Result<Parsed, UsageError> {
        let Some(spec) = self.command else {
            return Err(bad(None, super::help::short()));
        };
        let globals = self.globals(spec)?;
        let command = match spec.name {
            "run" => Command::Run(RunOptions {
                text: self.text("execute")?.filter(|text| text != "-"),
                session: self.session()?,
                json: self.flag("json"),
                yes: self.flag("yes"),
            }),
            "repl" => Command::Repl(ReplOptions {
                session: self.session()?,
            }),
            "start" => Command::Start,
            "token" => Command::Token(self.token()?),
            "allow" | "forbid" => Command::Admit(AdmitOptions {
                peer: self.peer(spec)?,
                let_in: spec.name == "allow",
            }),
            "sessions" => Command::Sessions(self.sessions()?),
            "export" => Command::Export(ExportOptions {
                session: self.session()?,
                redact: self.flag("redact"),
            }),
            "replay" => {
                if self.positionals.is_empty() {
                    return Err(bad(Some(spec), "replay needs the FILE that export printed"));
                }
                Command::Replay(ReplayOptions {
                    file: self.positionals.remove(0).into(),
                    fold: self.flag("fold"),
                })
            }
            _ => Command::Doctor,
        };
        if let Some(extra) = self.positionals.first() {
            let hint = match spec.name {
                "run" => "; what to say goes in quotes after -e",
                _ => "",
            };
            return Err(bad(
                Some(spec),
                format!("unexpected argument {extra:?}{hint}"),
            ));
        }
        Ok(Parsed::Do(globals, command))
    }

    fn globals(&mut self, spec: &Spec) -> Result<Globals, UsageError> {
        let log = match self.text("log")? {
            // A daemon tells what it does to whoever reads its log.
            None if spec.name == "start" => "info",
            None => "warn",
            Some(level) => match LEVELS.into_iter().find(|known| *known == level) {
                Some(level) => level,
                None => {
                    let known = LEVELS.join(", ");
                    let message = format!("--log takes one of {known}, not {level:?}");
                    return Err(bad(Some(spec), message));
                }
            },
        };
        let locations = Locations {
            config: self.values.remove("config").map(Into::into),
            data_dir: self.values.remove("data-dir").map(Into::into),
        };
        Ok(Globals { locations, log })
    }

    fn sessions(&mut self) -> Result<SessionsOptions, UsageError> {
        match self.positionals.first().map(|word| word.to_string_lossy()) {
            None => Ok(SessionsOptions::List),
            Some(word) if word == "show" && self.positionals.len() > 1 => {
                self.positionals.remove(0);
                let name = self.positionals.remove(0);
                Ok(SessionsOptions::Show(self.name(name)?))
            }
            Some(word) if word == "show" => Err(bad(
                self.command,
                "sessions show needs a NAME; openpistacrab sessions lists them",
            )),
            Some(word) => Err(bad(
                self.command,
                format!("unknown argument {word:?}; did you mean sessions show {word}?"),
            )),
        }
    }

    fn token(&mut self) -> Result<TokenOptions, UsageError> {
        let bad = |message: String| bad(self.command, message);
        let words: Vec<String> = self
            .positionals
            .drain(..self.positionals.len().min(2))
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["list"] => Ok(TokenOptions::List),
            ["add", name] => Ok(TokenOptions::Add(name.to_owned())),
            ["revoke", name] => Ok(TokenOptions::Revoke(name.to_owned())),
            ["add" | "revoke"] => Err(bad(format!("token {} needs a NAME", words[0]))),
            ["list", extra] => Err(bad(format!("unexpected argument {extra:?}"))),
            [] => Err(bad(
                "token needs to know what: add, list or revoke".to_owned()
            )),
            [word, ..] => Err(bad(format!(
                "unknown argument {word:?}; known: add, list, revoke"
            ))),
        }
    }

    /// Somebody, as `channel:user`.
    fn peer(&mut self, spec: &Spec) -> Result<String, UsageError> {
        let example = format!("for example: {} telegram:12345", spec.name);
        if self.positionals.is_empty() {
            return Err(bad(
                Some(spec),
                format!("{} needs a PEER; {example}", spec.name),
            ));
        }
        let peer = self.positionals.remove(0).to_string_lossy().into_owned();
        match peer.split_once(':') {
            Some((channel, user)) if !channel.is_empty() && !user.is_empty() => Ok(peer),
            _ => Err(bad(
                Some(spec),
                format!("a PEER is CHANNEL:USER, not {peer:?}; {example}"),
            )),
        }
    }

    fn session(&mut self) -> Result<Option<String>, UsageError> {
        let value = self.values.remove("session");
        value.map(|value| self.name(value)).transpose()
    }

    /// A session's name.
    fn name(&self, value: OsString) -> Result<String, UsageError> {
        let name = value.to_string_lossy().trim().to_owned();
        let fits = !name.is_empty() && name.chars().count() <= 100;
        if fits && value.to_str().is_some() && !name.contains(char::is_control) {
            return Ok(name);
        }
        let message = "a session's NAME has 1 to 100 printable characters";
        Err(bad(self.command, message))
    }

    fn text(&mut self, long: &'static str) -> Result<Option<String>, UsageError> {
        let Some(value) = self.values.remove(long) else {
            return Ok(None);
        };
        let text = value.into_string();
        let message = format!("the value of --{long} is not valid UTF-8");
        text.map(Some).map_err(|_| bad(self.command, message))
    }

    fn flag(&mut self, long: &str) -> bool {
        self.values.remove(long).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> (Globals, Command) {
        match parse(line.iter().map(OsString::from)) {
            Ok(Parsed::Do(globals, command)) => (globals, command),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn global_options_go_before_and_after_the_command() {
        let lines: [&[&str]; 3] = [
            &[
                "--config",
                "c",
                "--data-dir",
                "d",
                "--log",
                "debug",
                "doctor",
            ],
            &["doctor", "--config=c", "--data-dir=d", "--log=debug"],
            &[
                "--log",
                "debug",
                "doctor",
                "--data-dir",
                "d",
                "--config",
                "c",
            ],
        ];
        for line in lines {
            let (globals, command) = parsed(line);
            assert_eq!(command, Command::Doctor);
            assert_eq!(globals.log, "debug");
            assert_eq!(globals.locations.config, Some("c".into()));
            assert_eq!(globals.locations.data_dir, Some("d".into()));
        }
        let (globals, _) = parsed(&["doctor"]);
        assert_eq!(globals.locations, Locations::default());
    }

    #[test]
    fn each_command_gets_its_options() {
        let run = |text: Option<&str>, session: Option<&str>, json, yes| {
            Command::Run(RunOptions {
                text: text.map(str::to_owned),
                session: session.map(str::to_owned),
                json,
                yes,
            })
        };
        let session = || Some("work".to_owned());
        let export = |session, redact| Command::Export(ExportOptions { session, redact });
        let replay = |file: &str, fold| {
            let file = file.into();
            Command::Replay(ReplayOptions { file, fold })
        };
        let show = Command::Sessions(SessionsOptions::Show("work".to_owned()));
        let token = |options| Command::Token(options);
        let admit = |peer: &str, let_in| {
            let peer = peer.to_owned();
            Command::Admit(AdmitOptions { peer, let_in })
        };
        let laptop = || "laptop".to_owned();
        let lines: [(&[&str], Command); 20] = [
            (&["start"], Command::Start),
            (&["token", "list"], token(TokenOptions::List)),
            (
                &["token", "add", "laptop"],
                token(TokenOptions::Add(laptop())),
            ),
            (
                &["token", "revoke", "laptop"],
                token(TokenOptions::Revoke(laptop())),
            ),
            (&["allow", "telegram:1"], admit("telegram:1", true)),
            (&["forbid", "telegram:1"], admit("telegram:1", false)),
            (
                &["run", "-e", "! ls"],
                run(Some("! ls"), None, false, false),
            ),
            (
                &["run", "-e", "--yes"],
                run(Some("--yes"), None, false, false),
            ),
            (
                &["run", "--execute=a", "--yes"],
                run(Some("a"), None, false, true),
            ),
            (&["run", "--json"], run(None, None, true, false)),
            (&["run", "-e", "-"], run(None, None, false, false)),
            (
                &["run", "--session", "work", "-ea"],
                run(Some("a"), Some("work"), false, false),
            ),
            (&["repl"], Command::Repl(ReplOptions { session: None })),
            (
                &["repl", "--session", "work"],
                Command::Repl(ReplOptions { session: session() }),
            ),
            (&["sessions"], Command::Sessions(SessionsOptions::List)),
            (&["sessions", "show", "work"], show),
            (&["export", "--session", "work"], export(session(), false)),
            (&["export", "--redact"], export(None, true)),
            (&["replay", "-", "--fold"], replay("-", true)),
            (&["replay", "--", "--fold"], replay("--fold", false)),
        ];
        for (line, command) in lines {
            assert_eq!(parsed(line).1, command, "{line:?}");
        }
    }

    #[test]
    fn no_option_has_the_name_of_another_that_is_known_beside_it() {
        for spec in COMMANDS {
            let all = || spec.options.iter().chain(GLOBAL);
            for opt in all() {
                let same = |other: &&Opt| {
                    other.long == opt.long || opt.short.is_some() && other.short == opt.short
                };
                assert_eq!(
                    all().filter(same).count(),
                    1,
                    "{} --{}",
                    spec.name,
                    opt.long
                );
            }
        }
    }
}
