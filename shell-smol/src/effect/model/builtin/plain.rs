//! What a person's words ask to have run.

use serde_json::Value;

/// The tool that a message names, and the arguments for it: `screen.capture {}`.
pub(super) fn call(text: &str) -> Option<(&str, Value)> {
    let (tool, arguments) = text.trim().split_once(char::is_whitespace)?;
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !tool.contains('.') || !tool.chars().all(letter) {
        return None;
    }
    let arguments: Value = serde_json::from_str(arguments).ok()?;
    arguments.is_object().then_some((tool, arguments))
}

/// The commands that a message asks for, in order; none when it asks for nothing that is known.
pub(super) fn commands(text: &str) -> Vec<String> {
    let text = text.trim();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let marked: Option<Vec<&str>> = lines.map(|line| line.strip_prefix('!')).collect();
    let commands: Vec<&str> = match marked {
        // Every line is a command of its own.
        Some(commands) if commands.len() > 1 => commands,
        // One command, which may go on over several lines.
        _ => match text.strip_prefix('!').or_else(|| after_run(text)) {
            Some(command) => vec![command],
            None => return known(text).into_iter().collect(),
        },
    };
    let commands = commands.into_iter().map(str::trim);
    commands
        .filter(|c| !c.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What follows `run`, without backticks around it.
fn after_run(text: &str) -> Option<&str> {
    let verb = text.get(..3)?;
    let rest = text.get(3..)?;
    if !verb.eq_ignore_ascii_case("run") || !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let command = rest.trim();
    let quoted = command.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
    Some(quoted.filter(|c| !c.contains('`')).unwrap_or(command))
}

/// Requests without the words of [`FILLERS`] before them, each with its command.
const KNOWN: [(&[&str], &str); 6] = [
    (
        &[
            "time is it",
            "time",
            "date",
            "date is it",
            "day is it",
            "today's date",
            "date today",
        ],
        "date",
    ),
    (
        &[
            "disk space",
            "disk space is left",
            "disk space is free",
            "disk usage",
            "free disk space",
            "free space",
            "space is left",
            "full is the disk",
        ],
        "df -h",
    ),
    (&["who am i", "user am i", "whoami"], "whoami"),
    (
        &[
            "uptime",
            "long has this computer been up",
            "long has this machine been up",
        ],
        "uptime",
    ),
    (
        &[
            "memory",
            "memory usage",
            "memory is free",
            "memory is left",
            "free memory",
            "ram",
        ],
        "free -h",
    ),
    (
        &[
            "system is this",
            "system",
            "kernel",
            "operating system is this",
            "uname",
        ],
        "uname -a",
    ),
];

/// Words before a request that do not change what it asks for.
const FILLERS: [&str; 21] = [
    "please", "can", "could", "would", "you", "tell", "show", "give", "check", "me", "what",
    "what's", "whats", "which", "is", "the", "my", "all", "how", "much", "current",
];

fn known(text: &str) -> Option<String> {
    let text = text.trim_end_matches(['?', '!', '.']);
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let polite = |word: &&str| word.eq_ignore_ascii_case("please");
    if words.pop_if(|word| polite(&*word)).is_some()
        && let Some(last) = words.last_mut()
    {
        *last = last.trim_end_matches(',');
    }
    let words = after_fillers(&words);
    let lower = words.join(" ").to_lowercase().replace('\u{2019}', "'");
    let found = KNOWN
        .iter()
        .find(|(requests, _)| requests.contains(&lower.as_str()));
    found
        .map(|(_, command)| (*command).to_owned())
        .or_else(|| listing(words))
}

fn after_fillers<'a>(words: &'a [&'a str]) -> &'a [&'a str] {
    let is_filler = |word: &&str| FILLERS.contains(&word.to_lowercase().as_str());
    let fillers = words.iter().take_while(|word| is_filler(word)).count();
    &words[fillers..]
}

/// `[list] files [in PLACE]`
fn listing(words: &[&str]) -> Option<String> {
    let next = |words: &[&str], expected: &[&str]| {
        let word = words.first()?.to_lowercase();
        expected.contains(&word.as_str()).then_some(())
    };
    let words = match next(words, &["list"]) {
        Some(()) => after_fillers(&words[1..]),
        None => words,
    };
    next(words, &["files"])?;
    let rest = &words[1..];
    if rest.is_empty() {
        return Some("ls -la".to_owned());
    }
    next(rest, &["in", "of", "under"])?;
    let place = rest[1..].join(" ");
    let place = place.trim_matches(['"', '\'', '`']);
    match place.to_lowercase().as_str() {
        "" => None,
        "this directory" | "this folder" | "the current directory" | "the current folder" => {
            Some("ls -la".to_owned())
        }
        "home" | "my home" | "my home directory" | "my home folder" => Some("ls -la ~".to_owned()),
        _ => Some(format!("ls -la {}", quoted_place(place))),
    }
}

/// The place as one word of the shell; only a tilde at its start keeps its meaning.
fn quoted_place(place: &str) -> String {
    match place.strip_prefix('~') {
        Some("") => "~".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("~/{}", quoted(&rest[1..])),
        _ if place.starts_with('-') => format!("./{}", quoted(place)),
        _ => quoted(place),
    }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
