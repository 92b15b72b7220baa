//! The laws about the journal and what can be made of it: 7 to 11 and 21.

use super::{Evidence, Verdict, broken};
use crate::disk::past;
use crate::seed::{Rng, fingerprint};
use crate::story::{Event, Lines};
use crate::world;
use openpista_core::Core;
use openpista_core::effect::Chunk;
use openpista_core::id::{EffectId, Seq, SessionId};
use openpista_core::input::{Boot, Input};
use openpista_core::record::Record;
use openpista_core::recover::Past;
use openpista_core::replay::{FORMAT, Header, Line, Replay, VERSION};
use openpista_core::timer::Timer;
use std::collections::{BTreeMap, BTreeSet};

/// Law 7: folding the records equals the live state, byte for byte; so does snapshot plus tail.
/// A step without records changes nothing.
pub fn law_07_folding_gives_the_live_state(evidence: &Evidence<'_>) -> Verdict {
    let mut lines = Lines::default();
    let mut snapshot: Option<Vec<u8>> = None;
    let mut tail: Vec<Past> = Vec::new();
    for event in &evidence.story.events {
        lines.follow(event);
        let (seq, live) = match event {
            Event::Restored { state, through, .. } => {
                snapshot = None;
                tail = lines.iter().map(|line| past(line)).collect();
                (*through, *state)
            }
            Event::Stepped(step) => {
                if !step.line.records.is_empty() {
                    tail.push(past(&step.line));
                }
                match step.state {
                    Some(state) => (step.line.seq, state),
                    None => continue,
                }
            }
            _ => continue,
        };
        let folded = match Core::restore(snapshot.as_deref(), std::mem::take(&mut tail)) {
            Ok(core) => core.snapshot(),
            Err(unreadable) => return broken(7, seq, unreadable.to_string()),
        };
        if fingerprint(&folded) != live {
            return broken(7, seq, "the folded state is not the live one");
        }
        snapshot = Some(folded);
    }
    Ok(())
}

/// Law 8: the same journal gives the same records, and the same world the same story.
pub fn law_08_same_journal_same_records(evidence: &Evidence<'_>) -> Verdict {
    follow(8, evidence.journal.iter())?;
    let again = world::run_with(&evidence.story.plan, evidence.story.meddling);
    if again.events == evidence.story.events {
        return Ok(());
    }
    let mut pairs = again.events.iter().zip(&evidence.story.events);
    let at = pairs.position(|(a, b)| a != b);
    broken(8, None, format!("the second run differs at event {at:?}"))
}

fn follow<'a>(law: u8, lines: impl Iterator<Item = &'a Line>) -> Verdict {
    let mut replay = Replay::new();
    for line in lines {
        if let Err(difference) = replay.follow(line) {
            return broken(law, line.seq, format!("{difference:?}"));
        }
    }
    Ok(())
}

/// Law 9: every durable prefix restores, and a start from it gets past its recovery. (That all the
/// laws hold from there on is what [`crate::exhaustive`] shows.)
pub fn law_09_every_prefix_restores(evidence: &Evidence<'_>) -> Verdict {
    let rules = &evidence.story.plan.rules;
    let mut luck = Rng::keyed(rules.seed, &[9]);
    let length = evidence.journal.len() as u64;
    let sampled = (0..8).map(|_| luck.below(length + 1) as usize);
    for kept in sampled.chain([evidence.journal.len()]) {
        let prefix = &evidence.journal[..kept];
        let last = prefix.last().map(|line| line.seq);
        let mut core = match Core::restore(None, prefix.iter().map(past)) {
            Ok(core) => core,
            Err(unreadable) => return broken(9, unreadable.seq, unreadable.to_string()),
        };
        let at = core.state().at();
        let boot = Boot {
            settings: rules.settings.clone(),
            unix_ms: 0,
        };
        if core
            .step(at, Input::Boot(Box::new(boot)))
            .records
            .is_empty()
        {
            return broken(9, last, "a start leaves no record");
        }
        let mut patience = 1_000;
        while let Some((due, timer @ Timer::Recover(effect))) = core.deadline() {
            patience -= 1;
            if core.step(due, Input::Tick(timer)).records.is_empty() || patience == 0 {
                return broken(9, last, format!("{effect} is never recovered"));
            }
        }
    }
    Ok(())
}

/// Law 10: dropping, repeating or shuffling `Progress` leaves the records unchanged.
pub fn law_10_progress_changes_nothing(evidence: &Evidence<'_>) -> Verdict {
    for event in &evidence.story.events {
        if let Event::Stepped(step) = event
            && matches!(step.line.input, Input::Progress { .. })
            && !step.line.records.is_empty()
        {
            return broken(10, step.line.seq, "progress left records");
        }
    }
    // The journal holds no progress at all. With any progress put in, it must come out the same.
    let mut luck = Rng::keyed(evidence.story.plan.rules.seed, &[10]);
    let mut seen: Vec<EffectId> = vec![EffectId {
        seq: Seq(1),
        slot: 0,
    }];
    let mut core = Core::new();
    for line in &evidence.journal {
        for _ in 0..luck.below(3) {
            let progress = Input::Progress {
                effect: *luck.pick(&seen),
                chunk: Chunk::Text("…".into()),
            };
            let _ = core.step(line.at, progress);
        }
        let step = core.step(line.at, line.input.clone());
        if step.records != line.records {
            return broken(
                10,
                line.seq,
                "progress before this step changed its records",
            );
        }
        seen.extend(step.records.iter().filter_map(|record| match record {
            Record::Intended(effect) => Some(effect.id),
            _ => None,
        }));
    }
    Ok(())
}

/// Law 11: a session alone, with the steps of all others left out, replays to the same records at
/// the same positions; and no step touches two sessions. What is said in a session stays in it, also
/// when it has got another name.
pub fn law_11_sessions_are_apart(evidence: &Evidence<'_>) -> Verdict {
    let mut sessions = BTreeSet::new();
    let mut names = BTreeMap::new();
    for line in &evidence.journal {
        sessions.extend(line.session);
        if let Err(why) = in_its_session(&mut names, line) {
            return broken(11, line.seq, why);
        }
        let mut touched = line.records.iter().filter_map(Record::session);
        if touched.any(|session| Some(session) != line.session) {
            return broken(11, line.seq, "a step touches another session than its own");
        }
    }
    for session in sessions {
        let own = |line: &&Line| line.session.is_none_or(|of| of == session);
        follow(11, evidence.journal.iter().filter(own))?;
    }
    Ok(())
}

/// A message is in the session of its name, the one that was opened under it or has got it later.
fn in_its_session(names: &mut BTreeMap<String, SessionId>, line: &Line) -> Result<(), String> {
    for record in &line.records {
        match (record, &line.input) {
            (Record::Opened { session, name: to } | Record::Moved { session, to, .. }, _) => {
                let other = names.insert(to.clone(), *session);
                if other.is_some() {
                    return Err(format!("{to} is the name of two sessions"));
                }
            }
            (Record::Accepted(accepted), Input::Arrive(arrival)) => {
                let name = arrival.session.as_ref().unwrap_or(&arrival.origin);
                if names.get(name) != Some(&accepted.session) {
                    return Err(format!("what was said in {name} is not in its session"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Law 21: what was written restores. An export, read back as text, folds to the same state. (Old
/// formats are held by the fixtures.)
pub fn law_21_exports_restore(evidence: &Evidence<'_>) -> Verdict {
    let text = export(&evidence.journal);
    let core = match import(&text) {
        Ok(core) => core,
        Err(why) => return broken(21, None, why),
    };
    match Core::restore(None, evidence.journal.iter().map(past)) {
        Ok(direct) if direct.snapshot() == core.snapshot() => Ok(()),
        Ok(_) => broken(
            21,
            None,
            "an export folds to another state than its journal",
        ),
        Err(unreadable) => broken(21, unreadable.seq, unreadable.to_string()),
    }
}

/// A journal as JSON Lines.
pub fn export(journal: &[Line]) -> String {
    let header = Header {
        format: FORMAT.into(),
        version: VERSION,
        began_unix_ms: 1_700_000_000_000,
        session: None,
        redacted: false,
    };
    let mut text = serde_json::to_string(&header).unwrap_or_default();
    for line in journal {
        text.push('\n');
        text += &serde_json::to_string(line).unwrap_or_default();
    }
    text.push('\n');
    text
}

/// The state that an export holds: folded, and replayed as well.
///
/// # Errors
/// What cannot be read, or differs.
pub fn import(text: &str) -> Result<Core, String> {
    let mut lines = text.lines();
    let header: Header =
        serde_json::from_str(lines.next().unwrap_or_default()).map_err(|e| e.to_string())?;
    if header.format != FORMAT || header.version > VERSION {
        return Err(format!("not an export that we know: {header:?}"));
    }
    let mut journal: Vec<Line> = Vec::new();
    for (index, line) in lines.enumerate() {
        let line = serde_json::from_str(line).map_err(|e| format!("line {}: {e}", index + 2))?;
        journal.push(line);
    }
    Core::restore(None, journal.iter().map(past)).map_err(|e| e.to_string())
}
