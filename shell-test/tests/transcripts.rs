//! What people and the model read, word for word: transcripts, prompts, and the sentence for each
//! way in which a turn can fail. A change of words shows up here, to be looked at.

use openpista_core::effect::deliver::Body;
use openpista_core::effect::{Effect, Op};
use openpista_core::input::{Arrival, Decision};
use openpista_core::limit::Limits;
use openpista_core::message::{Message, Prompt};
use openpista_shell_test::exhaustive::{crashed, script};
use openpista_shell_test::fault::{Cut, Fault, ModelTrouble, ToolTrouble};
use openpista_shell_test::plan::{Item, OWNER, Plan};
use openpista_shell_test::story::{Event, Story};
use openpista_shell_test::world;
use std::fmt::Write as _;

/// Everything that was sent and shown, in order.
fn screen(story: &Story) -> String {
    let mut text = String::new();
    for event in &story.events {
        let _ = match event {
            Event::Sent(a) => writeln!(text, "{} > {}", a.origin, a.text),
            Event::Declined {
                origin, refusal, ..
            } => writeln!(text, "{origin} ! {refusal}"),
            Event::Crashed { .. } => writeln!(text, "-- crash --"),
            Event::Shown { delivery, .. } => {
                let again = if delivery.repeated { " (again)" } else { "" };
                let (kind, body) = match &delivery.body {
                    Body::Picture(picture) => ("picture", picture.path.clone()),
                    Body::Reply(body) => ("", body.clone()),
                    Body::Failure(body) => ("failure: ", body.clone()),
                    Body::Notice(body) => ("notice: ", body.clone()),
                    Body::Question(q) => (
                        "question: ",
                        format!("{} {} ({})", q.tool, q.arguments, q.reason),
                    ),
                };
                writeln!(text, "{} <{again} {kind}{body}", delivery.origin)
            }
            _ => Ok(()),
        };
    }
    text
}

fn prompt_text(prompt: &Prompt) -> String {
    let mut text = format!("{}: {}\n", prompt.model, prompt.system);
    for entry in &prompt.messages {
        let _ = match &entry.message {
            Message::User { text: said } => writeln!(text, "user: {said}"),
            Message::Assistant { text: said, calls } => {
                let _ = writeln!(text, "assistant: {said}");
                calls.iter().try_for_each(|call| {
                    writeln!(text, "  call {} {} {}", call.id, call.tool, call.arguments)
                })
            }
            Message::Tool {
                call_id, content, ..
            } => writeln!(text, "result of {call_id}: {content}"),
        };
    }
    text
}

fn last_prompt(story: &Story) -> String {
    let mut prompts = story.events.iter().filter_map(|event| match event {
        Event::Started {
            effect: Effect {
                op: Op::Model(_), ..
            },
            prompt,
        } => prompt.as_ref(),
        _ => None,
    });
    prompts.next_back().map(prompt_text).unwrap_or_default()
}

/// A world with one message in it.
fn one(text: &str, limits: impl Fn(&mut Limits), faults: &[Fault]) -> Plan {
    let mut plan = script();
    limits(&mut plan.rules.settings.limits);
    plan.rules.settings.limits.queued_messages = 64;
    plan.items = vec![Item::Send {
        at_ms: 0,
        arrival: Arrival {
            origin: "cli:a".into(),
            key: "k1".into(),
            peer: OWNER.into(),
            session: None,
            text: text.into(),
            serial: None,
        },
    }];
    plan.items.extend(faults.iter().cloned().map(Item::Fault));
    plan
}

fn answered(nth: u64, decision: Decision) -> Item {
    Item::Answer {
        nth,
        after_ms: 1_000,
        decision,
        by: OWNER.into(),
    }
}

#[test]
fn the_script_as_people_see_it() {
    insta::assert_snapshot!(screen(&world::run(&script())));
}

#[test]
fn a_crash_while_a_command_runs_as_people_and_the_model_see_it() {
    let plan = one("m1. plan run,read", |_| {}, &[]);
    let plan = crashed(&plan, &[(3, Cut::BeforeReport)]);
    let story = world::run(&plan);
    insta::assert_snapshot!(format!("{}\n{}", screen(&story), last_prompt(&story)));
}

#[test]
fn what_the_model_is_told_of_its_calls() {
    let wishes = "m1. plan read,run,write;bad,ghost,wipe;write,write";
    let mut plan = one(wishes, |_| {}, &[]);
    let fails = Fault::Tool {
        nth: 2,
        how: ToolTrouble::Fails,
    };
    plan.items.extend([
        answered(1, Decision::Allow),
        answered(2, Decision::Deny),
        Item::Fault(fails),
    ]);
    insta::assert_snapshot!(last_prompt(&world::run(&plan)));
}

#[test]
fn the_sentence_for_each_failure() {
    let troubles = [
        ModelTrouble::RateLimited,
        ModelTrouble::Server,
        ModelTrouble::Rejected,
        ModelTrouble::Network,
        ModelTrouble::Empty,
        ModelTrouble::Garbled,
        ModelTrouble::TimedOut,
    ];
    let mut text = String::new();
    for how in troubles {
        let fault = Fault::Model { nth: 1, how };
        let plan = one("m1. say", |limits| limits.model_attempts = 1, &[fault]);
        let _ = writeln!(text, "# {how:?}\n{}", screen(&world::run(&plan)));
    }
    type Bound = (&'static str, &'static str, fn(&mut Limits));
    let bounds: [Bound; 3] = [
        ("no progress", "m1. loop", |_| {}),
        ("too many rounds", "m1. deep", |_| {}),
        ("too long", "m1. plan write", |limits| {
            limits.turn_ms = 60_000
        }),
    ];
    for (name, wish, limits) in bounds {
        let story = world::run(&one(wish, limits, &[]));
        let _ = writeln!(text, "# {name}\n{}", screen(&story));
    }
    insta::assert_snapshot!(text);
}
