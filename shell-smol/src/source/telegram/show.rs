//! Showing: deliveries, the typing indicator, and the reply as it grows.
//!
//! A reply that was shown while it grew takes the place of what was shown. Where the API refuses
//! that, or the formatting, the fault says so and the core tries again in another way.

use super::api::Fault;
use super::format;
use super::front::Front;
use super::question::{self, no_buttons};
use super::update::Place;
use crate::effect::deliver::Showing;
use frankenstein::ParseMode;
use frankenstein::methods::{
    EditMessageReplyMarkupParams, EditMessageTextParams, SendChatActionParams, SendDocumentParams,
    SendMessageParams, SendPhotoParams,
};
use frankenstein::types::{ChatAction, InlineKeyboardMarkup, LinkPreviewOptions, ReplyMarkup};
use openpista_core::effect::deliver::{Body, Deliver, DeliverFault, Delivered};
use openpista_core::id::ApprovalId;
use openpista_core::message::Picture;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The longest text of a message, in UTF-16 code units.
const MOST: usize = 4_096;
/// The largest photo that the API takes, in bytes.
const MOST_PHOTO: u64 = 10_000_000;
/// More bytes than a file may have.
const MOST_DOCUMENT: u64 = 50_000_000;
/// What stands below a text that may have been shown before.
const REPEATED: &str = "\n\n(possibly repeated)";

/// A text to be sent.
struct Text<'a> {
    words: &'a str,
    rich: bool,
    buttons: Option<InlineKeyboardMarkup>,
}

impl Front {
    /// Shows a delivery, and says what became of it.
    pub(super) async fn deliver(self: Rc<Front>, showing: Showing) {
        let delivery = &showing.delivery;
        let Some(place) = Place::of(&delivery.origin) else {
            let message = format!("{} names no chat", delivery.origin);
            return showing.done(Err(DeliverFault::Gone { message }));
        };
        let about = digest(delivery);
        // What certainly did not get through the last time is not repeated.
        let unsent = self.chat(place, |chat| chat.unsent.take());
        let unsent = unsent.filter(|(of, _)| *of == about);
        let repeated = delivery.repeated && unsent.is_none();
        let mut parts_shown = unsent.map_or(0, |(_, parts)| parts);
        let shown = match &delivery.body {
            Body::Question(question) => {
                let origin = &delivery.origin;
                let buttons = question::buttons(question, &showing.session, origin);
                let parts = question::parts(question, repeated);
                let asking = self.ask(place, &parts, &mut parts_shown, buttons, delivery.rich);
                let shown = asking.await;
                shown.map(|message| {
                    let mut asked = self.asked.borrow_mut();
                    asked.shown(question.approval, self.now(place), message);
                })
            }
            Body::Picture(picture) => {
                self.send_picture(place, picture, delivery.rich, repeated)
                    .await
            }
            body => {
                let how = (delivery.rich, repeated);
                self.say_body(place, body, &mut parts_shown, how).await
            }
        };
        if let Err(Fault::Moved(to)) = shown {
            self.found(place, to).await;
        }
        let certainly = matches!(
            shown,
            Err(Fault::RateLimited { .. } | Fault::Unsent(_) | Fault::Moved(_))
        );
        let ends = delivery
            .ends
            .iter()
            .filter(|end| end.origin == delivery.origin);
        let ends = ends.map(|end| end.key.as_str());
        self.chat(place, |chat| {
            chat.unsent = (certainly && !repeated).then_some((about, parts_shown));
            chat.ended(ends);
            if matches!(delivery.body, Body::Notice(_)) && !chat.is_busy() {
                chat.message = None;
            }
        });
        let result = shown.map(|()| Delivered);
        let result = result.map_err(|fault| deliver_fault(fault, delivery.rich));
        showing.done(result);
    }

    /// Shows a question from where it was left, and counts on what is shown of it.
    async fn ask(
        &self,
        place: Place,
        parts: &[question::Part],
        parts_shown: &mut usize,
        buttons: InlineKeyboardMarkup,
        rich: bool,
    ) -> Result<i32, Fault> {
        self.chat(place, |chat| chat.rests());
        let mut shown = 0;
        let last = parts.len().saturating_sub(1);
        for (index, part) in parts.iter().enumerate().skip(*parts_shown) {
            let text = Text {
                words: if rich { &part.html } else { &part.plain },
                rich,
                buttons: (index == last).then(|| buttons.clone()),
            };
            shown = self.send(place, text).await?;
            *parts_shown += 1;
        }
        Ok(shown)
    }

    /// A question needs no answer any more: neither do its buttons. It may be lost.
    pub(super) fn take_buttons_away(self: &Rc<Front>, approval: ApprovalId) {
        for (place, message) in self.asked.borrow_mut().take(approval) {
            let front = Rc::clone(self);
            let edit = async move { front.edit_buttons(place, message, no_buttons()).await };
            self.outgoing.push(&place.origin(), edit);
        }
    }

    /// Changes the buttons below a message. It may be lost.
    pub(super) async fn edit_buttons(
        &self,
        place: Place,
        message: i32,
        buttons: InlineKeyboardMarkup,
    ) {
        let params = EditMessageReplyMarkupParams::builder()
            .chat_id(place.chat)
            .message_id(message)
            .reply_markup(buttons)
            .build();
        let edited = self.api.run(move |api| api.edit_buttons(params)).await;
        if let Err(fault) = edited {
            tracing::debug!("telegram: buttons could not be changed: {fault:?}");
        }
    }

    /// The same for a text.
    async fn say_body(
        &self,
        place: Place,
        body: &Body,
        parts_shown: &mut usize,
        (rich, repeated): (bool, bool),
    ) -> Result<(), Fault> {
        let (mark, text) = match body {
            Body::Failure(text) => ("⚠️ ", text.as_str()),
            body => ("", body.text().unwrap_or_default()),
        };
        let grown = match body {
            Body::Reply(_) | Body::Failure(_) => self.chat(place, |chat| chat.message.take()),
            _ => None,
        };
        // Putting the same text in the place of itself repeats nothing.
        let below = match repeated && grown.is_none() {
            true => REPEATED,
            false => "",
        };
        let plain = format!("{mark}{text}");
        let pieces = format::pieces(&plain, MOST - below.len());
        // An error is shown as it is; so is what had to be cut where formatting may be open.
        let rich = rich && pieces.len() == 1 && !matches!(body, Body::Failure(_));
        let mut grown = grown;
        for piece in pieces.into_iter().skip(*parts_shown) {
            let piece = format!("{piece}{below}");
            let html = rich.then(|| format::html(&piece));
            let words = html.as_deref().unwrap_or(&piece);
            if let Some(message) = grown.take() {
                match self.edit(place, message, words, rich).await {
                    Ok(()) => {
                        *parts_shown += 1;
                        continue;
                    }
                    // It is not there any more: the text is sent anew.
                    Err(Fault::Fixed) => {}
                    Err(fault) => {
                        self.chat(place, |chat| chat.message = Some(message));
                        return Err(fault);
                    }
                }
            }
            let text = Text {
                words,
                rich,
                buttons: None,
            };
            self.send(place, text).await?;
            *parts_shown += 1;
        }
        Ok(())
    }

    /// Sends a picture to be seen, or as a file where the API would not have it so.
    async fn send_picture(
        &self,
        place: Place,
        picture: &Picture,
        rich: bool,
        repeated: bool,
    ) -> Result<(), Fault> {
        let place = self.now(place);
        let file = PathBuf::from(&picture.path);
        let bytes = file.metadata().map(|found| found.len());
        let told = match bytes {
            Err(_) => Some("it is not there any more"),
            Ok(MOST_DOCUMENT..) => Some("it is too large to be sent"),
            Ok(_) => None,
        };
        if let Some(why) = told {
            let words = format!("{}\n{why}", picture.describe());
            let text = Text {
                words: &words,
                rich: false,
                buttons: None,
            };
            return self.send(place, text).await.map(drop);
        }
        let note = repeated.then(|| REPEATED.trim_start());
        match rich && bytes.is_ok_and(|bytes| bytes <= MOST_PHOTO) {
            true => {
                let params = SendPhotoParams::builder()
                    .chat_id(place.chat)
                    .maybe_message_thread_id(place.thread)
                    .photo(file.clone())
                    .maybe_caption(note)
                    .build();
                let sending = self.api.run(move |api| api.send_photo(params, file));
                sending.await
            }
            false => {
                let params = SendDocumentParams::builder()
                    .chat_id(place.chat)
                    .maybe_message_thread_id(place.thread)
                    .document(file.clone())
                    .maybe_caption(note)
                    .build();
                let sending = self.api.run(move |api| api.send_document(params, file));
                sending.await
            }
        }
    }

    /// Says something of our own. It may be lost.
    pub(super) fn say(self: &Rc<Front>, place: Place, words: String) {
        let front = Rc::clone(self);
        self.outgoing.push(&place.origin(), async move {
            let text = Text {
                words: &words,
                rich: false,
                buttons: None,
            };
            if let Err(fault) = front.send(place, text).await {
                tracing::debug!("telegram: a word to {} was lost: {fault:?}", place.origin());
            }
        });
    }

    /// Shows that the bot is typing. It may be lost.
    pub(super) async fn type_in(self: Rc<Front>, place: Place) {
        let now = self.now(place);
        let params = SendChatActionParams::builder()
            .chat_id(now.chat)
            .maybe_message_thread_id(now.thread)
            .action(ChatAction::Typing)
            .build();
        let done = self.api.run(move |api| api.act(params)).await;
        self.heed(place, done.err()).await;
    }

    /// Shows how far the reply is. It may be lost.
    pub(super) async fn grow_in(self: Rc<Front>, place: Place) {
        let (text, message) = self.chat(place, |chat| (chat.shown(), chat.message));
        let Some(words) = text else {
            return;
        };
        let fault = match message {
            Some(message) => self.edit(place, message, &words, false).await.err(),
            None => {
                let text = Text {
                    words: &words,
                    rich: false,
                    buttons: None,
                };
                let sent = self.send(place, text).await;
                let sent = sent.map(|id| self.chat(place, |chat| chat.message = Some(id)));
                sent.err()
            }
        };
        if fault == Some(Fault::Fixed) {
            self.chat(place, |chat| chat.message = None);
        }
        self.heed(place, fault).await;
    }

    /// Leaves a chat alone for as long as the server asks, or follows it.
    async fn heed(&self, place: Place, fault: Option<Fault>) {
        match fault {
            Some(Fault::RateLimited { retry_after_ms }) => {
                let wait = Duration::from_millis(retry_after_ms.unwrap_or(5_000).min(600_000));
                self.chat(place, |chat| chat.wait_until(Instant::now() + wait));
            }
            Some(Fault::Moved(to)) => self.found(place, to).await,
            _ => {}
        }
    }

    async fn send(&self, place: Place, text: Text<'_>) -> Result<i32, Fault> {
        let place = self.now(place);
        let params = SendMessageParams::builder()
            .chat_id(place.chat)
            .maybe_message_thread_id(place.thread)
            .text(text.words)
            .maybe_parse_mode(text.rich.then_some(ParseMode::Html))
            .link_preview_options(LinkPreviewOptions::DISABLED)
            .maybe_reply_markup(text.buttons.map(ReplyMarkup::InlineKeyboardMarkup))
            .build();
        self.api.run(move |api| api.send(params)).await
    }

    async fn edit(&self, place: Place, message: i32, words: &str, rich: bool) -> Result<(), Fault> {
        let params = EditMessageTextParams::builder()
            .chat_id(self.now(place).chat)
            .message_id(message)
            .text(words)
            .maybe_parse_mode(rich.then_some(ParseMode::Html))
            .link_preview_options(LinkPreviewOptions::DISABLED)
            .build();
        self.api.run(move |api| api.edit(params)).await
    }
}

/// By which a delivery is known again at its next try.
fn digest(delivery: &Deliver) -> u64 {
    let mut hasher = DefaultHasher::new();
    delivery.body.text().hash(&mut hasher);
    if let Body::Picture(picture) = &delivery.body {
        picture.path.hash(&mut hasher);
    }
    if let Body::Question(question) = &delivery.body {
        question.approval.to_string().hash(&mut hasher);
    }
    for end in &delivery.ends {
        end.key.hash(&mut hasher);
    }
    hasher.finish()
}

/// What the core is told of a fault. What the API will never understand with formatting it may
/// understand without.
fn deliver_fault(fault: Fault, rich: bool) -> DeliverFault {
    match fault {
        Fault::RateLimited { retry_after_ms } => DeliverFault::RateLimited { retry_after_ms },
        Fault::Unformatted | Fault::Refused(_) if rich => DeliverFault::Unformatted,
        Fault::Unformatted => DeliverFault::Gone {
            message: "the API refuses the text".to_owned(),
        },
        Fault::Refused(message) | Fault::Gone(message) => DeliverFault::Gone { message },
        Fault::Unsent(message) | Fault::Unreachable(message) | Fault::Conflict(message) => {
            DeliverFault::Unreachable { message }
        }
        Fault::Unauthorized => DeliverFault::Unreachable {
            message: "the server does not know the bot's token".to_owned(),
        },
        Fault::Moved(_) => DeliverFault::Unreachable {
            message: "the group has become a supergroup".to_owned(),
        },
        Fault::Unchanged | Fault::Fixed => DeliverFault::Unreachable {
            message: "the message could not be changed".to_owned(),
        },
    }
}
