//! What each input starts.

use super::Stepping;
use crate::effect::cancel::Cancel;
use crate::effect::deliver::Body;
use crate::effect::{Op, Recovery};
use crate::hint::{Activity, Hint};
use crate::id::{ApprovalId, EffectId, SessionId};
use crate::input::{Arrival, Decision, Input, Order};
use crate::machine::router::{self, Routed, Sender};
use crate::record::{Answer, Record, TurnEnd};
use crate::say;
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Stepping<'_> {
    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Boot(boot) => self.record(Record::Booted {
                settings: Box::new(boot.settings),
                unix_ms: boot.unix_ms,
            }),
            Input::Arrive(arrival) => self.arrive(arrival),
            Input::Finish {
                effect,
                attempt,
                outcome,
            } => {
                let state = &self.state;
                let limits = &state.settings.limits;
                let lives = |effect: &_| state.turns.lives(effect);
                let tried = (effect, attempt);
                let intents = &state.intents;
                let records = intents.finish(limits, self.step.at, tried, outcome, lives);
                if matches!(records.first(), Some(Record::Doubted { .. })) {
                    self.say_in_doubt(effect);
                }
                self.record_all(records);
            }
            Input::Progress { effect, chunk } => {
                if let Some(effect) = self.state.intents.get(effect)
                    && self.state.turns.lives(effect)
                {
                    self.show(effect.session(), Activity::Chunk(chunk));
                }
            }
            Input::Report { token, ended } => self.report(token, ended),
            Input::Tick(timer) => self.tick(timer),
            Input::Wall { unix_ms } => {
                let record = self.state.schedule.look_at_clock(self.step.at, unix_ms);
                self.record_all(record);
            }
            Input::Learn { skills } => {
                let limits = &self.state.settings.limits;
                let record = self.state.skills.learn(limits, skills);
                self.record_all(record);
            }
            Input::Order(order) => self.order(order),
            Input::Move { from, to } => {
                let state = &self.state;
                let record = state.router.move_on(&state.settings, &from, &to);
                self.record_all(record);
            }
            Input::Present { origin } => {
                if let Some(delivery) = self.state.intents.waits_for(&origin) {
                    self.again(delivery);
                }
            }
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        if let Some((peer, let_in)) = router::admission(&arrival.text)
            && self
                .state
                .router
                .may_speak(&self.state.settings, &arrival.peer)
        {
            let state = &self.state;
            let routed = state
                .router
                .admission(&state.settings, &arrival, (peer, let_in));
            if matches!(routed, Routed::Duplicate) {
                self.tell_admission(peer, &arrival.origin, &arrival.key);
            }
            return self.routed(&arrival, routed);
        }
        let routed = self.route((&arrival, Sender::Person));
        self.routed(&arrival, routed);
    }

    fn routed(&mut self, arrival: &Arrival, routed: Routed) {
        let (origin, key) = (arrival.origin.clone(), arrival.key.clone());
        match routed {
            Routed::Records(records) => self.record_all(records),
            Routed::Duplicate => self.step.hints.push(Hint::Ack { origin, key }),
            Routed::Refused(refusal) => self.step.hints.push(Hint::Refuse {
                origin,
                key,
                refusal,
            }),
        }
    }

    pub(super) fn route(&self, arrival: (&Arrival, Sender)) -> Routed {
        let state = &self.state;
        let load = |session| state.load(session, &arrival.0.origin);
        let (router, settings) = (&state.router, &state.settings);
        router.arrive(settings, self.step.seq, arrival, load)
    }

    /// Lets somebody in or shuts them out.
    fn admit(&mut self, peer: &str, by: &str, let_in: bool) {
        let state = &self.state;
        let record = state.router.admit(&state.settings, peer, by, let_in);
        self.record_all(record);
    }

    fn order(&mut self, order: Order) {
        if self.state.objection(&order).is_some() {
            return;
        }
        match order {
            Order::Stop { session, .. } => {
                let session = self.state.router.session(&session);
                self.stop(session);
            }
            Order::Cancel { origin, key, .. } => {
                let records = self.state.turns.cancel(&origin, &key);
                self.record_all(records);
            }
            Order::Admit { peer, by } => self.admit(&peer, &by, true),
            Order::Expel { peer, by } => self.admit(&peer, &by, false),
            Order::Decide {
                approval,
                decision,
                by,
            } => {
                let due = self.state.approvals.due(approval);
                let answer = match decision {
                    // Nobody may have ticked yet, after a stop for example.
                    _ if due.is_some_and(|due| due <= self.step.at) => Answer::Expired,
                    Decision::Allow => Answer::Allowed(by),
                    Decision::AllowSession => Answer::AllowedForSession(by),
                    Decision::Deny => Answer::Denied(by),
                };
                self.answer(approval, answer);
            }
        }
    }

    fn stop(&mut self, session: Option<SessionId>) {
        if let Some(session) = session {
            let records = self.state.turns.end(session, TurnEnd::Stopped, None);
            self.record_all(records);
        }
    }

    fn answer(&mut self, approval: ApprovalId, answer: Answer) {
        let record = self.state.approvals.decide(approval, answer);
        self.record_all(record);
    }

    /// Handles a timer, if it runs and is due.
    fn tick(&mut self, timer: Timer) {
        if self.state.due(timer).is_none_or(|due| due > self.step.at) {
            return;
        }
        match timer {
            Timer::Recover(effect) => self.recover(effect),
            Timer::Retry(effect) => self.again(effect),
            Timer::Overdue(effect) => self.overdue(effect),
            Timer::Approval(approval) => self.answer(approval, Answer::Expired),
            Timer::Turn(session) => self.out_of_time(session),
            Timer::Job(job) => self.job_due(job),
        }
    }

    /// An effect was running when the program died.
    fn recover(&mut self, id: EffectId) {
        let Some(effect) = self.state.intents.get(id) else {
            return;
        };
        let wanted = self.state.turns.lives(effect);
        if wanted && effect.recovery != Recovery::Doubt {
            self.again(id);
        } else {
            self.doubt_or_give_up(id);
        }
    }

    pub(super) fn doubt_or_give_up(&mut self, id: EffectId) {
        if self.state.intents.is_doubtful(id) {
            self.say_in_doubt(id);
        }
        let record = self.state.intents.give_up(id);
        self.record_all(record);
    }

    /// The next try.
    fn again(&mut self, id: EffectId) {
        let Some(effect) = self.state.intents.get(id) else {
            return;
        };
        if let Op::Deliver(delivery) = &effect.op
            && self.state.is_answered(&delivery.body)
        {
            let record = self.state.intents.give_up(id);
            return self.record_all(record);
        }
        let prompt = match &effect.op {
            Op::Model(call) => self.state.prompt(call.session),
            _ => None,
        };
        let digest = prompt.as_ref().map(|(_, digest)| *digest);
        if let Some(effect) = self.state.intents.again(id, digest) {
            let prompt = prompt.map(|(prompt, _)| (effect.id, prompt));
            self.step.prompts.extend(prompt);
            self.record(Record::Intended(effect));
        }
    }

    /// An effect has reported nothing for too long. A tool's may still be running: it is stopped.
    fn overdue(&mut self, id: EffectId) {
        let state = &self.state;
        let Some(effect) = state.intents.get(id) else {
            return;
        };
        let session = effect.session();
        let may_run = !matches!(effect.op, Op::Model(_) | Op::Deliver(_) | Op::Cancel(_));
        let limits = &state.settings.limits;
        let lives = |effect: &_| state.turns.lives(effect);
        let records = state.intents.overdue(limits, self.step.at, id, lives);
        if may_run {
            self.say_in_doubt(id);
            self.intend(
                Op::Cancel(Cancel {
                    session,
                    target: id,
                }),
                Recovery::Repeat,
            );
        }
        self.record_all(records);
    }

    /// Tells people that a tool may have run, also when its turn is over: they stopped it, say.
    fn say_in_doubt(&mut self, id: EffectId) {
        let Some(effect) = self.state.intents.get(id) else {
            return;
        };
        let session = effect.session();
        let text = match &effect.op {
            Op::Tool(run) => say::in_doubt(&run.tool, &run.arguments),
            Op::Sandbox(used) if used.runs() => match used.task() {
                Some(task) => say::in_doubt(&task.tool, &task.arguments),
                None => return,
            },
            _ => return,
        };
        for origin in self.state.turns.origins(session) {
            self.queue(session, &origin, Body::Notice(text.clone()), Vec::new());
        }
        self.show(session, Activity::InDoubt);
    }

    fn out_of_time(&mut self, session: SessionId) {
        let end = TurnEnd::Failed(say::out_of_time(self.state.settings.limits.turn_ms));
        let records = self.state.turns.end(session, end, None);
        self.record_all(records);
    }
}
