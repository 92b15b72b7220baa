//! Performing effects: one small module a kind, each of which turns every error into an outcome.
//!
//! [`Performer`] runs each effect as a task of its own and reports what came of it as the next
//! input. It takes nothing but what the gate has cleared. Cancelling is done here: it asks the
//! task to stop, and the task's own outcome says what became of it.

pub mod deliver;
pub mod model;
pub mod sandbox;
pub mod tool;

use self::deliver::Fronts;
use self::model::Models;
use self::sandbox::Sandboxes;
use self::tool::Tools;
use crate::metrics::{Kind, Metrics};
use async_channel::{Receiver, Sender};
use futures_lite::FutureExt;
use openpista_core::effect::cancel::{Cancel, Cancelled};
use openpista_core::effect::deliver::DeliverFault;
use openpista_core::effect::model::ModelFault;
use openpista_core::effect::sandbox::SandboxFault;
use openpista_core::effect::{Chunk, Op, Outcome};
use openpista_core::gate::Cleared;
use openpista_core::id::{Attempt, EffectId};
use openpista_core::input::Input;
use openpista_core::message::Prompt;
use openpista_core::state::State;
use smol::LocalExecutor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Instant;

/// A request to stop an effect early. It is made when the other end of the channel is dropped or
/// closed; nothing is ever sent over it.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<std::convert::Infallible>);

impl Stop {
    /// Watches a channel for being closed.
    pub fn when_closed(receiver: Receiver<std::convert::Infallible>) -> Stop {
        Stop(receiver)
    }

    /// Waits until the effect is to stop.
    pub async fn requested(&self) {
        let _ = self.0.recv().await;
    }

    /// The effect is to stop.
    pub fn is_requested(&self) -> bool {
        self.0.is_closed()
    }
}

/// What effects are performed with.
#[derive(Debug)]
pub struct Hands {
    /// Calls models.
    pub models: Models,
    /// Runs tools.
    pub tools: Tools,
    /// Runs tools in sandboxes.
    pub sandboxes: Sandboxes,
    /// Shows things to people.
    pub fronts: Fronts,
    /// Counts what was done.
    pub metrics: Metrics,
}

/// Runs effects, each as a task of its own.
#[derive(Debug)]
pub struct Performer {
    executor: Rc<LocalExecutor<'static>>,
    hands: Rc<Hands>,
    outcomes: Sender<Input>,
    running: Rc<RefCell<Running>>,
}

/// What runs, and the end of the channel that stops it when closed.
type Running = BTreeMap<(EffectId, Attempt), Sender<std::convert::Infallible>>;

impl Performer {
    /// Runs nothing yet. Outcomes and progress go to `outcomes`.
    pub fn new(
        executor: Rc<LocalExecutor<'static>>,
        hands: Hands,
        outcomes: Sender<Input>,
    ) -> Performer {
        Performer {
            executor,
            hands: Rc::new(hands),
            outcomes,
            running: Rc::default(),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.hands.metrics
    }

    /// The front ends.
    pub fn fronts(&self) -> &Fronts {
        &self.hands.fronts
    }

    /// Starts an effect. `session` is the name of the session that it is for.
    ///
    /// A task that panics is a fault of ours. A model call or delivery then counts as failed; of
    /// a tool nothing is reported, because it may have run: it becomes overdue, and so in doubt.
    pub fn start(&self, cleared: Cleared, session: String) {
        let (effect, prompt) = cleared.into_parts();
        let (id, attempt) = (effect.id, effect.attempt);
        let (held, watched) = async_channel::bounded(1);
        self.running.borrow_mut().insert((id, attempt), held);
        let job = Job {
            hands: Rc::clone(&self.hands),
            progress: Progress {
                effect: id,
                outcomes: self.outcomes.clone(),
            },
            stop: Stop::when_closed(watched),
        };
        let after_panic = after_panic(&effect.op);
        let cancelled = match &effect.op {
            Op::Cancel(cancel) => Some(self.cancel(cancel)),
            _ => None,
        };
        let outcomes = self.outcomes.clone();
        let running = Rc::clone(&self.running);
        let (metrics, kind) = (self.hands.metrics.clone(), Kind::from(&effect.op));
        let span =
            tracing::debug_span!("effect", session = %session, effect = %id, attempt = attempt.0);
        let began = Instant::now();
        let task = async move {
            let performed = async {
                match cancelled {
                    Some(cancelled) => Outcome::Cancel(cancelled),
                    None => job.perform(effect.op, prompt, session).await,
                }
            };
            let performed = AssertUnwindSafe(performed).catch_unwind().await;
            if let Some(outcome) = performed.ok().or(after_panic) {
                let took = began.elapsed();
                metrics.performed(&kind, &outcome, took);
                span.in_scope(|| tracing::debug!(took_ms = took.as_millis(), "{kind} ended"));
                let finish = Input::Finish {
                    effect: id,
                    attempt,
                    outcome,
                };
                // The loop is over only when the process is about to end.
                let _ = outcomes.send(finish).await;
            }
            running.borrow_mut().remove(&(id, attempt));
        };
        self.executor.spawn(task).detach();
    }

    /// Removes the containers that this state knows nothing of. One that cannot be removed now stays
    /// for the next time.
    pub fn sweep(&self, state: &State) {
        let hands = Rc::clone(&self.hands);
        let owned = state.sandboxes().map(|(sandbox, _)| sandbox).collect();
        let through = state.seq();
        let sweep = async move {
            match hands.sandboxes.docker.sweep(owned, through).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "removed containers that nobody owns"),
                Err(why) => tracing::debug!("containers were not looked through: {why}"),
            }
        };
        self.executor.spawn(sweep).detach();
    }

    /// Asks everything that runs to stop. Outcomes still come.
    pub fn stop_all(&self) {
        for held in self.running.borrow().values() {
            held.close();
        }
    }

    /// Nothing runs, and every outcome is where the loop finds it.
    pub fn is_idle(&self) -> bool {
        self.running.borrow().is_empty()
    }

    /// Tells every try of the target to stop.
    fn cancel(&self, cancel: &Cancel) -> Cancelled {
        let running = self.running.borrow();
        let mut tries = running
            .range((cancel.target, Attempt(0))..=(cancel.target, Attempt(u16::MAX)))
            .peekable();
        if tries.peek().is_none() {
            return Cancelled::Nothing;
        }
        tries.for_each(|(_, held)| {
            held.close();
        });
        Cancelled::Stopped
    }
}

/// What one task needs.
struct Job {
    hands: Rc<Hands>,
    progress: Progress,
    stop: Stop,
}

impl Job {
    async fn perform(self, op: Op, prompt: Option<Prompt>, session: String) -> Outcome {
        let Job {
            hands,
            progress,
            stop,
        } = self;
        match (op, prompt) {
            (Op::Model(call), Some(prompt)) => {
                let saw = move |chunk| progress.saw(chunk);
                hands.models.call(&call, &prompt, stop, saw).await
            }
            (Op::Model(_), None) => Outcome::Model(Err(internal("a model call without a prompt"))),
            (Op::Tool(run), _) => {
                let saw = move |chunk| progress.saw(chunk);
                hands.tools.run(&run, &session, stop, saw).await
            }
            (Op::Sandbox(used), _) => {
                let saw = move |chunk| progress.saw(chunk);
                hands.sandboxes.perform(used, stop, saw).await
            }
            (Op::Deliver(delivery), _) => {
                Outcome::Deliver(hands.fronts.deliver(session, delivery).await)
            }
            (Op::Cancel(_), _) => Outcome::Cancel(Cancelled::Nothing),
        }
    }
}

/// What is reported of a task that panicked; none when it may have done its work.
fn after_panic(op: &Op) -> Option<Outcome> {
    match op {
        Op::Model(_) => Some(Outcome::Model(Err(internal("the call panicked")))),
        Op::Deliver(_) => Some(Outcome::Deliver(Err(DeliverFault::Unreachable {
            message: "internal error: the delivery panicked".to_owned(),
        }))),
        Op::Cancel(_) => Some(Outcome::Cancel(Cancelled::Nothing)),
        Op::Sandbox(used) if used.runs() => None,
        Op::Sandbox(_) => Some(Outcome::Sandbox(Err(SandboxFault::Failed {
            message: "internal error: the engine panicked".to_owned(),
        }))),
        Op::Tool(_) => None,
    }
}

fn internal(what: &str) -> ModelFault {
    ModelFault::Network {
        message: format!("internal error: {what}"),
    }
}

/// Reports how an effect is getting on. What the loop has no room for is lost.
#[derive(Clone, Debug)]
pub struct Progress {
    effect: EffectId,
    outcomes: Sender<Input>,
}

impl Progress {
    /// Something was seen.
    pub fn saw(&self, chunk: Chunk) {
        let _ = self.outcomes.try_send(Input::Progress {
            effect: self.effect,
            chunk,
        });
    }
}
