//! Reading a configuration file by the table of keys.
//!
//! Whatever the table does not know is refused with its line: a key that is silently ignored is a
//! setting that somebody believes in.

use super::key::{KEYS, Key, Kind, LATER, SCHEDULE};
use super::policy::MODES;
use super::{Config, ConfigError, expand};
use crate::secret::Secret;
use openpista_core::settings::Mode;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Applies the text of the file at `path` to `config`.
pub(super) fn apply(config: &mut Config, path: &Path, text: &str) -> Result<(), ConfigError> {
    let mut reader = Reader {
        config,
        path,
        text,
        backoff_at: 0,
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.refuse(at, format!("not valid TOML: {}", error.message()))
    })?;
    reader.table("", table.get_ref())?;
    if let Some(jobs) = table.get_ref().get(SCHEDULE) {
        reader.config.schedule = super::schedule::jobs(&reader, jobs)?;
    }
    let limits = &reader.config.limits;
    if limits.backoff_ms > limits.backoff_max_ms {
        let message = format!(
            "limits.backoff_ms is {}, more than limits.backoff_max_ms, which is {}",
            limits.backoff_ms, limits.backoff_max_ms
        );
        return Err(reader.refuse(reader.backoff_at, message));
    }
    Ok(())
}

pub(super) struct Reader<'a> {
    pub(super) config: &'a mut Config,
    path: &'a Path,
    text: &'a str,
    /// Where one of the two backoff keys was last seen: they are judged together, at the end.
    backoff_at: usize,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let at = name.span().start;
            let name = match prefix {
                "" => name.get_ref().to_string(),
                _ => format!("{prefix}.{}", name.get_ref()),
            };
            match KEYS.iter().find(|key| key.path == name) {
                Some(key) => self.value(key, value)?,
                None if LATER.contains(&name.as_str()) => {
                    return Err(self.refuse(
                        at,
                        format!("[{name}] is not in this version yet: remove it"),
                    ));
                }
                // Read last: its jobs take their time zone from elsewhere.
                None if name == SCHEDULE => {}
                None => match value.get_ref() {
                    DeValue::Table(inner) if is_section(&name) => self.table(&name, inner)?,
                    _ if is_section(&name) => {
                        let message = format!("{name} is a section: write [{name}], then its keys");
                        return Err(self.refuse(at, message));
                    }
                    _ => return Err(self.unknown(at, &name)),
                },
            }
        }
        Ok(())
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<(), ConfigError> {
        let at = value.span().start;
        if key.path.starts_with("limits.backoff") {
            self.backoff_at = at;
        }
        match (&key.kind, value.get_ref()) {
            (Kind::Text { set, .. }, DeValue::String(text)) => {
                set(self.config, text).map_err(|expected| self.wrong(at, key, &expected))
            }
            (Kind::Path { set }, DeValue::String(text)) => {
                let path = self.resolved(at, key, text)?;
                set(self.config, path);
                Ok(())
            }
            (Kind::SecretFile { field }, DeValue::String(text)) => {
                let path = self.resolved(at, key, text)?;
                self.secret(at, key, path, *field)
            }
            (Kind::Whole { range, set }, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                match number.ok().and_then(|number| u64::try_from(number).ok()) {
                    Some(number) if range.contains(&number) => {
                        set(self.config, number);
                        Ok(())
                    }
                    _ => Err(self.wrong(at, key, &key.kind.expected())),
                }
            }
            (Kind::Switch { set }, DeValue::Boolean(on)) => {
                set(self.config, *on);
                Ok(())
            }
            (Kind::Ids { field }, DeValue::Array(ids)) => {
                let id = |id: &Spanned<DeValue<'_>>| match id.get_ref() {
                    DeValue::Integer(id) => i64::from_str_radix(id.as_str(), id.radix()).ok(),
                    _ => None,
                };
                let ids = ids.iter().map(|found| {
                    let id = id(found).and_then(|id| u64::try_from(id).ok());
                    let at = found.span().start;
                    id.ok_or_else(|| self.wrong(at, key, &key.kind.expected()))
                });
                let ids = ids.collect::<Result<_, _>>()?;
                *field(self.config) = ids;
                Ok(())
            }
            (Kind::Modes { field, .. }, DeValue::Table(table)) => {
                let mut modes = BTreeMap::new();
                self.modes(key, "", table, &mut modes)?;
                *field(self.config) = modes;
                Ok(())
            }
            _ => Err(self.wrong(at, key, &key.kind.expected())),
        }
    }

    fn resolved(&self, at: usize, key: &Key, text: &str) -> Result<PathBuf, ConfigError> {
        let text = text.strip_prefix("sqlite://").unwrap_or(text);
        if text.is_empty() || text.contains("://") {
            return Err(self.wrong(at, key, "the path of a file or folder"));
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Ok(folder.join(expand(Path::new(text), &self.config.env)?))
    }

    fn secret(
        &mut self,
        at: usize,
        key: &Key,
        path: PathBuf,
        field: fn(&mut Config) -> &mut Option<Secret>,
    ) -> Result<(), ConfigError> {
        if field(self.config).is_some() {
            let other = key.path.trim_end_matches("_file");
            let message = format!("{} stands beside {other}: keep one of them", key.path);
            return Err(self.refuse(at, message));
        }
        let secret = Secret::read_from(&path).map_err(|why| {
            let shown = path.display();
            let cure = "let it hold the secret alone, in one line";
            self.refuse(at, format!("{}: {shown} {why}; {cure}", key.path))
        })?;
        *field(self.config) = Some(secret);
        self.config.secret_files.push(path);
        Ok(())
    }

    /// Reads `name = mode` lines. A name with a dot may be written with or without quotes, which
    /// makes it one name or a table in a table: both mean the same here.
    fn modes(
        &self,
        key: &Key,
        prefix: &str,
        table: &DeTable<'_>,
        modes: &mut BTreeMap<String, Mode>,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => {
                    self.modes(key, &format!("{full}."), inner, modes)?;
                }
                _ if !key.kind.knows(&full) => {
                    let known = key.kind.names();
                    let message = format!("{} has no \"{full}\"; known: {known}", key.path);
                    return Err(self.refuse(name.span().start, message));
                }
                value_of => {
                    let mode = match value_of {
                        DeValue::String(text) => super::policy::mode(text),
                        _ => None,
                    };
                    let Some(mode) = mode else {
                        let message = format!("{}.{full} must be {MODES}", key.path);
                        return Err(self.refuse(value.span().start, message));
                    };
                    modes.insert(full, mode);
                }
            }
        }
        Ok(())
    }

    fn unknown(&self, at: usize, name: &str) -> ConfigError {
        let near = super::key::nearest(name, KEYS.iter().flat_map(Key::and_sections));
        let cure = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "config.example.toml lists every key".to_owned(),
        };
        self.refuse(at, format!("unknown key \"{name}\"; {cure}"))
    }

    fn wrong(&self, at: usize, key: &Key, expected: &str) -> ConfigError {
        self.refuse(at, format!("{} must be {expected}", key.path))
    }

    pub(super) fn refuse(&self, at: usize, message: impl Into<String>) -> ConfigError {
        let before = self.text.as_bytes().iter().take(at);
        ConfigError {
            line: Some(1 + before.filter(|byte| **byte == b'\n').count()),
            ..ConfigError::new(message).in_file(self.path)
        }
    }
}

/// Some key lies under this name.
fn is_section(name: &str) -> bool {
    let under = |path: &str| path.strip_prefix(name).is_some_and(|r| r.starts_with('.'));
    KEYS.iter().any(|key| under(key.path)) || LATER.iter().any(|path| under(path))
}
