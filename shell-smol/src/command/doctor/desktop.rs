//! Whether the model can see and use a desktop, and what of it is missing.

use super::{Finding, Status, finding, off};
use crate::command::desktop;
use crate::config::Config;
use crate::desktop::{Ability, Lack};
use crate::effect::tool::desktop::{no_display, survey};
use crate::secret::Secrets;

const SUBJECT: &str = "desktop";

pub(super) fn check(config: &Config) -> Finding {
    if !config.tools.desktop {
        return off(SUBJECT, "switched off by [tools] desktop");
    }
    match no_display() {
        // As on any server: nothing is wrong.
        Some(Lack { why, mend }) => off(SUBJECT, format!("{why}\nto have its tools, {mend}")),
        None => judge(survey(&desktop::config(config, Secrets::default()))),
    }
}

fn judge(found: Result<Vec<Ability>, Lack>) -> Finding {
    let abilities = match found {
        Ok(abilities) => abilities,
        Err(Lack { why, mend }) => return finding(Status::Off, SUBJECT, why, mend),
    };
    let (mut works, mut lacks) = (Vec::new(), Vec::<(Vec<String>, Lack)>::new());
    for Ability { tool, offer } in abilities {
        match offer {
            Ok(_) => works.push(tool),
            Err(lack) => match lacks.iter_mut().find(|(_, other)| *other == lack) {
                Some((tools, _)) => tools.push(tool),
                None => lacks.push((vec![tool], lack)),
            },
        }
    }
    let mut text = match works.is_empty() {
        true => "no tool of it can be used".to_owned(),
        false => works.join(", "),
    };
    for (tools, lack) in &lacks {
        text += &format!("\nwithout {}: {}", tools.join(", "), lack.why);
    }
    let mends: Vec<&str> = lacks.iter().map(|(_, lack)| lack.mend.as_str()).collect();
    let status = match (works.is_empty(), mends.is_empty()) {
        (true, _) => Status::Off,
        (false, true) => Status::Ok,
        (false, false) => Status::Warn,
    };
    finding(status, SUBJECT, text, mends.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_once_with_its_cure_and_does_not_count_as_working() {
        let lack = |why: &str| {
            Err(Lack {
                why: why.to_owned(),
                mend: format!("mend {why}"),
            })
        };
        let ability = |tool: &str, offer| Ability {
            tool: tool.to_owned(),
            offer,
        };
        let found = judge(Ok(vec![
            ability("a.b", lack("one")),
            ability("a.c", lack("one")),
            ability("a.d", lack("two")),
        ]));
        assert_eq!(found.status, Status::Off);
        assert_eq!(
            found.text,
            "no tool of it can be used\nwithout a.b, a.c: one\nwithout a.d: two"
        );
        assert_eq!(found.mend, "mend one; mend two");
    }
}
