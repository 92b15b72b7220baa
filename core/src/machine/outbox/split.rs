//! Splitting a long text at the best place there is: a paragraph, a line, a word, else anywhere.
//! A fenced code block that is cut is closed in its part and opened again in the next.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Room kept in each part for closing a fence.
const FENCE_ROOM: usize = 16;
/// The least that a part may be asked to hold, in characters.
const LEAST: usize = 64;

/// The parts of a text, each of at most `max_chars` characters (64 at the least).
pub(super) fn split(text: &str, max_chars: usize) -> Vec<String> {
    let max_chars = max_chars.max(LEAST);
    let mut parts = Vec::new();
    let mut rest = text.to_string();
    while let Some(limit) = nth_char(&rest, max_chars) {
        let room = nth_char(&rest, max_chars - FENCE_ROOM).unwrap_or(limit);
        let head = &rest[..room];
        let cut = best_cut(head);
        let (head, tail) = rest.split_at(cut);
        let tail = tail.trim_start_matches('\n');
        let (part, next) = match open_fence(head) {
            Some(fence) => {
                let bar = bar(fence);
                (
                    format!("{}\n{bar}", head.trim_end_matches('\n')),
                    format!("{fence}\n{tail}"),
                )
            }
            None => (head.trim_end().to_string(), tail.to_string()),
        };
        // A fence opened again must not eat what the cut has won.
        let shorter = next.len() < rest.len();
        let next = if shorter { next } else { tail.to_string() };
        if !part.is_empty() {
            parts.push(part);
        }
        rest = next;
    }
    if !rest.trim().is_empty() || parts.is_empty() {
        parts.push(rest);
    }
    parts
}

/// Where the character of that index begins; none when the text is not longer.
fn nth_char(text: &str, index: usize) -> Option<usize> {
    text.char_indices().nth(index).map(|(at, _)| at)
}

/// The last good place to cut, at no less than half of the room.
fn best_cut(head: &str) -> usize {
    let half = head.floor_char_boundary(head.len() / 2);
    let late = |at: usize| at > half;
    let found = head.rfind("\n\n").filter(|&at| late(at));
    let found = found.or_else(|| head.rfind('\n').filter(|&at| late(at)));
    let found = found.or_else(|| head.rfind(' ').filter(|&at| late(at)));
    found.map_or(head.len(), |at| at + 1)
}

/// The line that opened the code block which `head` ends in, if it ends in one.
fn open_fence(head: &str) -> Option<&str> {
    let mut open: Option<&str> = None;
    for line in head.lines() {
        let mark = line.trim();
        let is_fence = mark.starts_with("```") || mark.starts_with("~~~");
        match open {
            None if is_fence && mark.len() < FENCE_ROOM => open = Some(mark),
            Some(fence) if closes(mark, bar(fence)) => open = None,
            _ => {}
        }
    }
    open
}

/// Does this line close a block whose fence has this bar?
fn closes(mark: &str, bar: &str) -> bool {
    mark.starts_with(bar) && mark.trim_matches(['`', '~']).is_empty()
}

/// The run of backticks or tildes at the start of a fence.
fn bar(fence: &str) -> &str {
    let end = fence.find(|c| c != '`' && c != '~').unwrap_or(fence.len());
    &fence[..end]
}

#[cfg(test)]
mod tests {
    use super::split;
    use alloc::string::String;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn a_short_text_stays_whole() {
        assert_eq!(split("one two", 64), ["one two"]);
        assert_eq!(split("", 64), [""]);
    }

    #[test]
    fn paragraphs_come_before_lines_and_lines_before_words() {
        let paragraph = "word ".repeat(7);
        let text = alloc::format!("{paragraph}\n\n{paragraph}\nlast words here and there");
        let parts = split(&text, 64);
        assert_eq!(parts[0], paragraph.trim_end());
        let line = alloc::format!("{}\n{}", "a".repeat(40), "b".repeat(40));
        assert_eq!(split(&line, 64), ["a".repeat(40), "b".repeat(40)]);
    }

    #[test]
    fn a_cut_code_block_is_closed_and_opened_again() {
        let text = alloc::format!("```sh\n{}```", "echo a line of code\n".repeat(6));
        let parts = split(&text, 64);
        assert!(parts.len() > 1);
        for part in &parts {
            assert!(part.starts_with("```sh\n"), "{part}");
            assert!(part.ends_with("```"), "{part}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_space_and_fences_is_lost(text in "[a-z \n`]{0,600}", max in 64usize..200) {
            let parts = split(&text, max);
            for part in &parts {
                prop_assert!(part.chars().count() <= max, "{} > {max}", part.chars().count());
            }
            let letters = |s: &str| s.chars().filter(char::is_ascii_lowercase).collect::<String>();
            // Fence labels such as ```sh may be repeated, so only texts without fences count.
            if !text.contains("```") {
                let joined = parts.iter().map(|p| letters(p)).collect::<Vec<_>>().concat();
                prop_assert_eq!(joined, letters(&text));
            }
        }
    }
}
