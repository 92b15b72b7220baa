//! A request for permission as a message with buttons, and what a button says back.
//!
//! The message shows what would run, all of it, with every character that could hide something
//! made visible. A button holds the question's identity, never its content: what is permitted is
//! what the core has asked about.

use super::format;
use super::update::Place;
use crate::terminal::clean::neutralise;
use frankenstein::types::{InlineKeyboardButton, InlineKeyboardMarkup};
use openpista_core::effect::deliver::Question;
use openpista_core::id::ApprovalId;
use openpista_core::input::Decision;
use std::collections::VecDeque;

/// The most that a button may hold, in bytes.
const DATA_BYTES: usize = 64;
/// How much of the arguments one message shows, in UTF-16 code units.
const ARGUMENTS: usize = 3_000;

/// Of so many messages it is remembered that they have buttons; of more, the oldest are forgotten,
/// and a press of theirs is told that it comes too late.
const ASKED: usize = 256;

/// The messages that have a question's buttons.
#[derive(Debug, Default)]
pub(super) struct Asked(VecDeque<(ApprovalId, Place, i32)>);

impl Asked {
    /// A message shows a question's buttons.
    pub(super) fn shown(&mut self, approval: ApprovalId, place: Place, message: i32) {
        self.0.push_back((approval, place, message));
        if self.0.len() > ASKED {
            self.0.pop_front();
        }
    }

    /// Somebody else looks after the buttons of this message.
    pub(super) fn forget(&mut self, place: Place, message: i32) {
        self.0.retain(|(_, p, m)| (*p, *m) != (place, message));
    }

    /// The messages of a question, which are then forgotten.
    pub(super) fn take(&mut self, approval: ApprovalId) -> Vec<(Place, i32)> {
        let of = self.0.iter().filter(|(of, ..)| *of == approval);
        let messages = of.map(|(_, place, message)| (*place, *message)).collect();
        self.0.retain(|(of, ..)| *of != approval);
        messages
    }
}

/// One message of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// With its formatting.
    pub(super) html: String,
    /// Without.
    pub(super) plain: String,
}

/// The messages that show a question. The buttons go below the last.
pub(super) fn parts(question: &Question, repeated: bool) -> Vec<Part> {
    let tool = neutralise(&question.tool);
    let arguments = neutralise(&question.arguments);
    let reason = neutralise(question.reason.trim());
    let minutes = question.expires_ms.div_ceil(60_000);
    let again = match repeated {
        true => " (possibly repeated)",
        false => "",
    };
    let pieces = format::pieces(&arguments, ARGUMENTS);
    let count = pieces.len();
    let part = |(index, piece): (usize, &str)| {
        let number = match count {
            1 => String::new(),
            _ => format!(" (part {} of {count})", index + 1),
        };
        let mut html = format!(
            "🔐 <b>May this run?</b>{again}{number}\n<b>{}</b>\n",
            format::escape(&tool)
        );
        format::push_code(&mut html, piece, "json");
        let mut plain = format!("🔐 May this run?{again}{number}\n{tool}\n{piece}\n");
        if index + 1 == count {
            let until = format!("No answer within {minutes} min means no.");
            html.push_str(&format!(
                "\nWhy you are asked: {}\n{until}",
                format::escape(&reason)
            ));
            plain.push_str(&format!("\nWhy you are asked: {reason}\n{until}"));
        }
        Part { html, plain }
    };
    pieces.into_iter().enumerate().map(part).collect()
}

/// The buttons below a question of `session`, shown in the conversation `origin`.
pub(super) fn buttons(question: &Question, session: &str, origin: &str) -> InlineKeyboardMarkup {
    let button = |label: &str, decision| {
        let session = Some(session).filter(|session| *session != origin);
        button(label, data(question.approval, decision, session))
    };
    keyboard(vec![
        vec![
            button("Allow once", Decision::Allow),
            button("Allow for this session", Decision::AllowSession),
        ],
        vec![button("Deny", Decision::Deny)],
    ])
}

/// What stands in the place of the buttons once a question has its answer.
pub(super) fn decided(decision: Decision, by: &str) -> InlineKeyboardMarkup {
    let what = match decision {
        Decision::Allow => "✅ Allowed once",
        Decision::AllowSession => "✅ Allowed for this session",
        Decision::Deny => "🚫 Denied",
    };
    let by: String = neutralise(by).chars().take(32).collect();
    // A press of it says nothing that we know, and is answered as one that comes too late.
    keyboard(vec![vec![button(
        &format!("{what} by {by}"),
        "over".to_owned(),
    )]])
}

/// No buttons any more.
pub(super) fn no_buttons() -> InlineKeyboardMarkup {
    keyboard(Vec::new())
}

/// Buttons below a message, row by row.
pub(super) fn keyboard(rows: Vec<Vec<InlineKeyboardButton>>) -> InlineKeyboardMarkup {
    InlineKeyboardMarkup::builder()
        .inline_keyboard(rows)
        .build()
}

fn button(label: &str, data: String) -> InlineKeyboardButton {
    let button = InlineKeyboardButton::builder().text(label);
    button.callback_data(data).build()
}

/// What a button holds: `APPROVAL:DECISION[:SESSION]`. The session is named where the conversation
/// does not tell it, as far as there is room.
fn data(approval: ApprovalId, decision: Decision, session: Option<&str>) -> String {
    let letter = match decision {
        Decision::Allow => 'o',
        Decision::AllowSession => 's',
        Decision::Deny => 'n',
    };
    let data = format!("{approval}:{letter}");
    match session {
        Some(session) if data.len() + 1 + session.len() <= DATA_BYTES => {
            format!("{data}:{session}")
        }
        _ => data,
    }
}

/// What a pressed button says; none when it is none of ours.
pub(super) fn pressed(data: &str) -> Option<(ApprovalId, Decision, Option<&str>)> {
    let (approval, rest) = data.split_once(':')?;
    let (letter, session) = match rest.split_once(':') {
        Some((letter, session)) => (letter, Some(session)),
        None => (rest, None),
    };
    let decision = match letter {
        "o" => Decision::Allow,
        "s" => Decision::AllowSession,
        "n" => Decision::Deny,
        _ => return None,
    };
    Some((approval.parse().ok()?, decision, session))
}

#[cfg(test)]
mod tests {
    use super::{DATA_BYTES, data, parts, pressed};
    use openpista_core::effect::deliver::Question;
    use openpista_core::id::{ApprovalId, Seq};
    use openpista_core::input::Decision;
    use proptest::prelude::*;

    fn question(arguments: &str) -> Question {
        Question {
            approval: ApprovalId {
                seq: Seq(9),
                slot: 1,
            },
            tool: "system.run".to_owned(),
            arguments: arguments.to_owned(),
            reason: "the policy asks".to_owned(),
            expires_ms: 600_000,
        }
    }

    #[test]
    fn all_of_it_is_shown() {
        let parts = parts(&question(r#"{"command":"a < b && \u202e"}"#), false);
        assert_eq!(parts.len(), 1);
        assert!(
            parts[0].html.contains(r"a &lt; b &amp;&amp; \u202e"),
            "{parts:?}"
        );
        assert!(
            parts[0]
                .plain
                .contains("Why you are asked: the policy asks")
        );
        assert!(parts[0].plain.contains("within 10 min"));
        let shown = super::parts(&question("a\u{202e}b"), true);
        assert!(shown[0].plain.contains("a\u{fffd}b"));
        assert!(shown[0].plain.contains("possibly repeated"));
    }

    #[test]
    fn what_is_too_long_for_a_message_is_shown_in_several() {
        let long = "😀".repeat(4_000);
        let parts = parts(&question(&long), false);
        let shown: usize = parts.iter().map(|p| p.plain.matches('😀').count()).sum();
        assert_eq!(shown, 4_000);
        assert!(parts.iter().all(|p| super::format::units(&p.plain) < 4_096));
    }

    proptest! {
        #[test]
        fn a_button_fits_and_comes_back(
            seq in any::<u64>(),
            slot in any::<u16>(),
            which in 0..3,
            session in "[a-z:é]{0,80}",
        ) {
            let approval = ApprovalId { seq: Seq(seq), slot };
            let all = [Decision::Allow, Decision::AllowSession, Decision::Deny];
            let decision = all[which as usize];
            let data = data(approval, decision, Some(&session));
            prop_assert!(data.len() <= DATA_BYTES);
            let (id, back, named) = pressed(&data).expect("it is one of ours");
            prop_assert_eq!((id, back), (approval, decision));
            prop_assert!(named.is_none() || named == Some(session.as_str()));
        }

        #[test]
        fn anything_may_be_pressed(data in ".*") {
            let _ = pressed(&data);
        }
    }
}
