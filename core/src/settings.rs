//! What the operator chose, as far as it decides anything. Handed over at Boot and journaled there
//! (without secrets: the core never holds one), so that a replay decides by the same rules.

use crate::limit::Limits;
use crate::message::ToolSpec;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The operator's choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The provider, as messages to people name it, for example `openai`.
    pub provider: String,
    /// The model's name as the provider knows it.
    pub model: Arc<str>,
    /// The system prompt of every request.
    pub system: Arc<str>,
    /// The tools on offer.
    pub tools: Arc<[ToolSpec]>,
    /// The model takes pictures.
    #[serde(default, skip_serializing_if = "is_no")]
    pub images: bool,
    /// What may run, and what must be asked about.
    pub policy: Policy,
    /// Who may give orders: peers as `channel:user`, for example `cli:local`.
    pub owners: BTreeSet<String>,
    /// The longest text that a channel delivers in one piece, in characters, by the part of the
    /// origin before the first colon. A channel that is not named takes any length.
    pub channel_chars: BTreeMap<String, usize>,
    /// Messages that come by themselves.
    #[serde(default)]
    pub schedule: Vec<JobSpec>,
    /// Jobs fire in this life. They do not in one that is there for a single conversation: what they
    /// come to is for the daemon to show. They are armed all the same.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub jobs_fire: bool,
    /// The time zone of jobs that name none, for example `Europe/Berlin`.
    #[serde(default)]
    pub zone: String,
    /// The bounds.
    pub limits: Limits,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn is_no(value: &bool) -> bool {
    !*value
}

impl Default for Settings {
    /// Nobody may give orders, and there is nothing to run: how things stand before the first boot.
    fn default() -> Settings {
        Settings {
            provider: String::new(),
            model: Arc::from(""),
            system: Arc::from(""),
            tools: Arc::from([]),
            images: false,
            policy: Policy::default(),
            owners: BTreeSet::new(),
            channel_chars: BTreeMap::new(),
            schedule: Vec::new(),
            jobs_fire: true,
            zone: String::from("UTC"),
            limits: Limits::default(),
        }
    }
}

/// Which tools run freely. The strictest of the modes that apply wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// For everything.
    pub mode: Mode,
    /// By channel, for example `cli`.
    pub channels: BTreeMap<String, Mode>,
    /// By tool, for example `system.run`.
    pub tools: BTreeMap<String, Mode>,
}

/// How much a tool may do without a person's yes. Ordered from the laxest to the strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Tools run.
    Full,
    /// A person is asked about each call, except a command they typed themselves.
    #[default]
    Ask,
    /// Only tools that change nothing run.
    ReadOnly,
}

/// A message that comes by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its name, for people.
    pub name: String,
    /// When: five fields as in a crontab, or `@daily` and its kin; see [`crate::cron`].
    pub cron: String,
    /// The time zone of these, by its IANA name.
    pub zone: String,
    /// The message.
    pub text: String,
    /// Where the reply goes, for example `telegram:12345`.
    pub origin: String,
    /// On whose behalf, as `channel:user`.
    pub peer: String,
    /// The session's name; the origin's session when none is named.
    #[serde(default)]
    pub session: Option<String>,
    /// What to do about due times that passed while nobody was there.
    #[serde(default)]
    pub missed: Missed,
}

/// What to do about due times that passed while the program did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Nothing; wait for the next.
    #[default]
    Skip,
    /// Fire once for all of them.
    Once,
}

impl JobSpec {
    /// The name of its session.
    pub fn session_name(&self) -> &str {
        self.session.as_deref().unwrap_or(&self.origin)
    }
}
