//! The part of the shell that acts: it begins what the gate lets out and keeps track of what runs.

use super::{Due, Reach, Running, World};
use crate::clock::Owner;
use crate::effect::{self, Course};
use crate::fault::DeliverTrouble;
use crate::seed::Rng;
use crate::story::Event;
use openpista_core::effect::cancel::{Cancel, Cancelled};
use openpista_core::effect::deliver::{Body, Deliver};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::gate::{Cleared, Opened};
use openpista_core::hint::Hint;
use openpista_core::id::{Attempt, EffectId};
use openpista_core::input::Input;

impl World {
    /// The part of the shell that acts.
    pub(super) fn act(&mut self, opened: Opened, reach: Reach) {
        match opened {
            Opened::Hint(Hint::Ack { origin, key }) => {
                self.counts.acks += 1;
                if !self.faults.lose_ack(self.counts.acks) {
                    self.acknowledge(&origin, &key);
                }
            }
            Opened::Hint(Hint::Refuse {
                origin,
                key,
                refusal,
            }) => {
                self.channels.forget(&origin, &key);
                self.events.push(Event::Declined {
                    origin,
                    key,
                    refusal,
                });
            }
            Opened::Hint(Hint::Heard { token, taken }) => self.tell_worker(token, taken),
            Opened::Hint(Hint::Show { .. } | Hint::Tell { .. } | Hint::Answered { .. }) => {}
            Opened::Effect(cleared) => self.perform(cleared, reach),
        }
    }

    pub(super) fn acknowledge(&mut self, origin: &str, key: &str) {
        self.channels.forget(origin, key);
        self.events.push(Event::Acked {
            origin: origin.into(),
            key: key.into(),
        });
    }

    fn perform(&mut self, cleared: Cleared, reach: Reach) {
        let (effect, prompt) = cleared.into_parts();
        let id = effect.id;
        let key = [id.seq.0, id.slot.into(), effect.attempt.0.into()];
        let mut luck = Rng::keyed(self.plan.rules.seed, &key);
        let course = match &effect.op {
            Op::Model(call) => {
                self.counts.model += 1;
                let trouble = self.faults.model(self.counts.model);
                match &prompt {
                    Some(prompt) => {
                        effect::model::pretend(&effect, call, prompt, trouble, &mut luck)
                    }
                    None => Course::default(),
                }
            }
            Op::Tool(run) => {
                self.counts.tool += 1;
                let trouble = self.faults.tool(self.counts.tool);
                effect::tool::pretend(run, trouble, &mut luck)
            }
            Op::Deliver(delivery) => {
                self.counts.deliver += 1;
                let now = self.agenda.now();
                let nth = self.counts.deliver;
                let trouble = match self.channels.is_away(&delivery.origin, now) {
                    true => Some(DeliverTrouble::Absent),
                    false => self.faults.deliver(nth, &delivery.origin, now),
                };
                effect::deliver::pretend(delivery, trouble, &mut luck)
            }
            // What happens to a sandbox comes after the start of what is done with it.
            Op::Sandbox(used) => {
                self.events.push(Event::Started {
                    effect: effect.clone(),
                    prompt: None,
                });
                let course = self.use_sandbox(used, reach, &mut luck);
                return self.follow(effect, course, reach);
            }
            Op::Cancel(cancel) => self.cancel(cancel, &mut luck),
        };
        self.events.push(Event::Started {
            effect: effect.clone(),
            prompt,
        });
        self.follow(effect, course, reach);
    }

    fn follow(&mut self, effect: Effect, course: Course, reach: Reach) {
        let (id, attempt) = (effect.id, effect.attempt);
        if reach != Reach::Begun {
            self.events.extend(course.modelled.map(Event::Modelled));
        }
        if let (Op::Deliver(delivery), Some(after)) = (&effect.op, course.shown_ms) {
            let delivery = delivery.clone();
            match reach {
                Reach::Done => self.show(id, attempt, delivery),
                _ => self.put(Owner::Process, after, Due::Show(id, attempt, delivery)),
            }
        }
        for (after, chunk) in course.progress {
            let progress = Input::Progress { effect: id, chunk };
            self.put(Owner::Process, after, Due::Feed(progress));
        }
        let Some((after, outcome)) = course.report else {
            return;
        };
        self.counts.tickets += 1;
        let ticket = self.counts.tickets;
        let running = Running {
            effect,
            ticket,
            outcome,
        };
        self.running.insert((id, attempt), running);
        self.put(Owner::Process, after, Due::Report(id, attempt, ticket));
    }

    fn cancel(&mut self, cancel: &Cancel, luck: &mut Rng) -> Course {
        let found = self
            .running
            .iter_mut()
            .find(|((id, _), _)| *id == cancel.target);
        let stopped = found.and_then(|(key, running)| {
            let outcome = effect::cancel::pretend(&running.effect.op, luck)?;
            if let Op::Sandbox(used) = &running.effect.op
                && used.runs()
            {
                self.engines.stop(used.sandbox, self.agenda.now());
            }
            running.outcome = outcome;
            self.counts.tickets += 1;
            running.ticket = self.counts.tickets;
            Some((*key, running.ticket))
        });
        if let Some(((id, attempt), ticket)) = stopped {
            self.put(Owner::Process, 4, Due::Report(id, attempt, ticket));
        }
        let said = match stopped {
            Some(_) => Cancelled::Stopped,
            None => Cancelled::Nothing,
        };
        Course {
            report: Some((2, Outcome::Cancel(said))),
            ..Course::default()
        }
    }

    pub(super) fn show(&mut self, effect: EffectId, attempt: Attempt, delivery: Deliver) {
        if let Body::Question(question) = &delivery.body
            && let Some(said) = self.channels.ask(question.approval)
        {
            self.put(Owner::Outside, said.after_ms, Due::Order(said.order));
        }
        let shows = self.meddling.shows();
        let shown = Event::Shown {
            effect,
            attempt,
            delivery,
        };
        self.events.extend(std::iter::repeat_n(shown, shows));
    }
}
