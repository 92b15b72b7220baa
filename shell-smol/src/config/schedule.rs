//! Reading `[[schedule]]`: messages that come by themselves.
//!
//! Whatever could keep a job from firing is refused when the file is read, with the line: nobody
//! watches when it is due.

use super::file::Reader;
use super::key::nearest;
use super::{ConfigError, OWNER};
use openpista_core::cron::{Cron, Zone};
use openpista_core::settings::{JobSpec, Missed};
use std::collections::BTreeSet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of one entry.
pub(super) const JOB_KEYS: [&str; 7] = [
    "name", "cron", "zone", "text", "channel", "session", "missed",
];

/// The kinds of channels that a reply can go to.
const CHANNELS: [&str; 3] = ["cli", "quic", "telegram"];

/// All entries.
pub(super) fn jobs(
    reader: &Reader<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<JobSpec>, ConfigError> {
    let list = || {
        let message = "schedule is a list: write [[schedule]], then the keys of one job";
        reader.refuse(value.span().start, message)
    };
    let DeValue::Array(entries) = value.get_ref() else {
        return Err(list());
    };
    let mut names = BTreeSet::new();
    let mut jobs = Vec::with_capacity(entries.len());
    for entry in entries {
        let DeValue::Table(table) = entry.get_ref() else {
            return Err(list());
        };
        let entry = Entry {
            reader,
            at: entry.span().start,
            table,
        };
        let job = entry.job()?;
        if !names.insert(job.name.clone()) {
            let message = format!("two jobs are named {:?}: rename one", job.name);
            return Err(entry.refuse("name", message));
        }
        jobs.push(job);
    }
    Ok(jobs)
}

struct Entry<'a> {
    reader: &'a Reader<'a>,
    at: usize,
    table: &'a DeTable<'a>,
}

impl Entry<'_> {
    fn job(&self) -> Result<JobSpec, ConfigError> {
        for name in self.table.keys() {
            let at = name.span().start;
            let name: &str = name.get_ref();
            if !JOB_KEYS.contains(&name) {
                let cure = match nearest(name, JOB_KEYS.into_iter()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("known: {}", JOB_KEYS.join(", ")),
                };
                let message = format!("unknown key \"schedule.{name}\"; {cure}");
                return Err(self.reader.refuse(at, message));
            }
        }
        let cron = self.needed("cron")?;
        Cron::parse(&cron).map_err(|wrong| self.refuse("cron", format!("cron: {wrong}")))?;
        let zone = match self.text("zone")? {
            None => self.reader.config.zone(),
            Some(name) => {
                Zone::parse(&name).map_err(|wrong| self.refuse("zone", format!("zone: {wrong}")))?
            }
        };
        let missed = match self.text("missed")?.as_deref() {
            None | Some("skip") => Missed::Skip,
            Some("once") => Missed::Once,
            Some(_) => {
                let message = "schedule.missed must be \"skip\" or \"once\"";
                return Err(self.refuse("missed", message));
            }
        };
        Ok(JobSpec {
            name: self.needed("name")?,
            cron,
            zone: zone.to_string(),
            text: self.needed("text")?,
            origin: self.channel()?,
            peer: OWNER.to_owned(),
            session: self.text("session")?,
            missed,
        })
    }

    fn channel(&self) -> Result<String, ConfigError> {
        let channel = self.needed("channel")?;
        let known = channel.split_once(':').is_some_and(|(kind, name)| {
            let name_fits = match kind {
                "cli" => name == "local",
                _ => !name.is_empty(),
            };
            CHANNELS.contains(&kind) && name_fits
        });
        match known && !channel.contains(char::is_control) {
            true => Ok(channel),
            false => Err(self.refuse(
                "channel",
                "schedule.channel must be \"cli:local\", \"telegram:CHAT\" or \"quic:CLIENT\"",
            )),
        }
    }

    fn needed(&self, name: &str) -> Result<String, ConfigError> {
        self.text(name)?
            .ok_or_else(|| self.refuse(name, format!("a job needs a {name}: {name} = \"…\"")))
    }

    /// A text that is not blank, if the key is there.
    fn text(&self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.table.get(name).map(|value| value.get_ref()) {
            None => Ok(None),
            Some(DeValue::String(text)) if !text.trim().is_empty() => {
                Ok(Some(text.trim().to_owned()))
            }
            Some(_) => {
                let message = format!("schedule.{name} must be a text, in quotes and not empty");
                Err(self.refuse(name, message))
            }
        }
    }

    /// What is wrong, with the line of the key, or of the entry when the key is not there.
    fn refuse(&self, name: &str, message: impl Into<String>) -> ConfigError {
        let at = self.table.get(name).map(|value| value.span().start);
        self.reader.refuse(at.unwrap_or(self.at), message)
    }
}
