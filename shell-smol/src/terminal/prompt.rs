//! Asking a person for permission.
//!
//! What would run is shown exactly: every argument, with nothing cut off and with every control
//! character made visible, because the answer is bound to just these arguments.

use super::clean::neutralise;
use openpista_core::effect::deliver::Question;
use openpista_core::input::Decision;

/// What stands before the answer.
pub const ALLOW: &str = "Allow? [y]es once / [s]ession / [N]o ";

/// The question, on lines of its own, without [`ALLOW`].
pub fn question(question: &Question) -> String {
    format!(
        "{} wants to run:\n{}\n({})\n",
        neutralise(&question.tool),
        indented(&arguments(&question.arguments)),
        neutralise(&question.reason).trim(),
    )
}

/// What a typed line says to a question: yes, yes to this exact call for the whole session, no, or
/// none when it is no answer at all. Nothing typed means no.
pub fn answer(line: &str) -> Option<Decision> {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Decision::Allow),
        "s" | "session" => Some(Decision::AllowSession),
        "" | "n" | "no" => Some(Decision::Deny),
        _ => None,
    }
}

/// The members of a JSON object one by one, strings as they are; anything else as it stands.
fn arguments(json: &str) -> String {
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(json);
    let lines: Vec<String> = match object {
        Ok(object) if !object.is_empty() => object
            .iter()
            .map(|(name, value)| match value.as_str() {
                // A further line is marked, or it could pass for an argument of its own.
                Some(text) => format!("{name}: {}", text.replace('\n', "\n  | ")),
                None => format!("{name}: {value}"),
            })
            .collect(),
        _ => vec![json.to_owned()],
    };
    neutralise(&lines.join("\n")).into_owned()
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::Decision;
    use super::{answer, question};
    use openpista_core::effect::deliver::Question;
    use openpista_core::id::{ApprovalId, Seq};

    fn about(arguments: &str) -> String {
        question(&Question {
            approval: ApprovalId {
                seq: Seq(4),
                slot: 0,
            },
            tool: "system.run".to_owned(),
            arguments: arguments.to_owned(),
            reason: "the policy asks about every call".to_owned(),
            expires_ms: 600_000,
        })
    }

    #[test]
    fn the_exact_arguments_are_shown() {
        assert_eq!(
            about(r#"{"command":"rm -r x\nls","cwd":"/tmp","n":2}"#),
            "system.run wants to run:\n    command: rm -r x\n      | ls\n    cwd: /tmp\n    n: 2\n\
             (the policy asks about every call)\n"
        );
        assert!(about("[1]").contains("    [1]\n"));
    }

    #[test]
    fn nothing_can_be_hidden_from_the_person_who_is_asked() {
        let shown = about(r#"{"command":"rm -rf ~ #\u001b[1A\r\u001b[2Kls"}"#);
        assert!(shown.contains("rm -rf ~ #␛[1A␍␛[2Kls"), "{shown:?}");
        let long = "x".repeat(10_000);
        assert!(about(&format!(r#"{{"command":"{long}"}}"#)).contains(&long));
    }

    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for session in ["s", " Session\n"] {
            assert_eq!(answer(session), Some(Decision::AllowSession));
        }
        for yes in ["y", "Y", " yes \n"] {
            assert_eq!(answer(yes), Some(Decision::Allow));
        }
        for no in ["", "\n", "n", "No"] {
            assert_eq!(answer(no), Some(Decision::Deny));
        }
        assert_eq!(answer("maybe"), None);
    }
}
