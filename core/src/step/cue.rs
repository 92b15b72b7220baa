//! What each cue leads to.

use super::sandbox::For;
use super::{Cue, Stepping};
use crate::digest::Digest;
use crate::effect::deliver::{Body, End, Question};
use crate::effect::model::{CallModel, ModelFault};
use crate::effect::sandbox::Task;
use crate::effect::tool::RunTool;
use crate::effect::{Effect, Op, Recovery};
use crate::id::{ApprovalId, Attempt, EffectId, SessionId, TurnId};
use crate::machine::intent::Abandoned;
use crate::machine::outbox;
use crate::machine::policy::{self, Circumstances};
use crate::machine::turn::Next;
use crate::machine::{schedule, skill};
use crate::message::{Picture, ToolCall};
use crate::record::{Command, Record, Sought, TurnEnd, Verdict};
use crate::say;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

impl Stepping<'_> {
    /// The identity of the effect that will be intended next.
    pub(super) fn next_effect(&self) -> EffectId {
        EffectId {
            seq: self.step.seq,
            slot: self.intended,
        }
    }

    /// A new effect. Its identity is its place in this step.
    pub(super) fn intend(&mut self, op: Op, recovery: Recovery) -> EffectId {
        let id = self.next_effect();
        self.intended += 1;
        self.record(Record::Intended(Effect {
            id,
            attempt: Attempt::FIRST,
            op,
            recovery,
        }));
        id
    }

    pub(super) fn queue(&mut self, session: SessionId, origin: &str, body: Body, ends: Vec<End>) {
        let records = outbox::queue(&self.state.settings, session, origin, body, ends);
        self.record_all(records);
    }

    /// Carries out a person's command.
    pub(super) fn obey(&mut self, session: SessionId, command: Command, end: End, by: &str) {
        let may = self.state.may_rule(session, by, &end.origin);
        let text = match command {
            Command::Stop | Command::New if !may => say::not_theirs().to_string(),
            Command::Help => say::help().to_string(),
            Command::Status => self.status(session),
            Command::Stop => {
                let stopper = Some(end.clone());
                let records = self.state.turns.end(session, TurnEnd::Stopped, stopper);
                if !records.is_empty() {
                    return self.record_all(records);
                }
                say::nothing_to_stop().to_string()
            }
            Command::New => {
                let records = self.state.turns.end(session, TurnEnd::Stopped, None);
                self.record_all(records);
                self.record(Record::Refreshed { session });
                say::afresh().to_string()
            }
        };
        // After what the command has set off: the ends of earlier messages come first (law 12).
        self.cues.push_back(Cue::Tell(session, text, end));
    }

    pub(super) fn tell(&mut self, session: SessionId, text: String, end: End) {
        let origin = end.origin.clone();
        self.queue(session, &origin, Body::Notice(text), Vec::from([end]));
    }

    fn status(&self, session: SessionId) -> String {
        let state = &self.state;
        say::status(
            &state.settings,
            &say::Status {
                name: state.router.name(session),
                round: state.turns.live(session).map(|turn| turn.round),
                effects: state.intents.open_in(session),
                waiting: state.turns.waiting(session),
                questions: state.approvals.waiting(session),
                remembered: state.turns.remembered(session),
            },
        )
    }

    pub(super) fn call_model(&mut self, session: SessionId) {
        let Some((prompt, digest)) = self.state.prompt(session) else {
            return;
        };
        let Some(turn) = self.state.turns.live(session) else {
            return;
        };
        let op = Op::Model(CallModel {
            session,
            turn: turn.id,
            round: turn.round,
            prompt: digest,
            timeout_ms: self.state.settings.limits.model_timeout_ms,
        });
        let id = self.intend(op, Recovery::Repeat);
        self.step.prompts.push((id, prompt));
    }

    /// Judges the calls of a reply, or lets the turn end with it.
    pub(super) fn judge(&mut self, session: SessionId) {
        let limits = &self.state.settings.limits;
        if let Some(end) = self.state.turns.out_of_rounds(limits, session) {
            let records = self.state.turns.end(session, end, None);
            return self.record_all(records);
        }
        let Some(turn) = self.state.turns.live(session) else {
            return;
        };
        let (origins, texts) = (turn.origins(), turn.texts());
        let allowed = |call: &ToolCall| {
            let arguments = policy::canonical(&call.arguments).unwrap_or_default();
            let digest = policy::digest(&call.tool, &arguments);
            self.state.approvals.stands(session, &digest)
        };
        let about = |call: &ToolCall| Circumstances {
            origins: &origins,
            texts: &texts,
            denied: turn.denied(),
            allowed: allowed(call),
            cut_off: turn.cut_off(),
        };
        let most = limits.calls_per_round;
        let judged: Vec<Record> = turn
            .unjudged()
            .map(|(call, wanted)| Record::Judged {
                session,
                call,
                verdict: match call < most {
                    true => policy::judge(
                        &self.state.settings,
                        self.state.tools(),
                        wanted,
                        about(wanted),
                    ),
                    false => Verdict::Invalid {
                        reason: say::too_many_calls(most),
                    },
                },
            })
            .collect();
        self.record_all(judged);
        self.advance(session);
    }

    /// Asks a person about a call, in every channel that the turn's messages came over.
    pub(super) fn seek(&mut self, session: SessionId, index: u16, reason: String) {
        let Some(turn) = self.state.turns.live(session) else {
            return;
        };
        let Some(call) = turn.call(index) else { return };
        let Some(arguments) = policy::canonical(&call.arguments) else {
            return;
        };
        let limits = &self.state.settings.limits;
        let approval = ApprovalId {
            seq: self.step.seq,
            slot: index,
        };
        let question = Question {
            approval,
            tool: call.tool.clone(),
            reason,
            expires_ms: limits.approval_ms,
            arguments,
        };
        let sought = Sought {
            session,
            turn: turn.id,
            call: index,
            approval,
            digest: policy::digest(&call.tool, &question.arguments),
            question: question.clone(),
            expires_at: self.step.at.after_ms(limits.approval_ms),
        };
        let origins: Vec<String> = turn.origins().into_iter().map(String::from).collect();
        self.record(Record::Sought(sought));
        for origin in origins {
            let body = Body::Question(question.clone());
            self.queue(session, &origin, body, Vec::new());
        }
    }

    /// A person said yes: the call runs if it is the one that they were shown.
    pub(super) fn granted(&mut self, session: SessionId, approval: ApprovalId) {
        if let Some(sought) = self.state.approvals.granted(approval) {
            let (index, shown) = (sought.call, sought.digest);
            self.run_tool(session, index, Some(shown));
        }
    }

    /// Runs a call that was allowed: by the rules, or by a person who was `shown` it.
    pub(super) fn run_tool(&mut self, session: SessionId, index: u16, shown: Option<Digest>) {
        let Some(turn) = self.state.turns.live(session) else {
            return;
        };
        let Some(call) = turn.call(index) else { return };
        let Some(arguments) = policy::canonical(&call.arguments) else {
            return;
        };
        if shown.is_some_and(|shown| shown != policy::digest(&call.tool, &arguments)) {
            return;
        }
        if skill::serves(&call.tool) {
            let content = self.state.skills.read(&arguments);
            return self.record(Record::Served {
                session,
                call: index,
                content,
            });
        }
        if schedule::serves(&call.tool) {
            let (tool, origin) = (
                call.tool.clone(),
                turn.origins().first().map(|o| o.to_string()),
            );
            return self.serve_schedule((session, index), &tool, &arguments, origin);
        }
        let mut tools = self.state.tools().iter();
        let Some(spec) = tools.find(|spec| spec.name == call.tool) else {
            return;
        };
        if let Some(sandboxed) = &spec.sandbox {
            let whose = For {
                session,
                turn: turn.id,
                call: index,
            };
            let task = Task {
                tool: call.tool.clone(),
                arguments,
                program: sandboxed.program.clone(),
                timeout_ms: spec.timeout_ms,
            };
            let engine = sandboxed.engine;
            return self.create_sandbox(whose, engine, task);
        }
        let recovery = spec.recovery;
        let op = Op::Tool(RunTool {
            session,
            turn: turn.id,
            call: index,
            tool: call.tool.clone(),
            arguments,
            timeout_ms: spec.timeout_ms,
        });
        self.intend(op, recovery);
    }

    /// Shows pictures in every channel that the live turn's messages came over. A channel that is
    /// behind as far as it may be is shown none: the result names the files too.
    pub(super) fn picture(&mut self, session: SessionId, turn: TurnId, pictures: Vec<Picture>) {
        let live = self.state.turns.live(session);
        let Some(live) = live.filter(|live| live.id == turn) else {
            return;
        };
        let origins: Vec<String> = live.origins().into_iter().map(String::from).collect();
        for origin in origins {
            for picture in &pictures {
                let waiting = self.state.outbox.waiting(session, &origin);
                if waiting < self.state.settings.limits.queued_deliveries {
                    let body = Body::Picture(picture.clone());
                    self.queue(session, &origin, body, Vec::new());
                }
            }
        }
    }

    pub(super) fn advance(&mut self, session: SessionId) {
        let limits = &self.state.settings.limits;
        match self.state.turns.next(limits, session) {
            Next::Wait => {}
            Next::Ask => {
                let records = self.state.turns.ask(session);
                self.record_all(records);
            }
            Next::End(end) => {
                let records = self.state.turns.end(session, end, None);
                self.record_all(records);
            }
        }
    }

    pub(super) fn fail(
        &mut self,
        session: SessionId,
        effect: EffectId,
        fault: &ModelFault,
        Attempt(tries): Attempt,
    ) {
        let live = self.state.turns.live(session);
        if live.is_some_and(|turn| turn.awaits_reply(effect)) {
            let text = say::model_failed(&self.state.settings, tries, fault);
            let records = self.state.turns.end(session, TurnEnd::Failed(text), None);
            self.record_all(records);
        }
    }

    /// Stops what the turn has running, tells its people, and begins the next turn.
    pub(super) fn close(
        &mut self,
        session: SessionId,
        turn: Option<TurnId>,
        end: TurnEnd,
        mut ends: Vec<End>,
    ) {
        let abandoned = turn.map(|turn| self.state.intents.abandon(turn));
        for effect in abandoned.into_iter().flatten() {
            match effect {
                Abandoned::Running(cancel) => {
                    self.intend(Op::Cancel(cancel), Recovery::Repeat);
                }
                Abandoned::Idle(effect) => self.doubt_or_give_up(effect),
            }
        }
        let body = match end {
            TurnEnd::Replied(text) => Body::Reply(text),
            TurnEnd::Failed(text) => Body::Failure(text),
            TurnEnd::Stopped => Body::Notice(say::stopped(ends.len())),
        };
        while let Some(first) = ends.first() {
            let origin = first.origin.clone();
            let (here, rest) = ends.into_iter().partition(|end| end.origin == origin);
            ends = rest;
            self.queue(session, &origin, body.clone(), here);
        }
        let records = self.state.turns.begin(session, self.step.seq);
        self.record_all(records);
    }

    pub(super) fn flush(&mut self, session: SessionId) {
        let next: Vec<_> = self.state.outbox.next(session).cloned().collect();
        for delivery in next {
            self.intend(Op::Deliver(delivery), Recovery::Repeat);
        }
    }
}
