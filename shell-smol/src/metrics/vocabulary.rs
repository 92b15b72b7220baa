//! The words that labels consist of. Each function gives one of a few, whatever it is given.

use openpista_core::effect::deliver::{DeliverFault, Delivered};
use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::effect::sandbox::{Done, SandboxFault};
use openpista_core::effect::tool::{Exit, Ran, ToolFault};
use openpista_core::record::TurnEnd;
use std::borrow::Cow;

/// A channel, by the part of an origin that our own sources make.
pub(super) fn channel(origin: &str) -> &'static str {
    let channel = origin.split(':').next().unwrap_or_default();
    let known = ["cli", "quic", "telegram", "job"];
    known
        .into_iter()
        .find(|name| *name == channel)
        .unwrap_or("other")
}

pub(super) fn turn_end(end: &TurnEnd) -> &'static str {
    match end {
        TurnEnd::Replied(_) => "replied",
        TurnEnd::Failed(_) => "failed",
        TurnEnd::Stopped => "stopped",
    }
}

/// The status that the server gave, or what came instead of one.
pub(super) fn model_code(outcome: &Result<Reply, ModelFault>) -> Cow<'static, str> {
    match outcome {
        Ok(_) => "200".into(),
        Err(ModelFault::RateLimited { .. }) => "429".into(),
        Err(ModelFault::Server { status, .. } | ModelFault::Rejected { status, .. }) => {
            match status {
                400..=599 => status.to_string().into(),
                _ => "other".into(),
            }
        }
        Err(ModelFault::Network { .. }) => "network".into(),
        Err(ModelFault::TimedOut) => "timeout".into(),
        Err(ModelFault::Empty) => "empty".into(),
        Err(ModelFault::Garbled { .. }) => "garbled".into(),
        Err(ModelFault::Cancelled) => "cancelled".into(),
    }
}

pub(super) fn tool_end(outcome: &Result<Ran, ToolFault>) -> &'static str {
    match outcome {
        Ok(ran) => exit_end(ran.exit),
        Err(ToolFault::Arguments { .. }) => "arguments",
        Err(ToolFault::Start { .. }) => "not_started",
        Err(ToolFault::Cancelled) => "cancelled",
    }
}

pub(super) fn sandbox_end(outcome: &Result<Done, SandboxFault>) -> &'static str {
    match outcome {
        Ok(Done::Ended(ended)) => exit_end(ended.ran.exit),
        Ok(Done::Created { .. } | Done::Destroyed) => "ok",
        Err(SandboxFault::Unavailable { .. }) => "unavailable",
        Err(SandboxFault::Arguments { .. }) => "arguments",
        Err(SandboxFault::Failed { .. }) => "not_started",
        Err(SandboxFault::Lost) => "lost",
        Err(SandboxFault::TimedOut) => "timeout",
        Err(SandboxFault::Cancelled) => "cancelled",
    }
}

fn exit_end(exit: Exit) -> &'static str {
    match exit {
        Exit::Code(0) => "ok",
        Exit::Code(_) => "error",
        Exit::Signal(_) => "signal",
        Exit::TimedOut => "timeout",
        Exit::Cancelled => "cancelled",
    }
}

pub(super) fn delivery_end(outcome: &Result<Delivered, DeliverFault>) -> &'static str {
    match outcome {
        Ok(Delivered) => "ok",
        Err(DeliverFault::RateLimited { .. }) => "rate_limited",
        Err(DeliverFault::Unformatted) => "unformatted",
        Err(DeliverFault::Unreachable { .. }) => "unreachable",
        Err(DeliverFault::Absent) => "absent",
        Err(DeliverFault::Gone { .. }) => "gone",
    }
}
