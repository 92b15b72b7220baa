//! How much there is of what comes and goes: for whoever watches. Counted when somebody asks, so that
//! no step pays for it.

use crate::effect::sandbox::Engine;
use alloc::collections::BTreeMap;

/// The depths of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths {
    /// Sessions that were ever opened.
    pub sessions: usize,
    /// Turns that are live.
    pub turns: usize,
    /// Messages that wait for a turn.
    pub messages: usize,
    /// Questions that wait for a person.
    pub questions: usize,
    /// Effects that run, or wait for another try.
    pub effects: usize,
    /// What waits to be shown behind what is being shown.
    pub deliveries: usize,
    /// Sandboxes by what they are made of and how far they are.
    pub sandboxes: BTreeMap<(Engine, Stage), usize>,
}

/// How far a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is being made.
    Creating,
    /// It stands, and nothing ran in it yet.
    Ready,
    /// Its task runs.
    Busy,
    /// It is being removed.
    Draining,
}

impl Stage {
    /// All of them, in the order in which they come.
    pub const ALL: [Stage; 4] = [Stage::Creating, Stage::Ready, Stage::Busy, Stage::Draining];

    /// As people know it.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Creating => "creating",
            Stage::Ready => "ready",
            Stage::Busy => "busy",
            Stage::Draining => "draining",
        }
    }
}
