//! Pretends `core/src/effect/model.rs`: a model that does what it is told.
//!
//! What a person writes says what this model does: `say` makes it answer at once; `plan` is
//! followed by rounds, parted by `;`, of calls, parted by `,`; `loop` makes it repeat one call for
//! ever and `deep` makes ever new ones; `do NAME JSON` makes it call that tool with just these
//! arguments. Its final answer names the marker (`m7.`) of every message it has just read, so a
//! person can tell whether they were heard.

use super::Course;
use crate::fault::ModelTrouble;
use crate::seed::Rng;
use crate::story::Modelled;
use openpista_core::effect::model::{CallModel, Finish, ModelFault, Reply, Usage};
use openpista_core::effect::{Chunk, Effect, Outcome};
use openpista_core::id::JobId;
use openpista_core::message::{Message, Prompt, ToolCall};

/// What a call comes to.
pub fn pretend(
    effect: &Effect,
    call: &CallModel,
    prompt: &Prompt,
    trouble: Option<ModelTrouble>,
    luck: &mut Rng,
) -> Course {
    let took = luck.between(5, 6_000);
    let reply = answer(prompt, luck);
    let text = Chunk::Text(reply.text.clone());
    let hang = trouble == Some(ModelTrouble::Hang);
    let slow = matches!(trouble, Some(ModelTrouble::TimedOut | ModelTrouble::Late));
    let cut_off = trouble == Some(ModelTrouble::Network);
    let (status, chunks) = super::wire::response(prompt, &reply, trouble, luck);
    let outcome = match trouble {
        Some(ModelTrouble::TimedOut) => Outcome::Model(Err(ModelFault::TimedOut)),
        Some(ModelTrouble::Network) => Outcome::Model(Err(ModelFault::Network {
            message: "connection reset".into(),
        })),
        _ => Outcome::Model(super::wire::read(prompt, status, &chunks)),
    };
    let after = match trouble {
        Some(ModelTrouble::TimedOut) => call.timeout_ms,
        Some(ModelTrouble::Late) => call.timeout_ms * 2,
        _ => took,
    };
    Course {
        report: (!hang).then(|| (after, outcome.clone())),
        progress: match trouble {
            None => vec![(took / 3, text.clone()), (took / 2, text)],
            Some(_) => Vec::new(),
        },
        shown_ms: None,
        modelled: Some(Modelled {
            effect: effect.id,
            attempt: effect.attempt,
            prompt: prompt.clone(),
            meant: trouble.is_none().then_some(reply),
            status,
            chunks,
            heard: (!hang && !slow && !cut_off).then_some(outcome),
        }),
    }
}

/// What the model has in mind, from the prompt alone but for the length of its words.
pub fn answer(prompt: &Prompt, luck: &mut Rng) -> Reply {
    let messages: Vec<&Message> = prompt.messages.iter().map(|e| &e.message).collect();
    let spoken = |m: &&Message| matches!(m, Message::User { .. });
    let last = messages.iter().rposition(spoken).unwrap_or(0);
    let wish = match messages.get(last) {
        Some(Message::User { text }) => text.as_str(),
        _ => "",
    };
    let called = |m: &&&Message| matches!(m, Message::Assistant { .. });
    let round = messages[last..].iter().filter(called).count();
    let marker = wish.split_whitespace().next().unwrap_or("?");
    let calls = calls(wish, marker, round, known_job(&messages));
    let text = match calls.is_empty() {
        true => reply(&messages, luck),
        false => String::new(),
    };
    Reply {
        text,
        calls,
        finish: Finish::Stop,
        usage: Usage {
            prompt: 7,
            completion: 3,
        },
    }
}

fn reply(messages: &[&Message], luck: &mut Rng) -> String {
    let ended = |m: &&Message| matches!(m, Message::Assistant { calls, .. } if calls.is_empty());
    let from = messages.iter().rposition(ended).map_or(0, |at| at + 1);
    let heard = messages[from..].iter().filter_map(|message| match message {
        Message::User { text } => text.split_whitespace().next(),
        _ => None,
    });
    let heard: Vec<&str> = heard.collect();
    let length = *luck.pick(&[0, 0, 3, 40]);
    let filler = "and so it goes ".repeat(length);
    format!("I heard {} {filler}", heard.join(" "))
        .trim()
        .into()
}

/// The last job of the last list that the model has read.
fn known_job(messages: &[&Message]) -> String {
    let listed = messages.iter().rev().find_map(|message| match message {
        Message::Tool { content, .. } => {
            let id = content.lines().last()?.split(' ').next()?;
            id.parse::<JobId>().ok()
        }
        _ => None,
    });
    listed.map(|id| id.to_string()).unwrap_or_default()
}

fn calls(wish: &str, marker: &str, round: usize, job: String) -> Vec<ToolCall> {
    // What a person types as a command stands on a line of its own.
    let mut words = wish
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1);
    let make = |index: usize, tool: &str, arguments: String| ToolCall {
        id: format!("call_{round}_{index}"),
        tool: tool.into(),
        arguments,
    };
    match words.next() {
        Some("loop") => vec![make(0, "file.read", r#"{"path":"same"}"#.into())],
        Some("deep") => vec![make(0, "file.read", format!(r#"{{"path":"{round}"}}"#))],
        Some("do") if round == 0 => {
            let tool = words.next().unwrap_or_default();
            vec![make(0, tool, words.collect::<Vec<_>>().join(" "))]
        }
        Some("plan") => {
            let rounds = words.next().unwrap_or_default();
            let Some(kinds) = rounds.split(';').nth(round) else {
                return Vec::new();
            };
            let kinds = kinds.split(',').enumerate();
            kinds
                .map(|(index, kind)| {
                    let fresh = format!(r#"{{"command":"{marker}{round}.{index}"}}"#);
                    match kind {
                        "read" => make(index, "file.read", fresh),
                        "look" => make(index, "screen.capture", fresh),
                        "write" => make(index, "file.write", fresh),
                        "wipe" => make(index, "disk.wipe", fresh),
                        "same" => make(index, "file.write", r#"{"path":"same"}"#.into()),
                        "jobs" => make(index, "schedule.list", "{}".into()),
                        "unjob" => {
                            let id = serde_json::json!({ "id": job.as_str() });
                            make(index, "schedule.remove", id.to_string())
                        }
                        "box" => make(index, "container.run", fresh),
                        "work" => make(index, "worker.run", fresh),
                        "code" => make(index, "code.run", fresh),
                        "jail" => make(index, "confined.run", fresh),
                        "skill" => make(index, "skill.hello", fresh),
                        "ghost" => make(index, "no_such_tool", fresh),
                        "bad" => make(index, "system.run", r#"{"command":"#.into()),
                        _ => make(index, "system.run", fresh),
                    }
                })
                .collect()
        }
        _ => Vec::new(),
    }
}
