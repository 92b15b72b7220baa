//! Law 15: sandboxes, and the tokens in them. Its checks are three, each from another point of
//! view: what really stands, what the journal says, and who was told that they were heard.

use super::{Broken, Evidence, Verdict, broken};
use crate::disk::past;
use crate::story::{Event, Happened, Lines};
use openpista_core::Core;
use openpista_core::digest::Digest;
use openpista_core::effect::sandbox::{Action, Done, Engine, SandboxFault, UseSandbox};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{Attempt, EffectId, SandboxId, SessionId, TurnId};
use openpista_core::input::Input;
use openpista_core::record::Record;
use openpista_core::replay::Line;
use openpista_core::time::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Law 15: no sandbox outlives its owner, is reused, or is shared; no token outlives its sandbox
/// or is taken for another.
pub fn law_15_sandboxes_serve_once(evidence: &Evidence<'_>) -> Verdict {
    what_stands(evidence)?;
    what_each_goes_through(evidence)?;
    what_tokens_are_good_for(evidence)
}

/// In the world: a sandbox is made once, runs once, is gone when that is recorded, and in the end
/// none is left.
fn what_stands(evidence: &Evidence<'_>) -> Verdict {
    let mut standing: BTreeMap<SandboxId, u64> = BTreeMap::new();
    let mut ran: BTreeSet<SandboxId> = BTreeSet::new();
    let mut removing: BTreeMap<EffectId, SandboxId> = BTreeMap::new();
    for event in &evidence.story.events {
        match event {
            Event::Sandbox {
                sandbox,
                engine,
                what,
            } => {
                let seq = sandbox.seq;
                match what {
                    Happened::Made(_) if standing.insert(*sandbox, 0).is_some() => {
                        return broken(15, seq, format!("{sandbox} was made where it stands"));
                    }
                    Happened::Ran(_) => {
                        let Some(tasks) = standing.get_mut(sandbox) else {
                            return broken(15, seq, format!("{sandbox} ran and does not stand"));
                        };
                        *tasks += 1;
                        // A guest that a crash took along may run again, in a new instance.
                        let again = !ran.insert(*sandbox) && *engine != Engine::Wasm;
                        if again || *tasks > 1 {
                            return broken(15, seq, format!("{sandbox} was used again"));
                        }
                    }
                    Happened::Gone => drop(standing.remove(sandbox)),
                    Happened::Made(_) | Happened::Resumed(_) => {}
                }
            }
            Event::Started { effect, .. } => {
                if let Op::Sandbox(used) = &effect.op
                    && used.action == Action::Destroy
                {
                    removing.insert(effect.id, used.sandbox);
                }
            }
            Event::Stepped(step) => {
                let gone = step.line.records.iter().filter_map(removed);
                let mut gone = gone.filter_map(|effect| removing.get(&effect));
                if let Some(sandbox) = gone.find(|sandbox| standing.contains_key(sandbox)) {
                    let why = format!("{sandbox} is recorded as gone, and stands");
                    return broken(15, step.line.seq, why);
                }
            }
            Event::Ended { .. } => {
                if let Some(sandbox) = standing.keys().next() {
                    let why = format!("{sandbox} stands in the end: it outlives its owner");
                    return broken(15, sandbox.seq, why);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn removed(record: &Record) -> Option<EffectId> {
    match record {
        Record::Settled {
            effect,
            outcome: Outcome::Sandbox(Ok(Done::Destroyed)),
            ..
        } => Some(*effect),
        _ => None,
    }
}

/// In the journal: made, used and removed in this order, for one call of one turn; and in the end
/// all that were ever made have been removed.
fn what_each_goes_through(evidence: &Evidence<'_>) -> Verdict {
    let mut lives = Lives::default();
    for line in &evidence.journal {
        for record in &line.records {
            if let Err(why) = lives.follow(record) {
                return broken(15, line.seq, why);
            }
        }
    }
    if let Some((sandbox, life)) = lives.sandboxes.iter().find(|(_, l)| l.stage != Stage::Gone) {
        let why = format!("{sandbox} was never removed: {:?}", life.stage);
        return broken(15, sandbox.seq, why);
    }
    match Core::restore(None, evidence.journal.iter().map(past)) {
        Ok(core) => match core.state().sandboxes().next() {
            Some((sandbox, _)) => broken(15, sandbox.seq, format!("{sandbox} is never forgotten")),
            None => Ok(()),
        },
        // That is for laws 7 and 9 to say.
        Err(_) => Ok(()),
    }
}

#[derive(Debug, Default)]
struct Lives {
    sandboxes: BTreeMap<SandboxId, Life>,
    rounds: BTreeMap<SessionId, u16>,
    /// The sandbox in which each call of each round ran.
    served: BTreeMap<(SessionId, TurnId, u16, u16), SandboxId>,
}

#[derive(Debug)]
struct Life {
    of: (SessionId, TurnId, u16, Engine),
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Creating(EffectId, Attempt),
    Ready,
    Busy(EffectId),
    Draining,
    Removing(EffectId),
    Gone,
}

impl Lives {
    fn follow(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Asked { session, round } => drop(self.rounds.insert(*session, *round)),
            Record::Intended(effect) => {
                if let Op::Sandbox(used) = &effect.op {
                    return self.intend(effect, used);
                }
            }
            Record::Settled {
                effect,
                outcome: Outcome::Sandbox(outcome),
                ..
            } => self.end(*effect, Some(outcome)),
            Record::Doubted { effect, .. } => self.end(*effect, None),
            _ => {}
        }
        Ok(())
    }

    fn intend(&mut self, effect: &Effect, used: &UseSandbox) -> Result<(), String> {
        let (id, attempt) = (effect.id, effect.attempt);
        let of = (used.session, used.turn, used.call, used.engine);
        let first = attempt == Attempt::FIRST;
        let known = self.sandboxes.get(&used.sandbox);
        if known.is_some_and(|life| life.of != of) {
            return Err(format!("{} is shared: {of:?}", used.sandbox));
        }
        let stage = match (&used.action, known.map(|life| life.stage)) {
            (Action::Create(_), None) if first && (id.seq, id.slot) == number(used.sandbox) => {
                Stage::Creating(id, attempt)
            }
            (Action::Create(_), Some(Stage::Creating(same, _))) if same == id => {
                Stage::Creating(id, attempt)
            }
            (Action::Run(_), Some(Stage::Ready)) if first => {
                let round = self.rounds.get(&used.session).copied().unwrap_or(0);
                let call = (used.session, used.turn, round, used.call);
                if let Some(other) = self.served.insert(call, used.sandbox) {
                    return Err(format!("{call:?} runs in {} and {other}", used.sandbox));
                }
                Stage::Busy(id)
            }
            (Action::Run(_), Some(Stage::Busy(same))) if same == id && of.3 == Engine::Wasm => {
                Stage::Busy(id)
            }
            (Action::Resume(_), Some(Stage::Busy(same))) if same == id && !first => Stage::Busy(id),
            (Action::Destroy, Some(Stage::Ready | Stage::Draining)) if first => Stage::Removing(id),
            (Action::Destroy, Some(Stage::Removing(same))) if same == id => Stage::Removing(id),
            (action, stage) => {
                return Err(format!("{} is at {stage:?} for {action:?}", used.sandbox));
            }
        };
        self.sandboxes.insert(used.sandbox, Life { of, stage });
        Ok(())
    }

    fn end(&mut self, effect: EffectId, outcome: Option<&Result<Done, SandboxFault>>) {
        for life in self.sandboxes.values_mut() {
            life.stage = match (life.stage, outcome) {
                (Stage::Creating(id, _), Some(Ok(Done::Created { .. }))) if id == effect => {
                    Stage::Ready
                }
                // Its engine promises that nothing was made; of an earlier try it promises nothing.
                (
                    Stage::Creating(id, Attempt::FIRST),
                    Some(Err(SandboxFault::Unavailable { .. } | SandboxFault::Arguments { .. })),
                ) if id == effect => Stage::Gone,
                (Stage::Creating(id, _) | Stage::Busy(id), _) if id == effect => Stage::Draining,
                (Stage::Removing(id), _) if id == effect => Stage::Gone,
                (stage, _) => stage,
            };
        }
    }
}

fn number(sandbox: SandboxId) -> (openpista_core::id::Seq, u16) {
    (sandbox.seq, sandbox.slot)
}

/// A report is taken with the token of a task that runs, once, and then is that task's end; and
/// nobody is told that they were heard before that is durable, or for another's token.
fn what_tokens_are_good_for(evidence: &Evidence<'_>) -> Verdict {
    let grace_ms = evidence.story.plan.rules.settings.limits.grace_ms;
    let mut lines = Lines::default();
    let mut now = Tokens::new(grace_ms);
    let mut durable = Tokens::new(grace_ms);
    for event in &evidence.story.events {
        for line in lines.follow(event) {
            durable.follow(&line);
        }
        match event {
            Event::Stepped(step) => {
                now.judge(&step.line)?;
                now.follow(&step.line);
            }
            Event::Crashed { .. } => {
                now = Tokens::new(grace_ms);
                lines.iter().for_each(|line| now.follow(line));
            }
            Event::Heard { token, taken: true } if !durable.heard.contains(token) => {
                let why = format!("{token} was told that it was heard, and was not");
                return broken(15, None, why);
            }
            _ => {}
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Tokens {
    grace_ms: u64,
    /// Which sandbox each token is in, until that is gone.
    bearers: BTreeMap<Digest, SandboxId>,
    uses: BTreeMap<EffectId, UseSandbox>,
    /// What runs in each sandbox, and when that is overdue; never, while it waits to be resumed.
    busy: BTreeMap<SandboxId, (EffectId, Option<Time>)>,
    heard: BTreeSet<Digest>,
}

impl Tokens {
    fn new(grace_ms: u64) -> Tokens {
        Tokens {
            grace_ms,
            bearers: BTreeMap::new(),
            uses: BTreeMap::new(),
            busy: BTreeMap::new(),
            heard: BTreeSet::new(),
        }
    }

    /// What a report may come to.
    fn judge(&self, line: &Line) -> Result<(), Broken> {
        let heard = line.records.iter().filter_map(|record| match record {
            Record::Heard { sandbox, .. } => Some(*sandbox),
            _ => None,
        });
        let heard: Vec<SandboxId> = heard.collect();
        let Input::Report { token, .. } = &line.input else {
            return match heard.first() {
                Some(sandbox) => broken(15, line.seq, format!("{sandbox} was heard unasked")),
                None => Ok(()),
            };
        };
        let bearer = self.bearers.get(token);
        let runs = bearer.and_then(|sandbox| Some((*sandbox, *self.busy.get(sandbox)?)));
        let in_time = |due: Option<Time>| due.is_none_or(|due| due > line.at);
        match runs.filter(|(_, (_, due))| in_time(*due)) {
            None if line.records.is_empty() => Ok(()),
            None => broken(15, line.seq, format!("{token} is nobody's, and was taken")),
            Some(_) if self.heard.contains(token) => broken(
                15,
                line.seq,
                format!("{token} was used up, and its task runs on"),
            ),
            Some((sandbox, (effect, _))) => {
                let ends =
                    |r: &Record| matches!(r, Record::Settled { effect: of, .. } if *of == effect);
                match heard == [sandbox] && line.records.iter().any(ends) {
                    true => Ok(()),
                    false => broken(15, line.seq, format!("{sandbox} reported in vain")),
                }
            }
        }
    }

    fn follow(&mut self, line: &Line) {
        for record in &line.records {
            match record {
                Record::Booted { .. } => self.busy.values_mut().for_each(|(_, due)| *due = None),
                Record::Intended(effect) => {
                    let Op::Sandbox(used) = &effect.op else {
                        continue;
                    };
                    self.uses.insert(effect.id, used.clone());
                    if used.runs() {
                        let due = line.at.after_ms(used.timeout_ms + self.grace_ms);
                        self.busy.insert(used.sandbox, (effect.id, Some(due)));
                    }
                }
                Record::Heard { sandbox, .. } => {
                    let bears = self.bearers.iter().filter(|(_, of)| *of == sandbox);
                    let token = bears.map(|(token, _)| *token);
                    self.heard.extend(token);
                }
                Record::Settled {
                    effect, outcome, ..
                } => self.ended(*effect, Some(outcome)),
                Record::Doubted { effect, .. } => self.ended(*effect, None),
                _ => {}
            }
        }
    }

    fn ended(&mut self, effect: EffectId, outcome: Option<&Outcome>) {
        let Some(used) = self.uses.remove(&effect) else {
            return;
        };
        match (&used.action, outcome) {
            (
                Action::Create(_),
                Some(Outcome::Sandbox(Ok(Done::Created { token: Some(token) }))),
            ) => drop(self.bearers.insert(*token, used.sandbox)),
            (Action::Run(_) | Action::Resume(_), _) => drop(self.busy.remove(&used.sandbox)),
            (Action::Destroy, _) => self.bearers.retain(|_, of| *of != used.sandbox),
            _ => {}
        }
    }
}

/// For law 5: a task that can be found again, or must not be repeated, is started once, across all
/// crashes.
pub(super) fn tasks_start_once(evidence: &Evidence<'_>) -> Verdict {
    let mut started = BTreeSet::new();
    for event in &evidence.story.events {
        if let Event::Sandbox {
            sandbox,
            engine: Engine::Docker | Engine::Subprocess,
            what: Happened::Ran(_),
        } = event
            && !started.insert(sandbox)
        {
            return broken(
                5,
                sandbox.seq,
                format!("the task in {sandbox} started twice"),
            );
        }
    }
    Ok(())
}

/// For law 5: what was lost is in doubt, and not passed off as an end.
pub(super) fn losses_are_doubts(evidence: &Evidence<'_>) -> Verdict {
    let mut runs = BTreeSet::new();
    for line in &evidence.journal {
        for record in &line.records {
            match record {
                Record::Intended(effect) => {
                    if matches!(&effect.op, Op::Sandbox(used) if used.runs()) {
                        runs.insert(effect.id);
                    }
                }
                Record::Settled {
                    effect,
                    outcome: Outcome::Sandbox(Err(SandboxFault::Lost)),
                    ..
                } if runs.contains(effect) => {
                    return broken(
                        5,
                        line.seq,
                        format!("{effect} was lost, and nobody is told"),
                    );
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// For law 18: no session has more sandboxes than it may.
pub(super) fn sandboxes_are_bounded(evidence: &Evidence<'_>) -> Verdict {
    let most = evidence.story.plan.rules.settings.limits.sandboxes;
    let mut lives = Lives::default();
    for line in &evidence.journal {
        for record in &line.records {
            // What is wrong with that is for law 15 to say.
            let _ = lives.follow(record);
            let Some(session) = record.session() else {
                continue;
            };
            let open = |life: &&Life| life.of.0 == session && life.stage != Stage::Gone;
            if lives.sandboxes.values().filter(open).count() > most {
                return broken(18, line.seq, format!("more than {most} sandboxes stand"));
            }
        }
    }
    Ok(())
}
