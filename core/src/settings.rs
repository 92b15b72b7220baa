//! What the operator chose, as far as it decides anything. Handed over at Boot and journaled there
//! (without secrets: the core never holds one), so that a replay decides by the same rules.

use crate::limit::Limits;
use crate::message::ToolSpec;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
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
    /// What may run, and what must be asked about.
    pub policy: Policy,
    /// Who may give orders: peers as `channel:user`, for example `cli:local`.
    pub owners: BTreeSet<String>,
    /// The longest text that a channel delivers in one piece, in characters, by the part of the
    /// origin before the first colon. A channel that is not named takes any length.
    pub channel_chars: BTreeMap<String, usize>,
    /// The bounds.
    pub limits: Limits,
}

impl Default for Settings {
    /// Nobody may give orders, and there is nothing to run: how things stand before the first boot.
    fn default() -> Settings {
        Settings {
            provider: String::new(),
            model: Arc::from(""),
            system: Arc::from(""),
            tools: Arc::from([]),
            policy: Policy::default(),
            owners: BTreeSet::new(),
            channel_chars: BTreeMap::new(),
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
