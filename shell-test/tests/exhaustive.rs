//! A scripted conversation, crashed at every cut of every step; each crash heals.

use openpista_core::effect::Outcome;
use openpista_core::effect::deliver::{Body, DeliverFault};
use openpista_core::effect::model::ModelFault;
use openpista_core::effect::sandbox::Done;
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::input::Input;
use openpista_core::record::{Answer, Record, TurnEnd, Verdict};
use openpista_shell_test::exhaustive::{crashes, run, script};
use openpista_shell_test::law;
use openpista_shell_test::story::Event;
use openpista_shell_test::world;

#[test]
fn the_script_has_everything_in_it() {
    let story = world::run(&script());
    let broken = law::check(&story);
    assert!(broken.is_empty(), "{}", broken[0].report(&story));
    let journal = story.journal();
    let records: Vec<&Record> = journal.iter().flat_map(|line| &line.records).collect();
    let has = |what: &str, found: &dyn Fn(&Record) -> bool| {
        assert!(records.iter().any(|r| found(r)), "the script has no {what}");
    };
    let postponed = |fault: fn(&ModelFault) -> bool| move |r: &Record| matches!(r, Record::Postponed { outcome: Outcome::Model(Err(f)), .. } if fault(f));
    has(
        "429",
        &postponed(|f| matches!(f, ModelFault::RateLimited { .. })),
    );
    has(
        "500",
        &postponed(|f| matches!(f, ModelFault::Server { .. })),
    );
    has(
        "nonsense",
        &postponed(|f| matches!(f, ModelFault::Garbled { .. })),
    );
    has("silence", &postponed(|f| matches!(f, ModelFault::Empty)));
    has("yes", &|r| {
        matches!(
            r,
            Record::Decided {
                answer: Answer::Allowed(_),
                ..
            }
        )
    });
    has("no", &|r| {
        matches!(
            r,
            Record::Decided {
                answer: Answer::Denied(_),
                ..
            }
        )
    });
    has("stopped turn", &|r| {
        matches!(
            r,
            Record::TurnEnded {
                end: TurnEnd::Stopped,
                ..
            }
        )
    });
    has("refused message", &|r| matches!(r, Record::Refused { .. }));
    has("stopped tool", &|r| {
        matches!(
            r,
            Record::Settled {
                outcome: Outcome::Tool(Ok(Ran {
                    exit: Exit::Cancelled,
                    ..
                })),
                ..
            }
        )
    });
    has("picture", &|r| {
        let body = |r: &Record| match r {
            Record::Queued { body, .. } => Some(body.clone()),
            _ => None,
        };
        matches!(body(r), Some(Body::Picture(_)))
    });
    has("yes for the session", &|r| {
        matches!(
            r,
            Record::Decided {
                answer: Answer::AllowedForSession(_),
                ..
            }
        )
    });
    has("call that it allows", &|r| {
        matches!(r, Record::Judged { verdict: Verdict::Allow { reason }, .. }
            if reason.contains("for the session"))
    });
    has("person who is away", &|r| {
        matches!(
            r,
            Record::Postponed {
                outcome: Outcome::Deliver(Err(DeliverFault::Absent)),
                ..
            }
        )
    });
    has("guest", &|r| matches!(r, Record::Admitted { .. }));
    has("guest shut out", &|r| matches!(r, Record::Expelled { .. }));
    has("message taken back", &|r| {
        matches!(
            r,
            Record::TurnEnded {
                end: TurnEnd::Stopped,
                turn: None,
                ..
            }
        )
    });
    has("container that ended", &|r| ended(r, "container.run"));
    has("guest that ended", &|r| ended(r, "skill.hello"));
    has("report of a worker", &|r| matches!(r, Record::Heard { .. }));
    has("removal that is tried again", &|r| {
        matches!(
            r,
            Record::Postponed {
                outcome: Outcome::Sandbox(_),
                ..
            }
        )
    });
    has("conversation that moves", &|r| {
        matches!(r, Record::Moved { .. })
    });
    has("clock that is set", &|r| {
        matches!(r, Record::ClockSet { .. })
    });
    let fired = |r: &&&Record| matches!(r, Record::JobFired { .. });
    assert_eq!(records.iter().filter(fired).count(), 2, "jobs fired");
    let sessions = records
        .iter()
        .filter(|r| matches!(r, Record::Opened { .. }))
        .count();
    assert!(sessions >= 2, "{sessions} sessions");
    let stale = |e: &Event| {
        matches!(e, Event::Stepped(s)
        if matches!(s.line.input, Input::Finish { .. }) && s.line.records.is_empty())
    };
    let came = |e: &Event| {
        matches!(e, Event::Stepped(s)
        if matches!(s.line.input, Input::Present { .. }) && !s.line.records.is_empty())
    };
    assert!(story.events.iter().any(came), "nobody comes");
    assert!(
        story.events.iter().any(stale),
        "the script has no stale outcome"
    );
}

/// A sandboxed run of this tool has ended by itself.
fn ended(record: &Record, tool: &str) -> bool {
    matches!(
        record,
        Record::Settled { outcome: Outcome::Sandbox(Ok(Done::Ended(ended))), .. }
        if ended.ran.stdout.text.starts_with(tool)
    )
}

#[test]
fn every_cut_heals() {
    for batch in [1, 4] {
        let mut plan = script();
        plan.rules.batch = batch;
        let crashes = crashes(&plan);
        println!(
            "{} ways to crash with {batch} steps a commit",
            crashes.len()
        );
        if let Some(failure) = run(&plan, &crashes) {
            panic!("{}", failure.broken[0].report(&failure.story));
        }
    }
}
