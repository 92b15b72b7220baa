//! Keeping what a command prints: decoded, without secrets, cut to a bound.
//!
//! Bytes flow through [`Capture`] as they come. They are decoded first, redacted second and cut
//! last, each step carrying over what the edge of a read may have split: so neither a read nor a
//! cut can leave half a character or half a secret. Memory stays bounded however much comes.

use crate::secret::{Redactor, Secrets};
use openpista_core::effect::tool::Clip;

/// The longest that a mark can be, in characters.
const MARK_CHARS: usize = 64;

/// What one stream of a command printed.
#[derive(Debug)]
pub(crate) struct Capture {
    decoder: Decoder,
    redactor: Redactor,
    clipper: Clipper,
}

impl Capture {
    /// Keeps `max_chars` characters: the first half and the last half.
    pub(crate) fn new(max_chars: usize, secrets: &Secrets) -> Capture {
        Capture {
            decoder: Decoder::default(),
            redactor: secrets.redactor(),
            clipper: Clipper::new(max_chars),
        }
    }

    /// Takes what was read; returns the clean text that came of it, to show.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        let (mut decoded, mut clean) = (String::new(), String::new());
        self.decoder.push(bytes, &mut decoded);
        self.redactor.push(&decoded, &mut clean);
        self.clipper.push(&clean);
        clean
    }

    /// What is kept, now that no more comes.
    pub(crate) fn finish(mut self) -> Clip {
        let (mut decoded, mut clean) = (String::new(), String::new());
        self.decoder.finish(&mut decoded);
        self.redactor.push(&decoded, &mut clean);
        self.redactor.finish(&mut clean);
        self.clipper.push(&clean);
        self.clipper.finish()
    }
}

/// Turns bytes into text; what is not UTF-8 becomes U+FFFD, as in [`String::from_utf8_lossy`].
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a character whose end has not come yet: three bytes at the most.
    held: Vec<u8>,
}

impl Decoder {
    /// Adds what these bytes complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        let mut joined = std::mem::take(&mut self.held);
        let bytes = match joined.is_empty() {
            true => bytes,
            false => {
                joined.extend_from_slice(bytes);
                &joined
            }
        };
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_unfinished(invalid) {
                self.held = invalid.to_vec();
            } else {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// No more bytes come.
    pub fn finish(&mut self, out: &mut String) {
        if !std::mem::take(&mut self.held).is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn is_unfinished(invalid: &[u8]) -> bool {
    std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none())
}

/// Keeps the head and the tail of a text.
#[derive(Debug)]
struct Clipper {
    head: String,
    head_room: usize,
    tail: String,
    tail_max: usize,
    /// How many characters came after the head.
    after_head: u64,
}

impl Clipper {
    fn new(max_chars: usize) -> Clipper {
        Clipper {
            head: String::new(),
            head_room: max_chars.div_ceil(2),
            tail: String::new(),
            tail_max: max_chars / 2,
            after_head: 0,
        }
    }

    fn push(&mut self, text: &str) {
        let cut = text.char_indices().nth(self.head_room);
        let (head, rest) = text.split_at(cut.map_or(text.len(), |(at, _)| at));
        self.head.push_str(head);
        self.head_room -= head.chars().count();
        self.after_head += rest.chars().count() as u64;
        self.tail.push_str(rest);
        // Dropping the surplus only once it is large keeps the cost of each character constant.
        if self.tail.len() > self.tail_max.saturating_mul(16) {
            keep_last(&mut self.tail, self.tail_max);
        }
    }

    fn finish(mut self) -> Clip {
        keep_last(&mut self.tail, self.tail_max);
        let cut_chars = self.after_head - self.tail.chars().count() as u64;
        let mut text = self.head;
        if cut_chars > 0 {
            text.push_str(&mark(cut_chars));
        }
        text.push_str(&self.tail);
        Clip { text, cut_chars }
    }
}

/// What a peer says that it has cut, without secrets and within our own bound.
pub(crate) fn cut_again(clip: Clip, max_chars: usize, secrets: &Secrets) -> Clip {
    let fits = clip.text.chars().count() <= max_chars.saturating_add(MARK_CHARS);
    let cut = match fits {
        true => Clip {
            text: secrets.redact(&clip.text).into_owned(),
            cut_chars: 0,
        },
        false => {
            let mut capture = Capture::new(max_chars, secrets);
            capture.push(clip.text.as_bytes());
            capture.finish()
        }
    };
    Clip {
        text: cut.text,
        cut_chars: clip.cut_chars.saturating_add(cut.cut_chars),
    }
}

/// Drops all but the last characters.
pub(crate) fn keep_last(text: &mut String, max_chars: usize) {
    let surplus = match max_chars.checked_sub(1) {
        Some(last) => text.char_indices().rev().nth(last).map_or(0, |(at, _)| at),
        None => text.len(),
    };
    text.drain(..surplus);
}

fn mark(cut_chars: u64) -> String {
    let digits = cut_chars.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let noun = if cut_chars == 1 {
        "character"
    } else {
        "characters"
    };
    format!("\n[… {grouped} {noun} left out …]\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn clip(max_chars: usize, pieces: &[&[u8]]) -> Clip {
        let mut capture = Capture::new(max_chars, &Secrets::default());
        for piece in pieces {
            capture.push(piece);
        }
        capture.finish()
    }

    #[test]
    fn what_fits_is_kept_whole_and_control_characters_with_it() {
        let clip = clip(10, &[b"a\0\x1b[1m\r\nz".as_slice()]);
        assert_eq!(clip.text, "a\0\u{1b}[1m\r\nz");
        assert_eq!(clip.cut_chars, 0);
    }

    #[test]
    fn the_mark_names_how_many_characters_were_left_out() {
        let text = "é".repeat(33_456);
        let clip = clip(10_000, &[text.as_bytes()]);
        let half = "é".repeat(5_000);
        assert_eq!(
            clip.text,
            format!("{half}\n[… 23,456 characters left out …]\n{half}")
        );
        assert_eq!(clip.cut_chars, 23_456);
    }

    #[test]
    fn one_character_too_many_is_cut() {
        assert_eq!(
            clip(4, &[b"abcde"]).text,
            "ab\n[… 1 character left out …]\nde"
        );
        assert_eq!(clip(0, &[b"ab"]).text, "\n[… 2 characters left out …]\n");
    }

    #[test]
    fn what_was_cut_by_a_peer_keeps_its_mark_unless_it_is_too_long() {
        let none = Secrets::default();
        let cut = clip(10, &["x".repeat(100).as_bytes()]);
        assert_eq!(cut_again(cut.clone(), 10, &none), cut);
        let lie = Clip {
            text: "y".repeat(1_000),
            cut_chars: u64::MAX,
        };
        let bounded = cut_again(lie, 10, &none);
        assert!(bounded.text.chars().count() <= 10 + MARK_CHARS);
        assert_eq!(bounded.cut_chars, u64::MAX);
        let secrets = Secrets::new([("KEY", Secret::new("sk-canary-0123456789"))]);
        let said = Clip {
            text: "a sk-canary-0123456789 b".to_owned(),
            cut_chars: 0,
        };
        assert_eq!(cut_again(said, 100, &secrets).text, "a [redacted: KEY] b");
    }

    #[test]
    fn no_cut_leaves_half_a_secret() {
        let key = "sk-canary-0123456789";
        let secrets = Secrets::new([("KEY", Secret::new(key))]);
        for before in 0..60 {
            let text = format!(
                "{}{key}{}{key}",
                "x".repeat(before),
                "y".repeat(60 - before)
            );
            let mut capture = Capture::new(40, &secrets);
            let shown: String = text.as_bytes().chunks(7).map(|b| capture.push(b)).collect();
            let clip = capture.finish();
            for shown in [&shown, &clip.text] {
                assert!(
                    !shown.contains("sk-c") && !shown.contains("6789"),
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn memory_stays_bounded() {
        let mut capture = Capture::new(1_000, &Secrets::default());
        let piece = "0123456789abcdef".repeat(4_096);
        for _ in 0..1_000 {
            capture.push(piece.as_bytes());
            let kept = capture.clipper.head.capacity() + capture.clipper.tail.capacity();
            assert!(kept < 1_000_000, "{kept}");
        }
        assert_eq!(capture.finish().cut_chars, 65_536_000 - 1_000);
    }

    proptest! {
        #[test]
        fn pieces_are_kept_like_the_whole(
            bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(0xe2), Just(0x82), Just(0xac), any::<u8>()], 0..200),
            size in 1usize..20,
            max_chars in 0usize..60,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            let kept = clip(max_chars, &pieces);
            let whole = String::from_utf8_lossy(&bytes);
            let chars: Vec<char> = whole.chars().collect();
            if chars.len() <= max_chars {
                prop_assert_eq!(kept, Clip { text: whole.into_owned(), cut_chars: 0 });
            } else {
                let head: String = chars[..max_chars.div_ceil(2)].iter().collect();
                let tail: String = chars[chars.len() - max_chars / 2..].iter().collect();
                prop_assert!(kept.text.starts_with(&head) && kept.text.ends_with(&tail));
                prop_assert_eq!(kept.cut_chars as usize, chars.len() - max_chars);
            }
        }
    }
}
