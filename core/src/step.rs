//! One step: an input goes in, facts come out.
//!
//! `step` routes cues between the machines until nothing more follows. A machine decides, the
//! state evolves by the record at once, and the record says which machines are to look next. No
//! machine calls another. A step touches one session at the most, which is what lets one session
//! be exported and replayed alone (law 11).

use crate::hint::Hint;
use crate::id::{EffectId, Seq, SessionId};
use crate::input::Input;
use crate::message::Prompt;
use crate::record::Record;
use crate::state::State;
use crate::time::Time;
use crate::timer::Timer;
use alloc::vec::Vec;

/// The daemon's mind.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(crate) state: State,
}

/// What a step decided. The shell commits [`Step::records`] and hands the step to the
/// [`crate::gate::Gate`].
#[derive(Debug)]
#[must_use = "a step that is not committed is lost, and the state is ahead of the journal"]
pub struct Step {
    /// The step's position. A step without records takes none, and shares its number with the
    /// next step.
    pub seq: Seq,
    /// When it was taken.
    pub at: Time,
    /// The one session it touches.
    pub session: Option<SessionId>,
    /// What was decided, in order. Empty: nothing to commit.
    pub records: Vec<Record>,
    pub(crate) hints: Vec<Hint>,
    pub(crate) prompts: Vec<(EffectId, Prompt)>,
}

impl Step {
    /// Nothing came of the input.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.hints.is_empty()
    }
}

impl Core {
    /// A core whose journal is empty.
    pub fn new() -> Core {
        Core::default()
    }

    /// Takes one input. `at` is the moment; an earlier one than the last step's counts as that.
    pub fn step(&mut self, at: Time, input: Input) -> Step {
        let _ = (at, input);
        todo!()
    }

    /// The next moment at which [`Input::Tick`] would do something, and what for.
    pub fn deadline(&self) -> Option<(Time, Timer)> {
        todo!()
    }

    /// The state, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }
}
