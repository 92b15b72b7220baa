//! Intents: every open effect, its tries, and what becomes of it after a crash (laws 4 to 6).
//!
//! An effect is open from its first `Intended` until one of `Answered`, `Settled` or `Doubted`,
//! of which there is exactly one. A try that is not the current one changes nothing.

use crate::digest::Digest;
use crate::effect::cancel::{Cancel, Cancelled};
use crate::effect::deliver::DeliverFault;
use crate::effect::model::ModelFault;
use crate::effect::sandbox::{Action, SandboxFault};
use crate::effect::tool::ToolFault;
use crate::effect::{Effect, Op, Outcome, Recovery};
use crate::id::{Attempt, EffectId, SessionId, TurnId};
use crate::limit::Limits;
use crate::record::Record;
use crate::time::Time;
use crate::timer::Timer;
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The open effects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intents {
    open: BTreeMap<EffectId, Open>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    effect: Effect,
    awaits: Await,
    /// How many of its tries found nobody there. They do not count against it.
    #[serde(default)]
    absent: u16,
}

/// What an open effect waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Await {
    /// A shell performs it; by then it must have reported.
    Outcome(Time),
    /// The moment of the next try.
    Retry(Time),
    /// Somebody to be there, or this moment.
    Presence(Time),
    /// The program died while it ran; the moment it started again.
    Recovery(Time),
}

impl Intents {
    /// The effect of that name, while it is open.
    pub(crate) fn get(&self, id: EffectId) -> Option<&Effect> {
        self.open.get(&id).map(|open| &open.effect)
    }

    /// How many effects of a session are open.
    pub(crate) fn open_in(&self, session: SessionId) -> usize {
        let effects = self.open.values().map(|open| &open.effect);
        effects.filter(|e| e.session() == session).count()
    }

    /// An outcome came in. Nothing, if that try is not being waited for.
    pub(crate) fn finish(
        &self,
        limits: &Limits,
        at: Time,
        (id, attempt): (EffectId, Attempt),
        outcome: Outcome,
        turn_lives: impl Fn(&Effect) -> bool,
    ) -> Vec<Record> {
        let Some(open) = self.open.get(&id) else {
            return Vec::new();
        };
        let effect = &open.effect;
        let current = effect.attempt == attempt && matches!(open.awaits, Await::Outcome(_));
        if !current || !answers(&effect.op, &outcome) {
            return Vec::new();
        }
        let session = effect.session();
        let lives = turn_lives(effect);
        match outcome {
            // Nobody can say how far it came, the engine says.
            Outcome::Sandbox(Err(SandboxFault::Lost)) if may_have_run(&effect.op) => {
                vec![Record::Doubted {
                    session,
                    effect: id,
                }]
            }
            Outcome::Model(Ok(reply)) if lives => vec![Record::Answered {
                session,
                effect: id,
                reply: reply.bounded(limits),
            }],
            outcome => match retry_in_ms(limits, open, &outcome) {
                Some(wait_ms) if lives => vec![Record::Postponed {
                    session,
                    effect: id,
                    attempt,
                    outcome,
                    retry_at: at.after_ms(wait_ms),
                }],
                _ => vec![Record::Settled {
                    session,
                    effect: id,
                    outcome,
                }],
            },
        }
    }

    /// An effect has not reported in time. A tool may have run; the rest counts as a failed try.
    pub(crate) fn overdue(
        &self,
        limits: &Limits,
        at: Time,
        id: EffectId,
        turn_lives: impl Fn(&Effect) -> bool,
    ) -> Vec<Record> {
        let Some(effect) = self.get(id) else {
            return Vec::new();
        };
        if may_have_run(&effect.op) {
            return vec![Record::Doubted {
                session: effect.session(),
                effect: id,
            }];
        }
        let outcome = match &effect.op {
            Op::Tool(_) => Outcome::Tool(Err(ToolFault::Cancelled)),
            Op::Sandbox(used) => Outcome::Sandbox(Err(match used.action {
                Action::Destroy => SandboxFault::Unavailable {
                    message: "no answer in time".to_string(),
                },
                _ => SandboxFault::TimedOut,
            })),
            Op::Model(_) => Outcome::Model(Err(ModelFault::TimedOut)),
            Op::Deliver(_) => Outcome::Deliver(Err(DeliverFault::Unreachable {
                message: "no answer in time".to_string(),
            })),
            Op::Cancel(_) => Outcome::Cancel(Cancelled::Nothing),
        };
        self.finish(limits, at, (id, effect.attempt), outcome, turn_lives)
    }

    /// The next try of an effect, after a wait or a crash. A model call's prompt is made anew, and
    /// with it `prompt`, its digest: the rules or the transcript may have changed.
    pub(crate) fn again(&self, id: EffectId, prompt: Option<Digest>) -> Option<Effect> {
        let open = self.open.get(&id)?;
        let mut effect = open.effect.clone();
        effect.attempt = effect.attempt.next();
        match &mut effect.op {
            Op::Model(call) => call.prompt = prompt?,
            // Where nobody was, nobody has seen it.
            Op::Deliver(delivery) => {
                delivery.repeated |= !matches!(open.awaits, Await::Presence(_));
            }
            Op::Sandbox(used) => {
                if let Action::Run(task) = &used.action
                    && effect.recovery == Recovery::Probe
                {
                    used.action = Action::Resume(task.clone());
                }
            }
            Op::Tool(_) | Op::Cancel(_) => {}
        }
        Some(effect)
    }

    /// The oldest delivery that waits for somebody to be there, over that channel.
    pub(crate) fn waits_for(&self, origin: &str) -> Option<EffectId> {
        let waits = |open: &Open| match &open.effect.op {
            Op::Deliver(delivery) => {
                delivery.origin == origin && matches!(open.awaits, Await::Presence(_))
            }
            _ => false,
        };
        let mut open = self.open.iter();
        open.find(|(_, open)| waits(open)).map(|(id, _)| *id)
    }

    /// A turn has ended: what becomes of its effects. Those that run are to be cancelled and
    /// still report; those that do not run end here.
    pub(crate) fn abandon(&self, turn: TurnId) -> Vec<Abandoned> {
        let of_turn = |open: &&Open| open.effect.turn() == Some(turn);
        self.open
            .values()
            .filter(of_turn)
            .map(|open| match open.awaits {
                Await::Outcome(_) => Abandoned::Running(Cancel {
                    session: open.effect.session(),
                    target: open.effect.id,
                }),
                Await::Retry(_) | Await::Presence(_) | Await::Recovery(_) => {
                    Abandoned::Idle(open.effect.id)
                }
            })
            .collect()
    }

    /// The record that ends an effect which is not running and will not be tried again.
    pub(crate) fn give_up(&self, id: EffectId) -> Option<Record> {
        self.get(id).map(give_up)
    }

    /// When it is given up, nobody can say whether it ran.
    pub(crate) fn is_doubtful(&self, id: EffectId) -> bool {
        let record = self.give_up(id);
        matches!(record, Some(Record::Doubted { .. }))
    }

    /// When a timer of an effect is due, if it runs.
    pub(crate) fn due(&self, timer: Timer) -> Option<Time> {
        let open = |id| self.open.get(&id).map(|open| open.awaits);
        match timer {
            Timer::Overdue(id) => match open(id)? {
                Await::Outcome(at) => Some(at),
                _ => None,
            },
            Timer::Retry(id) => match open(id)? {
                Await::Retry(at) | Await::Presence(at) => Some(at),
                _ => None,
            },
            Timer::Recover(id) => match open(id)? {
                Await::Recovery(at) => Some(at),
                _ => None,
            },
            Timer::Approval(_) | Timer::Turn(_) | Timer::Job(_) => None,
        }
    }

    /// The earliest timer.
    pub(crate) fn deadline(&self) -> Option<(Time, Timer)> {
        let timers = self.open.iter().map(|(&id, open)| match open.awaits {
            Await::Outcome(at) => (at, Timer::Overdue(id)),
            Await::Retry(at) | Await::Presence(at) => (at, Timer::Retry(id)),
            Await::Recovery(at) => (at, Timer::Recover(id)),
        });
        timers.min()
    }

    pub(crate) fn evolve(&mut self, limits: &Limits, at: Time, record: &Record) {
        match record {
            Record::Booted { .. } => {
                for open in self.open.values_mut() {
                    match open.awaits {
                        Await::Outcome(_) => open.awaits = Await::Recovery(at),
                        // Other channels may be there in this life.
                        Await::Presence(_) => open.awaits = Await::Presence(at),
                        Await::Retry(_) | Await::Recovery(_) => {}
                    }
                }
            }
            Record::Intended(effect) => {
                let due = at.after_ms(timeout_ms(limits, &effect.op) + limits.grace_ms);
                let before = self.open.get(&effect.id);
                let open = Open {
                    effect: effect.clone(),
                    awaits: Await::Outcome(due),
                    absent: before.map_or(0, |open| open.absent),
                };
                self.open.insert(effect.id, open);
            }
            Record::Postponed {
                effect,
                retry_at,
                outcome,
                ..
            } => {
                let Some(open) = self.open.get_mut(effect) else {
                    return;
                };
                open.awaits = match outcome {
                    Outcome::Deliver(Err(DeliverFault::Absent)) => {
                        open.absent = open.absent.saturating_add(1);
                        Await::Presence(*retry_at)
                    }
                    _ => Await::Retry(*retry_at),
                };
            }
            Record::Answered { effect, .. }
            | Record::Settled { effect, .. }
            | Record::Doubted { effect, .. } => {
                self.open.remove(effect);
            }
            _ => {}
        }
    }
}

/// What is left of an effect whose turn has ended.
#[derive(Debug)]
pub(crate) enum Abandoned {
    /// It runs: stop it.
    Running(Cancel),
    /// It does not: give it up.
    Idle(EffectId),
}

/// Is that the kind of outcome this op has?
fn answers(op: &Op, outcome: &Outcome) -> bool {
    matches!(
        (op, outcome),
        (Op::Model(_), Outcome::Model(_))
            | (Op::Tool(_), Outcome::Tool(_))
            | (Op::Sandbox(_), Outcome::Sandbox(_))
            | (Op::Deliver(_), Outcome::Deliver(_))
            | (Op::Cancel(_), Outcome::Cancel(_))
    )
}

/// Has this perhaps touched the world, once it was begun?
pub(crate) fn may_have_run(op: &Op) -> bool {
    match op {
        Op::Tool(_) => true,
        Op::Sandbox(used) => used.runs(),
        Op::Model(_) | Op::Deliver(_) | Op::Cancel(_) => false,
    }
}

/// It has to be done, sooner or later.
fn is_removal(op: &Op) -> bool {
    matches!(op, Op::Sandbox(used) if used.action == Action::Destroy)
}

fn give_up(effect: &Effect) -> Record {
    let session = effect.session();
    let outcome = match (&effect.op, effect.recovery) {
        (_, Recovery::Doubt) => {
            return Record::Doubted {
                session,
                effect: effect.id,
            };
        }
        (Op::Model(_), _) => Outcome::Model(Err(ModelFault::Cancelled)),
        (Op::Tool(_), _) => Outcome::Tool(Err(ToolFault::Cancelled)),
        (Op::Sandbox(used), _) if used.runs() => {
            return Record::Doubted {
                session,
                effect: effect.id,
            };
        }
        (Op::Sandbox(_), _) => Outcome::Sandbox(Err(SandboxFault::Cancelled)),
        (Op::Deliver(_), _) => Outcome::Deliver(Err(DeliverFault::Unreachable {
            message: "given up".to_string(),
        })),
        (Op::Cancel(_), _) => Outcome::Cancel(Cancelled::Nothing),
    };
    Record::Settled {
        session,
        effect: effect.id,
        outcome,
    }
}

fn timeout_ms(limits: &Limits, op: &Op) -> u64 {
    match op {
        Op::Model(call) => call.timeout_ms,
        Op::Tool(run) => run.timeout_ms,
        Op::Sandbox(used) => used.timeout_ms,
        Op::Deliver(_) | Op::Cancel(_) => limits.deliver_timeout_ms,
    }
}

/// In how many milliseconds to try again; none when this outcome is final.
fn retry_in_ms(limits: &Limits, open: &Open, outcome: &Outcome) -> Option<u64> {
    let id = open.effect.id;
    let (attempts, asked_ms) = match outcome {
        Outcome::Model(Err(fault)) => (limits.model_attempts, fault.retry_after_ms()?),
        Outcome::Deliver(Err(DeliverFault::RateLimited { retry_after_ms })) => {
            (limits.deliver_attempts, retry_after_ms.unwrap_or(0))
        }
        Outcome::Deliver(Err(DeliverFault::Absent)) => {
            let most_ms = limits.absent_max_ms;
            return Some(backoff_ms(
                limits.backoff_ms,
                most_ms,
                id,
                open.absent.saturating_add(1),
            ));
        }
        Outcome::Deliver(Err(DeliverFault::Unreachable { .. })) => (limits.deliver_attempts, 0),
        Outcome::Sandbox(Err(_)) if is_removal(&open.effect.op) => (limits.deliver_attempts, 0),
        _ => return None,
    };
    let Attempt(attempt) = open.effect.attempt;
    let attempt = attempt.saturating_sub(open.absent);
    if attempt >= attempts || asked_ms > limits.retry_after_max_ms {
        return None;
    }
    let (first_ms, most_ms) = (limits.backoff_ms, limits.backoff_max_ms);
    Some(asked_ms.max(backoff_ms(first_ms, most_ms, id, attempt)))
}

/// Doubles with each try up to the bound, less up to an eighth that differs between effects, so
/// that those which failed together do not come back together.
fn backoff_ms(first_ms: u64, most_ms: u64, id: EffectId, attempt: u16) -> u64 {
    let doublings = u32::from(attempt.saturating_sub(1)).min(32);
    let wait = first_ms.saturating_mul(1 << doublings).min(most_ms);
    let spread = id
        .seq
        .0
        .wrapping_mul(2_654_435_761)
        .wrapping_add(id.slot.into())
        % 8;
    wait - wait / 64 * spread
}
