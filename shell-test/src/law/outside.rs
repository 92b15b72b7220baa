//! The laws about what the world sees: 1 to 6, 19, 20 and 22.

use super::sandbox::{losses_are_doubts, tasks_start_once};
use super::{Broken, Evidence, Verdict, broken};
use crate::disk::records;
use crate::effect::wire;
use crate::plan::CANARY;
use crate::reference::Reference;
use crate::story::{Event, Lines};
use openpista_core::effect::deliver::DeliverFault;
use openpista_core::effect::sandbox::Engine;
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::id::{Attempt, EffectId, MessageId, Seq, TurnId};
use openpista_core::input::Input;
use openpista_core::message::Message;
use openpista_core::record::Record;
use std::collections::{BTreeMap, BTreeSet};

/// Law 1: every accepted message reaches exactly one visible end, and one that the reference model
/// permits. An end that is shown again says that it may be a repetition. Only a person who is gone
/// for good is excused from seeing it.
pub fn law_01_one_visible_end(evidence: &Evidence<'_>) -> Verdict {
    let mut ends: BTreeMap<MessageId, usize> = BTreeMap::new();
    let mut accepted: BTreeMap<MessageId, Seq> = BTreeMap::new();
    for (seq, record) in records(&evidence.journal) {
        match record {
            Record::Accepted(message) => drop(accepted.insert(message.message, seq)),
            Record::Queued { ends: named, .. } => {
                for end in named {
                    *ends.entry(end.message).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let shown = shown_ends(evidence)?;
    let gone = gone(evidence);
    for (message, seq) in accepted {
        let queued = ends.get(&message).copied().unwrap_or(0);
        if queued != 1 {
            return broken(1, seq, format!("message {message} has {queued} ends"));
        }
        let seen = shown.get(&message).map_or(0, BTreeSet::len);
        if seen > 1 || (seen == 0 && !gone.contains(&message)) {
            return broken(
                1,
                seq,
                format!("message {message} was answered {seen} times"),
            );
        }
    }
    match Reference::new(evidence.story).objection() {
        Some(why) => broken(1, None, why),
        None => Ok(()),
    }
}

/// By which deliveries each message's end was seen.
fn shown_ends(evidence: &Evidence<'_>) -> Result<BTreeMap<MessageId, BTreeSet<EffectId>>, Broken> {
    let mut seen: BTreeSet<EffectId> = BTreeSet::new();
    let mut shown: BTreeMap<MessageId, BTreeSet<EffectId>> = BTreeMap::new();
    for event in &evidence.story.events {
        let Event::Shown {
            effect, delivery, ..
        } = event
        else {
            continue;
        };
        if !seen.insert(*effect) && !delivery.repeated {
            let why = format!("delivery {effect} was shown twice as if it were new");
            return broken(1, effect.seq, why);
        }
        for end in &delivery.ends {
            shown.entry(end.message).or_default().insert(*effect);
        }
    }
    Ok(shown)
}

/// The messages whose end was refused by their channel for good.
fn gone(evidence: &Evidence<'_>) -> BTreeSet<MessageId> {
    let mut deliveries: BTreeMap<EffectId, Vec<MessageId>> = BTreeMap::new();
    let mut gone = BTreeSet::new();
    for event in &evidence.story.events {
        match event {
            Event::Started { effect, .. } => {
                if let Op::Deliver(delivery) = &effect.op {
                    let ends = delivery.ends.iter().map(|end| end.message);
                    deliveries.insert(effect.id, ends.collect());
                }
            }
            Event::Reported {
                effect,
                outcome: Outcome::Deliver(Err(DeliverFault::Gone { .. })),
                ..
            } => gone.extend(deliveries.get(effect).into_iter().flatten()),
            _ => {}
        }
    }
    gone
}

/// Law 2: no channel is acknowledged before `Accepted` (or another use of its key) is durable. So
/// none is told that a message is known which never was.
pub fn law_02_acknowledged_when_durable(evidence: &Evidence<'_>) -> Verdict {
    let mut lines = Lines::default();
    let mut durable: BTreeSet<(String, String)> = BTreeSet::new();
    for event in &evidence.story.events {
        for line in lines.follow(event) {
            durable.extend(line.records.iter().filter_map(|record| match record {
                Record::Accepted(a) => Some((a.origin.clone(), a.key.clone())),
                Record::Refused { origin, key, .. } => Some((origin.clone(), key.clone())),
                Record::Admitted { asked, .. } | Record::Expelled { asked, .. } => {
                    asked.as_ref().map(|a| (a.origin.clone(), a.key.clone()))
                }
                _ => None,
            }));
        }
        // Who was told no has been answered, whatever comes of sending it again.
        if let Event::Declined { origin, key, .. } = event {
            durable.insert((origin.clone(), key.clone()));
        }
        if let Event::Acked { origin, key } = event
            && !durable.contains(&(origin.clone(), key.clone()))
        {
            return broken(
                2,
                None,
                format!("{origin} {key} was acknowledged too early"),
            );
        }
    }
    Ok(())
}

/// Law 3: the same (origin, key) is accepted once, across restarts, whatever comes of it.
pub fn law_03_accepted_once(evidence: &Evidence<'_>) -> Verdict {
    let mut accepted = BTreeSet::new();
    for (seq, record) in records(&evidence.journal) {
        let (origin, key) = match record {
            Record::Accepted(message) => (&message.origin, &message.key),
            Record::Refused { origin, key, .. } => (origin, key),
            Record::Admitted {
                asked: Some(asked), ..
            }
            | Record::Expelled {
                asked: Some(asked), ..
            } => (&asked.origin, &asked.key),
            _ => continue,
        };
        if !accepted.insert((origin, key)) {
            return broken(3, seq, format!("{origin} {key} was accepted again"));
        }
    }
    Ok(())
}

/// Law 4: no effect starts without a durable intent, and each attempt starts once.
pub fn law_04_durable_intent_first(evidence: &Evidence<'_>) -> Verdict {
    let mut lines = Lines::default();
    let mut intended: BTreeSet<(EffectId, Attempt)> = BTreeSet::new();
    for event in &evidence.story.events {
        for line in lines.follow(event) {
            intended.extend(line.records.iter().filter_map(|record| match record {
                Record::Intended(effect) => Some((effect.id, effect.attempt)),
                _ => None,
            }));
        }
        if let Event::Started { effect, .. } = event
            && !intended.remove(&(effect.id, effect.attempt))
        {
            let why = format!(
                "{} attempt {} has no durable intent",
                effect.id, effect.attempt.0
            );
            return broken(4, effect.id.seq, why);
        }
    }
    Ok(())
}

/// Law 5: what must not be repeated starts at most once across all crashes, and when nobody knows
/// whether it ran, the journal and the person are told so.
pub fn law_05_doubt_starts_once(evidence: &Evidence<'_>) -> Verdict {
    let tools = &evidence.story.plan.rules.settings.tools;
    let doubtful = |effect: &Effect| match &effect.op {
        Op::Tool(run) => tools
            .iter()
            .any(|t| t.name == run.tool && t.recovery == Recovery::Doubt),
        Op::Sandbox(used) => used.runs() && used.engine == Engine::Subprocess,
        _ => false,
    };
    let mut ends: BTreeMap<EffectId, (Seq, bool)> = BTreeMap::new();
    for (seq, record) in records(&evidence.journal) {
        match record {
            Record::Doubted { effect, .. } => drop(ends.insert(*effect, (seq, true))),
            Record::Settled { effect, .. } => drop(ends.insert(*effect, (seq, false))),
            _ => {}
        }
    }
    doubts_are_told(evidence)?;
    losses_are_doubts(evidence)?;
    tasks_start_once(evidence)?;
    let mut started: BTreeSet<EffectId> = BTreeSet::new();
    let mut running: BTreeSet<EffectId> = BTreeSet::new();
    for event in &evidence.story.events {
        match event {
            Event::Started { effect, .. } if doubtful(effect) => {
                if !started.insert(effect.id) {
                    let why = format!("{} ran a second time", effect.id);
                    return broken(5, effect.id.seq, why);
                }
                running.insert(effect.id);
            }
            Event::Crashed { through, .. } => {
                for effect in std::mem::take(&mut running) {
                    let told = ends.get(&effect);
                    if !told.is_some_and(|(seq, doubted)| seq <= through || *doubted) {
                        let why = format!("{effect} may have run, and nobody is told");
                        return broken(5, effect.seq, why);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// While a turn lives, a doubt about its work is told to its people in the same step.
fn doubts_are_told(evidence: &Evidence<'_>) -> Verdict {
    let mut working: BTreeMap<EffectId, TurnId> = BTreeMap::new();
    for line in &evidence.journal {
        let tells = |r: &Record| matches!(r, Record::Queued { .. });
        let told = line.records.iter().any(tells);
        for record in &line.records {
            match record {
                Record::Intended(effect) => working.extend(effect.turn().map(|t| (effect.id, t))),
                Record::TurnEnded { turn, .. } => working.retain(|_, of| Some(*of) != *turn),
                Record::Doubted { effect, .. } if working.contains_key(effect) && !told => {
                    return broken(5, line.seq, format!("{effect} is in doubt, nobody is told"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Law 6: each intent ends once; late or duplicate outcomes change nothing.
pub fn law_06_each_intent_ends_once(evidence: &Evidence<'_>) -> Verdict {
    let mut open: BTreeSet<EffectId> = BTreeSet::new();
    let mut ended: BTreeSet<EffectId> = BTreeSet::new();
    for (seq, record) in records(&evidence.journal) {
        match record {
            Record::Intended(effect) if ended.contains(&effect.id) => {
                return broken(6, seq, format!("{} goes on after its end", effect.id));
            }
            Record::Intended(effect) => drop(open.insert(effect.id)),
            Record::Postponed { effect, .. } if !open.contains(effect) => {
                return broken(6, seq, format!("{effect} is not open and is postponed"));
            }
            Record::Answered { effect, .. }
            | Record::Settled { effect, .. }
            | Record::Doubted { effect, .. } => {
                if !open.remove(effect) {
                    return broken(6, seq, format!("{effect} is not open and ends"));
                }
                ended.insert(*effect);
            }
            _ => {}
        }
    }
    if let Some(effect) = open.first() {
        return broken(6, effect.seq, format!("{effect} never ends"));
    }
    stale_outcomes(evidence)
}

/// An outcome of a try that is not being waited for leaves no record.
fn stale_outcomes(evidence: &Evidence<'_>) -> Verdict {
    let mut lines = Lines::default();
    let mut waited: BTreeMap<EffectId, Attempt> = BTreeMap::new();
    for event in &evidence.story.events {
        lines.follow(event);
        match event {
            Event::Stepped(step) => {
                let line = &step.line;
                if let Input::Finish {
                    effect, attempt, ..
                } = &line.input
                    && waited.get(effect) != Some(attempt)
                    && !line.records.is_empty()
                {
                    let why = format!("a stale outcome of {effect} left records");
                    return broken(6, line.seq, why);
                }
                line.records.iter().for_each(|r| wait(&mut waited, r));
            }
            Event::Crashed { .. } => {
                waited.clear();
                let kept = lines.iter().flat_map(|line| &line.records);
                kept.for_each(|record| wait(&mut waited, record));
            }
            _ => {}
        }
    }
    Ok(())
}

fn wait(waited: &mut BTreeMap<EffectId, Attempt>, record: &Record) {
    match record {
        Record::Booted { .. } => waited.clear(),
        Record::Intended(effect) => drop(waited.insert(effect.id, effect.attempt)),
        Record::Postponed { effect, .. }
        | Record::Answered { effect, .. }
        | Record::Settled { effect, .. }
        | Record::Doubted { effect, .. } => drop(waited.remove(effect)),
        _ => {}
    }
}

/// Law 19, as far as a world can show it: the codec reads from a response what the model meant, and
/// that does not depend on where the bytes were cut. (The codecs' own property tests do the rest.)
pub fn law_19_chunks_mean_nothing(evidence: &Evidence<'_>) -> Verdict {
    for event in &evidence.story.events {
        let Event::Modelled(modelled) = event else {
            continue;
        };
        let Some(Outcome::Model(heard)) = &modelled.heard else {
            continue;
        };
        if let Some(meant) = &modelled.meant
            && heard.as_ref() != Ok(meant)
        {
            let why = format!("meant was {meant:?}, heard {heard:?}");
            return broken(19, modelled.effect.seq, why);
        }
        let whole = modelled.chunks.concat();
        for size in [whole.len().max(1), 3] {
            let chunks: Vec<Vec<u8>> = whole.chunks(size).map(<[u8]>::to_vec).collect();
            if wire::read(&modelled.prompt, modelled.status, &chunks) != *heard {
                let why = format!("{} reads differently when cut elsewhere", modelled.effect);
                return broken(19, modelled.effect.seq, why);
            }
        }
    }
    Ok(())
}

/// Law 20: when faults stop, the world is quiet within bounded virtual time, and nothing is open.
/// Whoever comes is shown at once what waited for somebody to be there.
pub fn law_20_quiet_in_the_end(evidence: &Evidence<'_>) -> Verdict {
    nobody_comes_in_vain(evidence)?;
    match evidence.story.events.last() {
        Some(Event::Ended { quiet: true, .. }) => Ok(()),
        Some(Event::Ended { at, deadline, .. }) => {
            let why = format!(
                "still not quiet at {} ms; waits for {deadline:?}",
                at.as_ms()
            );
            broken(20, evidence.journal.last().map(|line| line.seq), why)
        }
        other => broken(20, None, format!("ended with {other:?}")),
    }
}

/// Once nothing more comes of somebody's being there, nothing waits for that.
fn nobody_comes_in_vain(evidence: &Evidence<'_>) -> Verdict {
    let mut lines = Lines::default();
    let mut waiting: BTreeMap<EffectId, String> = BTreeMap::new();
    let mut origins: BTreeMap<EffectId, String> = BTreeMap::new();
    for event in &evidence.story.events {
        lines.follow(event);
        match event {
            Event::Stepped(step) => {
                let line = &step.line;
                for record in &line.records {
                    wait_for_people(&mut waiting, &mut origins, record);
                }
                if let Input::Present { origin } = &line.input
                    && line.records.is_empty()
                    && let Some((effect, _)) = waiting.iter().find(|(_, of)| *of == origin)
                {
                    let why = format!("{origin} is there, and {effect} still waits for that");
                    return broken(20, line.seq, why);
                }
            }
            Event::Crashed { .. } => {
                waiting.clear();
                let kept = lines.iter().flat_map(|line| &line.records);
                kept.for_each(|record| wait_for_people(&mut waiting, &mut origins, record));
            }
            _ => {}
        }
    }
    Ok(())
}

fn wait_for_people(
    waiting: &mut BTreeMap<EffectId, String>,
    origins: &mut BTreeMap<EffectId, String>,
    record: &Record,
) {
    match record {
        Record::Intended(effect) => {
            waiting.remove(&effect.id);
            if let Op::Deliver(delivery) = &effect.op {
                origins.insert(effect.id, delivery.origin.clone());
            }
        }
        Record::Postponed {
            effect,
            outcome: Outcome::Deliver(Err(DeliverFault::Absent)),
            ..
        } => waiting.extend(origins.get(effect).map(|origin| (*effect, origin.clone()))),
        Record::Settled { effect, .. } => drop(waiting.remove(effect)),
        _ => {}
    }
}

/// Law 22, as far as the core is concerned: what it refuses from a stranger is in no record, no
/// prompt, and before nobody's eyes.
pub fn law_22_canary_never_seen(evidence: &Evidence<'_>) -> Verdict {
    for line in &evidence.journal {
        if serde_json::to_string(line)
            .unwrap_or_default()
            .contains(CANARY)
        {
            return broken(22, line.seq, "the canary is in the journal");
        }
    }
    for event in &evidence.story.events {
        let seen = match event {
            Event::Started {
                prompt: Some(prompt),
                ..
            } => prompt.messages.iter().any(|entry| match &entry.message {
                Message::User { text } | Message::Assistant { text, .. } => text.contains(CANARY),
                Message::Tool { content, .. } => content.contains(CANARY),
            }),
            Event::Shown { delivery, .. } => delivery
                .body
                .text()
                .is_some_and(|text| text.contains(CANARY)),
            Event::Declined { refusal, .. } => refusal.reason().contains(CANARY),
            _ => false,
        };
        if seen {
            return broken(22, None, format!("the canary was seen: {event:?}"));
        }
    }
    Ok(())
}
