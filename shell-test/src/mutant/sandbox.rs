//! The changes to a story that break a law about sandboxes.

use super::change::first;
use crate::story::{Event, Happened, Story};
use openpista_core::digest::Digest;
use openpista_core::effect::sandbox::{Action, Done, SandboxFault, UseSandbox};
use openpista_core::effect::{Effect, Op, Outcome};
use openpista_core::id::{Attempt, EffectId, SandboxId};
use openpista_core::input::Input;
use openpista_core::record::Record;
use std::collections::BTreeMap;

/// The use of a sandbox that a record intends.
fn used(record: &mut Record) -> Option<(&mut EffectId, &mut Attempt, &mut UseSandbox)> {
    match record {
        Record::Intended(Effect {
            id,
            attempt,
            op: Op::Sandbox(used),
            ..
        }) => Some((id, attempt, used)),
        _ => None,
    }
}

/// Changes the first such use.
fn first_use(story: &mut Story, mut change: impl FnMut(&mut Attempt, &mut UseSandbox) -> bool) {
    first(story, |line| {
        let mut uses = line.records.iter_mut().filter_map(used);
        uses.any(|(_, attempt, used)| change(attempt, used))
    });
}

pub(super) fn shared(story: &mut Story) {
    first_use(story, |_, used| {
        used.call += u16::from(used.runs());
        used.runs()
    });
}

/// The task of a sandbox is run once more when that is gone.
pub(super) fn used_again(story: &mut Story) {
    let mut runs: BTreeMap<SandboxId, Record> = BTreeMap::new();
    let mut removals: BTreeMap<EffectId, SandboxId> = BTreeMap::new();
    first(story, |line| {
        let mut again = None;
        for record in &line.records {
            match record {
                Record::Intended(effect) => {
                    let Op::Sandbox(used) = &effect.op else {
                        continue;
                    };
                    if used.runs() {
                        runs.insert(used.sandbox, record.clone());
                    }
                    removals.insert(effect.id, used.sandbox);
                }
                Record::Settled { effect, .. } if is_gone(record) => {
                    let sandbox = removals.get(effect);
                    again = sandbox.and_then(|sandbox| runs.get(sandbox)).cloned();
                }
                _ => {}
            }
        }
        line.records.extend(again.clone());
        again.is_some()
    });
}

fn is_gone(record: &Record) -> bool {
    matches!(
        record,
        Record::Settled {
            outcome: Outcome::Sandbox(Ok(Done::Destroyed)),
            ..
        }
    )
}

pub(super) fn removal_forgotten(story: &mut Story) {
    story.tamper(|line| {
        line.records.retain(|record| {
            let removes = |effect: &Effect| matches!(&effect.op, Op::Sandbox(used) if used.action == Action::Destroy);
            !is_gone(record) && !matches!(record, Record::Intended(effect) if removes(effect))
        });
    });
}

pub(super) fn runs_for_an_ended_turn(story: &mut Story) {
    let mut made: Option<(Record, UseSandbox)> = None;
    first(story, |line| {
        let ends = line.records.iter().any(|record| match record {
            Record::TurnEnded { turn, .. } => {
                made.as_ref().is_some_and(|(_, u)| *turn == Some(u.turn))
            }
            _ => false,
        });
        for record in &mut line.records {
            let found = used(record).filter(|(_, _, used)| used.serves_turn());
            let found = found.map(|(_, _, used)| used.clone());
            made = made.take().or(found.map(|used| (record.clone(), used)));
        }
        let late = made.clone().map(|(record, _)| record).filter(|_| ends);
        line.records.extend(late);
        ends
    });
}

pub(super) fn made_again_and_again(story: &mut Story) {
    first_use(story, |attempt, used| {
        let makes = matches!(used.action, Action::Create(_));
        if makes {
            *attempt = Attempt(50);
        }
        makes
    });
}

pub(super) fn piled_up(story: &mut Story) {
    first(story, |line| {
        let makes = |record: &&Record| {
            matches!(record, Record::Intended(effect)
                if matches!(&effect.op, Op::Sandbox(used) if matches!(used.action, Action::Create(_))))
        };
        let Some(one) = line.records.iter().find(makes).cloned() else {
            return false;
        };
        for slot in 1_000..1_100 {
            let mut another = one.clone();
            if let Some((id, _, used)) = used(&mut another) {
                id.slot = slot;
                used.sandbox = SandboxId { seq: id.seq, slot };
            }
            line.records.push(another);
        }
        true
    });
}

pub(super) fn runs_something_else(story: &mut Story) {
    first_use(story, |_, used| match &mut used.action {
        Action::Run(task) => {
            task.arguments = r#"{"command":"rm -rf /"}"#.into();
            true
        }
        _ => false,
    });
}

pub(super) fn loss_passed_off(story: &mut Story) {
    story.tamper(|line| {
        for record in &mut line.records {
            if let Record::Settled {
                outcome: Outcome::Sandbox(outcome @ Ok(Done::Ended(_))),
                ..
            } = record
            {
                *outcome = Err(SandboxFault::Lost);
            }
        }
    });
}

pub(super) fn nothing_really_ran(story: &mut Story) {
    let ran = |event: &Event| {
        matches!(
            event,
            Event::Sandbox {
                what: Happened::Ran(_),
                ..
            }
        )
    };
    story.events.retain(|event| !ran(event));
}

const NOBODYS: Digest = Digest([7; 32]);

pub(super) fn foreign_token_taken(story: &mut Story) {
    first(story, |line| match &mut line.input {
        Input::Report { token, .. } if !line.records.is_empty() => {
            *token = NOBODYS;
            true
        }
        _ => false,
    });
}

pub(super) fn report_not_taken(story: &mut Story) {
    first(story, |line| {
        let taken = matches!(line.input, Input::Report { .. }) && !line.records.is_empty();
        if taken {
            line.records.clear();
        }
        taken
    });
}

pub(super) fn report_taken_twice(story: &mut Story) {
    let mut taken = None;
    first(story, |line| {
        if let Some((input, records)) = taken.take() {
            // It comes again, in the place of what came next.
            (line.input, line.records) = (input, records);
            return true;
        }
        if matches!(line.input, Input::Report { .. }) && !line.records.is_empty() {
            taken = Some((line.input.clone(), line.records.clone()));
        }
        false
    });
}

pub(super) fn nobody_is_told(story: &mut Story) {
    story.events.push(Event::Heard {
        token: NOBODYS,
        taken: true,
    });
}
