//! The laws about what may follow what inside a session: 12 to 14, 17 and 18.

use super::{Evidence, Verdict, broken};
use crate::disk::records;
use crate::story::{Event, Stepped};
use openpista_core::effect::deliver::{Body, Question};
use openpista_core::effect::tool::RunTool;
use openpista_core::effect::{Effect, Op};
use openpista_core::id::{ApprovalId, Attempt, EffectId, MessageId, Seq, SessionId, TurnId};
use openpista_core::input::{Decision, Input, Order};
use openpista_core::record::{Answer, Command, Record, Sought, TurnEnd, Verdict as May};
use openpista_core::replay::Line;
use openpista_core::settings::{Mode, Settings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Law 12: one live turn per session; messages join and replies go out in order, one at a time.
pub fn law_12_one_turn_in_order(evidence: &Evidence<'_>) -> Verdict {
    let mut sessions: BTreeMap<SessionId, Order12> = BTreeMap::new();
    for (seq, record) in records(&evidence.journal) {
        let Some(id) = record.session() else { continue };
        let session = sessions.entry(id).or_default();
        if let Err(why) = session.follow(record) {
            return broken(12, seq, format!("session {id}: {why}"));
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Order12 {
    live: Option<TurnId>,
    joined: Option<MessageId>,
    queue: VecDeque<Body>,
    sending: Option<(EffectId, Body)>,
}

impl Order12 {
    fn follow(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::TurnBegan { turn, .. } => match self.live.replace(*turn) {
                Some(live) => Err(format!("turn {turn} began while {live} lives")),
                None => Ok(()),
            },
            Record::TurnEnded { turn, .. } if *turn != self.live => {
                Err(format!("turn {turn:?} ended while {:?} lives", self.live))
            }
            Record::TurnEnded { .. } => {
                self.live = None;
                Ok(())
            }
            Record::Joined { messages, .. } => {
                for message in messages {
                    if self.joined.replace(*message) >= Some(*message) {
                        return Err(format!("message {message} joined out of order"));
                    }
                }
                Ok(())
            }
            Record::Queued { body, .. } => {
                self.queue.push_back(body.clone());
                Ok(())
            }
            Record::Intended(effect) => self.intend(effect),
            Record::Settled { effect, .. } | Record::Doubted { effect, .. } => {
                if self.sending.as_ref().is_some_and(|(id, _)| id == effect) {
                    self.sending = None;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn intend(&mut self, effect: &Effect) -> Result<(), String> {
        let Op::Deliver(delivery) = &effect.op else {
            return Ok(());
        };
        if let Some((sending, body)) = &self.sending {
            let again = *sending == effect.id && *body == delivery.body;
            return again
                .then_some(())
                .ok_or_else(|| format!("{} goes out beside {sending}", effect.id));
        }
        // The same text goes out again, plain, when its formatting was refused.
        if delivery.rich && self.queue.pop_front().as_ref() != Some(&delivery.body) {
            return Err(format!("{} goes out before its turn", effect.id));
        }
        self.sending = Some((effect.id, delivery.body.clone()));
        Ok(())
    }
}

/// Law 13: no tool runs without permission by the rules, or a fresh, matching, unused approval. An
/// expired approval is a denial. After a denial the same turn does not ask again.
pub fn law_13_no_tool_without_permission(evidence: &Evidence<'_>) -> Verdict {
    let settings = &evidence.story.plan.rules.settings;
    let mut sessions: BTreeMap<SessionId, Permissions> = BTreeMap::new();
    for line in &evidence.journal {
        for record in &line.records {
            let Some(id) = record.session() else { continue };
            let session = sessions.entry(id).or_default();
            if let Err(why) = session.follow(settings, line, record) {
                return broken(13, line.seq, why);
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Permissions {
    verdicts: BTreeMap<u16, May>,
    sought: BTreeMap<ApprovalId, Sought>,
    shown: BTreeMap<ApprovalId, Question>,
    granted: BTreeMap<u16, Question>,
    texts: BTreeMap<MessageId, (String, String)>,
    joined: Vec<MessageId>,
    denied: bool,
}

impl Permissions {
    fn follow(&mut self, settings: &Settings, line: &Line, record: &Record) -> Result<(), String> {
        match record {
            Record::Accepted(accepted) => {
                let said = (accepted.origin.clone(), accepted.text.clone());
                self.texts.insert(accepted.message, said);
            }
            Record::TurnBegan { .. } => {
                self.denied = false;
                self.joined.clear();
                self.forget();
            }
            Record::TurnEnded { .. } => self.forget(),
            Record::Joined { messages, .. } => self.joined.extend(messages),
            Record::Asked { .. } => self.forget(),
            Record::Judged { call, verdict, .. } => {
                self.verdicts.insert(*call, verdict.clone());
            }
            Record::Sought(_) if self.denied => return Err("asked again after a denial".into()),
            Record::Sought(sought) => drop(self.sought.insert(sought.approval, sought.clone())),
            Record::Queued {
                body: Body::Question(question),
                ..
            } => drop(self.shown.insert(question.approval, question.clone())),
            Record::Decided {
                approval, answer, ..
            } => return self.decide(settings, line, *approval, answer),
            Record::Intended(effect) => {
                if let Op::Tool(run) = &effect.op
                    && effect.attempt == Attempt::FIRST
                {
                    return self.permit(settings, run);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.verdicts.clear();
        self.sought.clear();
        self.granted.clear();
    }

    fn decide(
        &mut self,
        settings: &Settings,
        line: &Line,
        approval: ApprovalId,
        answer: &Answer,
    ) -> Result<(), String> {
        let Some(sought) = self.sought.remove(&approval) else {
            return Err(format!("question {approval} is not open and was answered"));
        };
        let was_said = match (&line.input, answer) {
            (Input::Order(Order::Decide { decision, by, .. }), answer) => {
                said(*decision, by) == *answer
            }
            (_, Answer::Expired) => line.at >= sought.expires_at,
            _ => false,
        };
        match answer {
            Answer::Allowed(by) | Answer::AllowedForSession(by) if line.at >= sought.expires_at => {
                return Err(format!("{by} allowed {approval} after it had expired"));
            }
            Answer::Allowed(by) | Answer::Denied(by) if !settings.owners.contains(by) => {
                return Err(format!("{by} has no say in {approval}"));
            }
            _ if !was_said => return Err(format!("nobody said {answer:?} to {approval}")),
            Answer::Allowed(_) | Answer::AllowedForSession(_) => {
                let question = self.shown.get(&approval);
                let question = question.ok_or(format!("{approval} was never shown"))?;
                self.granted.insert(sought.call, question.clone());
            }
            Answer::Denied(_) | Answer::Expired => self.denied = true,
        }
        Ok(())
    }

    fn permit(&mut self, settings: &Settings, run: &RunTool) -> Result<(), String> {
        let Some(spec) = settings.tools.iter().find(|spec| spec.name == run.tool) else {
            return Err(format!("there is no tool {}", run.tool));
        };
        let mode = if spec.read_only {
            Mode::Full
        } else {
            self.mode(settings, &run.tool)
        };
        match (mode, self.verdicts.get(&run.call)) {
            (Mode::Full, Some(May::Allow { .. })) => Ok(()),
            (Mode::Ask, Some(May::Allow { .. })) if self.typed(run) => Ok(()),
            (Mode::Ask, Some(May::Ask { .. })) => match self.granted.remove(&run.call) {
                Some(q) if q.tool == run.tool && q.arguments == run.arguments => Ok(()),
                Some(q) => Err(format!(
                    "allowed was {} {}, not {run:?}",
                    q.tool, q.arguments
                )),
                None => Err(format!("nobody allowed {run:?}")),
            },
            (mode, verdict) => Err(format!("{run:?} runs under {mode:?} with {verdict:?}")),
        }
    }

    fn mode(&self, settings: &Settings, tool: &str) -> Mode {
        let policy = &settings.policy;
        let origins = self.joined.iter().filter_map(|m| self.texts.get(m));
        let channels = origins.filter_map(|(origin, _)| {
            let channel = origin.split(':').next()?;
            policy.channels.get(channel).copied()
        });
        let named = policy.tools.get(tool).copied();
        let modes = channels.chain(named).chain([policy.mode]);
        modes.max().unwrap_or_default()
    }

    /// Did somebody in this turn type the very command?
    fn typed(&self, run: &RunTool) -> bool {
        let mut texts = self.joined.iter().filter_map(|m| self.texts.get(m));
        let arguments: serde_json::Value = serde_json::from_str(&run.arguments).unwrap_or_default();
        let command = arguments["command"].as_str().unwrap_or("\0");
        texts.any(|(_, text)| text.strip_prefix("! ") == Some(command))
    }
}

/// Law 14: after a stop, the turn ends at once, and no new intent serves a turn that has ended.
pub fn law_14_nothing_new_after_a_cancel(evidence: &Evidence<'_>) -> Verdict {
    let settings = &evidence.story.plan.rules.settings;
    let mut ended: BTreeSet<TurnId> = BTreeSet::new();
    let mut live: BTreeMap<SessionId, TurnId> = BTreeMap::new();
    let mut names: BTreeMap<String, SessionId> = BTreeMap::new();
    for line in &evidence.journal {
        for record in &line.records {
            match record {
                Record::Opened { session, name } => drop(names.insert(name.clone(), *session)),
                Record::TurnBegan { session, turn } => drop(live.insert(*session, *turn)),
                Record::TurnEnded { session, turn, .. } => {
                    ended.extend(turn);
                    live.remove(session);
                }
                Record::Intended(effect)
                    if effect.turn().is_some_and(|turn| ended.contains(&turn)) =>
                {
                    return broken(14, line.seq, format!("{} serves an ended turn", effect.id));
                }
                _ => {}
            }
        }
        let stopped = match &line.input {
            Input::Order(Order::Stop { session, by }) if settings.owners.contains(by) => {
                names.get(session).copied()
            }
            _ => line.records.iter().find_map(|record| match record {
                Record::Accepted(a) if stops(a.command) => Some(a.session),
                _ => None,
            }),
        };
        let survivor = stopped.and_then(|session| live.get(&session));
        if let Some(turn) = survivor.filter(|turn| turn.0 != line.seq) {
            return broken(14, line.seq, format!("turn {turn} survived a stop"));
        }
    }
    Ok(())
}

/// The answer that a person's words are.
fn said(decision: Decision, by: &str) -> Answer {
    match decision {
        Decision::Allow => Answer::Allowed(by.into()),
        Decision::AllowSession => Answer::AllowedForSession(by.into()),
        Decision::Deny => Answer::Denied(by.into()),
    }
}

fn stops(command: Option<Command>) -> bool {
    matches!(command, Some(Command::Stop | Command::New))
}

/// Law 17: early or repeated ticks do nothing; a handled deadline advances.
pub fn law_17_ticks_do_what_is_due(evidence: &Evidence<'_>) -> Verdict {
    let mut before = None;
    for event in &evidence.story.events {
        match event {
            Event::Restored { state, .. } => before = Some(*state),
            Event::Stepped(step) => {
                if matches!(step.line.input, Input::Tick(_)) {
                    tick(step, before)?;
                }
                if step.state.is_some() || !step.line.records.is_empty() {
                    before = step.state;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn tick(step: &Stepped, before: Option<u64>) -> Verdict {
    let (seq, line) = (step.line.seq, &step.line);
    let due = step.before.is_some_and(|(at, _)| at <= line.at);
    if due && (line.records.is_empty() || step.after == step.before) {
        return broken(17, seq, format!("a tick left {:?} as it was", step.before));
    }
    let moved = !line.records.is_empty() || step.after != step.before;
    let changed = before.is_some() && step.state.is_some() && before != step.state;
    if !due && (moved || changed) {
        return broken(17, seq, "a tick did something although nothing was due");
    }
    Ok(())
}

/// Law 18: every queue, retry, turn and transcript is bounded, and nobody is turned away in
/// silence.
pub fn law_18_bounded_aloud(evidence: &Evidence<'_>) -> Verdict {
    let limits = &evidence.story.plan.rules.settings.limits;
    let lives = evidence.story.lives() as u16;
    let mut waiting: BTreeMap<SessionId, BTreeSet<MessageId>> = BTreeMap::new();
    for (seq, record) in records(&evidence.journal) {
        let excess = match record {
            Record::Accepted(a) if a.command.is_none() => {
                let queue = waiting.entry(a.session).or_default();
                queue.insert(a.message);
                queue.len() > limits.queued_messages
            }
            Record::Joined { session, messages } => {
                let queue = waiting.entry(*session).or_default();
                queue.retain(|message| !messages.contains(message));
                false
            }
            Record::TurnEnded {
                session, ends, end, ..
            } => {
                let queue = waiting.entry(*session).or_default();
                queue.retain(|message| !ends.iter().any(|end| end.message == *message));
                *end == TurnEnd::Stopped && !queue.is_empty()
            }
            Record::Asked { round, .. } => *round > limits.max_tool_rounds + 1,
            Record::Intended(effect) => {
                let tries = match effect.op {
                    Op::Model(_) => limits.model_attempts,
                    Op::Deliver(_) => limits.deliver_attempts,
                    Op::Tool(_) | Op::Cancel(_) => 1,
                };
                // A crash costs a try that is not counted against the world.
                effect.attempt > Attempt(tries + lives)
            }
            Record::Judged {
                call,
                verdict: May::Allow { .. } | May::Ask { .. },
                ..
            } => *call >= limits.calls_per_round,
            _ => false,
        };
        if excess {
            return broken(18, seq, format!("beyond the bounds: {record:?}"));
        }
    }
    silence(evidence)
}

/// Every message is acknowledged or declined, and no prompt is larger than it may be.
fn silence(evidence: &Evidence<'_>) -> Verdict {
    let limits = &evidence.story.plan.rules.settings.limits;
    let most = limits.context_bytes + limits.turn_bytes + limits.reply_bytes;
    let mut unheard: BTreeSet<(&str, &str)> = BTreeSet::new();
    for event in &evidence.story.events {
        match event {
            Event::Sent(arrival) => drop(unheard.insert((&arrival.origin, &arrival.key))),
            Event::Acked { origin, key } | Event::Declined { origin, key, .. } => {
                unheard.remove(&(origin.as_str(), key.as_str()));
            }
            Event::Started {
                effect,
                prompt: Some(prompt),
            } => {
                let bytes: usize = prompt.messages.iter().map(|e| e.message.weight()).sum();
                if bytes > most {
                    let why = format!("{} sends {bytes} bytes", effect.id);
                    return broken(18, effect.id.seq, why);
                }
            }
            _ => {}
        }
    }
    match unheard.first() {
        Some((origin, key)) => broken(18, None::<Seq>, format!("{origin} {key} never heard back")),
        None => Ok(()),
    }
}
