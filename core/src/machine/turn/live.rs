//! A live turn: what it waits for, and the calls of its round.

use super::transcript::Transcript;
use crate::digest::Digest;
use crate::effect::deliver::End;
use crate::effect::{Effect, Op};
use crate::id::{ApprovalId, EffectId, TurnId};
use crate::message::{Picture, ToolCall};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A live turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) id: TurnId,
    /// The rounds begun so far.
    pub(crate) round: u16,
    pub(super) awaits: Await,
    /// The messages that end with it.
    pub(super) members: Vec<End>,
    /// Who wrote them, each once.
    pub(super) peers: Vec<String>,
    /// What people wrote in it.
    pub(super) texts: Vec<String>,
    /// A person has said no in it.
    pub(super) denied: bool,
    /// The reply of this round was cut off.
    pub(super) cut_off: bool,
    /// How large the transcript was before it.
    pub(super) bytes_before: usize,
    /// How often each call gave each result.
    pub(super) seen: BTreeMap<Digest, u16>,
}

/// What a live turn waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Await {
    /// Being asked: it has nothing to wait for yet.
    Round,
    /// The model's reply.
    Reply(EffectId),
    /// The results of these calls.
    Results(Vec<Call>),
    /// The end: the model replied without calls.
    End(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) call: ToolCall,
    pub(super) awaits: AwaitCall,
    /// What its result shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pictures: Vec<Picture>,
}

/// What a call waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AwaitCall {
    /// To be judged.
    Verdict,
    /// To be run: it may.
    Start,
    /// A person.
    Answer(ApprovalId),
    /// The sandbox that it is to run in.
    Sandbox(EffectId),
    /// The tool.
    Outcome(EffectId),
    /// Nothing more: this is what the model reads.
    Nothing(String),
}

impl Turn {
    pub(super) fn new(id: TurnId, transcript: &Transcript) -> Turn {
        Turn {
            id,
            round: 0,
            awaits: Await::Round,
            members: Vec::new(),
            peers: Vec::new(),
            texts: Vec::new(),
            denied: false,
            cut_off: false,
            bytes_before: transcript.bytes(),
            seen: BTreeMap::new(),
        }
    }
}

impl Turn {
    /// Is it this reply that the turn waits for?
    pub(crate) fn awaits_reply(&self, effect: EffectId) -> bool {
        self.awaits == Await::Reply(effect)
    }

    /// The calls of this round that nobody has judged yet.
    pub(crate) fn unjudged(&self) -> impl Iterator<Item = (u16, &ToolCall)> {
        let verdict = |call: &Call| call.awaits == AwaitCall::Verdict;
        self.calls()
            .filter(move |(_, call)| verdict(call))
            .map(|(index, call)| (index, &call.call))
    }

    /// A call that may run, or that a person is to be asked about.
    pub(crate) fn call(&self, index: u16) -> Option<&ToolCall> {
        let found = self.calls().find(|(at, _)| *at == index);
        found.map(|(_, call)| &call.call)
    }

    fn calls(&self) -> impl Iterator<Item = (u16, &Call)> {
        let calls = match &self.awaits {
            Await::Results(calls) => calls.as_slice(),
            _ => &[],
        };
        (0..).zip(calls)
    }

    /// The channels that its messages came over, each once, in their order.
    pub(crate) fn origins(&self) -> Vec<&str> {
        let mut origins: Vec<&str> = Vec::new();
        for end in &self.members {
            if !origins.contains(&end.origin.as_str()) {
                origins.push(&end.origin);
            }
        }
        origins
    }

    /// Who wrote them, each once, as `channel:user`.
    pub(crate) fn peers(&self) -> &[String] {
        &self.peers
    }

    /// What people wrote in it.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    /// A person has said no in it.
    pub(crate) fn denied(&self) -> bool {
        self.denied
    }

    /// The reply of this round was cut off.
    pub(crate) fn cut_off(&self) -> bool {
        self.cut_off
    }

    /// The turn waits for this effect from here on.
    pub(super) fn intended(&mut self, effect: &Effect) {
        let (index, awaits) = match &effect.op {
            Op::Model(_) => {
                self.awaits = Await::Reply(effect.id);
                return;
            }
            Op::Tool(run) => (run.call, AwaitCall::Outcome(effect.id)),
            Op::Sandbox(used) if used.runs() => (used.call, AwaitCall::Outcome(effect.id)),
            Op::Sandbox(used) => (used.call, AwaitCall::Sandbox(effect.id)),
            Op::Deliver(_) | Op::Cancel(_) => return,
        };
        if let Some(call) = self.call_mut(|at, _| at == index) {
            call.awaits = awaits;
        }
    }

    pub(super) fn call_mut(
        &mut self,
        found: impl Fn(u16, &AwaitCall) -> bool,
    ) -> Option<&mut Call> {
        let Await::Results(calls) = &mut self.awaits else {
            return None;
        };
        let mut numbered = (0..).zip(calls);
        let call = numbered.find(|(index, call)| found(*index, &call.awaits));
        call.map(|(_, call)| call)
    }
}

impl Call {
    pub(super) fn new(call: &ToolCall) -> Call {
        Call {
            call: call.clone(),
            awaits: AwaitCall::Verdict,
            pictures: Vec::new(),
        }
    }
}

impl Call {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.awaits, AwaitCall::Nothing(_))
    }
}
