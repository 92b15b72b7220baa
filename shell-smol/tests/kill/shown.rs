//! What people saw of the bot, against what it was to show them.

use crate::bot_user::BotUser;
use crate::channels::Scene;
use crate::model::{CHATTER, LINES};
use crate::place::{PLACES, Place, STRANGER};
use crate::support::history::History;
use openpista_core::record::Record;
use std::collections::BTreeMap;

/// What stands below a text, or in it, that may have been shown before.
const REPEATED: &str = "(possibly repeated)";
/// How the hint begins that somebody unknown is given.
const HINT: &str = "I do not know you";
/// How a line of a long reply begins.
const LINE: &str = "let reply_";

/// What came of it, in numbers.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Texts without a mark.
    plain: usize,
    /// Those that were shown again, with one.
    marked: usize,
    /// Replies in several messages.
    long: usize,
    /// Those of them in the middle of which the daemon was killed.
    cut: usize,
    hints: usize,
}

impl Shown {
    pub(crate) fn told(&self, user: &BotUser) -> String {
        let Shown {
            plain,
            marked,
            long,
            cut,
            hints,
        } = self;
        format!(
            "{plain} texts of the bot, each in its place and in order, 0 shown again but for \
             {marked} with a mark; {long} replies in parts, killed in the middle of {cut}; {} words \
             that were not for it, 0 answered but for {hints} hints",
            user.chatter
        )
    }
}

/// Laws 1 and 12 from outside: in each place everything was shown that was queued for it, in that
/// order, and again only where it says so.
pub(crate) fn judge(history: &History, scene: &Scene, faults: &mut Vec<String>) -> Shown {
    let mut shown = Shown::default();
    for place in PLACES {
        of_place(history, scene, place, &mut shown, faults);
    }
    shown.cut = cut_replies(history);
    shown
}

fn of_place(
    history: &History,
    scene: &Scene,
    place: Place,
    shown: &mut Shown,
    faults: &mut Vec<String>,
) {
    let origin = place.origin();
    let texts = history.records().filter_map(|(_, record)| match record {
        Record::Queued {
            body, origin: to, ..
        } if *to == origin => body.text().map(bare),
        _ => None,
    });
    let queued = Texts::of(texts.map(|text| (text, false)));
    let seen = place.seen(&scene.api).into_iter().map(|sent| sent.text);
    let seen: Vec<String> = seen.filter(|text| is_final(text)).collect();
    for text in seen.iter().filter(|text| text.contains(CHATTER)) {
        faults.push(format!("{origin} was answered: {text:?}"));
    }
    let (hints, seen): (Vec<_>, Vec<_>) = seen.into_iter().partition(|t| t.starts_with(HINT));
    let strange = format!("telegram:{STRANGER}");
    if hints
        .iter()
        .any(|hint| !(place.is_group() && hint.contains(&strange)))
    {
        faults.push(format!("{origin} was given hints: {hints:?}"));
    }
    shown.hints += hints.len();
    shown.long += long_replies(&origin, &seen, faults);
    let marked = |text: &String| (bare(text), text.contains(REPEATED));
    let seen = Texts::of(seen.iter().map(marked));
    for (text, (_, count)) in &queued.counts {
        let (marked, plain) = seen.counts.get(text).copied().unwrap_or_default();
        shown.marked += marked;
        shown.plain += plain;
        if marked + plain < *count || plain > *count {
            faults.push(format!(
                "{origin} was shown {plain} times and {marked} times with a mark, not {count}: \
                 {text:?}"
            ));
        }
    }
    if queued.order != seen.order {
        let pairs = queued.order.iter().zip(&seen.order);
        let first = pairs.clone().find(|(queued, seen)| queued != seen);
        faults.push(format!(
            "{origin} was shown in another order, or more: {first:?}"
        ));
    }
}

/// Texts, each with how often it is there: with a mark, and without.
#[derive(Debug, Default)]
struct Texts {
    /// By when they first were there.
    order: Vec<String>,
    counts: BTreeMap<String, (usize, usize)>,
}

impl Texts {
    fn of(texts: impl Iterator<Item = (String, bool)>) -> Texts {
        let mut all = Texts::default();
        for (text, marked) in texts {
            if !all.counts.contains_key(&text) {
                all.order.push(text.clone());
            }
            let count = all.counts.entry(text).or_default();
            match marked {
                true => count.0 += 1,
                false => count.1 += 1,
            }
        }
        all
    }
}

/// Questions are judged by their answers, and a reply that grows has not been given.
fn is_final(text: &str) -> bool {
    !text.starts_with("🔐") && !text.ends_with(" …")
}

/// Of each long reply, all of its lines are there, in order; how many there are. Lines that are
/// there again are in a text that says so.
fn long_replies(origin: &str, seen: &[String], faults: &mut Vec<String>) -> usize {
    let mut replies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for text in seen {
        let mut again = false;
        for line in text.lines().filter_map(|line| line.strip_prefix(LINE)) {
            let (reply, rest) = line.split_once('_').unwrap_or_default();
            let number = rest.split(' ').next().unwrap_or_default();
            let numbers = replies.entry(reply).or_default();
            match numbers.contains(&number) {
                true => again = true,
                false => numbers.push(number),
            }
        }
        if again && !text.contains(REPEATED) {
            let begins: String = text.chars().take(100).collect();
            faults.push(format!("{origin} was shown lines again, of {begins:?}"));
        }
    }
    let all: Vec<String> = (0..LINES).map(|line| format!("{line:03}")).collect();
    for (reply, numbers) in &replies {
        if !numbers.iter().eq(all.iter()) {
            faults.push(format!(
                "{origin} was shown reply-{reply} with the lines {numbers:?}"
            ));
        }
    }
    replies.len()
}

/// How many replies had a kill between the showing of their first and last parts.
fn cut_replies(history: &History) -> usize {
    let mut cut = 0;
    let effects = history.effects();
    let mut lives = 0;
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, record) in history.records() {
        match record {
            Record::Booted { .. } => lives += 1,
            Record::Settled { effect, .. } => {
                let Some(life) = effects.get(effect) else {
                    continue;
                };
                let openpista_core::effect::Op::Deliver(delivery) = &life.effect.op else {
                    continue;
                };
                let text = delivery.body.text().unwrap_or_default();
                let Some((_, line)) = text.split_once(LINE) else {
                    continue;
                };
                if !delivery.origin.starts_with("telegram:") {
                    continue;
                }
                let (reply, _) = line.split_once('_').unwrap_or_default();
                let began = *first.entry(reply).or_insert(lives);
                if !delivery.ends.is_empty() && began < lives {
                    cut += 1;
                }
            }
            _ => {}
        }
    }
    cut
}

/// A text without its marks and its formatting.
fn bare(text: &str) -> String {
    let text = text.replace(REPEATED, "");
    let lines = text.lines().filter(|line| !line.starts_with("```"));
    let text = lines.collect::<Vec<_>>().join("\n").replace('`', "");
    text.trim_start_matches("⚠️").trim().to_owned()
}
