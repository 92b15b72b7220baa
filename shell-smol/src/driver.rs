//! The one loop: inputs, steps, commit, gate, effects.
//!
//! A commit blocks the loop's thread. Inputs that came in meanwhile are stepped together and
//! committed together: that is group commit, and it needs no timer. Nothing acts and nothing is
//! shown before the commit of its step has returned. A commit that fails ends the loop, because the
//! state in memory is then ahead of the disk; what runs is stopped first.
//!
//! The loop decides nothing. It ends when it is asked to ([`Handle::leave`]) and nothing is in
//! flight, or the time that was given for that is up.

mod handle;

pub(crate) use handle::FarEnd;
pub use handle::{Bearer, Handle};

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::effect::{Hands, Performer};
use crate::journal::{Journal, JournalError, Opened};
use crate::metrics::Moment;
use crate::secret::Secrets;
use async_channel::{Receiver, Sender};
use futures_lite::{FutureExt, future};
use openpista_core::Core;
use openpista_core::digest::Digest;
use openpista_core::effect::deliver::Question;
use openpista_core::gate::{self, Gate, Receipt};
use openpista_core::id::{ApprovalId, SessionId};
use openpista_core::input::{Boot, Input, Order};
use openpista_core::record::Answer;
use openpista_core::refusal::Refusal;
use openpista_core::replay::Line;
use openpista_core::settings::Settings;
use smol::LocalExecutor;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many inputs may wait, and how many words of effects; senders wait beyond it.
const INPUTS: usize = 1_024;
/// The most inputs, words of effects, and timers, of one commit: no fewer than may wait.
const BATCH: usize = INPUTS;
/// A snapshot is due after so many steps.
pub const SNAPSHOT_STEPS: u64 = 4_096;
/// At an orderly end a snapshot is worth its sync after so many steps.
const LAST_SNAPSHOT_STEPS: u64 = 256;
/// How long effects that were told to stop may take to say so.
const STOPPING: Duration = Duration::from_secs(3);

/// The daemon in this process.
#[derive(Debug)]
pub struct Driver {
    core: Core,
    journal: Journal,
    clock: Clock,
    secrets: Secrets,
    performer: Performer,
    gate: Gate,
    inputs: Receiver<Input>,
    /// What effects have to say, so that it does not stand in line with what the world wants.
    outcomes: Receiver<Input>,
    leave: Receiver<Leave>,
    asks: Receiver<Ask>,
    durable: Receipt,
    unsaved_steps: u64,
    /// Sessions whose turn goes on without anybody's doing.
    working: BTreeSet<SessionId>,
}

/// What a front end wants to know.
#[derive(Debug)]
enum Ask {
    /// Which questions a session has open.
    Questions(String, Sender<Vec<Question>>),
    /// Whether a peer is listened to.
    MaySpeak(String, Sender<bool>),
    /// Why an order would not be carried out.
    Objection(Order, Sender<Option<Refusal>>),
    /// What a question comes to by this answer.
    Decide(ApprovalId, Order, Sender<Answer>),
    /// How much waits and goes on.
    Moment(Sender<Moment>),
    /// Whose task bears the token of this digest.
    Bearer(Digest, Sender<Option<Bearer>>),
    /// Removes what nobody owns.
    Sweep,
}

/// What the loop has to do next.
#[derive(Debug, Default)]
struct Work {
    inputs: Vec<Input>,
    leave: Option<Leave>,
    ask: Option<Ask>,
}

/// How the loop is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// When everything that runs has ended; questions to people do not count.
    WhenIdle,
    /// The same, but what still runs after this time is stopped.
    Within(Duration),
}

/// How far the loop is in ending.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// It goes on.
    No,
    /// It ends when nothing is in flight, or at this moment what is gets stopped.
    Idle(Option<Instant>),
    /// What was in flight was told to stop; it ends at this moment at the latest.
    Stopped(Instant),
}

impl Driver {
    /// A loop over an opened journal, that runs its effects on `executor`.
    pub fn new(
        opened: Opened,
        secrets: Secrets,
        hands: Hands,
        executor: Rc<LocalExecutor<'static>>,
    ) -> (Driver, Handle) {
        let Opened {
            journal,
            core,
            began_unix_ms,
            unsaved_steps,
        } = opened;
        let (sender, inputs) = async_channel::bounded(INPUTS);
        let (said, outcomes) = async_channel::bounded(INPUTS);
        let (leave_sender, leave) = async_channel::unbounded();
        let (asks_sender, asks) = async_channel::bounded(INPUTS);
        let handle = Handle {
            inputs: sender,
            leave: leave_sender,
            asks: asks_sender,
        };
        let driver = Driver {
            clock: Clock::start(began_unix_ms, core.state().at()),
            durable: Receipt::durable_through(core.state().seq()),
            performer: Performer::new(executor, hands, said),
            core,
            journal,
            secrets,
            gate: Gate::new(),
            inputs,
            outcomes,
            leave,
            asks,
            // A life may be too short to come to a snapshot of its own.
            unsaved_steps,
            working: BTreeSet::new(),
        };
        (driver, handle)
    }

    /// Runs until the end. The front ends see their channels closed when this returns.
    ///
    /// # Errors
    /// When a commit fails. Everything that was confirmed before is durable.
    pub async fn run(mut self, settings: Settings) -> Result<(), JournalError> {
        let boot = Input::Boot(Box::new(Boot {
            settings,
            unix_ms: self.clock.started_unix_ms(),
        }));
        // What front ends have to say at once shares the boot's commit.
        future::yield_now().await;
        let mut first = vec![boot];
        first.extend(waiting(&self.inputs));
        let result = match self.turn_over(first) {
            Ok(()) => self.serve().await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(()) if self.unsaved_steps > LAST_SNAPSHOT_STEPS => self.save_snapshot(),
            Ok(()) => {}
            Err(_) => self.stop_effects().await,
        }
        self.performer.fronts().close();
        self.asks.close();
        // An answer that nobody will give must not be waited for.
        while self.asks.try_recv().is_ok() {}
        result
    }

    async fn serve(&mut self) -> Result<(), JournalError> {
        let mut ending = Ending::No;
        loop {
            match ending {
                Ending::Idle(_) if self.is_idle() => return Ok(()),
                Ending::Idle(Some(until)) if until <= Instant::now() => {
                    self.performer.stop_all();
                    ending = Ending::Stopped(Instant::now() + STOPPING);
                    // There may have been nothing to stop.
                    continue;
                }
                Ending::Stopped(until) if self.is_still() || until <= Instant::now() => {
                    return Ok(());
                }
                _ => {}
            }
            let work = self.gather(ending).await;
            if let Some(leave) = work.leave {
                ending = ending.asked(leave);
            }
            self.turn_over(work.inputs)?;
            if let Some(ask) = work.ask {
                self.answer(ask)?;
            }
            if self.unsaved_steps >= SNAPSHOT_STEPS {
                self.save_snapshot();
            }
            // Effects run on this thread too, and inputs may be there at once, always.
            future::yield_now().await;
        }
    }

    /// Waits for something to do: inputs, a timer of the core, or a word from a front end. None of
    /// them waits for another to have nothing more to say.
    async fn gather(&self, ending: Ending) -> Work {
        let due = self
            .core
            .deadline()
            .map(|(at, _)| self.clock.instant_of(at));
        let alarm = async {
            match due.into_iter().chain(ending.alarm()).min() {
                Some(moment) => Alarm::at(moment).await,
                None => future::pending().await,
            }
            Work::default()
        };
        let input = async {
            let inputs = vec![next(&self.outcomes).or(next(&self.inputs)).await];
            Work {
                inputs,
                ..Work::default()
            }
        };
        let leave = async {
            Work {
                leave: Some(next(&self.leave).await),
                ..Work::default()
            }
        };
        let ask = async {
            Work {
                ask: Some(next(&self.asks).await),
                ..Work::default()
            }
        };
        let mut work = input.or(leave).or(ask).or(alarm).await;
        work.leave = work.leave.or_else(|| self.leave.try_recv().ok());
        work.ask = work.ask.or_else(|| self.asks.try_recv().ok());
        // Last, so that what was sent before a question is decided before its answer.
        work.inputs.extend(waiting(&self.outcomes));
        work.inputs.extend(waiting(&self.inputs));
        work
    }

    /// Answers a front end, which may be gone.
    fn answer(&mut self, ask: Ask) -> Result<(), JournalError> {
        let state = self.core.state();
        match ask {
            Ask::Questions(session, answer) => {
                let session = state.session(&session);
                let questions = session.into_iter().flat_map(|id| state.questions(id));
                let _ = answer.try_send(questions.cloned().collect());
            }
            Ask::MaySpeak(peer, answer) => drop(answer.try_send(state.may_speak(&peer))),
            Ask::Objection(order, answer) => drop(answer.try_send(state.objection(&order))),
            Ask::Moment(answer) => {
                let inputs = self.outcomes.len() + self.inputs.len();
                let depths = state.depths();
                let _ = answer.try_send(Moment { inputs, depths });
            }
            Ask::Bearer(token, answer) => {
                let runs = state.bearer(&token).map(Bearer::Runs);
                let reported = || state.is_bearer(&token).then_some(Bearer::Reported);
                let _ = answer.try_send(runs.or_else(reported));
            }
            Ask::Sweep => self.performer.sweep(state),
            Ask::Decide(approval, order, answer) => {
                if let Some(decided) = self.decide(approval, order)? {
                    let _ = answer.try_send(decided);
                }
            }
        }
        Ok(())
    }

    /// Carries out an order about a question, and tells what the question came to by it.
    fn decide(
        &mut self,
        approval: ApprovalId,
        order: Order,
    ) -> Result<Option<Answer>, JournalError> {
        let mut lines = Vec::new();
        self.step(Input::Order(order), &mut lines);
        let mut records = lines.iter().flat_map(|line| &line.records);
        let decided = records.find_map(|record| record.answer_to(approval).cloned());
        self.commit(lines).map(|()| decided)
    }

    /// Steps the core through a batch and every timer that is due, and commits.
    fn turn_over(&mut self, batch: Vec<Input>) -> Result<(), JournalError> {
        let mut lines = Vec::new();
        for input in batch {
            let input = self.secrets.redact_input(input);
            let again = matches!(input, Input::Present { .. }).then(|| input.clone());
            let mut came = self.step(input, &mut lines);
            // One thing at a time is shown to whoever is there now.
            while let (true, Some(input)) = (came, again.clone()) {
                came = self.step(input, &mut lines);
            }
        }
        for _ in 0..BATCH {
            match self.core.deadline() {
                Some((at, timer)) if at <= self.clock.now() => {
                    self.step(Input::Tick(timer), &mut lines);
                }
                _ => break,
            }
        }
        self.commit(lines)
    }

    /// Commits what was decided, and lets out what the commit covers.
    fn commit(&mut self, lines: Vec<Line>) -> Result<(), JournalError> {
        if !lines.is_empty() {
            self.unsaved_steps += lines.len() as u64;
            let (metrics, began) = (self.performer.metrics().clone(), Instant::now());
            metrics.decided(&lines);
            self.durable = self.journal.commit(&lines)?;
            metrics.committed(began.elapsed(), self.journal.last_sync());
        }
        for opened in self.gate.open(self.durable) {
            match opened {
                gate::Opened::Hint(hint) => self.performer.fronts().hint(hint),
                gate::Opened::Effect(cleared) => {
                    let session = cleared.effect().session();
                    let name = self.core.state().session_name(session).to_owned();
                    self.performer.start(cleared, name);
                }
            }
        }
        Ok(())
    }

    /// Steps the core. True, if something came of it.
    fn step(&mut self, input: Input, lines: &mut Vec<Line>) -> bool {
        // Progress never leaves records (law 10), so it need not be kept for the journal.
        let kept = (!matches!(input, Input::Progress { .. })).then(|| input.clone());
        let step = self.core.step(self.clock.now(), input);
        let came = !step.records.is_empty();
        if let (false, Some(input)) = (step.records.is_empty(), kept) {
            lines.push(Line {
                seq: step.seq,
                at: step.at,
                session: step.session,
                input,
                records: step.records.clone(),
            });
        }
        if let Some(session) = step.session {
            let state = self.core.state();
            match state.is_busy(session) && state.questions(session).next().is_none() {
                true => self.working.insert(session),
                false => self.working.remove(&session),
            };
        }
        self.gate.hold(step);
        came
    }

    /// Nothing is in flight, and no turn will go on by itself.
    fn is_idle(&self) -> bool {
        self.is_still() && self.working.is_empty()
    }

    /// No effect runs, and no input waits.
    fn is_still(&self) -> bool {
        self.performer.is_idle() && self.outcomes.is_empty() && self.inputs.is_empty()
    }

    fn save_snapshot(&mut self) {
        self.unsaved_steps = 0;
        // Without one the next start takes longer, and that is all.
        if let Err(error) = self.journal.save_snapshot(&self.core) {
            tracing::warn!("no snapshot was saved: {error}");
        }
    }

    /// Stops what runs and waits for it, without stepping on.
    async fn stop_effects(&self) {
        self.performer.stop_all();
        let stopped = async {
            while !self.performer.is_idle() {
                let _ = self.outcomes.recv().await;
            }
        };
        let patience = async {
            Alarm::after(STOPPING).await;
        };
        stopped.or(patience).await;
    }
}

/// The next word; none ever, once nobody can say one.
async fn next<T>(words: &Receiver<T>) -> T {
    match words.recv().await {
        Ok(word) => word,
        Err(_) => future::pending().await,
    }
}

/// The inputs that are there already, as far as they fit in one commit.
fn waiting(inputs: &Receiver<Input>) -> impl Iterator<Item = Input> {
    std::iter::from_fn(|| inputs.try_recv().ok()).take(BATCH)
}

impl Ending {
    /// What becomes of it when the loop is asked to end.
    fn asked(self, leave: Leave) -> Ending {
        match (self, leave) {
            (Ending::No, Leave::WhenIdle) => Ending::Idle(None),
            (Ending::No | Ending::Idle(_), Leave::Within(grace)) => {
                Ending::Idle(Instant::now().checked_add(grace))
            }
            (Ending::Idle(_), Leave::WhenIdle) | (Ending::Stopped(_), _) => self,
        }
    }

    /// When the loop has to look again.
    fn alarm(self) -> Option<Instant> {
        match self {
            Ending::No => None,
            Ending::Idle(until) => until,
            Ending::Stopped(until) => Some(until),
        }
    }
}
