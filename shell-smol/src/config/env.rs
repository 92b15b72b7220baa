//! The environment variables that the program reads: these, and no others.

use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the home directory is, for `~`.
pub const HOME: &str = "HOME";
/// Where systemd finds the units of a user; `~/.config` when unset.
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// The configuration file, as `--config` names it.
pub const CONFIG: &str = "OPENPISTACRAB_CONFIG";
/// The data directory, as `--data-dir` names it.
pub const DATA_DIR: &str = "OPENPISTACRAB_DATA_DIR";
/// The working directory of commands; wins over `[skills] workspace`.
pub const WORKSPACE: &str = "OPENPISTACRAB_WORKSPACE";
/// The key for whichever provider is used; wins over every other.
pub const API_KEY: &str = "OPENPISTACRAB_API_KEY";

/// The Telegram bot's token; wins over `[channels.telegram] token`.
pub const BOT_TOKEN: &str = "TELEGRAM_BOT_TOKEN";

/// The variables that hold API keys, in the order in which `provider = "auto"` looks at them.
/// A command that a tool runs never sees them.
pub const KEYS: [&str; 5] = [
    API_KEY,
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "TOGETHER_API_KEY",
    "OPENROUTER_API_KEY",
];

/// The variables that we know, as they were when the program started. An empty one counts as
/// unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    paths: BTreeMap<&'static str, PathBuf>,
    keys: BTreeMap<&'static str, Secret>,
    bot_token: Option<Secret>,
}

impl Env {
    /// What this process was given.
    pub fn of_process() -> Env {
        Env::read(|name| std::env::var_os(name))
    }

    /// What `look_up` gives for each variable that we know.
    pub fn read(look_up: impl Fn(&str) -> Option<std::ffi::OsString>) -> Env {
        let set = |name: &&str| look_up(name).filter(|value| !value.is_empty());
        let paths = [HOME, XDG_CONFIG_HOME, CONFIG, DATA_DIR, WORKSPACE].into_iter();
        let paths = paths.filter_map(|name| Some((name, PathBuf::from(set(&name)?))));
        let secret = |name| {
            let secret = Secret::new(&set(&name)?.into_string().ok()?);
            (!secret.expose().is_empty()).then_some(secret)
        };
        let keys = KEYS
            .into_iter()
            .filter_map(|name| Some((name, secret(name)?)));
        Env {
            paths: paths.collect(),
            keys: keys.collect(),
            bot_token: secret(BOT_TOKEN),
        }
    }

    /// A variable that holds a path.
    pub fn path(&self, name: &str) -> Option<&PathBuf> {
        self.paths.get(name)
    }

    /// The variables of [`KEYS`] that are set.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, &Secret)> {
        self.keys.iter().map(|(name, key)| (*name, key))
    }

    /// The names of the keys that are set, in the order of [`KEYS`].
    pub fn keys_in_order(&self) -> impl Iterator<Item = &'static str> {
        KEYS.into_iter().filter(|name| self.keys.contains_key(name))
    }

    /// [`BOT_TOKEN`].
    pub fn bot_token(&self) -> Option<&Secret> {
        self.bot_token.as_ref()
    }

    /// A variable of [`KEYS`].
    pub fn key(&self, name: &str) -> Option<&Secret> {
        self.keys.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_blank_variables_count_as_unset() {
        let env = Env::read(|name| match name {
            "OPENAI_API_KEY" => Some("  ".into()),
            "TOGETHER_API_KEY" => Some(" k\n".into()),
            "HOME" => Some("".into()),
            _ => None,
        });
        assert_eq!(env.key("OPENAI_API_KEY"), None);
        assert_eq!(env.key("TOGETHER_API_KEY"), Some(&Secret::new("k")));
        assert_eq!(env.path(HOME), None);
    }

    #[test]
    fn keys_are_not_printed() {
        let env = Env::read(|_| Some("canary".into()));
        let keys = format!("{:?}", env.keys);
        assert!(!keys.contains("canary"), "{keys}");
    }
}
