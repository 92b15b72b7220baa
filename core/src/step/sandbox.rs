//! What a sandbox goes through: made for a call that may run, used, removed; and what it reports.

use super::{Cue, Stepping};
use crate::digest::Digest;
use crate::effect::sandbox::{
    Action, Done, Ended, Engine, SandboxFault, Sandboxed, Task, UseSandbox,
};
use crate::effect::{Op, Outcome, Recovery};
use crate::hint::Hint;
use crate::id::{EffectId, SandboxId, SessionId, TurnId};
use crate::machine::sandbox::Bearer;
use crate::record::Record;
use crate::say;
use crate::timer::Timer;
use alloc::string::ToString;

/// The call that a sandbox is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct For {
    pub(super) session: SessionId,
    pub(super) turn: TurnId,
    pub(super) call: u16,
}

impl Stepping<'_> {
    /// Has a sandbox made for a call, unless too many stand already.
    pub(super) fn create_sandbox(&mut self, whose: For, engine: Engine, task: Task) {
        let limits = &self.state.settings.limits;
        let (most, timeout_ms) = (limits.sandboxes, limits.sandbox_create_ms);
        if self.state.sandboxes.count(whose.session) >= most {
            return self.record(Record::Served {
                session: whose.session,
                call: whose.call,
                content: say::too_many_sandboxes(most),
            });
        }
        // It has the number of the effect that creates it.
        let EffectId { seq, slot } = self.next_effect();
        let op = Op::Sandbox(UseSandbox {
            session: whose.session,
            turn: whose.turn,
            call: whose.call,
            sandbox: SandboxId { seq, slot },
            engine,
            action: Action::Create(task),
            timeout_ms,
        });
        self.intend(op, Recovery::Repeat);
    }

    /// An action has come to its end: the next one follows, in another sandbox if need be.
    pub(super) fn sandbox_settled(&mut self, used: UseSandbox, fault: Option<SandboxFault>) {
        let (session, sandbox) = (used.session, used.sandbox);
        let live = self.state.turns.live(session).map(|turn| turn.id);
        let turn_lives = live == Some(used.turn);
        let limits = &self.state.settings.limits;
        let next = self.state.sandboxes.next(limits, sandbox, turn_lives);
        let mut starts = false;
        if let Some((next, recovery)) = next {
            starts = next.runs();
            self.intend(Op::Sandbox(next), recovery);
        }
        match &used.action {
            Action::Run(_) | Action::Resume(_) => self.cues.push_back(Cue::Advance(session)),
            Action::Create(task) if turn_lives && !starts => {
                let fault = fault.unwrap_or_else(beside_the_point);
                self.not_created(&used, task, &fault);
            }
            Action::Create(_) | Action::Destroy => {}
        }
    }

    fn not_created(&mut self, used: &UseSandbox, task: &Task, fault: &SandboxFault) {
        let mut tools = self.state.tools().iter();
        let spec = tools.find(|spec| spec.name == task.tool);
        let otherwise = match (fault, spec.and_then(|spec| spec.sandbox.as_ref())) {
            (SandboxFault::Unavailable { .. }, Some(Sandboxed { otherwise, .. })) => *otherwise,
            _ => None,
        };
        let (session, call) = (used.session, used.call);
        match otherwise.filter(|engine| *engine != used.engine) {
            Some(engine) => {
                let whose = For {
                    session,
                    turn: used.turn,
                    call,
                };
                self.create_sandbox(whose, engine, task.clone());
            }
            None => self.record(Record::Served {
                session,
                call,
                content: fault.to_string(),
            }),
        }
    }

    /// Something that shows a token says how its task ended.
    pub(super) fn report(&mut self, token: Digest, ended: Ended) {
        let found = self.state.sandboxes.bearer(&token);
        let taken = match found {
            Some(Bearer::Runs(session, sandbox, effect)) => {
                let due = self.state.due(Timer::Overdue(effect));
                // Nobody may have ticked yet. It may have run for too long, but no longer.
                let in_time = due.is_none_or(|due| due > self.step.at);
                if in_time {
                    self.record(Record::Heard { session, sandbox });
                    self.record(Record::Settled {
                        session,
                        effect,
                        outcome: Outcome::Sandbox(Ok(Done::Ended(ended))),
                    });
                }
                in_time
            }
            Some(Bearer::Heard) => true,
            None => false,
        };
        self.step.hints.push(Hint::Heard { token, taken });
    }
}

/// An engine called something a creation that is none.
fn beside_the_point() -> SandboxFault {
    SandboxFault::Failed {
        message: "its engine did not say that the sandbox stands".to_string(),
    }
}
