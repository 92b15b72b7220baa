//! What the model is offered: the system prompt with what the skills teach, and the tools.
//!
//! Skills are given whole, in the order of their names, as long as they fit the budget. Of the
//! rest the model is told the name and the description, and can have the whole by `skill.read`,
//! which the core answers itself.

use crate::digest::Digest;
use crate::effect::Recovery;
use crate::limit::Limits;
use crate::message::ToolSpec;
use crate::record::Record;
use crate::settings::Settings;
use crate::skill::Skill;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The tool that reads a skill.
pub(crate) const READ: &str = "skill.read";

/// What is known and what is offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skills {
    known: Arc<[Skill]>,
    offer: Offer,
}

/// What every prompt has in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// The system prompt.
    pub(crate) system: Arc<str>,
    /// The tools.
    pub(crate) tools: Arc<[ToolSpec]>,
    /// The digest of both and of the model's name; none before the first boot.
    pub(crate) digest: Option<Digest>,
}

impl Skills {
    /// What is offered now.
    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    /// What is known now.
    pub(crate) fn known(&self) -> &[Skill] {
        &self.known
    }

    /// These are the skills from here on. Nothing, if they are the ones that are known. Of more
    /// than may be, and of one that is too large, what is beyond is left out.
    pub(crate) fn learn(&self, limits: &Limits, mut skills: Vec<Skill>) -> Option<Record> {
        skills.sort_by(|a, b| a.name.cmp(&b.name));
        skills.dedup_by(|a, b| a.name == b.name);
        skills.retain(|skill| skill.body.len() <= limits.skill_bytes);
        skills.truncate(limits.skills);
        (skills != *self.known).then_some(Record::Learned { skills })
    }

    /// Answers a call of `skill.read`.
    pub(crate) fn read(&self, arguments: &str) -> String {
        let arguments: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
        let name = arguments.get("name").and_then(Value::as_str);
        let Some(name) = name else {
            return "did not work: `name` is missing, or is not a string".to_owned();
        };
        match self.known.iter().find(|skill| skill.name == name) {
            Some(skill) => skill.body.to_string(),
            None => {
                let names: Vec<&str> = self.known.iter().map(|s| s.name.as_str()).collect();
                let name: String = name.chars().take(64).collect();
                format!(
                    "did not work: there is no skill {name:?}; there are: {}",
                    names.join(", ")
                )
            }
        }
    }

    pub(crate) fn evolve(&mut self, settings: &Settings, record: &Record) {
        match record {
            Record::Booted { .. } => {}
            Record::Learned { skills } => self.known = skills.as_slice().into(),
            _ => return,
        }
        self.offer = offer(settings, &self.known);
    }
}

/// The core itself answers this tool.
pub(crate) fn serves(tool: &str) -> bool {
    tool == READ
}

fn offer(settings: &Settings, skills: &[Skill]) -> Offer {
    let (taught, told) = teach(settings.limits.skills_bytes, skills);
    let system = match taught.is_empty() {
        true => settings.system.clone(),
        false => format!("{}\n\n# Skills\n\n{taught}", settings.system).into(),
    };
    let programs = skills.iter().filter_map(|skill| skill.tool.clone());
    let reader = told.then(reader);
    let tools: Arc<[ToolSpec]> = match skills.is_empty() {
        true => settings.tools.clone(),
        false => {
            let own = settings.tools.iter().cloned();
            own.chain(reader).chain(programs).collect()
        }
    };
    Offer {
        digest: Some(digest(&settings.model, &system, &tools)),
        system,
        tools,
    }
}

/// What the prompt carries of the skills, and whether some are only told of in it.
fn teach(budget: usize, skills: &[Skill]) -> (String, bool) {
    let (mut whole, mut named) = (String::new(), String::new());
    for skill in skills {
        let Skill {
            name, description, ..
        } = skill;
        let called = match &skill.tool {
            Some(tool) => format!(" Its program is the tool `{}`.", tool.name),
            None => String::new(),
        };
        let body = skill.body.trim();
        let section = format!("## {name}\n\n{description}{called}\n\n{body}\n\n");
        if whole.len() + section.len() <= budget {
            whole.push_str(&section);
        } else {
            named.push_str(&format!("- {name}: {description}{called}\n"));
        }
    }
    let told = !named.is_empty();
    if told {
        whole.push_str(&format!(
            "## More skills\n\nRead one with `{READ}` before you use it.\n\n{named}"
        ));
    }
    (whole.trim_end().to_owned(), told)
}

fn reader() -> ToolSpec {
    ToolSpec {
        name: READ.to_owned(),
        description: "Read what a skill teaches, in full.".to_owned(),
        parameters: r#"{"type":"object","properties":{"name":{"type":"string","description":"The skill's name."}},"required":["name"],"additionalProperties":false}"#.to_owned(),
        recovery: Recovery::Repeat,
        read_only: true,
        timeout_ms: 0,
        sandbox: None,
    }
}

fn digest(model: &str, system: &str, tools: &[ToolSpec]) -> Digest {
    let mut parts = Vec::with_capacity(2 + tools.len() * 3);
    parts.push(model.as_bytes());
    parts.push(system.as_bytes());
    for tool in tools {
        parts.push(tool.name.as_bytes());
        parts.push(tool.description.as_bytes());
        parts.push(tool.parameters.as_bytes());
    }
    Digest::of(&parts)
}
