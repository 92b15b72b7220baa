//! The front end: one loop over what the core says, what people send, and the clock.
//!
//! It waits for nothing but the next thing to do. Calls of the bot API are jobs in [`Lanes`]: those
//! of one conversation in order, those of different ones at the same time. All state is of this
//! thread.

use super::api::Api;
use super::chat::{Chat, Due};
use super::intake::Intake;
use super::lanes::Lanes;
use super::poll::Word;
use super::question::Asked;
use super::update::{Content, Place, Update};
use super::{Pace, TelegramConfig};
use crate::driver::Handle;
use crate::effect::deliver::{Event, JOB_KEY};
use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::{FutureExt, future};
use openpista_core::effect::Chunk;
use openpista_core::hint::{Activity, Hint};
use openpista_core::input::Input;
use smol::LocalExecutor;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long what is on its way may take when the loop has ended.
const PARTING: Duration = Duration::from_secs(5);
/// How many conversations are shown what goes on; what is beyond waits for the reply alone.
const CHATS: usize = 4_096;

/// The front end, shared by its jobs.
pub(super) struct Front {
    pub(super) api: Api,
    pub(super) handle: Handle,
    pub(super) files_dir: PathBuf,
    pub(super) words: Sender<Word>,
    pub(super) intake: RefCell<Intake>,
    /// The messages below which a question's buttons are.
    pub(super) asked: RefCell<Asked>,
    /// What is sent.
    pub(super) outgoing: Lanes,
    /// What is taken in: a conversation's messages wait for its files.
    pub(super) incoming: Lanes,
    pace: Pace,
    chats: RefCell<BTreeMap<Place, Chat>>,
    /// The groups that were found to be supergroups by now, each with its new number.
    moved: RefCell<BTreeMap<i64, i64>>,
}

/// One thing to react to.
enum Happening {
    Event(Event),
    Update(Update),
    Due,
    Over,
}

impl Front {
    /// Serves until the events end. Blocks.
    pub(super) fn run(
        api: Api,
        config: TelegramConfig,
        handle: Handle,
        words: Sender<Word>,
        events: Receiver<Event>,
        updates: Receiver<Update>,
    ) {
        let executor = Rc::new(LocalExecutor::new());
        let front = Rc::new(Front {
            api,
            handle,
            files_dir: config.files_dir,
            words,
            intake: RefCell::default(),
            asked: RefCell::default(),
            outgoing: Lanes::new(Rc::clone(&executor)),
            incoming: Lanes::new(Rc::clone(&executor)),
            pace: config.pace,
            chats: RefCell::default(),
            moved: RefCell::default(),
        });
        smol::block_on(executor.run(front.serve(events, updates)));
    }

    async fn serve(self: Rc<Front>, events: Receiver<Event>, updates: Receiver<Update>) {
        loop {
            match self.next(&events, &updates).await {
                Happening::Event(Event::Hint(hint)) => self.hint(hint),
                Happening::Event(Event::Deliver(showing)) => {
                    let lane = showing.delivery.origin.clone();
                    let front = Rc::clone(&self);
                    self.outgoing.push(&lane, front.deliver(showing));
                }
                Happening::Update(update) => self.update(update),
                Happening::Due => self.do_what_is_due(),
                Happening::Over => break,
            }
        }
        let until = Instant::now() + PARTING;
        while !self.outgoing.all_idle() && Instant::now() < until {
            Timer::after(Duration::from_millis(20)).await;
        }
    }

    async fn next(&self, events: &Receiver<Event>, updates: &Receiver<Update>) -> Happening {
        let event = async {
            match events.recv().await {
                Ok(event) => Happening::Event(event),
                Err(_) => Happening::Over,
            }
        };
        let update = async {
            match updates.recv().await {
                Ok(update) => Happening::Update(update),
                // There are none any more.
                Err(_) => future::pending().await,
            }
        };
        let clock = self.chats.borrow().values().filter_map(Chat::next).min();
        let clock = async {
            match clock {
                Some(at) => drop(Timer::at(at).await),
                None => future::pending().await,
            }
            Happening::Due
        };
        event.or(update).or(clock).await
    }

    fn update(self: &Rc<Front>, update: Update) {
        let Update { id, content } = update;
        match content {
            Content::Message(message) => {
                if self.intake.borrow_mut().begin(id, &message) {
                    let lane = message.place.origin();
                    let front = Rc::clone(self);
                    self.incoming.push(&lane, front.message(id, message));
                }
            }
            Content::Press(press) => {
                // One at a time, so that each can be told whether it was the one that counted.
                let front = Rc::clone(self);
                self.incoming.push("presses", front.press(id, press));
            }
            Content::Moved { from, to } => {
                // What is written there waits until the core knows.
                let front = Rc::clone(self);
                self.incoming
                    .push(&to.origin(), front.move_on(id, from, to));
            }
            Content::Other => self.word(Word::Settled(id)),
        }
    }

    /// Tells the poller what became of an update.
    pub(super) fn word(&self, word: Word) {
        // It may have stopped.
        let _ = self.words.try_send(word);
    }

    fn hint(self: &Rc<Front>, hint: Hint) {
        match hint {
            Hint::Ack { origin, key } if key.starts_with(JOB_KEY) => {
                if let Some(place) = Place::of(&origin) {
                    self.chat(place, |chat| chat.job_began(key));
                }
            }
            Hint::Ack { origin, key } => self.accepted(&origin, &key),
            Hint::Answered { approval } => self.take_buttons_away(approval),
            Hint::Refuse {
                origin,
                key,
                refusal,
            } => self.refused(&origin, &key, &refusal),
            Hint::Tell { origin, key, text } => self.told(&origin, &key, &text),
            Hint::Heard { .. } => {}
            Hint::Show { name, activity, .. } => {
                let Some(place) = Place::of(&name) else {
                    return;
                };
                let mut chats = self.chats.borrow_mut();
                let Some(chat) = chats.get_mut(&place) else {
                    return;
                };
                chat.works();
                match activity {
                    Activity::Asking { .. } => chat.begin_text(),
                    Activity::Chunk(Chunk::Text(text)) => chat.grow(&text, Instant::now()),
                    _ => {}
                }
            }
        }
    }

    /// Looks at, or changes, what goes on in a conversation.
    pub(super) fn chat<T>(&self, place: Place, look: impl FnOnce(&mut Chat) -> T) -> T {
        let factor = if place.is_group() { 3 } else { 1 };
        let every = Duration::from_millis(self.pace.edit_ms * factor);
        let mut chats = self.chats.borrow_mut();
        if chats.len() >= CHATS && !chats.contains_key(&place) {
            return look(&mut Chat::new(every));
        }
        let chat = chats.entry(place).or_insert_with(|| Chat::new(every));
        let seen = look(chat);
        if chat.is_over() {
            chats.remove(&place);
        }
        seen
    }

    /// Where a conversation is now.
    pub(super) fn now(&self, place: Place) -> Place {
        match self.moved.borrow().get(&place.chat) {
            Some(&chat) => Place { chat, thread: None },
            None => place,
        }
    }

    /// A conversation is found to be elsewhere: the core is told, and what is sent goes there.
    pub(super) async fn found(&self, place: Place, chat: i64) {
        self.moved.borrow_mut().insert(place.chat, chat);
        // Messages have other numbers there.
        self.chat(place, |chat| chat.message = None);
        let input = Input::Move {
            from: place.origin(),
            to: self.now(place).origin(),
        };
        self.handle.send(input).await;
    }

    /// Shows who is typing, and what has grown.
    fn do_what_is_due(self: &Rc<Front>) {
        let now = Instant::now();
        let mut chats = self.chats.borrow_mut();
        for (&place, chat) in chats.iter_mut() {
            if chat.next().is_none_or(|at| at > now) {
                continue;
            }
            let lane = place.origin();
            if !self.outgoing.is_idle(&lane) {
                chat.put_off(now);
                continue;
            }
            let front = Rc::clone(self);
            match chat.due(now) {
                Some(Due::Typing) => self.outgoing.push(&lane, front.type_in(place)),
                Some(Due::Grown) => self.outgoing.push(&lane, front.grow_in(place)),
                None => {}
            }
        }
    }
}
