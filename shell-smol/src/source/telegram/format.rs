//! Markdown into the HTML that the bot API understands.
//!
//! A model's Markdown is taken as it is meant: what is not clearly formatting stays text. Every tag
//! that is opened is closed, none is opened inside code, and everything else is escaped, so that
//! the API has no reason to refuse it. What is shown is never longer than what was written.

/// How deep formatting is nested; what is deeper stays as it was written.
const DEPTH: usize = 8;

/// The formatted text.
pub fn html(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len() * 2);
    let mut lines = markdown.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((fence, language)) = fence(line) {
            let code = lines.by_ref().take_while(|line| !closes(line, fence));
            let code: Vec<&str> = code.collect();
            push_code(&mut out, &code.join("\n"), language);
        } else if let Some(quoted) = line.strip_prefix('>') {
            let mut quote = vec![inline(quoted.trim_start(), 0)];
            while let Some(more) = lines.peek().and_then(|line| line.strip_prefix('>')) {
                quote.push(inline(more.trim_start(), 0));
                lines.next();
            }
            out.push_str(&format!("<blockquote>{}</blockquote>", quote.join("\n")));
        } else {
            out.push_str(&prose(line));
        }
        if lines.peek().is_some() {
            out.push('\n');
        }
    }
    out
}

/// A text without any formatting, as HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The length of a text as the bot API counts it: in UTF-16 code units.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts a text into pieces of at most `most` UTF-16 code units, after a line where there is one.
pub fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while units(rest) > most {
        let mut room = most;
        let fits = |c: &char| match room.checked_sub(c.len_utf16()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let head: usize = rest.chars().take_while(fits).map(char::len_utf8).sum();
        let line = rest[..head].rfind('\n').map(|at| at + 1);
        let at = line.filter(|at| *at > head / 2).unwrap_or(head);
        // A bound below one character is none.
        let at = at.max(rest.chars().next().map_or(0, char::len_utf8));
        let (piece, tail) = rest.split_at(at);
        pieces.push(piece);
        rest = tail;
    }
    if !rest.is_empty() || pieces.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// A code block.
pub fn push_code(out: &mut String, code: &str, language: &str) {
    let code = escape(code);
    let fits = |c: char| c.is_ascii_alphanumeric() || "+#-._".contains(c);
    match !language.is_empty() && language.len() <= 24 && language.chars().all(fits) {
        true => out.push_str(&format!(
            "<pre><code class=\"language-{language}\">{code}</code></pre>"
        )),
        false => out.push_str(&format!("<pre>{code}</pre>")),
    }
}

/// The marks of the fence that a line opens, and the language.
fn fence(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let end = line.find(|c| c != mark).unwrap_or(line.len());
    let (marks, info) = line.split_at(end);
    let is_fence = end >= 3 && !info.contains('`');
    is_fence.then(|| (marks, info.split_whitespace().next().unwrap_or_default()))
}

fn closes(line: &str, fence: &str) -> bool {
    let line = line.trim();
    let mark = fence.chars().next().unwrap_or('`');
    line.len() >= fence.len() && line.chars().all(|c| c == mark)
}

/// A line outside of code.
fn prose(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    let hashes = trimmed.len() - trimmed.trim_start_matches('#').len();
    if (1..=6).contains(&hashes)
        && let Some(heading) = trimmed[hashes..].strip_prefix(' ')
    {
        // Bold inside of bold would be one too many.
        let heading = heading.trim().trim_matches('*');
        return match heading.is_empty() {
            true => String::new(),
            false => format!("<b>{}</b>", inline(heading, 1)),
        };
    }
    for bullet in ["- ", "* ", "+ "] {
        if let Some(item) = trimmed.strip_prefix(bullet) {
            return format!("{indent}• {}", inline(item, 0));
        }
    }
    format!("{indent}{}", inline(trimmed, 0))
}

/// Marks around a stretch of text, and the tag that takes their place.
const MARKS: [(&str, &str); 5] = [
    ("**", "b"),
    ("__", "b"),
    ("~~", "s"),
    ("*", "i"),
    ("_", "i"),
];

/// A stretch of one line.
fn inline(text: &str, depth: usize) -> String {
    if depth > DEPTH {
        return escape(text);
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut plain = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let found = match c {
            '`' => code_span(text, at),
            '[' => link(text, at, depth),
            '*' | '_' | '~' => marked(text, at, depth),
            '\\' => escaped(text, at),
            _ => None,
        };
        match found {
            Some((formatted, end)) => {
                out.push_str(&escape(&text[plain..at]));
                out.push_str(&formatted);
                (at, plain) = (end, end);
            }
            // A run of the same mark is looked at once.
            None if matches!(c, '`' | '*' | '_' | '~') => {
                let rest = &text[at..];
                at += rest.find(|next| next != c).unwrap_or(rest.len());
            }
            None => at += c.len_utf8(),
        }
    }
    out.push_str(&escape(&text[plain..]));
    out
}

/// A character that would mean something, made to mean itself.
fn escaped(text: &str, at: usize) -> Option<(String, usize)> {
    let next = text[at + 1..].chars().next()?;
    next.is_ascii_punctuation()
        .then(|| (escape(&next.to_string()), at + 1 + next.len_utf8()))
}

fn code_span(text: &str, at: usize) -> Option<(String, usize)> {
    let rest = &text[at..];
    let marks = rest.len() - rest.trim_start_matches('`').len();
    let fence = &rest[..marks];
    let mut from = marks;
    loop {
        let end = from + rest[from..].find(fence)?;
        let run = rest[end..].len() - rest[end..].trim_start_matches('`').len();
        if run == marks {
            let code = rest[marks..end].trim();
            let whole = !code.is_empty();
            return whole.then(|| {
                let code = format!("<code>{}</code>", escape(code));
                (code, at + end + marks)
            });
        }
        from = end + run;
    }
}

fn link(text: &str, at: usize, depth: usize) -> Option<(String, usize)> {
    let rest = &text[at..];
    let label_end = rest.find("](")?;
    let label = &rest[1..label_end];
    let target = &rest[label_end + 2..];
    let target_end = target.find(')')?;
    let url = &target[..target_end];
    let known = ["https://", "http://", "mailto:", "tg://"];
    let is_url =
        known.iter().any(|scheme| url.starts_with(scheme)) && !url.contains(char::is_whitespace);
    let is_label = !label.trim().is_empty() && !label.contains('[');
    (is_url && is_label).then(|| {
        // No link inside a link: the label's own brackets are gone.
        let label = inline(label, depth + 1);
        let link = format!("<a href=\"{}\">{label}</a>", escape(url));
        (link, at + label_end + 2 + target_end + 1)
    })
}

fn marked(text: &str, at: usize, depth: usize) -> Option<(String, usize)> {
    let rest = &text[at..];
    let (mark, tag) = MARKS.iter().find(|(mark, _)| rest.starts_with(mark))?;
    let before = text[..at].chars().next_back();
    // Inside of a word, a name or a path an underscore is a letter.
    let opens = |c: char| c.is_whitespace() || "([{\"'*~_".contains(c);
    if mark.starts_with('_') && !before.is_none_or(opens) {
        return None;
    }
    let body = &rest[mark.len()..];
    if body.starts_with(char::is_whitespace) {
        return None;
    }
    let single = mark.chars().next()?;
    let mut from = 0;
    loop {
        let mut end = from + body[from..].find(mark)?;
        // Of a longer run the last marks are the outer ones.
        while mark.len() == 2 && body[end + 2..].starts_with(single) {
            end += 1;
        }
        let after = body[end + mark.len()..].chars().next();
        let inner = &body[..end];
        let doubled = mark.len() == 1 && (after == Some(single) || inner.ends_with(single));
        let in_word = single == '_' && after.is_some_and(char::is_alphanumeric);
        let good = !inner.is_empty() && !inner.ends_with(char::is_whitespace);
        if good && !doubled && !in_word {
            let formatted = format!("<{tag}>{}</{tag}>", inline(inner, depth + 1));
            return Some((formatted, at + 2 * mark.len() + end));
        }
        from = end + mark.len();
    }
}
