//! The world: the driver's loop under a virtual clock, with people, channels, a model and tools
//! that are pretended, and everything that a plan says goes wrong.
//!
//! The loop is the production driver's: take what is there, step it, commit it together, show the
//! gate the receipt, act. What a step decided leaves the core only through the same
//! [`Gate`] as in production. Running a plan draws nothing: the same plan gives the same story.

mod act;
mod sandbox;

use crate::channel::{Channels, REDELIVER_MS};
use crate::clock::{Agenda, Owner, Wall};
use crate::disk::Disk;
use crate::effect::sandbox::{Coming, Engines};
use crate::fault::{Cut, Faults};
use crate::mutant::Meddling;
use crate::plan::{BEGAN_UNIX_MS, Item, Plan};
use crate::seed::fingerprint;
use crate::story::{Event, Stepped, Story};
use openpista_core::Core;
use openpista_core::effect::deliver::Deliver;
use openpista_core::effect::{Effect, Outcome};
use openpista_core::gate::{Gate, Receipt};
use openpista_core::id::{Attempt, EffectId, SessionId};
use openpista_core::input::{Arrival, Boot, Input, Order};
use openpista_core::replay::Line;
use openpista_core::settings::{JobSpec, Settings};
use openpista_core::time::Time;
use openpista_core::timer::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long after healing everything must be quiet, in milliseconds of virtual time: as long as
/// the longest turn, and the retries of its answer, and some.
pub const PATIENCE_MS: u64 = 4 * 3_600_000;
/// A world in which so much happens is out of its mind.
const MOST_EVENTS: usize = 40_000;
/// How long the program takes to start again, in milliseconds.
const RESTART_MS: u64 = 700;

/// What is to come.
#[derive(Debug)]
enum Due {
    Start,
    Heal,
    Send(Arrival),
    Again(Arrival),
    Resend(String, String),
    Order(Order),
    Clock(i64),
    Reschedule(Vec<JobSpec>),
    Owners(BTreeSet<String>),
    Move(String, String),
    Come(String),
    Feed(Input),
    Show(EffectId, Attempt, Deliver),
    Report(EffectId, Attempt, u64),
    Sandbox(Coming),
}

/// Something that runs in the world.
#[derive(Debug)]
struct Running {
    effect: Effect,
    ticket: u64,
    outcome: Outcome,
}

/// How far an effect gets before the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Normal,
    Begun,
    Done,
}

#[derive(Debug, Default)]
struct Counts {
    inputs: u64,
    steps: u64,
    model: u64,
    tool: u64,
    sandbox: u64,
    sandbox_steps: u64,
    told: u64,
    deliver: u64,
    reports: u64,
    sent: u64,
    acks: u64,
    lives: u64,
    tickets: u64,
}

/// A world that is being run.
pub struct World {
    plan: Arc<Plan>,
    settings: Settings,
    wall: Wall,
    /// Every session that was ever opened, even if that was lost.
    sessions: BTreeSet<SessionId>,
    faults: Faults,
    meddling: Meddling,
    agenda: Agenda<Due>,
    disk: Disk,
    gate: Gate,
    core: Option<Core>,
    channels: Channels,
    engines: Engines,
    running: BTreeMap<(EffectId, Attempt), Running>,
    counts: Counts,
    dying: Option<Cut>,
    events: Vec<Event>,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Story {
    run_with(plan, Meddling::default())
}

/// Runs a plan in a shell that is broken on purpose.
pub fn run_with(plan: &Plan, meddling: Meddling) -> Story {
    let mut world = World::new(plan, meddling);
    while world.go_on() {}
    Story {
        plan: world.plan,
        meddling,
        events: world.events,
    }
}

impl World {
    fn new(plan: &Plan, meddling: Meddling) -> World {
        let mut agenda = Agenda::default();
        agenda.put(Owner::Outside, Time::ZERO, Due::Start);
        agenda.put(Owner::Outside, Time::from_ms(plan.rules.heal_ms), Due::Heal);
        for item in &plan.items {
            let (at_ms, due) = match item {
                Item::Send { at_ms, arrival } => (*at_ms, Due::Send(arrival.clone())),
                Item::Again { at_ms, origin, key } => {
                    (*at_ms, Due::Resend(origin.clone(), key.clone()))
                }
                Item::Order { at_ms, order } => (*at_ms, Due::Order(order.clone())),
                Item::Clock { at_ms, by_ms } => (*at_ms, Due::Clock(*by_ms)),
                Item::Reschedule { at_ms, schedule } => (*at_ms, Due::Reschedule(schedule.clone())),
                Item::Move { at_ms, from, to } => (*at_ms, Due::Move(from.clone(), to.clone())),
                Item::Owners { at_ms, owners } => (*at_ms, Due::Owners(owners.clone())),
                Item::Away {
                    origin,
                    from_ms,
                    for_ms,
                } => (from_ms.saturating_add(*for_ms), Due::Come(origin.clone())),
                Item::Answer { .. } | Item::Fault(_) => continue,
            };
            agenda.put(Owner::Outside, Time::from_ms(at_ms), due);
        }
        World {
            faults: Faults::new(plan.faults()),
            channels: Channels::new(plan),
            settings: plan.rules.settings.clone(),
            wall: Wall::new(BEGAN_UNIX_MS),
            sessions: BTreeSet::new(),
            plan: Arc::new(plan.clone()),
            meddling,
            agenda,
            disk: Disk::default(),
            gate: Gate::new(),
            core: None,
            engines: Engines::default(),
            running: BTreeMap::new(),
            counts: Counts::default(),
            dying: None,
            events: Vec::new(),
        }
    }

    /// One round of the driver's loop. False when there is nothing more to come.
    fn go_on(&mut self) -> bool {
        let deadline = self.deadline();
        let next = [self.agenda.next(), deadline.map(|(at, _)| at)];
        let Some(next) = next.into_iter().flatten().min() else {
            return self.end(true);
        };
        if self.agenda.next().is_none() && self.rests() {
            return self.end(true);
        }
        let patience = self.plan.rules.heal_ms + PATIENCE_MS;
        if next.as_ms() > patience || self.events.len() > MOST_EVENTS {
            return self.end(false);
        }
        self.agenda.advance(next);
        let mut room = self.plan.rules.batch;
        while room > 0 && self.dying.is_none() {
            let input = match self.agenda.take_due() {
                Some(due) => self.happen(due),
                None => match self.due() {
                    Some(timer) => Some(Input::Tick(timer)),
                    None => break,
                },
            };
            if let Some(input) = input {
                self.step(input);
                room -= 1;
            }
        }
        self.commit();
        !matches!(self.events.last(), Some(Event::Unrestorable(_)))
    }

    fn end(&mut self, quiet: bool) -> bool {
        let deadline = self.core.as_ref().and_then(Core::deadline);
        let idle = self.rests() && self.gate.is_empty();
        self.events.push(Event::Ended {
            at: self.agenda.now(),
            quiet: quiet && idle,
            deadline,
        });
        false
    }

    /// Nothing is going on, and the next thing is a job's time at the earliest.
    fn rests(&self) -> bool {
        let Some(core) = &self.core else { return false };
        let busy = |s: &SessionId| core.state().is_busy(*s) || core.state().open_effects(*s) > 0;
        let jobs = matches!(core.deadline(), None | Some((_, Timer::Job(_))));
        jobs && !self.sessions.iter().any(busy)
    }

    fn deadline(&self) -> Option<(Time, Timer)> {
        let core = self.core.as_ref().filter(|_| !self.meddling.never_ticks());
        core.and_then(Core::deadline)
    }

    /// The timer that is due.
    fn due(&self) -> Option<Timer> {
        let (at, timer) = self.deadline()?;
        (at <= self.agenda.now()).then_some(timer)
    }

    /// Something happens. What the core is to hear of it comes back.
    fn happen(&mut self, due: Due) -> Option<Input> {
        match due {
            Due::Start => self.start(),
            Due::Heal => {
                self.faults.heal();
                for origin in self.channels.heal() {
                    self.put(Owner::Outside, 0, Due::Come(origin));
                }
                self.engines.heal();
                self.events.push(Event::Healed(self.agenda.now()));
                None
            }
            Due::Send(arrival) => {
                self.counts.sent += 1;
                self.channels.send(&arrival);
                self.events.push(Event::Sent(arrival.clone()));
                if self.faults.resend(self.counts.sent) {
                    self.put(Owner::Outside, 90, Due::Again(arrival.clone()));
                }
                self.hand_over(arrival)
            }
            Due::Again(arrival) => self.hand_over(arrival),
            Due::Resend(origin, key) => {
                let arrival = self.channels.sent(&origin, &key)?;
                self.core.is_some().then(|| Input::Arrive(arrival.clone()))
            }
            Due::Clock(by_ms) => {
                self.wall.set(by_ms);
                let unix_ms = self.wall.unix_ms(self.agenda.now());
                self.core.is_some().then_some(Input::Wall { unix_ms })
            }
            Due::Reschedule(schedule) => {
                self.settings.schedule = schedule;
                None
            }
            Due::Owners(owners) => {
                self.settings.owners = owners;
                None
            }
            Due::Move(from, to) if self.core.is_some() => Some(Input::Move { from, to }),
            Due::Move(from, to) => {
                // The channel tells of it until somebody hears.
                self.put(Owner::Outside, 1_000, Due::Move(from, to));
                None
            }
            Due::Come(origin) => {
                let there = !self.channels.is_away(&origin, self.agenda.now());
                (there && self.core.is_some()).then_some(Input::Present { origin })
            }
            Due::Order(order) => self.core.is_some().then_some(Input::Order(order)),
            Due::Feed(Input::Arrive(arrival)) => match self.channels.keeps(&arrival) {
                true => self.hand_over(arrival),
                false => None,
            },
            Due::Feed(input) => Some(input),
            Due::Show(effect, attempt, delivery) => {
                self.show(effect, attempt, delivery);
                None
            }
            Due::Report(effect, attempt, ticket) => self.report(effect, attempt, ticket),
            Due::Sandbox(coming) => self.come(coming),
        }
    }

    /// A channel hands a message over, and will again until it is acknowledged.
    fn hand_over(&mut self, arrival: Arrival) -> Option<Input> {
        self.core.as_ref()?;
        let again = Due::Feed(Input::Arrive(arrival.clone()));
        self.put(Owner::Process, REDELIVER_MS, again);
        if self.meddling.acknowledges_early() {
            self.acknowledge(&arrival.origin, &arrival.key);
        }
        Some(Input::Arrive(arrival))
    }

    fn report(&mut self, effect: EffectId, attempt: Attempt, ticket: u64) -> Option<Input> {
        let current = self.running.get(&(effect, attempt));
        if current.is_none_or(|running| running.ticket != ticket) {
            return None;
        }
        let outcome = self.running.remove(&(effect, attempt))?.outcome;
        self.counts.reports += 1;
        let input = Input::Finish {
            effect,
            attempt,
            outcome: outcome.clone(),
        };
        if self.faults.again(self.counts.reports) {
            self.put(Owner::Process, 2_500, Due::Feed(input.clone()));
        }
        self.events.push(Event::Reported {
            effect,
            attempt,
            outcome,
        });
        Some(input)
    }

    /// A life begins.
    fn start(&mut self) -> Option<Input> {
        self.counts.lives += 1;
        if self.faults.tear(self.counts.lives) {
            self.disk.tear();
        }
        let found = match self.disk.restore() {
            Ok(found) => found,
            Err(unreadable) => {
                self.events
                    .push(Event::Unrestorable(unreadable.to_string()));
                return None;
            }
        };
        self.events.push(Event::Restored {
            at: self.agenda.now(),
            through: self.disk.through(),
            snapshot: found.snapshot,
            state: fingerprint(&found.core.snapshot()),
            owners: self.settings.owners.clone(),
        });
        self.core = Some(found.core);
        self.workers_are_first();
        for (index, arrival) in self.channels.unacknowledged().into_iter().enumerate() {
            let again = Due::Feed(Input::Arrive(arrival));
            self.put(Owner::Process, 3 + index as u64, again);
        }
        let passing = self
            .counts
            .lives
            .is_multiple_of(self.plan.rules.passing_every);
        let settings = Settings {
            jobs_fire: !passing,
            ..self.settings.clone()
        };
        Some(Input::Boot(Box::new(Boot {
            settings,
            unix_ms: self.wall.unix_ms(self.agenda.now()),
        })))
    }

    fn step(&mut self, input: Input) {
        let Some(core) = &mut self.core else { return };
        let behind = self.faults.behind(self.counts.steps + 1);
        let at = Time::from_ms(self.agenda.now().as_ms().saturating_sub(behind));
        let before = core.deadline();
        let input = self.meddling.input(input, core);
        let step = core.step(at, input.clone());
        let mut line = Line {
            seq: step.seq,
            at: step.at,
            session: step.session,
            input,
            records: step.records.clone(),
        };
        let after = core.deadline();
        self.counts.inputs += 1;
        let looked_at = self
            .counts
            .inputs
            .is_multiple_of(self.plan.rules.look_every);
        let state = looked_at.then(|| fingerprint(&core.snapshot()));
        self.sessions.extend(line.session);
        self.meddling.line(&mut line);
        if !line.records.is_empty() {
            self.counts.steps += 1;
            self.dying = self.faults.crash(self.counts.steps);
            self.dying = self.dying.or(self.crash_at_sandbox(&line));
            self.disk.append(line.clone());
            if let Input::Present { .. } = line.input {
                let again = Due::Feed(line.input.clone());
                self.agenda.put(Owner::Process, self.agenda.now(), again);
            }
            if self.faults.tick(self.counts.steps)
                && let Some((_, timer)) = after
            {
                let tick = Due::Feed(Input::Tick(timer));
                self.agenda.put(Owner::Process, at, tick);
            }
        }
        self.events.push(Event::Stepped(Stepped {
            line: Arc::new(line),
            at,
            before,
            after,
            state,
        }));
        let seq = step.seq;
        self.gate.hold(step);
        if self.meddling.opens_early() {
            let opened = self.gate.open(Receipt::durable_through(seq));
            opened.into_iter().for_each(|o| self.act(o, Reach::Normal));
        }
    }

    /// Makes what was decided durable and acts on it, unless the program dies on the way.
    fn commit(&mut self) {
        let dying = self.dying.take();
        if dying == Some(Cut::BeforeCommit) {
            return self.crash(Cut::BeforeCommit);
        }
        if self.disk.pending() > 0 {
            let through = self.disk.sync();
            self.events.push(Event::Committed(through));
            self.keep_snapshot();
        }
        if dying == Some(Cut::AfterCommit) {
            return self.crash(Cut::AfterCommit);
        }
        let receipt = Receipt::durable_through(self.disk.through());
        let mut opened = self.gate.open(receipt);
        let reach = match dying {
            Some(Cut::MidRun) => Reach::Begun,
            Some(Cut::BeforeReport) => Reach::Done,
            _ => Reach::Normal,
        };
        if dying == Some(Cut::MidGate) {
            opened.truncate(opened.len() / 2);
        }
        opened.into_iter().for_each(|o| self.act(o, reach));
        if let Some(cut) = dying {
            self.crash(cut);
        }
    }

    fn keep_snapshot(&mut self) {
        let every = self.plan.rules.snapshot_every;
        if let Some(core) = &self.core
            && every > 0
            && self.disk.through().0.is_multiple_of(every)
        {
            self.disk.keep(self.disk.through(), core.snapshot());
        }
    }

    fn crash(&mut self, cut: Cut) {
        self.disk.crash();
        self.agenda.crash();
        self.gate = Gate::new();
        self.core = None;
        self.running.clear();
        self.events.extend(self.engines.crash());
        let through = self.disk.through();
        self.events.push(Event::Crashed { cut, through });
        let down = self.faults.down(self.counts.lives + 1);
        self.put(Owner::Outside, RESTART_MS + down, Due::Start);
    }

    fn put(&mut self, owner: Owner, after_ms: u64, due: Due) {
        let at = self.agenda.now().after_ms(after_ms);
        self.agenda.put(owner, at, due);
    }
}
