//! Our tools have dotted names; providers allow `^[a-zA-Z0-9_-]{1,64}$`. This maps both ways,
//! without collisions among the tools on offer, and the same way every time.

use crate::message::ToolSpec;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const MAX_CHARS: usize = 64;

/// The names of the tools on offer, as they are called on the wire.
#[derive(Clone, Debug, Default)]
pub struct Names {
    to_wire: BTreeMap<String, String>,
    to_ours: BTreeMap<String, String>,
}

impl Names {
    /// Names these tools. A name that the provider allows stays as it is, whatever the others are.
    pub fn of(tools: &[ToolSpec]) -> Names {
        let mut names = Names::default();
        let (allowed, others): (Vec<&str>, Vec<&str>) = tools
            .iter()
            .map(|tool| tool.name.as_str())
            .partition(|name| is_allowed(name));
        for name in allowed.into_iter().chain(others) {
            if !names.to_wire.contains_key(name) {
                let wire = names.free(name);
                names.to_ours.insert(wire.clone(), name.to_owned());
                names.to_wire.insert(name.to_owned(), wire);
            }
        }
        names
    }

    /// What a tool is called on the wire. A name that is not on offer (an old transcript may hold
    /// it) becomes one that is allowed and means none of the tools on offer.
    pub fn wire(&self, ours: &str) -> String {
        match self.to_wire.get(ours) {
            Some(wire) => wire.clone(),
            None => self.free(ours),
        }
    }

    /// Which tool a model means. A name that is not on offer stays as it is.
    pub fn ours(&self, wire: &str) -> String {
        match self.to_ours.get(wire) {
            Some(ours) => ours.clone(),
            None => wire.to_owned(),
        }
    }

    /// The allowed name nearest to `name` that is not taken.
    fn free(&self, name: &str) -> String {
        let plain = allow(name);
        if !self.to_ours.contains_key(&plain) {
            return plain;
        }
        // One of any `len + 1` different names is free.
        let mut number = 2_usize;
        loop {
            let suffix = format!("_{number}");
            let keep = plain.len().min(MAX_CHARS - suffix.len());
            let candidate = format!("{}{suffix}", &plain[..keep]);
            if !self.to_ours.contains_key(&candidate) {
                return candidate;
            }
            number += 1;
        }
    }
}

fn is_allowed(name: &str) -> bool {
    (1..=MAX_CHARS).contains(&name.len()) && name.chars().all(is_allowed_char)
}

fn is_allowed_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn allow(name: &str) -> String {
    let plain: String = name
        .chars()
        .take(MAX_CHARS)
        .map(|c| if is_allowed_char(c) { c } else { '_' })
        .collect();
    if plain.is_empty() {
        "unnamed".to_owned()
    } else {
        plain
    }
}
