//! Breaking laws on purpose, to see that the checks can fail.
//!
//! Where a law is kept by a shell, the shell is broken ([`Meddling`]). Where it is kept by the
//! core, the core is misled about its rules, or a [`Story`] is changed into one that a broken core
//! would have left.

use crate::effect::wire;
use crate::story::{Event, Story};
use openpista_core::Core;
use openpista_core::effect::{Op, Outcome, Recovery};
use openpista_core::input::{Boot, Input, Order};
use openpista_core::message::ToolSpec;
use openpista_core::record::{Answer, Record, TurnEnd};
use openpista_core::replay::Line;
use openpista_core::settings::Mode;
use openpista_core::time::Time;
use openpista_core::timer::Timer;

/// How a shell is broken, or how it misleads the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Meddling {
    /// Not at all.
    #[default]
    None,
    /// The gate is opened before the commit.
    OpensEarly,
    /// Channels are acknowledged when a message comes in.
    AcknowledgesEarly,
    /// No key is known again.
    ForgetsKeys,
    /// Doubtful tools are run again after a crash.
    RepeatsDoubt,
    /// Deliveries count as made and are not.
    LosesDeliveries,
    /// Everything is shown twice.
    ShowsTwice,
    /// Nobody is asked for permission.
    AsksNobody,
    /// Queues have no bound.
    TakesEverything,
    /// Strangers are taken for owners.
    TrustsStrangers,
    /// The clock never ticks.
    NeverTicks,
}

impl Meddling {
    pub(crate) fn opens_early(self) -> bool {
        self == Meddling::OpensEarly
    }

    pub(crate) fn acknowledges_early(self) -> bool {
        self == Meddling::AcknowledgesEarly
    }

    pub(crate) fn never_ticks(self) -> bool {
        self == Meddling::NeverTicks
    }

    pub(crate) fn shows(self) -> usize {
        match self {
            Meddling::LosesDeliveries => 0,
            Meddling::ShowsTwice => 2,
            _ => 1,
        }
    }

    /// What the core is told instead.
    pub(crate) fn input(self, input: Input, core: &Core) -> Input {
        match (self, input) {
            (Meddling::ForgetsKeys, Input::Arrive(mut arrival)) => {
                arrival.key = format!("{}#{}", arrival.key, core.state().seq());
                Input::Arrive(arrival)
            }
            (_, Input::Boot(mut boot)) => {
                self.mislead(&mut boot);
                Input::Boot(boot)
            }
            (_, input) => input,
        }
    }

    fn mislead(self, boot: &mut Boot) {
        let settings = &mut boot.settings;
        match self {
            Meddling::RepeatsDoubt => {
                let repeat = |tool: &ToolSpec| ToolSpec {
                    recovery: Recovery::Repeat,
                    ..tool.clone()
                };
                settings.tools = settings.tools.iter().map(repeat).collect();
            }
            Meddling::AsksNobody => settings.policy.tools.values_mut().for_each(|mode| {
                *mode = Mode::Full;
            }),
            Meddling::TakesEverything => settings.limits.queued_messages = usize::MAX,
            Meddling::TrustsStrangers => drop(settings.owners.insert("cli:eve".into())),
            _ => {}
        }
    }

    /// What the journal is told instead.
    pub(crate) fn line(self, line: &mut Line) {
        if self != Meddling::ForgetsKeys {
            return;
        }
        for record in &mut line.records {
            if let Record::Accepted(accepted) = record {
                let key = accepted.key.split('#').next().unwrap_or_default();
                accepted.key = key.to_string();
            }
        }
    }
}

/// How a law is broken.
#[derive(Clone, Copy, Debug)]
pub enum Break {
    /// The world runs so.
    World(Meddling),
    /// The world runs well, and its story is changed.
    Story(fn(&mut Story)),
}

/// A law, how it is broken, and what that means.
pub type Mutant = (u8, &'static str, Break);

/// At least one mutant for every law.
pub const MUTANTS: &[Mutant] = &[
    (
        1,
        "a delivery is lost",
        Break::World(Meddling::LosesDeliveries),
    ),
    (
        1,
        "a delivery is made twice",
        Break::World(Meddling::ShowsTwice),
    ),
    (
        1,
        "a message ends with what nobody said",
        Break::Story(reply_made_up),
    ),
    (
        2,
        "a channel is acknowledged at once",
        Break::World(Meddling::AcknowledgesEarly),
    ),
    (
        2,
        "the gate opens too early",
        Break::World(Meddling::OpensEarly),
    ),
    (3, "keys are forgotten", Break::World(Meddling::ForgetsKeys)),
    (
        3,
        "somebody is let in again by the same message",
        Break::Story(let_in_again),
    ),
    (
        4,
        "the gate opens too early",
        Break::World(Meddling::OpensEarly),
    ),
    (
        5,
        "a command runs again after a crash",
        Break::World(Meddling::RepeatsDoubt),
    ),
    (5, "a doubt is passed over", Break::Story(doubt_passed_over)),
    (5, "nobody is told of a doubt", Break::Story(doubt_untold)),
    (6, "an effect ends twice", Break::Story(settled_twice)),
    (
        6,
        "a stale outcome is recorded",
        Break::Story(stale_recorded),
    ),
    (
        7,
        "the state changes without a record",
        Break::Story(record_lost),
    ),
    (8, "a record differs", Break::Story(reply_altered)),
    (8, "the second run differs", Break::Story(run_differs)),
    (
        9,
        "time runs backwards in the journal",
        Break::Story(time_backwards),
    ),
    (
        10,
        "progress leaves a record",
        Break::Story(progress_recorded),
    ),
    (
        11,
        "a step reaches into another session",
        Break::Story(sessions_mixed),
    ),
    (
        12,
        "a turn begins within a turn",
        Break::Story(turn_within_turn),
    ),
    (12, "a delivery overtakes another", Break::Story(overtaken)),
    (13, "nobody is asked", Break::World(Meddling::AsksNobody)),
    (13, "silence counts as a yes", Break::Story(silence_is_yes)),
    (
        13,
        "a yes for the session outlives it",
        Break::Story(session_started_afresh),
    ),
    (
        13,
        "one whom nobody let in is heard",
        Break::Story(never_let_in),
    ),
    (
        14,
        "a message that was taken back goes on",
        Break::Story(taken_back_in_vain),
    ),
    (16, "a job fires twice", Break::Story(fired_twice)),
    (16, "a job fires too early", Break::Story(fired_early)),
    (16, "a due time is passed over", Break::Story(passed_over)),
    (14, "a stopped turn goes on", Break::Story(stopped_goes_on)),
    (
        17,
        "a due tick does nothing",
        Break::Story(due_tick_ignored),
    ),
    (
        17,
        "an early tick does something",
        Break::Story(early_tick_acts),
    ),
    (
        18,
        "a queue has no bound",
        Break::World(Meddling::TakesEverything),
    ),
    (
        18,
        "a message is refused in silence",
        Break::Story(refused_in_silence),
    ),
    (
        19,
        "a reply depends on its last chunk alone",
        Break::Story(chunk_lost),
    ),
    (
        20,
        "the clock never ticks",
        Break::World(Meddling::NeverTicks),
    ),
    (
        21,
        "positions run backwards in an export",
        Break::Story(time_backwards),
    ),
    (
        22,
        "a stranger is heard",
        Break::World(Meddling::TrustsStrangers),
    ),
];

/// Changes the first line that the change takes to.
fn first(story: &mut Story, mut change: impl FnMut(&mut Line) -> bool) {
    let mut done = false;
    story.tamper(|line| done = done || change(line));
}

fn position(line: &Line, wanted: impl Fn(&Record) -> bool) -> Option<usize> {
    line.records.iter().position(wanted)
}

fn is_settled(record: &Record) -> bool {
    matches!(record, Record::Settled { .. })
}

fn reply_made_up(story: &mut Story) {
    for event in &mut story.events {
        if let Event::Modelled(modelled) = event {
            modelled.heard = None;
        }
    }
}

fn doubt_passed_over(story: &mut Story) {
    story.tamper(|line| {
        line.records
            .retain(|r| !matches!(r, Record::Doubted { .. }))
    });
}

fn doubt_untold(story: &mut Story) {
    story.tamper(|line| {
        if position(line, |r| matches!(r, Record::Doubted { .. })).is_some() {
            line.records.retain(|r| !matches!(r, Record::Queued { .. }));
        }
    });
}

fn settled_twice(story: &mut Story) {
    first(story, |line| {
        let Some(at) = position(line, is_settled) else {
            return false;
        };
        line.records.insert(at, line.records[at].clone());
        true
    });
}

fn stale_recorded(story: &mut Story) {
    let mut last = None;
    first(story, |line| {
        let stale = matches!(line.input, Input::Finish { .. }) && line.records.is_empty();
        last = line.records.last().cloned().or(last.take());
        line.records.extend(last.clone().filter(|_| stale));
        stale
    });
}

fn record_lost(story: &mut Story) {
    first(story, |line| {
        line.records.len() > 2 && line.records.pop().is_some()
    });
}

fn reply_altered(story: &mut Story) {
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

fn run_differs(story: &mut Story) {
    story
        .events
        .retain(|event| !matches!(event, Event::Healed(_)));
}

fn time_backwards(story: &mut Story) {
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

fn progress_recorded(story: &mut Story) {
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

fn sessions_mixed(story: &mut Story) {
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

fn turn_within_turn(story: &mut Story) {
    first(story, |line| {
        let Some(at) = position(line, |r| matches!(r, Record::TurnBegan { .. })) else {
            return false;
        };
        line.records.push(line.records[at].clone());
        true
    });
}

fn overtaken(story: &mut Story) {
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

fn silence_is_yes(story: &mut Story) {
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

fn session_started_afresh(story: &mut Story) {
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

fn is_admission(record: &Record) -> bool {
    matches!(record, Record::Admitted { .. })
}

fn never_let_in(story: &mut Story) {
    story.tamper(|line| line.records.retain(|record| !is_admission(record)));
}

fn let_in_again(story: &mut Story) {
    again(story, is_admission);
}

fn fired_twice(story: &mut Story) {
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

fn fired_early(story: &mut Story) {
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

fn passed_over(story: &mut Story) {
    story.tamper(|line| {
        line.records
            .retain(|record| !matches!(record, Record::JobFired { .. }));
    });
}

fn taken_back_in_vain(story: &mut Story) {
    story.tamper(|line| {
        if matches!(line.input, Input::Order(Order::Cancel { .. })) {
            line.records.clear();
        }
    });
}

fn stopped_goes_on(story: &mut Story) {
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

fn due_tick_ignored(story: &mut Story) {
    first(story, |line| {
        let due = matches!(line.input, Input::Tick(_)) && !line.records.is_empty();
        if due {
            line.records.clear();
        }
        due
    });
}

fn early_tick_acts(story: &mut Story) {
    let mut some = None;
    first(story, |line| {
        let early = matches!(line.input, Input::Tick(_)) && line.records.is_empty();
        line.records.extend(some.clone().filter(|_| early));
        some = some.clone().or(line.records.first().cloned());
        early
    });
}

fn refused_in_silence(story: &mut Story) {
    story
        .events
        .retain(|event| !matches!(event, Event::Declined { .. }));
}

fn chunk_lost(story: &mut Story) {
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
