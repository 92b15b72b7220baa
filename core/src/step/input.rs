//! What each input starts.

use super::Stepping;
use crate::effect::cancel::Cancel;
use crate::effect::deliver::Body;
use crate::effect::{Op, Recovery};
use crate::hint::{Activity, Hint};
use crate::id::{ApprovalId, EffectId, SessionId};
use crate::input::{Arrival, Input, Order};
use crate::machine::router::Routed;
use crate::record::{Answer, Record, TurnEnd};
use crate::say;
use crate::timer::Timer;
use alloc::boxed::Box;
use alloc::string::String;
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
                self.record_all(records);
            }
            Input::Progress { effect, chunk } => {
                if let Some(effect) = self.state.intents.get(effect)
                    && self.state.turns.lives(effect)
                {
                    self.show(effect.session(), Activity::Chunk(chunk));
                }
            }
            Input::Tick => self.tick(),
            Input::Order(order) => self.order(order),
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let state = &self.state;
        let load = |session| state.load(session);
        let routed = state
            .router
            .arrive(&state.settings, self.step.seq, &arrival, load);
        match routed {
            Routed::Records(records) => self.record_all(records),
            Routed::Duplicate => self.step.hints.push(Hint::Ack {
                origin: arrival.origin,
                key: arrival.key,
            }),
            Routed::Refused(refusal) => self.step.hints.push(Hint::Refuse {
                origin: arrival.origin,
                key: arrival.key,
                refusal,
            }),
        }
    }

    fn order(&mut self, order: Order) {
        let (Order::Stop { by, .. } | Order::Decide { by, .. }) = &order;
        if !self.state.settings.owners.contains(by) {
            return;
        }
        match order {
            Order::Stop { session, .. } => {
                if let Some(session) = self.state.router.session(&session) {
                    let records = self.state.turns.end(session, TurnEnd::Stopped, None);
                    self.record_all(records);
                }
            }
            Order::Decide {
                approval,
                allow,
                by,
            } => self.decide(approval, by, allow),
        }
    }

    fn decide(&mut self, approval: ApprovalId, by: String, allow: bool) {
        self.answer(
            approval,
            match allow {
                true => Answer::Allowed(by),
                false => Answer::Denied(by),
            },
        );
    }

    fn answer(&mut self, approval: ApprovalId, answer: Answer) {
        let record = self.state.approvals.decide(approval, answer);
        self.record_all(record);
    }

    /// Handles the earliest timer, if it is due.
    fn tick(&mut self) {
        match self.state.deadline() {
            Some((due, timer)) if due <= self.step.at => match timer {
                Timer::Recover(effect) => self.recover(effect),
                Timer::Retry(effect) => self.again(effect),
                Timer::Overdue(effect) => self.overdue(effect),
                Timer::Approval(approval) => self.answer(approval, Answer::Expired),
                Timer::Turn(session) => self.out_of_time(session),
            },
            _ => {}
        }
    }

    /// An effect was running when the program died.
    fn recover(&mut self, id: EffectId) {
        let Some(effect) = self.state.intents.get(id) else {
            return;
        };
        let wanted = self.state.turns.lives(effect);
        if wanted && effect.recovery == Recovery::Repeat {
            self.again(id);
        } else {
            self.doubt_or_give_up(id);
        }
    }

    pub(super) fn doubt_or_give_up(&mut self, id: EffectId) {
        let effect = self.state.intents.get(id);
        if effect.is_some_and(|effect| effect.recovery == Recovery::Doubt) {
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
        let is_tool = matches!(effect.op, Op::Tool(_));
        let limits = &state.settings.limits;
        let lives = |effect: &_| state.turns.lives(effect);
        let records = state.intents.overdue(limits, self.step.at, id, lives);
        if is_tool {
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
        let Op::Tool(run) = &effect.op else {
            return;
        };
        let (session, text) = (run.session, say::in_doubt(run));
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
