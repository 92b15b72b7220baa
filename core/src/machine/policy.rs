//! Policy: may this call run? A pure function of who asked, the tool, its exact arguments and the
//! operator's rules. Remembers nothing.
//!
//! The strictest of the modes that apply wins. Under `ask`, a command that the person typed
//! themselves, word for word, needs no second yes: they have just said it.

use crate::digest::Digest;
use crate::message::{ToolCall, ToolSpec};
use crate::record::Verdict;
use crate::settings::{Mode, Settings};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde_json::{Map, Value};

/// The tool whose command a person can type.
const SHELL: &str = "system.run";

/// What the turn knows that the rules ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    /// The channels that the turn's messages came over.
    pub(crate) origins: &'a [&'a str],
    /// What people wrote in this turn.
    pub(crate) texts: &'a [&'a str],
    /// A person has said no in this turn.
    pub(crate) denied: bool,
    /// A person has allowed this exact call for the rest of the session.
    pub(crate) allowed: bool,
    /// The reply was cut off at the provider's limit.
    pub(crate) cut_off: bool,
}

/// Judges one call of a tool that is among `tools`.
pub(crate) fn judge(
    settings: &Settings,
    tools: &[ToolSpec],
    call: &ToolCall,
    about: Circumstances<'_>,
) -> Verdict {
    let Some(spec) = tools.iter().find(|spec| spec.name == call.tool) else {
        return unknown_tool(tools, &call.tool);
    };
    let arguments = match parse(&call.arguments) {
        Ok(arguments) => arguments,
        Err(reason) if about.cut_off => {
            return Verdict::Invalid {
                reason: format!(
                    "The arguments were cut off at the provider's length limit ({reason}). Nothing ran. Call again with shorter arguments."
                ),
            };
        }
        Err(reason) => {
            return Verdict::Invalid {
                reason: format!(
                    "The arguments are not a JSON object ({reason}). Nothing ran. Call again with valid JSON."
                ),
            };
        }
    };
    let (mode, rule) = strictest(settings, &call.tool, about.origins);
    let allow = |reason: &str| Verdict::Allow {
        reason: reason.to_string(),
    };
    match mode {
        Mode::Full => allow(&format!("{rule} is full")),
        _ if spec.read_only => allow("it changes nothing"),
        Mode::ReadOnly => Verdict::Deny {
            reason: format!("{rule} is read-only, and {} can change things", call.tool),
        },
        Mode::Ask if typed(&call.tool, &arguments, about.texts) => allow("the person typed it"),
        Mode::Ask if about.allowed => allow("a person allowed this exact call for the session"),
        Mode::Ask if about.denied => Verdict::Deny {
            reason: "a person has said no in this turn, so they are not asked again".to_string(),
        },
        Mode::Ask => Verdict::Ask {
            reason: format!("{rule} is ask"),
        },
    }
}

fn unknown_tool(tools: &[ToolSpec], tool: &str) -> Verdict {
    let names: Vec<&str> = tools.iter().map(|t| t.name.as_str()).collect();
    let tool: String = tool.chars().take(64).collect();
    Verdict::Invalid {
        reason: format!(
            "There is no tool named {tool:?}. The tools are: {}.",
            names.join(", ")
        ),
    }
}

fn strictest(settings: &Settings, tool: &str, origins: &[&str]) -> (Mode, String) {
    let policy = &settings.policy;
    let mut strictest = (policy.mode, "[policy] mode".to_string());
    if let Some(&mode) = policy.tools.get(tool)
        && mode > strictest.0
    {
        strictest = (mode, format!("[policy.tools] {tool:?}"));
    }
    for origin in origins {
        let channel = origin.split(':').next().unwrap_or_default();
        if let Some(&mode) = policy.channels.get(channel)
            && mode > strictest.0
        {
            strictest = (mode, format!("[policy.channels] {channel:?}"));
        }
    }
    strictest
}

/// Did a person type exactly this command, and nothing but the command is asked for?
fn typed(tool: &str, arguments: &Map<String, Value>, texts: &[&str]) -> bool {
    let command = match arguments.get("command") {
        Some(Value::String(command)) if tool == SHELL && arguments.len() == 1 => command.trim(),
        _ => return false,
    };
    texts.iter().any(|text| {
        let text = text.trim();
        spoken(text) == Some(command) || text.lines().any(|line| bang(line) == Some(command))
    })
}

fn bang(line: &str) -> Option<&str> {
    line.trim().strip_prefix('!').map(str::trim)
}

fn spoken(text: &str) -> Option<&str> {
    if let Some(command) = bang(text) {
        return Some(command);
    }
    let (word, rest) = text.split_once(char::is_whitespace)?;
    if !word.eq_ignore_ascii_case("run") {
        return None;
    }
    let rest = rest.trim();
    let inner = rest.strip_prefix('`').and_then(|r| r.strip_suffix('`'));
    Some(inner.unwrap_or(rest).trim())
}

fn parse(arguments: &str) -> Result<Map<String, Value>, String> {
    if arguments.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(arguments) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("another kind of JSON value".to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The arguments as they are judged, shown, digested and run: parsed and written anew, so that a
/// key given twice cannot show one thing and do another.
pub(crate) fn canonical(arguments: &str) -> Option<String> {
    let map = parse(arguments).ok()?;
    serde_json::to_string(&map).ok()
}

/// What a permission is bound to.
pub(crate) fn digest(tool: &str, canonical: &str) -> Digest {
    Digest::of(&[tool.as_bytes(), canonical.as_bytes()])
}
