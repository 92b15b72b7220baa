//! Taking in what people send: messages, their files, and presses of buttons.
//!
//! A message is settled when the core has said what became of it: accepted and durable, or turned
//! away. Whether somebody is known is for the core to say as well, so it is asked before a file is
//! fetched for them, or a word is said.

use super::api::Fault;
use super::files;
use super::front::Front;
use super::poll::Word;
use super::question;
use super::update::{Attachment, File, Message, Place, Press};
use async_io::Timer;
use frankenstein::methods::AnswerCallbackQueryParams;
use futures_lite::FutureExt;
use openpista_core::input::{Arrival, Decision, Input};
use openpista_core::record::Answer;
use openpista_core::refusal::Refusal;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long the core may take to say whether somebody is known.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a file is asked for, and the wait in between.
const TRIES: u64 = 3;
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MAX_MS: u64 = 30_000;
/// How often a stranger is given the hint.
const HINT: Duration = Duration::from_secs(3_600);
/// How many strangers are remembered; while they are that many, others get no hint.
const STRANGERS: usize = 256;

/// What is being taken in.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pending: BTreeMap<i64, Pending>,
    /// When each stranger had the hint.
    strangers: BTreeMap<u64, Instant>,
}

/// A message that the core has not settled.
#[derive(Debug)]
struct Pending {
    place: Place,
    user: u64,
    /// It has not been handed over yet.
    held: bool,
    /// The acknowledgement that comes next is of an order, and begins no turn.
    told: bool,
}

impl Intake {
    /// Takes note of a message. False when it is in hand already.
    pub(super) fn begin(&mut self, id: i64, message: &Message) -> bool {
        if self.pending.get(&id).is_some_and(|pending| pending.held) {
            return false;
        }
        let pending = Pending {
            place: message.place,
            user: message.user,
            held: true,
            told: false,
        };
        self.pending.insert(id, pending);
        true
    }

    fn of(&mut self, origin: &str, key: &str) -> Option<(i64, &mut Pending)> {
        let id = key.parse().ok()?;
        let pending = self.pending.get_mut(&id)?;
        (pending.place.origin() == origin).then_some((id, pending))
    }

    /// Is the hint due to this stranger?
    fn owes_hint(&mut self, user: u64, now: Instant) -> bool {
        self.strangers
            .retain(|_, told| now.saturating_duration_since(*told) < HINT);
        let new = self.strangers.len() < STRANGERS && !self.strangers.contains_key(&user);
        if new {
            self.strangers.insert(user, now);
        }
        new
    }
}

impl Front {
    /// Hands a message over to the core, with its file fetched.
    pub(super) async fn message(self: Rc<Front>, id: i64, message: Message) {
        let mut text = message.text.clone();
        if let Some(attachment) = &message.attachment {
            let Some(known) = self.is_known(id, &message).await else {
                return;
            };
            let taken = match attachment {
                // Nothing is fetched or said for a stranger: the core turns the message away.
                _ if !known => Ok("[file]".to_owned()),
                Attachment::Unsupported(what) => Err(format!(
                    "{what} are not taken here. Send a text, a photo or a document."
                )),
                Attachment::File(file) => self.fetch(id, message.place, file).await,
            };
            match taken {
                Ok(note) if text.is_empty() => text = note,
                Ok(note) => text = format!("{text}\n{note}"),
                Err(sentence) => {
                    self.say(message.place, sentence);
                    self.intake.borrow_mut().pending.remove(&id);
                    return self.word(Word::Settled(id));
                }
            }
        }
        if let Some(pending) = self.intake.borrow_mut().pending.get_mut(&id) {
            pending.held = false;
        }
        self.handle.send(arrival(id, &message, text)).await;
    }

    /// Is this somebody whom the core listens to? When it does not say, the message is put off.
    async fn is_known(&self, id: i64, message: &Message) -> Option<bool> {
        let peer = super::peer(message.user);
        let asked = self.handle.may_speak(&peer);
        let late = async {
            Timer::after(ANSWER).await;
            None
        };
        let known = asked.or(late).await;
        if known.is_none() {
            self.intake.borrow_mut().pending.remove(&id);
            self.word(Word::Again(id));
        }
        known
    }

    /// Fetches a file into the conversation's folder. The note for the model, or a sentence for
    /// the person.
    async fn fetch(&self, id: i64, place: Place, file: &File) -> Result<String, String> {
        let too_large = "The file is too large: a bot can take at most 20 MB.";
        if files::is_too_large(file) {
            return Err(too_large.to_owned());
        }
        let bytes = match self.download(&file.id).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(too_large.to_owned()),
            Err(Fault::Refused(said)) if said.to_lowercase().contains("too big") => {
                return Err(too_large.to_owned());
            }
            Err(fault) => {
                tracing::warn!("telegram: a file could not be fetched: {fault:?}");
                return Err("The file could not be fetched. Send it again.".to_owned());
            }
        };
        let (dir, file) = (self.files_dir.clone(), file.clone());
        let kept = blocking::unblock(move || {
            let path = files::keep(&dir, place, id, &file.name, &bytes)?;
            Ok(files::note(&path, bytes.len(), &file.kind))
        });
        kept.await.map_err(|error: String| {
            tracing::error!("telegram: {error}; free some space, or let this user write there");
            "The file could not be stored here. Tell whoever runs this.".to_owned()
        })
    }

    async fn download(&self, file: &str) -> Result<Option<Vec<u8>>, Fault> {
        let mut tries = 1;
        loop {
            let file = file.to_owned();
            let fetched = self.api.run(move |api| api.fetch(&file, files::MOST)).await;
            let wait = match &fetched {
                Err(Fault::RateLimited { retry_after_ms }) => {
                    Duration::from_millis(retry_after_ms.unwrap_or(1_000).min(RETRY_MAX_MS))
                }
                Err(Fault::Unsent(_) | Fault::Unreachable(_)) => RETRY,
                _ => return fetched,
            };
            if tries >= TRIES {
                return fetched;
            }
            tries += 1;
            Timer::after(wait).await;
        }
    }

    /// The core has taken a message, or has answered an order.
    pub(super) fn accepted(&self, origin: &str, key: &str) {
        let mut intake = self.intake.borrow_mut();
        let Some((id, pending)) = intake.of(origin, key) else {
            return;
        };
        if pending.held {
            return;
        }
        let (place, told) = (pending.place, pending.told);
        intake.pending.remove(&id);
        drop(intake);
        if !told {
            self.chat(place, |chat| chat.accepted(id));
        }
        self.word(Word::Settled(id));
    }

    /// The core answers an order about itself.
    pub(super) fn told(self: &Rc<Front>, origin: &str, key: &str, text: &str) {
        let mut intake = self.intake.borrow_mut();
        let Some((_, pending)) = intake.of(origin, key) else {
            return;
        };
        if !pending.held {
            pending.told = true;
            let place = pending.place;
            drop(intake);
            self.say(place, text.to_owned());
        }
    }

    /// The core has turned a message away. A stranger is told how to become known.
    pub(super) fn refused(self: &Rc<Front>, origin: &str, key: &str, refusal: &Refusal) {
        let mut intake = self.intake.borrow_mut();
        let Some((id, Pending { place, user, .. })) = intake.of(origin, key) else {
            return;
        };
        let (place, user) = (*place, *user);
        intake.pending.remove(&id);
        let sentence = match refusal {
            // Of what comes from here only strangers are refused for what they are.
            Refusal::Peer(_) => intake
                .owes_hint(user, Instant::now())
                .then(|| hint(&super::peer(user))),
            refusal => Some(format!("⚠️ {refusal}")),
        };
        drop(intake);
        if let Some(sentence) = sentence {
            self.say(place, sentence);
        }
        self.word(Word::Settled(id));
    }

    /// Tells the core that a group has become a supergroup.
    pub(super) async fn move_on(self: Rc<Front>, id: i64, from: Place, to: Place) {
        let (from, to) = (from.origin(), to.origin());
        self.handle.send(Input::Move { from, to }).await;
        // Whatever it is asked after that, it answers when that is durable.
        if self.handle.may_speak("").await.is_some() {
            self.word(Word::Settled(id));
        }
    }

    /// Passes on what a press of a button says, and tells the person what came of it.
    pub(super) async fn press(self: Rc<Front>, id: i64, press: Press) {
        let came_of_it = self.decide(&press).await;
        let (text, buttons) = match came_of_it {
            CameOfIt::Decided(decision) => {
                let what = match decision {
                    Decision::Allow => "Allowed once.",
                    Decision::AllowSession => "Allowed for this session.",
                    Decision::Deny => "Denied.",
                };
                (what, Some(question::decided(decision, &press.name)))
            }
            CameOfIt::NotTheirs => ("You may not answer this.", None),
            CameOfIt::Late => (
                "This was answered already or has expired.",
                // What the buttons have become stays.
                (press.live && question::pressed(&press.data).is_some()).then(question::no_buttons),
            ),
        };
        let params = AnswerCallbackQueryParams::builder()
            .callback_query_id(press.query)
            .text(text)
            .build();
        let answered = self.api.run(move |api| api.answer(params)).await;
        if let Err(fault) = answered {
            tracing::debug!("telegram: a press could not be answered: {fault:?}");
        }
        if let (Some((place, message)), Some(buttons)) = (press.message, buttons) {
            self.edit_buttons(place, message, buttons).await;
        }
        self.word(Word::Settled(id));
    }

    async fn decide(&self, press: &Press) -> CameOfIt {
        let Some((approval, decision, session)) = question::pressed(&press.data) else {
            return CameOfIt::Late;
        };
        let session = match (session, press.message) {
            (Some(session), _) => session.to_owned(),
            (None, Some((place, _))) => place.origin(),
            (None, None) => String::new(),
        };
        // What becomes of the buttons that were pressed is shown here.
        if let Some((place, message)) = press.message {
            self.asked.borrow_mut().forget(place, message);
        }
        let by = super::peer(press.user);
        match self.handle.decide(approval, decision, &by).await {
            Some(Answer::Expired) => CameOfIt::Late,
            Some(_) => CameOfIt::Decided(decision),
            None => {
                let open = self.handle.questions(&session).await;
                if !open.iter().any(|question| question.approval == approval) {
                    return CameOfIt::Late;
                }
                if let Some((place, message)) = press.message {
                    self.asked.borrow_mut().shown(approval, place, message);
                }
                CameOfIt::NotTheirs
            }
        }
    }
}

/// What a press did.
enum CameOfIt {
    /// It answered the question.
    Decided(Decision),
    /// This person has no right to.
    NotTheirs,
    /// There was nothing to answer any more.
    Late,
}

fn arrival(id: i64, message: &Message, text: String) -> Input {
    Input::Arrive(Arrival {
        origin: message.place.origin(),
        key: id.to_string(),
        peer: super::peer(message.user),
        session: None,
        text,
        // Updates are numbered anew, anywhere, after a quiet week or with another token: the number
        // is a key, and says nothing about what came before it.
        serial: None,
    })
}

fn hint(peer: &str) -> String {
    format!(
        "I do not know you: you are {peer} to me. Whoever runs me can let you in, by `/allow {peer}` \
         in a chat that I know, or by `openpistacrab allow {peer}` on the machine."
    )
}

#[cfg(test)]
mod tests {
    use super::{HINT, Intake, STRANGERS};
    use std::time::Instant;

    #[test]
    fn a_stranger_gets_one_hint_an_hour_and_their_number_is_bounded() {
        let (mut intake, now) = (Intake::default(), Instant::now());
        assert!(intake.owes_hint(1, now));
        assert!(!intake.owes_hint(1, now));
        let told = (2..10_000).filter(|user| intake.owes_hint(*user, now));
        assert_eq!(told.count(), STRANGERS - 1);
        assert!(intake.owes_hint(1, now + HINT));
    }
}
