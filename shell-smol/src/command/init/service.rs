//! The unit for systemd, made from `packaging/openpistacrab.service`.

use super::ask::Asker;
use super::place::{PUBLIC, put};
use super::{Setup, wrote};
use crate::command::Error;
use crate::command::table::PROGRAM;
use crate::config::{Locations, env};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unit as it is packaged, for a program that is on the path.
const PACKAGED: &str = include_str!("../../../openpistacrab.service");

/// Where systemd is, when it runs this machine.
const RUNNING: &str = "/run/systemd/system";

/// The unit's name.
const UNIT: &str = "openpistacrab.service";

/// A unit that is to be written.
pub(super) struct Service {
    file: PathBuf,
    text: String,
    /// And started.
    pub(super) enable: bool,
}

/// Asks whether systemd is to run it, where there is one.
pub(super) fn ask(
    setup: &Setup<'_>,
    locations: &Locations,
    asker: Option<&mut Asker>,
) -> Result<Option<Service>, Error> {
    let options = setup.options;
    let (mut wanted, mut enable) = (options.systemd, options.enable);
    if let Some(asker) = asker
        && !wanted
        && Path::new(RUNNING).is_dir()
    {
        asker.say("");
        wanted = asker.yes("Let systemd run it in the background?", false)?;
        enable = wanted && asker.yes("Start it now, and at each login?", true)?;
    }
    if !wanted {
        return Ok(None);
    }
    let folder = match (
        setup.env.path(env::XDG_CONFIG_HOME),
        setup.env.path(env::HOME),
    ) {
        (Some(folder), _) => folder.clone(),
        (None, Some(home)) => home.join(".config"),
        (None, None) => {
            return Err(Error::usage(
                "a unit for systemd needs your home directory, but HOME is not set: set it",
            ));
        }
    };
    Ok(Some(Service {
        file: folder.join("systemd/user").join(UNIT),
        text: unit(&program(), &with_environment(setup, locations)),
        enable,
    }))
}

impl Service {
    /// Writes the unit. Gives what to say about it.
    pub(super) fn install(&self) -> Result<String, Error> {
        let copy = put(&self.file, &self.text, PUBLIC)?;
        let mut said = wrote(&self.file, copy.as_deref());
        if !self.enable {
            said.push_str(
                "  systemctl --user daemon-reload                        takes notice of it\n  \
                 systemctl --user enable --now openpistacrab           starts it, now and at each login\n",
            );
        }
        said.push_str(
            "  loginctl enable-linger                                lets it run while you are not \
             logged in\n  ~/.config/openpistacrab.env                           holds its variables, \
             NAME=value; it does not see your shell's\n",
        );
        Ok(said)
    }

    /// Has systemd start it.
    pub(super) fn begin(&self) -> Result<(), Error> {
        for words in [
            &["--user", "daemon-reload"][..],
            &["--user", "enable", "--now", PROGRAM],
        ] {
            let line = format!("systemctl {}", words.join(" "));
            let ended = Command::new("systemctl").args(words).status();
            let why = match ended {
                Ok(status) if status.success() => continue,
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            return Err(Error::failed(format!(
                "{line}: {why}; everything is written: try it again by hand"
            )));
        }
        Ok(())
    }
}

/// The program as a unit can name it: by the path that people call it by, which an upgrade keeps,
/// or by its own.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from(PROGRAM));
    let own = own.canonicalize().unwrap_or(own);
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut called = std::env::split_paths(&paths).map(|folder| folder.join(PROGRAM));
    let same = |path: &PathBuf| path.is_absolute() && path.canonicalize().is_ok_and(|p| p == own);
    called.find(same).unwrap_or(own)
}

/// The options that lead to this configuration, with those that the environment gives: systemd's is
/// another.
fn with_environment(setup: &Setup<'_>, locations: &Locations) -> Vec<String> {
    let env = setup.env;
    let or = |option: &Option<PathBuf>, variable| option.clone().or(env.path(variable).cloned());
    location_words(&Locations {
        config: or(&locations.config, env::CONFIG),
        data_dir: or(&locations.data_dir, env::DATA_DIR),
    })
}

/// The options that name these places, wherever they are called.
pub(super) fn location_words(locations: &Locations) -> Vec<String> {
    let named = [
        ("--config", &locations.config),
        ("--data-dir", &locations.data_dir),
    ];
    let word = |(option, path): (&str, &Option<PathBuf>)| {
        let path = path.as_ref()?;
        let path = std::path::absolute(path).unwrap_or(path.clone());
        Some([option.to_owned(), path.display().to_string()])
    };
    named.into_iter().filter_map(word).flatten().collect()
}

/// The packaged unit for the program at this path, with these words before `start`.
fn unit(program: &Path, words: &[String]) -> String {
    let program = program.display().to_string();
    let words = [&[program], words, &["start".to_owned()]].concat();
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    let line = format!("exec {}", words.join(" "));
    // systemd reads the line before the shell does.
    let line = line.replace('\\', "\\\\").replace('"', "\\\"");
    let line = line.replace('%', "%%").replace('$', "$$");
    let (_, body) = PACKAGED.split_once("[Unit]").unwrap_or(("", PACKAGED));
    let body = body.replace("exec openpistacrab start", &line);
    format!("# Written by `openpistacrab init`.\n\n[Unit]{body}")
}

/// A word of a shell's command line.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_packaged_one_but_for_what_it_starts() {
        let made = unit(Path::new("/opt/a b/openpistacrab"), &[]);
        let body = |text: &str| text[text.find("[Unit]").unwrap()..].to_owned();
        let (made, packaged) = (body(&made), body(PACKAGED));
        let changed: Vec<_> = made
            .lines()
            .zip(packaged.lines())
            .filter(|(made, packaged)| made != packaged)
            .collect();
        assert_eq!(
            changed,
            [(
                "ExecStart=/bin/sh -lc \"exec '/opt/a b/openpistacrab' start\"",
                "ExecStart=/bin/sh -lc \"exec openpistacrab start\""
            )]
        );
        assert_eq!(made.lines().count(), packaged.lines().count());
    }

    #[test]
    fn neither_systemd_nor_the_shell_reads_a_path_as_more_than_one() {
        let words = ["--config".to_owned(), "/it's 100% \"$HOME\"\\x".to_owned()];
        let made = unit(Path::new("/bin/o"), &words);
        let line = made.lines().find(|line| line.starts_with("ExecStart"));
        assert_eq!(
            line,
            Some(
                r#"ExecStart=/bin/sh -lc "exec /bin/o --config '/it'\\''s 100%% \"$$HOME\"\\x' start""#
            )
        );
    }
}
