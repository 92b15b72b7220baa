//! The end of the report: what works, and one line for each thing that does not.

use super::{Finding, Status};
use std::fmt::Write;

/// What people do with the program, and what must not be at fault for it.
const ABILITIES: &[(&str, &[&str])] = &[
    (
        "run, repl: a conversation",
        &[
            "configuration",
            "provider",
            "data dir",
            "workspace",
            "database",
            "disk",
        ],
    ),
    (
        "system.run: the model's commands",
        &["configuration", "workspace", "guard", "bash"],
    ),
    (
        "start: the daemon, and the schedule",
        &[
            "configuration",
            "provider",
            "data dir",
            "workspace",
            "database",
            "disk",
            "gateway",
        ],
    ),
    ("the gateway, for other programs", &["gateway"]),
    ("the bot in Telegram", &["telegram"]),
    ("skills", &["skills"]),
    ("container.run: containers", &["docker"]),
    ("programs that the kernel confines", &["confinement"]),
    ("skills in WebAssembly", &["wasm"]),
    ("the desktop: seeing it and using it", &["desktop"]),
];

/// Those for which a warning is too much: what they need is optional, and missing.
const OPTIONAL: [&str; 5] = ["gateway", "telegram", "docker", "confinement", "wasm"];

/// What works, and how to mend what does not.
pub(super) fn of(found: &[Finding]) -> String {
    let mut out = String::from("\nWhat works:\n");
    let works = ABILITIES.iter().filter(|(_, needs)| work(needs, found));
    let works: Vec<&str> = works.map(|(name, _)| *name).collect();
    for name in &works {
        let _ = writeln!(out, "  {name}");
    }
    if works.is_empty() {
        out.push_str("  nothing yet\n");
    }
    let broken = found.iter().filter(|one| !one.mend.is_empty());
    let broken: Vec<&Finding> = broken.collect();
    if broken.is_empty() {
        out.push_str("\nNothing is to be mended.\n");
        return out;
    }
    let faults = broken.iter().filter(|one| one.status == Status::Fault);
    let _ = match faults.count() {
        0 => writeln!(out, "\nNo fault. It would be better to mend:"),
        count => writeln!(out, "\nTo be mended ({count} at fault):"),
    };
    for one in broken {
        let word = if one.status == Status::Fault {
            "fault"
        } else {
            "warn"
        };
        let _ = writeln!(out, "  {word:<5}  {:<13}  {}", one.subject, one.mend);
    }
    out
}

fn work(needs: &[&str], found: &[Finding]) -> bool {
    // What is optional has to be there only for those who need nothing else.
    let alone = needs.len() == 1;
    needs.iter().all(|need| {
        found.iter().any(|one| {
            one.subject == *need
                && match one.status {
                    Status::Ok => true,
                    Status::Off => !alone,
                    Status::Warn => !(alone && OPTIONAL.contains(need)),
                    Status::Fault => false,
                }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{fault, off, ok, warn};
    use super::*;

    fn sound() -> Vec<Finding> {
        let needs = ABILITIES.iter().flat_map(|(_, needs)| *needs);
        let mut subjects: Vec<&'static str> = needs.copied().collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects.into_iter().map(|one| ok(one, "fine")).collect()
    }

    /// The report with one finding in the place of another.
    fn with(other: Finding) -> String {
        let mut found = sound();
        let place = found.iter_mut().find(|one| one.subject == other.subject);
        *place.unwrap() = other;
        of(&found)
    }

    #[test]
    fn all_is_well() {
        let said = of(&sound());
        for (name, _) in ABILITIES {
            assert!(said.contains(name), "{said}");
        }
        assert!(said.ends_with("\nNothing is to be mended.\n"), "{said}");
    }

    #[test]
    fn a_fault_takes_away_what_needs_it_and_has_one_line() {
        let said = with(fault("provider", "no key", "set one"));
        assert!(
            !said.contains("run, repl") && !said.contains("start:"),
            "{said}"
        );
        assert!(said.contains("system.run: "), "{said}");
        assert!(
            said.ends_with("To be mended (1 at fault):\n  fault  provider       set one\n"),
            "{said}"
        );
        let nothing = of(&[fault("configuration", "line 3", "correct it")]);
        assert!(nothing.contains("nothing yet"), "{nothing}");
    }

    #[test]
    fn what_is_off_or_missing_does_not_count_as_working() {
        let said = with(off("telegram", "no bot"));
        assert!(
            !said.contains("Telegram") && said.contains("Nothing is"),
            "{said}"
        );
        let said = with(off("gateway", "off"));
        assert!(
            said.contains("start: ") && !said.contains("the gateway,"),
            "{said}"
        );
        let said = with(warn("docker", "away", "start it"));
        assert!(
            !said.contains("container.run") && said.contains("No fault."),
            "{said}"
        );
        let said = with(warn("skills", "one is broken", "correct it"));
        assert!(said.contains("  skills\n"), "{said}");
    }
}
