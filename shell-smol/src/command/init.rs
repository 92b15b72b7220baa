//! `init`: sets the program up. It asks at the terminal for what no option says, and writes a
//! configuration that explains itself.
//!
//! Everything is asked for and checked first; only then are files written, each whole or not at
//! all, the configuration last, and never over something that was there without a copy. Keys and
//! tokens go into files of their own beside it, or stay in the environment; they are never an
//! option's value, and never shown.

mod ask;
mod leave;
mod model;
mod place;
mod service;
mod telegram;

use super::args::{InitOptions, Place};
use super::table::PROGRAM;
use super::{Error, doctor, print};
use crate::config::example::{self, Value};
use crate::config::key::nearest;
use crate::config::policy::{self, MODE_NAMES};
use crate::config::{Config, Env, Locations};
use crate::secret::Secret;
use ask::Asker;
use leave::Leaving;
use place::{PRIVATE, put};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the policy's modes mean, in a line each.
const MODES: [&str; 3] = [
    "  ask        you are asked before the model's command runs",
    "  full       everything runs without asking",
    "  read-only  only tools that change nothing run",
];

/// What is true of one who leaves when the files are there.
const WRITTEN: &str = "left; everything is written: openpistacrab doctor says what works";

/// The files for secrets, beside the configuration.
const KEY_FILE: &str = "api-key";
const TOKEN_FILE: &str = "telegram-token";

/// What is known before anything is asked.
struct Setup<'a> {
    options: &'a InitOptions,
    env: &'a Env,
    /// Where the configuration goes.
    file: PathBuf,
    /// It is there already.
    exists: bool,
    /// What it says, or what holds without it.
    old: Config,
}

/// What the configuration is to say.
#[derive(Default)]
struct Answers {
    values: BTreeMap<&'static str, Value>,
    /// To be kept in files of our own.
    secrets: Vec<(&'static str, Secret)>,
    /// The variables in which secrets stay.
    variables: Vec<&'static str>,
    service: Option<service::Service>,
}

impl Answers {
    fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.values.insert(key, Value::Text(value.into()));
    }

    /// Keeps a secret in a file of our own, which the key names.
    fn keep(&mut self, key: &'static str, file: &'static str, secret: Secret) {
        self.set(key, file);
        self.secrets.push((file, secret));
    }
}

/// Asks, checks, writes, and says what to do next.
///
/// # Errors
/// When the person leaves, or nobody can be asked and too little is said, or something that was
/// said cannot be, or a file cannot be written.
pub fn run(locations: &Locations, env: &Env, options: &InitOptions) -> Result<ExitCode, Error> {
    let leaving = Leaving::watch()?;
    let mut asker = match options.yes {
        true => None,
        false => Asker::at_terminal(),
    };
    let setup = Setup::of(locations, env, options)?;
    setup.enough(asker.is_some())?;
    if !setup.may_replace(asker.as_mut())? {
        return print("Nothing was changed.\n");
    }
    let answers = setup.answers(locations, asker.as_mut())?;
    let mut said = leaving.whole(WRITTEN, || {
        let mut said = setup.write(&answers)?;
        if let Some(service) = &answers.service {
            said.push_str(&service.install()?);
        }
        Ok(said)
    })?;
    said.push_str(&next(locations, &answers));
    print(&said)?;
    if let Some(service) = answers.service.filter(|service| service.enable) {
        service.begin()?;
    }
    if let Some(asker) = &mut asker {
        asker.say("\nWhat openpistacrab doctor says now:\n");
        doctor::run(locations, env)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Setup<'_> {
    fn of<'a>(
        locations: &Locations,
        env: &'a Env,
        options: &'a InitOptions,
    ) -> Result<Setup<'a>, Error> {
        let file = Config::path(locations, env)?;
        let exists = file.symlink_metadata().is_ok();
        let fresh = || Config::without_file(locations, env);
        // One that cannot be read is about to be replaced: its fault is no matter.
        let old = match exists {
            true => Config::load(locations, env).or_else(|_| fresh())?,
            false => fresh()?,
        };
        Ok(Setup {
            options,
            env,
            file,
            exists,
            old,
        })
    }

    /// Somebody can be asked, or the options say what they must.
    fn enough(&self, asks: bool) -> Result<(), Error> {
        let options = self.options;
        let bot = options.telegram_token.is_some() || self.old.telegram.enabled;
        if !asks && options.owner.is_some() && !bot {
            return Err(Error::usage(
                "--owner is for a bot: add --telegram-token-file FILE or --telegram-token-env",
            ));
        }
        let lacking = match asks {
            true => Vec::new(),
            false => model::lacking(self),
        };
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(Error::usage(format!(
                "init asks at a terminal, and here is nobody to ask: add {}\n\
                 See openpistacrab init --help",
                lacking.join(", and ")
            ))),
        }
    }

    /// Nothing is there, or it may be replaced.
    fn may_replace(&self, asker: Option<&mut Asker>) -> Result<bool, Error> {
        let shown = self.file.display();
        match (self.exists && !self.options.force, asker) {
            (false, None) => Ok(true),
            (true, None) => Err(Error::usage(format!(
                "{shown} is there already: --force replaces it, and keeps a copy"
            ))),
            (there, Some(asker)) => {
                asker.say(&format!(
                    "A few questions, then {shown} is written. Enter takes what stands in\n\
                     brackets; Ctrl-C leaves, and nothing is written.\n"
                ));
                let question = "It is there already. Replace it, and keep a copy?";
                Ok(!there || asker.yes(question, false)?)
            }
        }
    }

    fn answers(
        &self,
        locations: &Locations,
        mut asker: Option<&mut Asker>,
    ) -> Result<Answers, Error> {
        let mut answers = Answers::default();
        model::ask(self, asker.as_deref_mut(), &mut answers)?;
        telegram::ask(self, asker.as_deref_mut(), &mut answers)?;
        self.policy(asker.as_deref_mut(), &mut answers)?;
        self.workspace(asker.as_deref_mut(), &mut answers)?;
        let service = service::ask(self, locations, asker)?;
        answers.service = service;
        Ok(answers)
    }

    fn policy(&self, asker: Option<&mut Asker>, answers: &mut Answers) -> Result<(), Error> {
        let old = MODE_NAMES
            .into_iter()
            .find(|name| policy::mode(name) == Some(self.old.policy.mode));
        let default = old.unwrap_or(MODE_NAMES[0]);
        let mode = match (self.options.policy, asker) {
            (Some(mode), _) => mode.to_owned(),
            (None, None) => default.to_owned(),
            (None, Some(asker)) => {
                asker.say("\nMay the model act without asking you?");
                MODES.iter().for_each(|line| asker.say(line));
                asker.fitting("Policy", default, |line| one_of(line, &MODE_NAMES))?
            }
        };
        answers.set("policy.mode", mode);
        Ok(())
    }

    fn workspace(&self, asker: Option<&mut Asker>, answers: &mut Answers) -> Result<(), Error> {
        let usual = self.old.workspace.display().to_string();
        let given = match (&self.options.workspace, asker) {
            (Some(path), _) => path.clone(),
            (None, None) => self.old.workspace.clone(),
            (None, Some(asker)) => {
                asker.say("\nWhere commands run, and skills are found:");
                PathBuf::from(asker.line("Workspace", &usual)?)
            }
        };
        // Of a relative path the person means that it starts here; the file, that it starts there.
        let path = match given.starts_with("~") {
            true => given,
            false => std::path::absolute(&given).unwrap_or(given),
        };
        if path != self.old.data_dir.join("workspace") {
            let Some(text) = path.to_str() else {
                return Err(Error::usage("the workspace's path is not valid UTF-8"));
            };
            answers.set("skills.workspace", text);
        }
        Ok(())
    }

    /// Writes the secrets, then the configuration. Gives what to say about it.
    fn write(&self, answers: &Answers) -> Result<String, Error> {
        let beside = |name: &str| self.file.with_file_name(name);
        let secrets = answers.secrets.iter();
        let mut files: Vec<(PathBuf, String)> = secrets
            .map(|(name, secret)| (beside(name), format!("{}\n", secret.expose())))
            .collect();
        files.push((self.file.clone(), example::filled(&answers.values)));
        let mut said = String::from("\n");
        for (path, text) in files {
            let copy = put(&path, &text, PRIVATE)?;
            said.push_str(&wrote(&path, copy.as_deref()));
        }
        Ok(said)
    }

    /// Reads a secret from where the options say; none when it stays in the environment.
    fn secret(&self, place: &Place) -> Result<Option<Secret>, Error> {
        let Place::File(path) = place else {
            return Ok(None);
        };
        let (name, read) = match path.to_str() {
            Some("-") => ("stdin".to_owned(), Secret::read(std::io::stdin().lock())),
            _ => (path.display().to_string(), Secret::read_from(path)),
        };
        read.map(Some)
            .map_err(|why| Error::usage(format!("{name} {why}: let it hold the secret alone")))
    }
}

/// What to say about a file that was written.
fn wrote(path: &Path, copy: Option<&Path>) -> String {
    let kept = copy.map(|copy| format!("; what was there is in {}", copy.display()));
    format!("Wrote {}{}\n", path.display(), kept.unwrap_or_default())
}

/// What to do next.
fn next(locations: &Locations, answers: &Answers) -> String {
    let mut said = String::new();
    for variable in &answers.variables {
        said.push_str(&format!(
            "Set {variable} in the environment before you start it.\n"
        ));
    }
    let command = called(locations);
    said.push_str(&format!(
        "\nNow:\n  {command} doctor    what works, and what to mend\n  {command} repl      a \
         conversation\n  {command} start     the daemon, with all that is configured\n"
    ));
    said
}

/// The program with the options that lead to this configuration.
fn called(locations: &Locations) -> String {
    let words = service::location_words(locations);
    let words = words.iter().map(|word| service::quoted(word));
    let words: Vec<String> = [PROGRAM.to_owned()].into_iter().chain(words).collect();
    words.join(" ")
}

/// The word is one of these, or what is wrong with it.
fn one_of(word: &str, known: &[&'static str]) -> Result<(), String> {
    if known.contains(&word) {
        return Ok(());
    }
    Err(match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("one of {}", known.join(", ")),
    })
}
