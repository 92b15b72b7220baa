//! Sandboxes: each is made for one call, used once, and removed (law 15).
//!
//! absent → creating → ready → busy → draining → gone. A state is named for what it awaits:
//! creating awaits [`Await::Created`], ready awaits its start, busy awaits [`Await::Ended`],
//! draining awaits [`Await::Destroyed`]; what is absent or gone has no entry here. One machine
//! for every engine: what differs is only what a crash leaves behind ([`recovery`]).
//!
//! A token stands from the moment its sandbox is ready until the task has come to its end. It is
//! known here by its digest alone, and used up by the one report that it is for.

use crate::digest::Digest;
use crate::effect::sandbox::{Action, Done, Engine, SandboxFault, Task, UseSandbox};
use crate::effect::{Effect, Op, Outcome, Recovery};
use crate::id::{Attempt, EffectId, SandboxId, SessionId, TurnId};
use crate::limit::Limits;
use crate::record::Record;
use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};

/// The sandboxes that stand, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sandboxes {
    open: BTreeMap<SandboxId, Sandbox>,
}

/// One sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    session: SessionId,
    turn: TurnId,
    call: u16,
    engine: Engine,
    task: Task,
    awaits: Await,
    /// An earlier try of making it was cut off by a crash, and may have left something.
    tried: bool,
    /// The digest of the token that was put into it.
    token: Option<Digest>,
    /// The token has done what it was for.
    heard: bool,
}

/// What a sandbox awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Await {
    /// Creating: to stand.
    Created(EffectId),
    /// Ready: to be started.
    Start,
    /// Busy: the task's end.
    Ended(EffectId),
    /// Its removal is to be asked for.
    Removal,
    /// Draining: to be gone.
    Destroyed(EffectId),
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bearer {
    /// The task of this sandbox, which is running as this effect.
    Runs(SessionId, SandboxId, EffectId),
    /// A task that has reported already.
    Heard,
}

/// What a crash leaves of a running task. A container outlives us and can be asked; a WebAssembly
/// guest can change nothing, so it may run again; a process has ended with us, having done nobody
/// knows how much.
pub(crate) fn recovery(engine: Engine) -> Recovery {
    match engine {
        Engine::Docker => Recovery::Probe,
        Engine::Wasm => Recovery::Repeat,
        Engine::Subprocess => Recovery::Doubt,
    }
}

impl Sandboxes {
    /// How many a session has.
    pub(crate) fn count(&self, session: SessionId) -> usize {
        let of_session = |s: &&Sandbox| s.session == session;
        self.open.values().filter(of_session).count()
    }

    /// All that stand, or may.
    pub(crate) fn ids(&self) -> impl Iterator<Item = (SandboxId, Engine)> {
        self.open.iter().map(|(&id, sandbox)| (id, sandbox.engine))
    }

    /// The sandbox that waits for this effect.
    pub(crate) fn of(&self, effect: EffectId) -> Option<SandboxId> {
        let waits = |s: &Sandbox| match s.awaits {
            Await::Created(id) | Await::Ended(id) | Await::Destroyed(id) => id == effect,
            Await::Start | Await::Removal => false,
        };
        let found = self.open.iter().find(|(_, sandbox)| waits(sandbox));
        found.map(|(&id, _)| id)
    }

    /// What a sandbox needs next, and the recovery class of that; none while it waits. One whose
    /// turn is over is removed without having run.
    pub(crate) fn next(
        &self,
        limits: &Limits,
        id: SandboxId,
        turn_lives: bool,
    ) -> Option<(UseSandbox, Recovery)> {
        let sandbox = self.open.get(&id)?;
        match sandbox.awaits {
            Await::Start if turn_lives => {
                let timeout_ms = sandbox.task.timeout_ms;
                let run = Action::Run(sandbox.task.clone());
                let run = sandbox.use_for(id, run, timeout_ms);
                Some((run, recovery(sandbox.engine)))
            }
            Await::Start | Await::Removal => {
                let destroy = sandbox.use_for(id, Action::Destroy, limits.sandbox_destroy_ms);
                Some((destroy, Recovery::Repeat))
            }
            Await::Created(_) | Await::Ended(_) | Await::Destroyed(_) => None,
        }
    }

    /// Who bears this token, if it stands.
    pub(crate) fn bearer(&self, token: &Digest) -> Option<Bearer> {
        let bears = |sandbox: &Sandbox| sandbox.token.as_ref() == Some(token);
        let (&id, sandbox) = self.open.iter().find(|(_, sandbox)| bears(sandbox))?;
        match sandbox.awaits {
            Await::Ended(effect) => Some(Bearer::Runs(sandbox.session, id, effect)),
            _ => sandbox.heard.then_some(Bearer::Heard),
        }
    }

    pub(crate) fn evolve(&mut self, record: &Record) {
        match record {
            Record::Intended(effect) => {
                if let Op::Sandbox(used) = &effect.op {
                    self.intended(effect, used);
                }
            }
            Record::Settled {
                effect,
                outcome: Outcome::Sandbox(outcome),
                ..
            } => self.settled(*effect, outcome),
            Record::Doubted { effect, .. } => {
                if let Some(id) = self.of(*effect)
                    && let Some(sandbox) = self.open.get_mut(&id)
                {
                    sandbox.awaits = Await::Removal;
                }
            }
            Record::Heard { sandbox, .. } => {
                if let Some(sandbox) = self.open.get_mut(sandbox) {
                    sandbox.heard = true;
                }
            }
            _ => {}
        }
    }

    fn intended(&mut self, effect: &Effect, used: &UseSandbox) {
        let id = effect.id;
        let awaits = match &used.action {
            Action::Create(task) => {
                let sandbox = Sandbox {
                    session: used.session,
                    turn: used.turn,
                    call: used.call,
                    engine: used.engine,
                    task: task.clone(),
                    awaits: Await::Created(id),
                    tried: effect.attempt > Attempt::FIRST,
                    token: None,
                    heard: false,
                };
                self.open.insert(used.sandbox, sandbox);
                return;
            }
            Action::Run(_) | Action::Resume(_) => Await::Ended(id),
            Action::Destroy => Await::Destroyed(id),
        };
        if let Some(sandbox) = self.open.get_mut(&used.sandbox) {
            sandbox.awaits = awaits;
        }
    }

    fn settled(&mut self, effect: EffectId, outcome: &Result<Done, SandboxFault>) {
        let Some(id) = self.of(effect) else { return };
        let Some(sandbox) = self.open.get_mut(&id) else {
            return;
        };
        sandbox.awaits = match (sandbox.awaits, outcome) {
            (Await::Created(_), Ok(Done::Created { token })) => {
                sandbox.token = *token;
                Await::Start
            }
            // Nothing was made, the engine says. Of an earlier try that says nothing.
            (
                Await::Created(_),
                Err(SandboxFault::Unavailable { .. } | SandboxFault::Arguments { .. }),
            ) if !sandbox.tried => {
                self.open.remove(&id);
                return;
            }
            // Of what it could not remove in all its tries, the next life will be told by the
            // engine itself.
            (Await::Destroyed(_), _) => {
                self.open.remove(&id);
                return;
            }
            _ => Await::Removal,
        };
    }
}

impl Sandbox {
    fn use_for(&self, sandbox: SandboxId, action: Action, timeout_ms: u64) -> UseSandbox {
        UseSandbox {
            session: self.session,
            turn: self.turn,
            call: self.call,
            sandbox,
            engine: self.engine,
            action,
            timeout_ms,
        }
    }
}
