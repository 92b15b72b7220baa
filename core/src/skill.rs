//! Skills: what the operator's workspace teaches the agent, and the programs that come with it.
//!
//! A skill is a folder with a `SKILL.md`. A shell reads it with [`crate::wire::skill`] and hands
//! over what it found; the core decides what of it a prompt carries.

use crate::message::ToolSpec;
use alloc::string::String;
use alloc::sync::Arc;
use serde::{Deserialize, Serialize};

/// One skill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skill {
    /// Its name, which is its folder's.
    pub name: String,
    /// What it is for, in a sentence or two.
    pub description: String,
    /// What it teaches: `SKILL.md` below the front matter.
    pub body: Arc<str>,
    /// How its program is called, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolSpec>,
}
