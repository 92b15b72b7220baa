//! Which hints a record gives. They follow from it alone, and nothing depends on them.

use super::Stepping;
use crate::effect::deliver::Question;
use crate::effect::sandbox::{Action, Done, Ended, SandboxFault};
use crate::effect::{Effect, Op, Outcome};
use crate::hint::{Activity, Hint};
use crate::id::SessionId;
use crate::record::{Asked, Record};
use crate::say;
use alloc::string::ToString;

impl Stepping<'_> {
    pub(super) fn show(&mut self, session: SessionId, activity: Activity) {
        self.step.hints.push(Hint::Show {
            session,
            name: self.state.router.name(session).to_string(),
            activity,
        });
    }

    /// Says whether somebody may write: how things stand, not what was asked.
    pub(super) fn tell_admission(&mut self, peer: &str, origin: &str, key: &str) {
        let state = &self.state;
        let may = state.router.may_speak(&state.settings, peer);
        self.step.hints.push(Hint::Tell {
            origin: origin.to_string(),
            key: key.to_string(),
            text: say::admitted(peer, may),
        });
    }

    /// A turn's end withdraws its questions. To be asked while they are known.
    pub(super) fn withdraw(&mut self, record: &Record) {
        if let Record::TurnEnded {
            session,
            turn: Some(_),
            ..
        } = record
        {
            let open = self.state.approvals.questions(*session);
            let answered = |q: &Question| Hint::Answered {
                approval: q.approval,
            };
            self.step.hints.extend(open.map(answered));
        }
    }

    pub(super) fn hint(&mut self, record: &Record) {
        let activity = match record {
            Record::Admitted { peer, asked, .. } | Record::Expelled { peer, asked, .. } => {
                if let Some(Asked { origin, key, .. }) = asked {
                    self.tell_admission(peer, origin, key);
                    let (origin, key) = (origin.clone(), key.clone());
                    self.step.hints.push(Hint::Ack { origin, key });
                }
                return;
            }
            Record::Decided { approval, .. } => {
                let approval = *approval;
                return self.step.hints.push(Hint::Answered { approval });
            }
            Record::Accepted(accepted) => {
                return self.step.hints.push(Hint::Ack {
                    origin: accepted.origin.clone(),
                    key: accepted.key.clone(),
                });
            }
            Record::Refused {
                origin,
                key,
                refusal,
                ..
            } => {
                return self.step.hints.push(Hint::Refuse {
                    origin: origin.clone(),
                    key: key.clone(),
                    refusal: refusal.clone(),
                });
            }
            Record::Intended(effect) => match begun(effect) {
                Some(activity) => activity,
                None => return,
            },
            Record::Postponed {
                outcome: Outcome::Model(Err(fault)),
                retry_at,
                ..
            } => Activity::Waiting {
                why: say::waiting_for(fault),
                retry_in_ms: retry_at.since_ms(self.step.at),
            },
            Record::Settled {
                outcome: Outcome::Tool(outcome),
                ..
            } => Activity::Ran {
                exit: outcome.as_ref().ok().map(|ran| ran.exit),
                took_ms: outcome.as_ref().map_or(0, |ran| ran.took_ms),
            },
            Record::Settled {
                outcome: Outcome::Sandbox(outcome),
                ..
            } => match used(outcome) {
                Some(activity) => activity,
                None => return,
            },
            _ => return,
        };
        if let Some(session) = record.session() {
            self.show(session, activity);
        }
    }
}

/// What an effect shows when it begins.
fn begun(effect: &Effect) -> Option<Activity> {
    match &effect.op {
        Op::Model(call) => Some(Activity::Asking {
            round: call.round,
            attempt: effect.attempt,
        }),
        Op::Tool(run) => Some(Activity::Running {
            tool: run.tool.clone(),
            arguments: run.arguments.clone(),
        }),
        Op::Sandbox(used) => match &used.action {
            Action::Create(task) => Some(Activity::Running {
                tool: task.tool.clone(),
                arguments: task.arguments.clone(),
            }),
            Action::Run(_) | Action::Resume(_) | Action::Destroy => None,
        },
        Op::Deliver(_) | Op::Cancel(_) => None,
    }
}

/// What a sandbox shows when something has become of it.
fn used(outcome: &Result<Done, SandboxFault>) -> Option<Activity> {
    match outcome {
        Ok(Done::Ended(Ended { ran, .. })) => Some(Activity::Ran {
            exit: Some(ran.exit),
            took_ms: ran.took_ms,
        }),
        Ok(Done::Created { .. } | Done::Destroyed) => None,
        Err(_) => Some(Activity::Ran {
            exit: None,
            took_ms: 0,
        }),
    }
}
