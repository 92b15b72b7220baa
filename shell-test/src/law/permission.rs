//! Law 13: nothing runs, and nobody is heard, without permission.

use super::{Evidence, Verdict, broken};
use openpista_core::effect::Op;
use openpista_core::effect::deliver::{Body, Question};
use openpista_core::effect::sandbox::UseSandbox;
use openpista_core::id::{ApprovalId, Attempt, MessageId, SessionId};
use openpista_core::input::{Decision, Input, Order};
use openpista_core::message::ToolCall;
use openpista_core::record::{Answer, Record, Sought, Verdict as May};
use openpista_core::replay::Line;
use openpista_core::settings::{Mode, Settings};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Law 13: no tool runs without permission by the rules, or a fresh, matching, unused approval. An
/// expired approval is a denial. After a denial the same turn does not ask again. A yes for the
/// session holds for the exact call, in that session, until it starts afresh. Whoever is heard is
/// named by the operator in this life or was let in by one who was named then; and who was let in
/// answers only questions about what they have a part in.
pub fn law_13_no_tool_without_permission(evidence: &Evidence<'_>) -> Verdict {
    let settings = &evidence.story.plan.rules.settings;
    let mut sessions: BTreeMap<SessionId, Permissions> = BTreeMap::new();
    let named = evidence.story.owners();
    let mut people = People::default();
    for line in &evidence.journal {
        if let Some(owners) = named.get(&line.seq) {
            people.owners = BTreeSet::clone(owners);
        }
        for record in &line.records {
            if let Err(why) = people.follow(record) {
                return broken(13, line.seq, why);
            }
            let Some(id) = record.session() else { continue };
            let session = sessions.entry(id).or_default();
            if let Err(why) = session.follow((settings, &people), line, record) {
                return broken(13, line.seq, why);
            }
        }
    }
    Ok(())
}

/// Who may speak.
#[derive(Debug, Default)]
struct People {
    owners: BTreeSet<String>,
    guests: BTreeSet<String>,
}

impl People {
    fn may_speak(&self, peer: &str) -> bool {
        self.owners.contains(peer) || self.guests.contains(peer)
    }

    /// Who may speak changes, and who speaks may.
    fn follow(&mut self, record: &Record) -> Result<(), String> {
        let by = match record {
            Record::Admitted { peer, by, .. } => {
                self.guests.insert(peer.clone());
                by
            }
            Record::Expelled { peer, by, .. } => {
                self.guests.remove(peer);
                by
            }
            Record::Accepted(accepted) if !self.may_speak(&accepted.peer) => {
                return Err(format!("{} is heard, whom nobody let in", accepted.peer));
            }
            _ => return Ok(()),
        };
        match self.owners.contains(by) {
            true => Ok(()),
            false => Err(format!("{by} lets people in")),
        }
    }
}

#[derive(Debug, Default)]
struct Permissions {
    calls: Vec<ToolCall>,
    standing: Vec<(String, Value)>,
    verdicts: BTreeMap<u16, May>,
    sought: BTreeMap<ApprovalId, Sought>,
    shown: BTreeMap<ApprovalId, Question>,
    granted: BTreeMap<u16, Question>,
    /// The calls that have a sandbox, each with what is to run there.
    sandboxed: BTreeMap<u16, (String, String)>,
    texts: BTreeMap<MessageId, (String, String)>,
    peers: BTreeMap<MessageId, String>,
    /// The names that the session has, or had.
    names: BTreeSet<String>,
    joined: Vec<MessageId>,
    denied: bool,
}

impl Permissions {
    fn follow(
        &mut self,
        (settings, people): (&Settings, &People),
        line: &Line,
        record: &Record,
    ) -> Result<(), String> {
        if let Record::Accepted(accepted) = record {
            let peer = accepted.peer.clone();
            self.peers.insert(accepted.message, peer);
        }
        match record {
            Record::Opened { name: to, .. } | Record::Moved { to, .. } => {
                self.names.insert(to.clone());
            }
            Record::Accepted(accepted) if accepted.by_agent => {
                let said = (accepted.origin.clone(), String::new());
                self.texts.insert(accepted.message, said);
            }
            Record::Accepted(accepted) => {
                let said = (accepted.origin.clone(), accepted.text.clone());
                self.texts.insert(accepted.message, said);
            }
            Record::TurnBegan { .. } => {
                self.denied = false;
                self.joined.clear();
                self.forget();
            }
            Record::TurnEnded { turn: Some(_), .. } => self.forget(),
            Record::Refreshed { .. } => self.standing.clear(),
            Record::Answered { reply, .. } => self.calls.clone_from(&reply.calls),
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
            } => return self.decide(people, line, *approval, answer),
            Record::Intended(effect) => match &effect.op {
                Op::Tool(run) if effect.attempt == Attempt::FIRST => {
                    return self.permit(settings, run.call, &run.tool, &run.arguments);
                }
                Op::Sandbox(used) => return self.sandbox(settings, used),
                _ => {}
            },
            // Of a call that was permitted already, it says why nothing ran.
            Record::Served { call, .. } if self.sandboxed.contains_key(call) => {}
            Record::Served { call, .. } => {
                let asked = self.calls.get(usize::from(*call)).cloned();
                let asked = asked.ok_or("served is what nobody called")?;
                return self.permit(settings, *call, &asked.tool, &asked.arguments);
            }
            _ => {}
        }
        Ok(())
    }

    /// What runs in a sandbox is what that was made for, and what was permitted then.
    fn sandbox(&mut self, settings: &Settings, used: &UseSandbox) -> Result<(), String> {
        let Some(task) = used.task() else {
            return Ok(());
        };
        let run = (task.tool.clone(), task.arguments.clone());
        match self.sandboxed.get(&used.call) {
            Some(permitted) if *permitted == run => Ok(()),
            Some(permitted) => Err(format!("permitted was {permitted:?}, not {run:?}")),
            None if used.runs() => Err(format!("{run:?} runs in a sandbox of nobody's")),
            None => {
                self.sandboxed.insert(used.call, run);
                self.permit(settings, used.call, &task.tool, &task.arguments)
            }
        }
    }

    fn forget(&mut self) {
        self.sandboxed.clear();
        self.verdicts.clear();
        self.sought.clear();
        self.granted.clear();
    }

    fn decide(
        &mut self,
        people: &People,
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
            Answer::Allowed(by) | Answer::AllowedForSession(by) | Answer::Denied(by)
                if !people.may_speak(by) =>
            {
                return Err(format!("{by} has no say in {approval}"));
            }
            Answer::Allowed(by) | Answer::AllowedForSession(by) | Answer::Denied(by)
                if !people.owners.contains(by) && !self.concerns(by) =>
            {
                return Err(format!("{by} has no part in what {approval} is about"));
            }
            _ if !was_said => return Err(format!("nobody said {answer:?} to {approval}")),
            Answer::Allowed(_) | Answer::AllowedForSession(_) => {
                let question = self.shown.get(&approval);
                let question = question.ok_or(format!("{approval} was never shown"))?;
                if let Answer::AllowedForSession(_) = answer {
                    let standing = (question.tool.clone(), json(&question.arguments));
                    self.standing.push(standing);
                }
                self.granted.insert(sought.call, question.clone());
            }
            Answer::Denied(_) | Answer::Expired => self.denied = true,
        }
        Ok(())
    }

    /// Has a guest a part in the turn: a message, or the channel or session that are theirs?
    fn concerns(&self, peer: &str) -> bool {
        let mut joined = self.joined.iter();
        self.names.contains(peer)
            || joined.any(|message| {
                let origin = self.texts.get(message).map(|(origin, _)| origin.as_str());
                self.peers.get(message).is_some_and(|of| of == peer) || origin == Some(peer)
            })
    }

    fn permit(
        &mut self,
        settings: &Settings,
        call: u16,
        tool: &str,
        arguments: &str,
    ) -> Result<(), String> {
        let Some(spec) = settings.tools.iter().find(|spec| spec.name == tool) else {
            return Err(format!("there is no tool {tool}"));
        };
        let run = (tool.to_string(), json(arguments));
        let mode = if spec.read_only {
            Mode::Full
        } else {
            self.mode(settings, tool)
        };
        match (mode, self.verdicts.get(&call)) {
            (Mode::Full, Some(May::Allow { .. })) => Ok(()),
            (Mode::Ask, Some(May::Allow { .. })) if self.typed(&run.1) => Ok(()),
            (Mode::Ask, Some(May::Allow { .. })) if self.standing.contains(&run) => Ok(()),
            (Mode::Ask, Some(May::Ask { .. })) => match self.granted.remove(&call) {
                Some(q) if (q.tool.clone(), json(&q.arguments)) == run => Ok(()),
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
    fn typed(&self, arguments: &Value) -> bool {
        let mut texts = self.joined.iter().filter_map(|m| self.texts.get(m));
        let command = arguments["command"].as_str().unwrap_or("\0");
        texts.any(|(_, text)| {
            let mut lines = text.lines();
            lines.any(|line| line.strip_prefix("! ") == Some(command))
        })
    }
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_default()
}

/// The answer that a person's words are.
fn said(decision: Decision, by: &str) -> Answer {
    match decision {
        Decision::Allow => Answer::Allowed(by.into()),
        Decision::AllowSession => Answer::AllowedForSession(by.into()),
        Decision::Deny => Answer::Denied(by.into()),
    }
}
