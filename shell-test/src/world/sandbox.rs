//! The part of the world in which sandboxes stand, and the line over which workers report.

use super::{Due, Reach, World};
use crate::clock::Owner;
use crate::effect::Course;
use crate::effect::sandbox::{Acting, Coming, Dies, stopped};
use crate::fault::Cut;
use crate::seed::Rng;
use crate::story::Event;
use openpista_core::digest::Digest;
use openpista_core::effect::sandbox::{Action, Done, UseSandbox};
use openpista_core::effect::{Op, Outcome};
use openpista_core::id::{Attempt, EffectId, SandboxId};
use openpista_core::input::Input;
use openpista_core::record::Record;
use openpista_core::replay::Line;

impl World {
    /// An action on a sandbox is begun.
    pub(super) fn use_sandbox(
        &mut self,
        used: &UseSandbox,
        reach: Reach,
        luck: &mut Rng,
    ) -> Course {
        self.counts.sandbox += 1;
        let acting = Acting {
            used,
            trouble: self.faults.sandbox(self.counts.sandbox),
            now: self.agenda.now(),
            dies: match reach {
                Reach::Normal => None,
                Reach::Begun => Some(Dies::InIt),
                Reach::Done => Some(Dies::After),
            },
            restarts: self.meddling.restarts(),
            keeps: self.meddling.keeps(),
        };
        let acted = self.engines.act(&acting, luck);
        if used.action == Action::Destroy {
            self.end_runs(used.sandbox);
        }
        self.events.extend(acted.events);
        self.put_coming(acted.later);
        acted.course
    }

    /// Does the program die at this step, for what it does with a sandbox?
    pub(super) fn crash_at_sandbox(&mut self, line: &Line) -> Option<Cut> {
        let uses = |r: &Record| matches!(r, Record::Intended(e) if matches!(e.op, Op::Sandbox(_)));
        if !line.records.iter().any(uses) {
            return None;
        }
        self.counts.sandbox_steps += 1;
        self.faults.crash_at_sandbox(self.counts.sandbox_steps)
    }

    /// A life begins, and workers that waited for it may report before anything is recovered.
    pub(super) fn workers_are_first(&mut self) {
        let mut luck = Rng::keyed(self.plan.rules.seed, &[self.counts.lives, 17]);
        for report in self.engines.waiting(self.agenda.now()) {
            if luck.chance(80) {
                self.put_coming(vec![(0, report)]);
            }
        }
    }

    fn put_coming(&mut self, later: Vec<(u64, Coming)>) {
        for (after_ms, coming) in later {
            let owner = match coming.is_outside() {
                true => Owner::Outside,
                false => Owner::Process,
            };
            self.put(owner, after_ms, Due::Sandbox(coming));
        }
    }

    /// What was to come has come.
    pub(super) fn come(&mut self, coming: Coming) -> Option<Input> {
        let event = match coming {
            Coming::Made(sandbox) => self.engines.made(sandbox),
            Coming::Gone(sandbox) => self.engines.remove(sandbox),
            Coming::Knock(sandbox, token, nth) => {
                let key = [sandbox.seq.0, sandbox.slot.into(), nth, 15];
                let mut luck = Rng::keyed(self.plan.rules.seed, &key);
                let knocks = (sandbox, token, nth);
                let (now, healed) = (self.agenda.now(), self.faults.healed());
                let sent = self.engines.knock(knocks, now, healed, &mut luck);
                self.put_coming(sent);
                None
            }
            Coming::Report(token, ended) => {
                return (self.core.is_some()).then_some(Input::Report { token, ended });
            }
        };
        self.events.extend(event);
        None
    }

    /// The gateway tells a worker what became of its report, unless that is lost.
    pub(super) fn tell_worker(&mut self, token: Digest, taken: bool) {
        self.counts.told += 1;
        self.events.push(Event::Heard { token, taken });
        let mut luck = Rng::keyed(self.plan.rules.seed, &[self.counts.told, 16]);
        if !self.faults.healed() && luck.chance(35) {
            return;
        }
        if let Some((sandbox, ended)) = self.engines.tell(token, self.agenda.now()) {
            let outcome = Outcome::Sandbox(Ok(Done::Ended(ended)));
            self.report_runs(sandbox, 25, &outcome);
        }
    }

    /// What waits for a task in this sandbox hears soon that it was killed.
    fn end_runs(&mut self, sandbox: SandboxId) {
        self.engines.stop(sandbox, self.agenda.now());
        let waits = self.runs_in(sandbox);
        let killed = waits.first().and_then(|key| {
            let Op::Sandbox(used) = &self.running.get(key)?.effect.op else {
                return None;
            };
            stopped(used)
        });
        if let Some(outcome) = killed {
            self.report_runs(sandbox, 15, &outcome);
        }
    }

    fn runs_in(&self, sandbox: SandboxId) -> Vec<(EffectId, Attempt)> {
        let waits = self.running.iter().filter(|(_, running)| {
            matches!(&running.effect.op, Op::Sandbox(used) if used.sandbox == sandbox && used.runs())
        });
        waits.map(|(key, _)| *key).collect()
    }

    fn report_runs(&mut self, sandbox: SandboxId, after_ms: u64, outcome: &Outcome) {
        for key in self.runs_in(sandbox) {
            self.counts.tickets += 1;
            let ticket = self.counts.tickets;
            if let Some(running) = self.running.get_mut(&key) {
                running.outcome = outcome.clone();
                running.ticket = ticket;
            }
            self.put(Owner::Process, after_ms, Due::Report(key.0, key.1, ticket));
        }
    }
}
