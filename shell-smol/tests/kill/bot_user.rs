//! The people around a bot: they write, alone with it or in their group, press buttons once and
//! again, and change their minds. In the group they speak to each other as well, and somebody is
//! there whom the bot does not know.

use crate::chance::Chance;
use crate::channels::{Said, Scene, Written, lock};
use crate::model::{CHATTER, JOB, LONG, TYPED, name, subject};
use crate::place::{PLACES, Place, STRANGER, To};
use crate::support::bot_api::Sent;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ONCE: &str = "Allow once";
const SESSION: &str = "Allow for this session";
const DENY: &str = "Deny";
/// How many jobs they want at the most: all of them are due at once.
const JOBS: usize = 5;

/// All of them.
pub(crate) struct BotUser {
    scene: Arc<Scene>,
    chance: Chance,
    update: i64,
    messages: u64,
    jobs: usize,
    /// What has no answer yet, as far as they can see.
    open: BTreeMap<Place, BTreeSet<String>>,
    /// The messages that they have looked at.
    seen: BTreeSet<i64>,
    /// The questions that they have pressed a button of, as they were.
    pressed: Vec<Sent>,
    /// Each press by its update: about which command, with which button.
    pub(crate) presses: BTreeMap<i64, (String, &'static str)>,
    /// The presses of somebody whom nobody let in.
    pub(crate) strange: BTreeSet<i64>,
    /// How much was said in the group that was not for the bot.
    pub(crate) chatter: usize,
}

impl BotUser {
    pub(crate) fn new(scene: Arc<Scene>, chance: Chance) -> BotUser {
        BotUser {
            scene,
            chance,
            update: 1_000,
            messages: 0,
            open: BTreeMap::new(),
            seen: BTreeSet::new(),
            pressed: Vec::new(),
            presses: BTreeMap::new(),
            strange: BTreeSet::new(),
            jobs: 0,
            chatter: 0,
        }
    }

    /// Goes on until it is over.
    pub(crate) fn live(&mut self) {
        while !self.scene.is_over() {
            for place in PLACES {
                self.look(place);
                if self.scene.is_going() && self.chance.one_in(5) {
                    self.write(place);
                }
            }
            if self.scene.is_going() && self.chance.one_in(12) {
                self.press_late();
            }
            std::thread::sleep(Duration::from_millis(5) + self.chance.up_to_ms(40));
        }
    }

    /// Reads what the bot has said, and answers its questions, unless they wait for another time.
    fn look(&mut self, place: Place) {
        for sent in place.said(&self.scene.api) {
            if self.seen.contains(&sent.id) {
                continue;
            }
            if sent.buttons.iter().any(|(label, _)| label == ONCE) {
                if self.scene.is_going() && self.chance.one_in(4) {
                    continue;
                }
                self.decide(&sent);
            } else if let Some(open) = self.open.get_mut(&place) {
                let words = sent.text.split([' ', '.']);
                words.for_each(|word| {
                    open.remove(word);
                });
            }
            self.seen.insert(sent.id);
        }
    }

    fn decide(&mut self, question: &Sent) {
        let place = Place::of(question);
        if place.is_group() && self.chance.one_in(6) {
            self.press_strangely(question);
        }
        match self.chance.below(10) {
            0..=4 => self.press(question, ONCE),
            5 => self.press(question, SESSION),
            6..=7 => self.press(question, DENY),
            8 => {
                self.press(question, DENY);
                self.press(question, ONCE);
            }
            _ => self.say(place, "/stop".to_owned()),
        }
        self.pressed.push(question.clone());
    }

    /// Presses a button of a question that was answered, or withdrawn, or never will be.
    fn press_late(&mut self) {
        if self.pressed.is_empty() {
            return;
        }
        let from = self.pressed.len().saturating_sub(6);
        let at = from + self.chance.below((self.pressed.len() - from) as u64) as usize;
        let question = self.pressed[at].clone();
        let label = [ONCE, SESSION, DENY][self.chance.below(3) as usize];
        self.press(&question, label);
    }

    fn press(&mut self, question: &Sent, label: &'static str) {
        let word = subject(&question.text).expect("a question about a command or job of ours");
        let said = if label == DENY { Said::No } else { Said::Yes };
        self.scene.will_say(word.clone(), said);
        let update = self.update();
        self.presses.insert(update, (word, label));
        let by = self.anybody(Place::of(question));
        self.scene.api.press(update, by, question, label);
    }

    /// Somebody presses whose answer must not count.
    fn press_strangely(&mut self, question: &Sent) {
        let update = self.update();
        self.strange.insert(update);
        self.scene.api.press(update, STRANGER, question, ONCE);
    }

    fn write(&mut self, place: Place) {
        if place.is_group() && self.chance.one_in(3) {
            return self.chat(place);
        }
        if self.open.get(&place).is_some_and(|open| open.len() >= 4) {
            if self.chance.one_in(20) {
                self.say(place, "/stop".to_owned());
            }
            return;
        }
        match self.chance.below(40) {
            0 => self.say(place, "/stop".to_owned()),
            1 => self.say(place, "/status".to_owned()),
            2 => self.say(place, "/new".to_owned()),
            3..=5 => {
                let (first, second) = (self.text(), self.text());
                let updates = [self.message(place, first), self.message(place, second)];
                self.scene.api.push_all(updates.into_iter().rev());
            }
            6..=8 => {
                let text = self.text();
                let update = self.message(place, text);
                self.scene.api.push_all([update.clone(), update]);
            }
            _ => {
                let text = self.text();
                self.say(place, text);
            }
        }
    }

    /// Says something in the group that is not for the bot, or that is of somebody unknown.
    fn chat(&mut self, place: Place) {
        let update = self.update();
        self.chatter += 1;
        let text = format!("{CHATTER} {update} of the day");
        let (by, to) = match self.chance.one_in(8) {
            true => (STRANGER, To::Mention),
            false => (self.anybody(place), To::Others),
        };
        let message = place.message(by, &text, to);
        let update = json!({ "update_id": update, "message": message });
        self.scene.api.push(update);
    }

    fn say(&mut self, place: Place, text: String) {
        let update = self.message(place, text);
        self.scene.api.push(update);
    }

    fn text(&mut self) -> String {
        self.messages += 1;
        let number = self.messages;
        match self.chance.below(20) {
            0..=3 => format!("{TYPED}echo typed-{number} >> ledger"),
            4..=6 => format!("t{number} rounds {}{LONG}", self.chance.below(2)),
            7..=8 if self.jobs < JOBS => {
                self.jobs += 1;
                format!("t{number}{JOB}")
            }
            _ => format!("t{number} rounds {}", self.chance.below(3)),
        }
    }

    fn message(&mut self, place: Place, text: String) -> Value {
        let by = self.anybody(place);
        let to = match !text.starts_with('/') && self.chance.one_in(2) {
            true => To::Reply,
            false => To::Mention,
        };
        let message = place.message(by, &text, to);
        let update = self.update();
        let open = self.open.entry(place).or_default();
        match text.as_str() {
            "/stop" | "/new" => open.clear(),
            "/status" => {}
            text => {
                open.insert(name(text));
            }
        }
        let written = Written { place, by, text };
        lock(&self.scene.pushed).insert(update, written);
        self.scene.written.fetch_add(1, Ordering::SeqCst);
        json!({ "update_id": update, "message": message })
    }

    /// One of those there who may say something to the bot.
    fn anybody(&mut self, place: Place) -> i64 {
        let people = place.people();
        people[self.chance.below(people.len() as u64) as usize]
    }

    /// The number of the next update.
    fn update(&mut self) -> i64 {
        self.update += 1;
        self.scene.updates.store(self.update, Ordering::SeqCst);
        self.update
    }
}
