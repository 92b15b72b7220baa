//! Breaking laws on purpose, to see that the checks can fail.

use openpista_core::Core;
use openpista_core::effect::Recovery;
use openpista_core::input::Input;
use openpista_core::message::ToolSpec;
use openpista_core::record::Record;
use openpista_core::replay::Line;

/// How a shell, or the core as a shell sees it, is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meddling {
    /// Not at all.
    #[default]
    None,
    /// The gate is opened before the commit.
    OpensEarly,
    /// Channels are acknowledged when a message comes in.
    AcknowledgesEarly,
    /// No key is known again.
    ForgetsKeys,
    /// Doubtful tools are run again after a crash.
    RepeatsDoubt,
    /// Deliveries count as made and are not.
    LosesDeliveries,
    /// Everything is shown twice.
    ShowsTwice,
}

impl Meddling {
    pub(crate) fn opens_early(self) -> bool {
        self == Meddling::OpensEarly
    }

    pub(crate) fn acknowledges_early(self) -> bool {
        self == Meddling::AcknowledgesEarly
    }

    pub(crate) fn shows(self) -> usize {
        match self {
            Meddling::LosesDeliveries => 0,
            Meddling::ShowsTwice => 2,
            _ => 1,
        }
    }

    /// What the core is told instead.
    pub(crate) fn input(self, input: Input, core: &Core) -> Input {
        match (self, input) {
            (Meddling::ForgetsKeys, Input::Arrive(mut arrival)) => {
                arrival.key = format!("{}#{}", arrival.key, core.state().seq());
                Input::Arrive(arrival)
            }
            (Meddling::RepeatsDoubt, Input::Boot(mut boot)) => {
                let repeat = |tool: &ToolSpec| ToolSpec {
                    recovery: Recovery::Repeat,
                    ..tool.clone()
                };
                boot.settings.tools = boot.settings.tools.iter().map(repeat).collect();
                Input::Boot(boot)
            }
            (_, input) => input,
        }
    }

    /// What the journal is told instead.
    pub(crate) fn line(self, line: &mut Line) {
        if self != Meddling::ForgetsKeys {
            return;
        }
        for record in &mut line.records {
            if let Record::Accepted(accepted) = record {
                let key = accepted.key.split('#').next().unwrap_or_default();
                accepted.key = key.to_string();
            }
        }
    }
}
