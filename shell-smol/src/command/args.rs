//! The command line, read by the table of commands and options.
//!
//! Nothing is read, opened or started here, so that help, version and mistakes answer at once.

pub use super::request::{
    AdmitOptions, Command, ExportOptions, Globals, InitOptions, Parsed, Place, ReplOptions,
    ReplayOptions, RunOptions, SessionsOptions, TokenOptions,
};
use super::table::{COMMANDS, FORMATS, GLOBAL, LEVELS, Opt, SHELLS, Spec, Takes, names};
use crate::config::key::nearest;
use crate::config::policy::MODE_NAMES;
use crate::config::{Locations, Provider};
use lexopt::Arg;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// The version, as `--version` prints it.
const VERSION: &str = concat!("openpistacrab ", env!("CARGO_PKG_VERSION"), "\n");

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
        if let Takes::OneOf(known) = opt.takes
            && chosen(known, &value).is_none()
        {
            let (shown, known) = (opt.shown(), known.join(", "));
            let message = format!("{shown} takes one of {known}, not {value:?}");
            return Err(bad(spec, message));
        }
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
    let mut names = own.iter().chain(GLOBAL).chain(others).map(|opt| opt.long);
    let name = written.trim_start_matches('-');
    let near = nearest(name, names.clone()).or_else(|| names.find(|long| long.starts_with(name)));
    let near = near.map(|near| format!("; did you mean --{near}?"));
    let of = spec.map(|spec| format!(" of {}", spec.name));
    let (of, near) = (of.unwrap_or_default(), near.unwrap_or_default());
    Err(bad(spec, format!("unknown option {written}{of}{near}")))
}

/// The one of the known words that was written.
fn chosen(known: &[&'static str], word: &OsStr) -> Option<&'static str> {
    known.iter().copied().find(|known| word == *known)
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
            let near = nearest(&name, names());
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
        let globals = self.globals(spec);
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
            "init" => Command::Init(Box::new(self.init()?)),
            "completions" => Command::Completions(self.shell(spec)?),
            "man" => Command::Man,
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

    fn globals(&mut self, spec: &Spec) -> Globals {
        let log = match self.one_of("log", &LEVELS) {
            // A daemon tells what it does to whoever reads its log.
            None if spec.name == "start" => "info",
            None => "warn",
            Some(level) => level,
        };
        let locations = Locations {
            config: self.values.remove("config").map(Into::into),
            data_dir: self.values.remove("data-dir").map(Into::into),
        };
        Globals {
            locations,
            log,
            log_json: self.one_of("log-format", &FORMATS) == Some("json"),
        }
    }

    fn init(&mut self) -> Result<InitOptions, UsageError> {
        let owner = self.text("owner")?.map(|id| match id.parse() {
            Ok(id @ 1..) => Ok(id),
            _ => {
                let message = format!("--owner takes a number, such as 12345, not {id:?}");
                Err(bad(self.command, message))
            }
        });
        let stdin = |place: &Option<Place>| *place == Some(Place::File("-".into()));
        let api_key = self.place("api-key")?;
        let telegram_token = self.place("telegram-token")?;
        if stdin(&api_key) && stdin(&telegram_token) {
            let message = "only one of the key and the token can come from stdin";
            return Err(bad(self.command, message));
        }
        let enable = self.flag("enable");
        Ok(InitOptions {
            provider: self.one_of("provider", &Provider::NAMES),
            model: self.text("model")?,
            base_url: self.text("base-url")?,
            api_key,
            telegram_token,
            telegram_api_url: self.text("telegram-api-url")?,
            owner: owner.transpose()?,
            policy: self.one_of("policy", &MODE_NAMES),
            workspace: self.values.remove("workspace").map(Into::into),
            systemd: self.flag("systemd") || enable,
            enable,
            yes: self.flag("yes"),
            force: self.flag("force"),
        })
    }

    /// Where a secret comes from, of the options `--WHAT-file` and `--WHAT-env`.
    fn place(&mut self, what: &str) -> Result<Option<Place>, UsageError> {
        let (file, env) = (format!("{what}-file"), format!("{what}-env"));
        let named = self.values.remove(file.as_str());
        match (named, self.flag(&env)) {
            (Some(_), true) => {
                let message = format!("either --{file} or --{env}, not both");
                Err(bad(self.command, message))
            }
            (Some(path), false) => Ok(Some(Place::File(path.into()))),
            (None, true) => Ok(Some(Place::Environment)),
            (None, false) => Ok(None),
        }
    }

    fn shell(&mut self, spec: &Spec) -> Result<&'static str, UsageError> {
        let word = (!self.positionals.is_empty()).then(|| self.positionals.remove(0));
        let shell = word.as_ref().and_then(|word| chosen(&SHELLS, word));
        shell.ok_or_else(|| {
            let known = SHELLS.join(", ");
            let not = word
                .map(|word| format!(", not {word:?}"))
                .unwrap_or_default();
            bad(
                Some(spec),
                format!("completions are for one of {known}{not}"),
            )
        })
    }

    /// A value that is one of these: that was seen to already.
    fn one_of(&mut self, long: &str, known: &[&'static str]) -> Option<&'static str> {
        let value = self.values.remove(long)?;
        chosen(known, &value)
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
}
