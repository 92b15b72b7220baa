//! The gate between deciding and acting.
//!
//! A step's effects and hints stay here until the shell presents the [`Receipt`] of a durable
//! commit that covers the step (laws 2 and 4). The parts of a shell that act take a [`Cleared`],
//! and only the gate makes one. Every shell goes through this gate, the simulator included.

use crate::effect::Effect;
use crate::hint::Hint;
use crate::id::Seq;
use crate::message::Prompt;
use crate::record::Record;
use crate::step::Step;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The journal's word that everything up to a position is durable. Make one only from a commit
/// that has returned successfully, or from what was read back at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub struct Receipt {
    through: Seq,
}

impl Receipt {
    /// All steps up to and including `through` are durable.
    pub const fn durable_through(through: Seq) -> Receipt {
        Receipt { through }
    }
}

/// An effect whose intent is durable: permission to act, to be used once.
#[derive(Debug)]
#[must_use]
pub struct Cleared {
    effect: Box<Effect>,
    prompt: Option<Prompt>,
}

impl Cleared {
    /// The effect.
    pub fn effect(&self) -> &Effect {
        &self.effect
    }

    /// What to send, for a model call.
    pub fn prompt(&self) -> Option<&Prompt> {
        self.prompt.as_ref()
    }

    /// Both, to act on.
    pub fn into_parts(self) -> (Effect, Option<Prompt>) {
        (*self.effect, self.prompt)
    }
}

/// What a receipt let through.
#[derive(Debug)]
pub enum Opened {
    /// Do this.
    Effect(Cleared),
    /// Show this, if anybody is there.
    Hint(Hint),
}

/// Steps that wait for their commit.
#[derive(Debug, Default)]
pub struct Gate {
    held: VecDeque<Step>,
}

impl Gate {
    /// A gate that holds nothing.
    pub fn new() -> Gate {
        Gate::default()
    }

    /// Takes a step, in the order in which steps were made.
    pub fn hold(&mut self, step: Step) {
        if !step.is_empty() {
            self.held.push_back(step);
        }
    }

    /// Lets out what the receipt covers, in order. A step without records needs no commit of its
    /// own, but waits for those before it: a duplicate is acknowledged only once the original is
    /// durable.
    pub fn open(&mut self, receipt: Receipt) -> Vec<Opened> {
        let mut opened = Vec::new();
        while let Some(step) = self.held.front() {
            if !step.records.is_empty() && step.seq > receipt.through {
                break;
            }
            if let Some(step) = self.held.pop_front() {
                release(step, &mut opened);
            }
        }
        opened
    }

    /// How many steps wait.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

fn release(step: Step, opened: &mut Vec<Opened>) {
    let Step {
        records,
        hints,
        mut prompts,
        ..
    } = step;
    opened.extend(hints.into_iter().map(Opened::Hint));
    for record in records {
        if let Record::Intended(effect) = record {
            let found = prompts.iter().position(|(id, _)| *id == effect.id);
            let prompt = found.map(|index| prompts.swap_remove(index).1);
            let effect = Box::new(effect);
            opened.push(Opened::Effect(Cleared { effect, prompt }));
        }
    }
}
