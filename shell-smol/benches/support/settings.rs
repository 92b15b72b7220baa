//! The settings of the benches that run a core.

use openpista_core::message::ToolSpec;
use openpista_core::settings::{Mode, Policy, Settings};

/// What an operator of the benches chose: every tool runs freely, and anybody may ask.
pub(crate) fn settings(tools: Vec<ToolSpec>) -> Settings {
    Settings {
        provider: "bench".into(),
        model: "m".into(),
        system: "You are an agent on this computer. ".repeat(30).into(),
        tools: tools.into(),
        policy: Policy {
            mode: Mode::Full,
            ..Policy::default()
        },
        owners: ["cli:local".to_string()].into(),
        ..Settings::default()
    }
}
