//! Which skills the workspace has, and which are broken and why.

use super::{Finding, ok, warn};
use crate::config::Config;
use crate::skill::{Found, Skills};
use std::fmt::Write;

const SUBJECT: &str = "skills";

/// How many are named, and how many complaints are made.
const NAMED: usize = 8;

pub(super) fn check(config: &Config) -> Finding {
    let skills = Skills::of(config);
    judge(&skills.read(&skills.look()))
}

fn judge(found: &Found) -> Finding {
    let names = found.skills.iter().map(|skill| skill.name.as_str());
    let names: Vec<&str> = names.take(NAMED).collect();
    let more = if found.skills.len() > NAMED {
        ", …"
    } else {
        ""
    };
    let mut text = match found.skills.len() {
        0 => "none".to_owned(),
        count => format!("{count}: {}{more}", names.join(", ")),
    };
    if found.broken.is_empty() {
        return ok(SUBJECT, text);
    }
    let _ = write!(text, "; left out, until they are mended:");
    for broken in found.broken.iter().take(NAMED) {
        let _ = write!(text, "\n{broken}");
    }
    if let more @ 1.. = found.broken.len().saturating_sub(NAMED) {
        let _ = write!(text, "\nand {more} more");
    }
    warn(SUBJECT, text)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;
    use crate::skill::Broken;

    #[test]
    fn the_broken_are_named_and_counted() {
        let mut found = Found::default();
        assert_eq!(judge(&found), ok(SUBJECT, "none"));
        let broken = |line| Broken {
            file: "w/a/SKILL.md".into(),
            line: Some(line),
            message: "wrong".to_owned(),
        };
        found.broken = (1..=NAMED + 2).map(broken).collect();
        let said = judge(&found);
        assert_eq!(said.status, Status::Warn);
        assert!(
            said.text.contains("\nw/a/SKILL.md:8: wrong\nand 2 more"),
            "{}",
            said.text
        );
    }
}
