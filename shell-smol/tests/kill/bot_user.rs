//! Two people with a bot: they write, press buttons once and again, and change their minds.

use crate::chance::Chance;
use crate::channels::{Said, Scene, lock};
use crate::model::{TYPED, name};
use crate::support::bot_api::{Sent, message};
use crate::support::conversation::word;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const ONCE: &str = "Allow once";
const SESSION: &str = "Allow for this session";
const DENY: &str = "Deny";

/// Both of them.
pub(crate) struct BotUser {
    scene: Arc<Scene>,
    chance: Chance,
    update: i64,
    messages: u64,
    /// What has no answer yet, as far as they can see.
    open: BTreeMap<i64, BTreeSet<String>>,
    /// The messages that they have looked at.
    seen: BTreeSet<i64>,
    /// The questions that they have pressed a button of, as they were.
    pressed: Vec<Sent>,
    /// Each press by its update: about which command, with which button.
    pub(crate) presses: BTreeMap<i64, (String, &'static str)>,
}

impl BotUser {
    /// The people, and their private chats.
    pub(crate) const CHATS: [i64; 2] = [42, 43];

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
        }
    }

    /// Goes on until it is over.
    pub(crate) fn live(&mut self) {
        while !self.scene.is_over() {
            for chat in Self::CHATS {
                self.look(chat);
                if self.scene.is_going() && self.chance.one_in(3) {
                    self.write(chat);
                }
            }
            if self.scene.is_going() && self.chance.one_in(12) {
                self.press_late();
            }
            std::thread::sleep(Duration::from_millis(5) + self.chance.up_to_ms(40));
        }
    }

    /// Reads what the bot has said, and answers its questions, unless they wait for another time.
    fn look(&mut self, chat: i64) {
        for sent in self.scene.api.said(chat) {
            if self.seen.contains(&sent.id) {
                continue;
            }
            if sent.buttons.iter().any(|(label, _)| label == ONCE) {
                if self.scene.is_going() && self.chance.one_in(4) {
                    continue;
                }
                self.decide(&sent);
            } else if let Some(open) = self.open.get_mut(&chat) {
                let words = sent.text.split([' ', '.']);
                words.for_each(|word| {
                    open.remove(word);
                });
            }
            self.seen.insert(sent.id);
        }
    }

    fn decide(&mut self, question: &Sent) {
        match self.chance.below(10) {
            0..=4 => self.press(question, ONCE),
            5 => self.press(question, SESSION),
            6..=7 => self.press(question, DENY),
            8 => {
                self.press(question, DENY);
                self.press(question, ONCE);
            }
            _ => self.say(question.chat, "/stop".to_owned()),
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
        let word = word(&question.text).expect("a question about a command of ours");
        let said = if label == DENY { Said::No } else { Said::Yes };
        self.scene.will_say(word.clone(), said);
        self.update += 1;
        self.presses.insert(self.update, (word, label));
        self.scene
            .api
            .press(self.update, question.chat, question, label);
    }

    fn write(&mut self, chat: i64) {
        if self.open.get(&chat).is_some_and(|open| open.len() >= 4) {
            if self.chance.one_in(20) {
                self.say(chat, "/stop".to_owned());
            }
            return;
        }
        match self.chance.below(40) {
            0 => self.say(chat, "/stop".to_owned()),
            1 => self.say(chat, "/status".to_owned()),
            2 => self.say(chat, "/new".to_owned()),
            3..=5 => {
                let (first, second) = (self.text(), self.text());
                let updates = [self.message(chat, first), self.message(chat, second)];
                self.scene.api.push_all(updates.into_iter().rev());
            }
            6..=8 => {
                let text = self.text();
                let update = self.message(chat, text);
                self.scene.api.push_all([update.clone(), update]);
            }
            _ => {
                let text = self.text();
                self.say(chat, text);
            }
        }
    }

    fn say(&mut self, chat: i64, text: String) {
        let update = self.message(chat, text);
        self.scene.api.push(update);
    }

    fn text(&mut self) -> String {
        self.messages += 1;
        let number = self.messages;
        match self.chance.one_in(5) {
            true => format!("{TYPED}echo typed-{number} >> ledger"),
            false => format!("t{number} rounds {}", self.chance.below(3)),
        }
    }

    fn message(&mut self, chat: i64, text: String) -> Value {
        self.update += 1;
        let update = json!({ "update_id": self.update, "message": message(chat, &text) });
        let open = self.open.entry(chat).or_default();
        match text.as_str() {
            "/stop" | "/new" => open.clear(),
            "/status" => {}
            text => {
                open.insert(name(text));
            }
        }
        lock(&self.scene.pushed).insert(self.update, (chat, text));
        self.scene.written.fetch_add(1, Ordering::SeqCst);
        update
    }
}
