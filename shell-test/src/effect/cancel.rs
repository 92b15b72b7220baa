//! Pretends `core/src/effect/cancel.rs`: what an effect reports that was told to stop.

use super::{sandbox, tool};
use crate::seed::Rng;
use openpista_core::effect::model::ModelFault;
use openpista_core::effect::tool::{Exit, ToolFault};
use openpista_core::effect::{Op, Outcome};

/// What the target reports after it was stopped; none when the stop comes too late and it reports
/// what it would have anyway.
pub fn pretend(target: &Op, luck: &mut Rng) -> Option<Outcome> {
    if luck.chance(20) {
        return None;
    }
    match target {
        Op::Model(_) => Some(Outcome::Model(Err(ModelFault::Cancelled))),
        Op::Tool(_) if luck.chance(10) => Some(Outcome::Tool(Err(ToolFault::Cancelled))),
        Op::Tool(run) => Some(tool::ran(Exit::Cancelled, &run.arguments, 1)),
        // Engines are slow to stop.
        Op::Sandbox(_) if luck.chance(40) => None,
        Op::Sandbox(used) => sandbox::stopped(used),
        Op::Deliver(_) | Op::Cancel(_) => None,
    }
}
