//! The changes to a story that break a law.

use crate::effect::wire;
use crate::plan::GUEST;
use crate::story::{Event, Story};
use openpista_core::effect::deliver::Body;
use openpista_core::effect::{Op, Outcome};
use openpista_core::id::SessionId;
use openpista_core::input::{Input, Order};
use openpista_core::record::{Answer, Record, TurnEnd};
use openpista_core::replay::Line;
use openpista_core::time::Time;
use openpista_core::timer::Timer;

/// Changes the first line that the change takes to.
pub(super) fn first(story: &mut Story, mut change: impl FnMut(&mut Line) -> bool) {
    let mut done = false;
    story.tamper(|line| done = done || change(line));
}

fn position(line: &Line, wanted: impl Fn(&Record) -> bool) -> Option<usize> {
    line.records.iter().position(wanted)
}

fn is_settled(record: &Record) -> bool {
    matches!(record, Record::Settled { .. })
}

pub(super) fn reply_made_up(story: &mut Story) {
    for event in &mut story.events {
        if let Event::Modelled(modelled) = event {
            modelled.heard = None;
        }
    }
}

pub(super) fn doubt_passed_over(story: &mut Story) {
    story.tamper(|line| {
        line.records
            .retain(|r| !matches!(r, Record::Doubted { .. }))
    });
}

pub(super) fn doubt_untold(story: &mut Story) {
    story.tamper(|line| {
        if position(line, |r| matches!(r, Record::Doubted { .. })).is_some() {
            line.records.retain(|r| !matches!(r, Record::Queued { .. }));
        }
    });
}

/// What is written in a supergroup begins anew.
pub(super) fn conversation_split(story: &mut Story) {
    let mut moved = None;
    story.tamper(|line| {
        let seq = line.seq;
        for record in &mut line.records {
            match record {
                Record::Moved { to, .. } => moved = Some(to.clone()),
                Record::Accepted(accepted) if moved.as_ref() == Some(&accepted.origin) => {
                    accepted.session = SessionId(seq);
                }
                _ => {}
            }
        }
    });
}

pub(super) fn picture_kept(story: &mut Story) {
    first(story, |line| {
        let is_picture = |r: &Record| {
            matches!(
                r,
                Record::Queued {
                    body: Body::Picture(_),
                    ..
                }
            )
        };
        let at = position(line, is_picture);
        at.map(|at| line.records.remove(at)).is_some()
    });
}

pub(super) fn settled_twice(story: &mut Story) {
    first(story, |line| {
        let Some(at) = position(line, is_settled) else {
            return false;
        };
        line.records.insert(at, line.records[at].clone());
        true
    });
}

pub(super) fn stale_recorded(story: &mut Story) {
    let mut last = None;
    first(story, |line| {
        let stale = matches!(line.input, Input::Finish { .. }) && line.records.is_empty();
        last = line.records.last().cloned().or(last.take());
        line.records.extend(last.clone().filter(|_| stale));
        stale
    });
}

pub(super) fn record_lost(story: &mut Story) {
    first(story, |line| {
        line.records.len() > 2 && line.records.pop().is_some()
    });
}

pub(super) fn reply_altered(story: &mut Story) {
    first(story, |line| {
        let answered = line.records.iter_mut().find_map(|record| match record {
            Record::Answered { reply, .. } => Some(reply),
            _ => None,
        });
        answered.is_some_and(|reply| {
            reply.text.push('!');
            true
        })
    });
}

pub(super) fn run_differs(story: &mut Story) {
    story
        .events
        .retain(|event| !matches!(event, Event::Healed(_)));
}

pub(super) fn time_backwards(story: &mut Story) {
    let mut skipped = 0;
    first(story, |line| {
        skipped += u8::from(!line.records.is_empty());
        line.at = if skipped == 9 {
            Time::from_ms(u64::MAX / 2)
        } else {
            line.at
        };
        skipped == 9
    });
}

pub(super) fn progress_recorded(story: &mut Story) {
    let mut opened = None;
    first(story, |line| {
        if let Some(at) = position(line, |r| matches!(r, Record::Asked { .. })) {
            opened = Some(line.records[at].clone());
        }
        let progress = matches!(line.input, Input::Progress { .. });
        line.records.extend(opened.clone().filter(|_| progress));
        progress
    });
}

pub(super) fn sessions_mixed(story: &mut Story) {
    let mut other: Option<Record> = None;
    first(story, |line| {
        let own = line.session;
        let found = other
            .clone()
            .filter(|r| own.is_some() && r.session() != own);
        line.records.extend(found.clone());
        other = line
            .records
            .first()
            .cloned()
            .filter(|r| r.session().is_some());
        found.is_some()
    });
}

pub(super) fn turn_within_turn(story: &mut Story) {
    first(story, |line| {
        let Some(at) = position(line, |r| matches!(r, Record::TurnBegan { .. })) else {
            return false;
        };
        line.records.push(line.records[at].clone());
        true
    });
}

pub(super) fn overtaken(story: &mut Story) {
    first(story, |line| {
        let delivers =
            |r: &Record| matches!(r, Record::Intended(e) if matches!(e.op, Op::Deliver(_)));
        let Some(at) = position(line, delivers) else {
            return false;
        };
        line.records.swap(0, at);
        at > 0
    });
}

pub(super) fn silence_is_yes(story: &mut Story) {
    story.tamper(|line| {
        for record in &mut line.records {
            if let Record::Decided {
                answer, approval, ..
            } = record
                && *answer != Answer::Expired
            {
                line.input = Input::Tick(Timer::Approval(*approval));
            }
        }
    });
}

pub(super) fn session_started_afresh(story: &mut Story) {
    first(story, |line| {
        let yes = |r: &Record| {
            matches!(r, Record::Decided { answer, .. }
                if matches!(answer, Answer::AllowedForSession(_)))
        };
        let session = line.session.filter(|_| position(line, yes).is_some());
        line.records
            .extend(session.map(|session| Record::Refreshed { session }));
        session.is_some()
    });
}

/// The answer to the owner's question is a guest's.
pub(super) fn guest_answers(story: &mut Story) {
    story.tamper(|line| {
        let Input::Order(Order::Decide { by, .. }) = &mut line.input else {
            return;
        };
        for record in &mut line.records {
            if let Record::Decided {
                answer: Answer::AllowedForSession(said),
                ..
            } = record
            {
                *said = GUEST.into();
                *by = GUEST.into();
            }
        }
    });
}

fn is_admission(record: &Record) -> bool {
    matches!(record, Record::Admitted { .. })
}

pub(super) fn never_let_in(story: &mut Story) {
    story.tamper(|line| line.records.retain(|record| !is_admission(record)));
}

pub(super) fn let_in_again(story: &mut Story) {
    again(story, is_admission);
}

pub(super) fn fired_twice(story: &mut Story) {
    again(story, |record| matches!(record, Record::JobFired { .. }));
}

/// A later step has a record once more.
fn again(story: &mut Story, wanted: fn(&Record) -> bool) {
    let mut some = None;
    first(story, |line| {
        let later = some.clone().filter(|_| !line.records.is_empty());
        line.records.extend(later.clone());
        some = some
            .clone()
            .or_else(|| line.records.iter().find(|r| wanted(r)).cloned());
        later.is_some()
    });
}

pub(super) fn fired_early(story: &mut Story) {
    story.tamper(|line| {
        for record in &mut line.records {
            match record {
                Record::JobFired { due_unix_ms, .. }
                | Record::JobArmed {
                    due_unix_ms: Some(due_unix_ms),
                    ..
                } => *due_unix_ms += 90_000,
                _ => {}
            }
        }
    });
}

pub(super) fn fired_in_passing(story: &mut Story) {
    story.tamper(|line| {
        for record in &mut line.records {
            if let Record::Booted { settings, .. } = record {
                settings.jobs_fire = false;
            }
        }
    });
}

pub(super) fn passed_over(story: &mut Story) {
    story.tamper(|line| {
        line.records
            .retain(|record| !matches!(record, Record::JobFired { .. }));
    });
}

pub(super) fn taken_back_in_vain(story: &mut Story) {
    story.tamper(|line| {
        if matches!(line.input, Input::Order(Order::Cancel { .. })) {
            line.records.clear();
        }
    });
}

pub(super) fn stopped_goes_on(story: &mut Story) {
    let mut intent = None;
    first(story, |line| {
        if let Some(at) = position(
            line,
            |r| matches!(r, Record::Intended(e) if e.turn().is_some()),
        ) {
            intent = Some(line.records[at].clone());
        }
        let stopped = |r: &Record| {
            matches!(
                r,
                Record::TurnEnded {
                    end: TurnEnd::Stopped,
                    turn: Some(_),
                    ..
                }
            )
        };
        let stops = position(line, stopped).is_some();
        if stops {
            line.records.extend(intent.clone());
        }
        stops
    });
}

pub(super) fn due_tick_ignored(story: &mut Story) {
    first(story, |line| {
        let due = matches!(line.input, Input::Tick(_)) && !line.records.is_empty();
        if due {
            line.records.clear();
        }
        due
    });
}

pub(super) fn early_tick_acts(story: &mut Story) {
    let mut some = None;
    first(story, |line| {
        let early = matches!(line.input, Input::Tick(_)) && line.records.is_empty();
        line.records.extend(some.clone().filter(|_| early));
        some = some.clone().or(line.records.first().cloned());
        early
    });
}

pub(super) fn came_in_vain(story: &mut Story) {
    story.tamper(|line| {
        if matches!(line.input, Input::Present { .. }) {
            line.records.clear();
        }
    });
}

pub(super) fn refused_in_silence(story: &mut Story) {
    story
        .events
        .retain(|event| !matches!(event, Event::Declined { .. }));
}

pub(super) fn chunk_lost(story: &mut Story) {
    for event in &mut story.events {
        if let Event::Modelled(modelled) = event
            && matches!(modelled.heard, Some(Outcome::Model(Ok(_))))
        {
            let kept = modelled.chunks.len() - 1;
            let heard = wire::read(&modelled.prompt, modelled.status, &modelled.chunks[..kept]);
            modelled.heard = Some(Outcome::Model(heard));
        }
    }
}
