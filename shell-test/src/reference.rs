//! The reference model: what a person may expect, told from the outside alone.
//!
//! It knows what was sent, what the pretended model was asked and said, what was shown, and what
//! went wrong; it knows nothing of turns, retries and queues. So it predicts permitted ends:
//! a reply must be what the model really said to a prompt that held the person's words; a failure
//! must have a cause that was seen in the world; commands are answered by the daemon itself.

use crate::story::{Event, Happened, Story};
use openpista_core::effect::deliver::{Body, Deliver};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{EffectId, SessionId, TurnId};
use openpista_core::input::{Arrival, Input, Order};
use openpista_core::message::{Message, Prompt};
use openpista_core::record::Record;
use openpista_core::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen of the world.
#[derive(Debug, Default)]
pub struct Reference {
    now: Time,
    sent: BTreeMap<(String, String), (Arrival, Time)>,
    calls: BTreeMap<EffectId, Call>,
    stopped: BTreeSet<String>,
    troubled: BTreeSet<SessionId>,
    declined: BTreeSet<(String, String)>,
    names: BTreeMap<SessionId, String>,
    /// The names that sessions came to have, each with the first.
    moved: BTreeMap<String, String>,
    /// The keys of what the agent sends itself: what looks like a command there is none.
    agents: BTreeSet<(String, String)>,
    /// What really ran in sandboxes, as the model is told of it.
    ran: BTreeSet<String>,
    objection: Option<String>,
}

#[derive(Debug)]
struct Call {
    session: SessionId,
    turn: TurnId,
    at: Time,
    asked: Vec<String>,
    said: Vec<String>,
}

impl Reference {
    /// Watches a whole story.
    pub fn new(story: &Story) -> Reference {
        let mut reference = Reference::default();
        for event in &story.events {
            reference.watch(story, event);
        }
        reference
    }

    /// The first end that nobody could have expected.
    pub fn objection(self) -> Option<String> {
        self.objection
    }

    fn watch(&mut self, story: &Story, event: &Event) {
        match event {
            Event::Sent(arrival) => self.send(arrival),
            Event::Stepped(step) => {
                self.now = self.now.max(step.at);
                self.order(&step.line.input);
                step.line.records.iter().for_each(|r| self.job(r));
            }
            Event::Started {
                effect,
                prompt: Some(prompt),
            } => self.ask(story, effect, prompt),
            Event::Modelled(modelled) => {
                if let Some(call) = self.calls.get_mut(&modelled.effect) {
                    match &modelled.heard {
                        Some(Outcome::Model(Ok(reply))) => call.said.push(reply.text.clone()),
                        _ => drop(self.troubled.insert(call.session)),
                    }
                }
            }
            Event::Declined { origin, key, .. } => {
                self.declined.insert((origin.clone(), key.clone()));
            }
            Event::Sandbox {
                what: Happened::Ran(task),
                ..
            } => drop(
                self.ran
                    .insert(format!("{} of {}", task.tool, task.arguments)),
            ),
            Event::Shown { delivery, .. } => self.show(story, delivery),
            _ => {}
        }
    }

    fn order(&mut self, input: &Input) {
        let session = match input {
            Input::Order(Order::Stop { session, .. }) => Some(session.clone()),
            Input::Order(Order::Cancel { origin, key, .. }) => {
                let sent = self.sent.get(&(origin.clone(), key.clone()));
                sent.map(|(a, _)| a.session.as_ref().unwrap_or(&a.origin).clone())
            }
            _ => None,
        };
        self.stopped.extend(session);
    }

    /// A job's message is sent by nobody: it is there when the job fires.
    fn job(&mut self, record: &Record) {
        let accepted = match record {
            Record::Accepted(accepted) => accepted,
            Record::Opened { session, name } => {
                self.names.insert(*session, name.clone());
                return;
            }
            Record::Moved { session, to, .. } => {
                let first = self.names.get(session).cloned();
                self.moved.insert(to.clone(), first.unwrap_or_default());
                return;
            }
            _ => return,
        };
        let key = (accepted.origin.clone(), accepted.key.clone());
        if accepted.by_agent {
            self.agents.insert(key.clone());
        }
        if accepted.key.starts_with("job:") {
            let arrival = Arrival {
                origin: accepted.origin.clone(),
                key: accepted.key.clone(),
                peer: accepted.peer.clone(),
                session: self.names.get(&accepted.session).cloned(),
                text: accepted.text.clone(),
                serial: None,
            };
            self.sent.insert(key, (arrival, self.now));
        }
    }

    fn send(&mut self, arrival: &Arrival) {
        let session = arrival.session.as_ref().unwrap_or(&arrival.origin);
        if matches!(arrival.text.as_str(), "/stop" | "/new") {
            self.stopped.insert(session.clone());
        }
        let key = (arrival.origin.clone(), arrival.key.clone());
        self.sent.insert(key, (arrival.clone(), self.now));
    }

    fn ask(&mut self, story: &Story, effect: &Effect, prompt: &Prompt) {
        let Op::Model(model) = &effect.op else { return };
        let words = prompt.messages.iter().filter_map(|e| match &e.message {
            Message::User { text } => Some(text.clone()),
            _ => None,
        });
        let asked: Vec<String> = words.collect();
        let results = prompt.messages.iter().filter_map(|e| match &e.message {
            Message::Tool { content, .. } => Some(content.as_str()),
            _ => None,
        });
        if let Some(told) = results
            .filter_map(sandboxed)
            .find(|r| !self.ran.contains(*r))
        {
            let found = format!("the model is told of {told}, which never ran");
            self.objection.get_or_insert(found);
        }
        let call = self.calls.entry(effect.id).or_insert(Call {
            session: model.session,
            turn: model.turn,
            at: self.now,
            asked: Vec::new(),
            said: Vec::new(),
        });
        call.asked = asked;
        let last = call.asked.last().map_or("", String::as_str);
        let again_and_again = ["loop", "bad", "same", "jobs"]
            .iter()
            .any(|wish| last.contains(wish));
        let calls = self.calls.values();
        let rounds = calls.filter(|call| call.turn == model.turn).count();
        let limit = usize::from(story.plan.rules.settings.limits.max_tool_rounds);
        if again_and_again || rounds > limit {
            self.troubled.insert(model.session);
        }
    }

    fn show(&mut self, story: &Story, delivery: &Deliver) {
        for end in &delivery.ends {
            let key = (end.origin.clone(), end.key.clone());
            let objection = match self.sent.get(&key) {
                None => Some("nobody sent that".to_string()),
                Some(_) if end.origin != delivery.origin => Some("shown elsewhere".to_string()),
                Some((arrival, at)) => self.judge(story, delivery, arrival, *at),
            };
            if let Some(why) = objection {
                let (origin, key) = key;
                let body = &delivery.body;
                let found = format!("{origin} {key} must not end with {body:?}: {why}");
                self.objection.get_or_insert(found);
            }
        }
    }

    fn first_name<'a>(&'a self, name: &'a String) -> &'a String {
        self.moved.get(name).unwrap_or(name)
    }

    /// When the turns that read this message first asked the model.
    fn turns_of(&self, arrival: &Arrival) -> impl Iterator<Item = Time> {
        let heard = |call: &&Call| call.asked.contains(&arrival.text);
        self.calls.values().filter(heard).filter_map(|call| {
            let same = self.calls.values().filter(|other| other.turn == call.turn);
            same.map(|other| other.at).min()
        })
    }

    fn judge(&self, story: &Story, shown: &Deliver, of: &Arrival, at: Time) -> Option<String> {
        let session = self.first_name(of.session.as_ref().unwrap_or(&of.origin));
        let mut stopped = self.stopped.iter();
        let stopped = stopped.any(|name| self.first_name(name) == session);
        let key = (of.origin.clone(), of.key.clone());
        let command = of.text.starts_with('/') && !self.agents.contains(&key);
        match &shown.body {
            Body::Question(_) => Some("a question is no end".into()),
            Body::Picture(_) => Some("a picture is no end".into()),
            Body::Notice(_) if command || stopped => None,
            Body::Notice(_) => Some("it was for the model, and nobody stopped it".into()),
            Body::Reply(_) | Body::Failure(_) if command => Some("it was for the daemon".into()),
            Body::Reply(text) => {
                let said = |call: &&Call| {
                    call.session == shown.session
                        && call.asked.contains(&of.text)
                        && call
                            .said
                            .iter()
                            .any(|said| said.trim().ends_with(text.trim()))
                };
                let heard = self.calls.values().any(|call| said(&call));
                (!heard).then(|| "the model never said that to it".into())
            }
            Body::Failure(_) => {
                let limits = &story.plan.rules.settings.limits;
                let late = |at: Time| self.now.since_ms(at) >= limits.turn_ms;
                let excused = late(at)
                    || self.turns_of(of).any(late)
                    || stopped
                    || self.troubled.contains(&shown.session);
                (!excused).then(|| "nothing went wrong".into())
            }
        }
    }
}

/// What a result says that was done in a sandbox.
fn sandboxed(content: &str) -> Option<&str> {
    const TOOLS: &[&str] = &[
        "container.run",
        "worker.run",
        "code.run",
        "confined.run",
        "skill.",
    ];
    let line = content.lines().find(|line| line.ends_with(" is done"))?;
    let done = line.strip_suffix(" is done")?;
    TOOLS
        .iter()
        .any(|tool| done.starts_with(tool))
        .then_some(done)
}
