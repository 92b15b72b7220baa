//! The table of every key that a configuration file may have.
//!
//! The table drives reading, refusing and the tests that hold `config.example.toml` to it. A key
//! is here only when this version obeys it.

use super::policy::{MODES, TOOLS, mode};
use super::{Config, Env, Fallback, Provider};
use crate::secret::Secret;
use openpista_core::cron::Zone;
use openpista_core::settings::Mode;
use openpista_core::wire::skill::is_name;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its full name, sections included: `agent.model`.
    pub path: &'static str,
    /// What it takes and where that goes.
    pub kind: Kind,
}

impl Key {
    /// Its own name and those of the sections that it lies in.
    pub fn and_sections(&self) -> impl Iterator<Item = &'static str> {
        let path = self.path;
        let dots = path.match_indices('.').map(move |(at, _)| &path[..at]);
        dots.chain([path])
    }
}

/// What a key takes, and how it is put into the configuration.
#[derive(Debug)]
pub enum Kind {
    /// A text; an error of `set` says what was expected.
    Text {
        /// What it must be.
        expected: &'static str,
        /// Stores it.
        set: fn(&mut Config, &str) -> Result<(), String>,
    },
    /// A path; a leading `~` is the home directory, and a relative one starts at the file's folder.
    Path {
        /// Stores it.
        set: fn(&mut Config, std::path::PathBuf),
    },
    /// A file that holds a secret; the path is as for [`Kind::Path`].
    SecretFile {
        /// Where the secret goes, unless the key beside it, without `_file`, has put one there.
        field: fn(&mut Config) -> &mut Option<Secret>,
    },
    /// A whole number.
    Whole {
        /// The numbers that make sense.
        range: RangeInclusive<u64>,
        /// Stores it.
        set: fn(&mut Config, u64),
    },
    /// True or false.
    Switch {
        /// Stores it.
        set: fn(&mut Config, bool),
    },
    /// A list of ids of people: whole numbers.
    Ids {
        /// Where they go.
        field: fn(&mut Config) -> &mut BTreeSet<u64>,
    },
    /// A section of its own that gives a policy mode to each of some names.
    Modes {
        /// The names that exist.
        names: &'static [&'static str],
        /// Every `skill.NAME` may be one, too.
        skills: bool,
        /// Where they go.
        field: fn(&mut Config) -> &mut BTreeMap<String, Mode>,
    },
}

impl Kind {
    /// A section has a line for this name.
    pub fn knows(&self, name: &str) -> bool {
        match self {
            Kind::Modes { names, skills, .. } => {
                let skill = name.strip_prefix("skill.").is_some_and(is_name);
                names.contains(&name) || (*skills && skill)
            }
            _ => false,
        }
    }

    /// The names that a section's lines may have, for people.
    pub fn names(&self) -> String {
        match self {
            Kind::Modes { names, skills, .. } => {
                names.join(", ") + if *skills { ", skill.NAME" } else { "" }
            }
            _ => String::new(),
        }
    }

    /// What the key must be, to follow "must be".
    pub fn expected(&self) -> String {
        match self {
            Kind::Text { expected, .. } => (*expected).to_owned(),
            Kind::Path { .. } => "the path of a file or folder, in quotes".to_owned(),
            Kind::SecretFile { .. } => "the path of a file, in quotes".to_owned(),
            Kind::Whole { range, .. } => {
                format!("a whole number from {} to {}", range.start(), range.end())
            }
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::Ids { .. } => "a list of numeric ids, as in [12345, 67890]".to_owned(),
            Kind::Modes { .. } => format!("a section of lines NAME = MODE, MODE being {MODES}"),
        }
    }
}

/// Sections that later versions have. Naming them is kinder than guessing what was meant.
pub const LATER: &[&str] = &["channels.cli"];

/// The array of tables that puts messages on the schedule; read by `schedule.rs`.
pub(super) const SCHEDULE: &str = "schedule";

/// What becomes of work without Docker, as errors list it.
const FALLBACKS: &str = "\"subprocess\" or \"refuse\"";

const fn whole(path: &'static str, range: RangeInclusive<u64>, set: fn(&mut Config, u64)) -> Key {
    let kind = Kind::Whole { range, set };
    Key { path, kind }
}

const fn text(
    path: &'static str,
    expected: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
) -> Key {
    let kind = Kind::Text { expected, set };
    Key { path, kind }
}

const fn secret_file(path: &'static str, field: fn(&mut Config) -> &mut Option<Secret>) -> Key {
    let kind = Kind::SecretFile { field };
    Key { path, kind }
}

const fn switch(path: &'static str, set: fn(&mut Config, bool)) -> Key {
    let kind = Kind::Switch { set };
    Key { path, kind }
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const WEEK: u64 = 7 * 24 * HOUR;

/// Every key.
pub static KEYS: &[Key] = &[
    text(
        "agent.provider",
        "the name of a provider, in quotes",
        provider,
    ),
    text("agent.model", "a model's name, in quotes", |c, v| {
        filled(v, "a model's name, not empty").map(|v| c.agent.model = Some(v.to_owned()))
    }),
    text("agent.api_key", "a key, in quotes", |c, v| {
        filled(v, "a key, not empty").map(|v| c.agent.api_key = Some(Secret::new(v)))
    }),
    secret_file("agent.api_key_file", |c| &mut c.agent.api_key),
    text("agent.base_url", "a URL, in quotes", base_url),
    whole("agent.max_tool_rounds", 1..=1_000, |c, n| {
        c.limits.max_tool_rounds = n as u16;
    }),
    switch("agent.images", |c, on| c.agent.images = on),
    text("agent.system_prompt", "a text, in quotes", |c, v| {
        filled(v, "a text, not empty").map(|v| c.agent.system_prompt = Some(v.to_owned()))
    }),
    text("agent.zone", "a time zone, in quotes", |c, v| {
        let zone = Zone::parse(v).map_err(|wrong| format!("a time zone: {wrong}"))?;
        c.agent.zone = Some(zone);
        Ok(())
    }),
    whole("agent.shutdown_grace_ms", 0..=HOUR, |c, n| {
        c.agent.shutdown_grace_ms = n;
    }),
    switch("gateway.enabled", |c, on| c.gateway.enabled = on),
    text(
        "gateway.listen",
        "an address, in quotes",
        |config, value| address(value, "4433").map(|address| config.gateway.listen = address),
    ),
    text(
        "metrics.listen",
        "an address, in quotes",
        |config, value| address(value, "9464").map(|address| config.metrics.listen = Some(address)),
    ),
    switch("channels.telegram.enabled", |c, on| c.telegram.enabled = on),
    text(
        "channels.telegram.token",
        "a bot's token, in quotes",
        |c, v| {
            let token = filled(v, "a bot's token, not empty")?;
            c.telegram.token = Some(Secret::new(token));
            Ok(())
        },
    ),
    secret_file("channels.telegram.token_file", |c| &mut c.telegram.token),
    Key {
        path: "channels.telegram.allowed_users",
        kind: Kind::Ids {
            field: |c| &mut c.telegram.allowed_users,
        },
    },
    text("channels.telegram.api_url", "a URL, in quotes", |c, v| {
        c.telegram.api_url = url(v)?;
        Ok(())
    }),
    Key {
        path: "database.url",
        kind: Kind::Path {
            set: |c, path| c.database = path,
        },
    },
    Key {
        path: "skills.workspace",
        kind: Kind::Path {
            set: |c, path| c.workspace = path,
        },
    },
    whole("tools.timeout_ms", 100..=24 * HOUR, |c, n| {
        c.tools.timeout_ms = n;
    }),
    whole("tools.output_chars", 100..=1_000_000, |c, n| {
        c.tools.output_chars = n as usize;
    }),
    switch("tools.desktop", |c, on| c.tools.desktop = on),
    text("sandbox.fallback", FALLBACKS, |c, v| {
        c.sandbox.fallback = match v {
            "subprocess" => Fallback::Subprocess,
            "refuse" => Fallback::Refuse,
            _ => return Err(FALLBACKS.to_owned()),
        };
        Ok(())
    }),
    switch("sandbox.docker", |c, on| c.sandbox.docker = on),
    text("sandbox.docker_host", "a socket, in quotes", docker_host),
    text("sandbox.image", "an image's name, in quotes", |c, v| {
        filled(v, "an image's name, not empty").map(|v| c.sandbox.image = Some(v.to_owned()))
    }),
    switch("sandbox.pull", |c, on| c.sandbox.pull = on),
    whole("sandbox.millicpus", 10..=1_000_000, |c, n| {
        c.sandbox.millicpus = n;
    }),
    whole("sandbox.memory_mib", 16..=1_048_576, |c, n| {
        c.sandbox.memory_mib = n;
    }),
    whole("sandbox.pids", 4..=1_000_000, |c, n| c.sandbox.pids = n),
    whole("sandbox.tmp_mib", 1..=1_048_576, |c, n| {
        c.sandbox.tmp_mib = n
    }),
    whole("sandbox.file_mib", 1..=1_048_576, |c, n| {
        c.sandbox.file_mib = n;
    }),
    whole("sandbox.timeout_ms", 100..=HOUR, |c, n| {
        c.sandbox.timeout_ms = n;
    }),
    whole("sandbox.at_once", 1..=1_000, |c, n| {
        c.sandbox.at_once = n as usize;
    }),
    Key {
        path: "sandbox.worker",
        kind: Kind::Path {
            set: |c, path| c.sandbox.worker = Some(path),
        },
    },
    switch("sandbox.unconfined", |c, on| c.sandbox.unconfined = on),
    Key {
        path: "sandbox.wasm_host",
        kind: Kind::Path {
            set: |c, path| c.sandbox.wasm_host = Some(path),
        },
    },
    whole("sandbox.wasm_timeout_ms", 10..=HOUR, |c, n| {
        c.sandbox.wasm_timeout_ms = n;
    }),
    whole("sandbox.wasm_memory_mib", 1..=4_096, |c, n| {
        c.sandbox.wasm_memory_mib = n;
    }),
    text("policy.mode", MODES, |c, v| match mode(v) {
        Some(mode) => {
            c.policy.mode = mode;
            Ok(())
        }
        None => Err(MODES.to_owned()),
    }),
    Key {
        path: "policy.channels",
        kind: Kind::Modes {
            names: &["cli", "quic", "telegram"],
            skills: false,
            field: |c| &mut c.policy.channels,
        },
    },
    Key {
        path: "policy.tools",
        kind: Kind::Modes {
            names: TOOLS,
            skills: true,
            field: |c| &mut c.policy.tools,
        },
    },
    whole("limits.calls_per_round", 1..=256, |c, n| {
        c.limits.calls_per_round = n as u16;
    }),
    whole("limits.queued_messages", 1..=100_000, |c, n| {
        c.limits.queued_messages = n as usize;
    }),
    whole("limits.queued_deliveries", 1..=100_000, |c, n| {
        c.limits.queued_deliveries = n as usize;
    }),
    whole("limits.sessions", 1..=1_000_000, |c, n| {
        c.limits.sessions = n as usize;
    }),
    whole("limits.keys", 16..=1_000_000, |c, n| {
        c.limits.keys = n as usize;
    }),
    whole("limits.message_bytes", 1_000..=10_000_000, |c, n| {
        c.limits.message_bytes = n as usize;
    }),
    whole("limits.reply_bytes", 1_000..=10_000_000, |c, n| {
        c.limits.reply_bytes = n as usize;
    }),
    whole("limits.context_bytes", 4_000..=100_000_000, |c, n| {
        c.limits.context_bytes = n as usize;
    }),
    whole("limits.pictures", 0..=16, |c, n| {
        c.limits.pictures = n as usize;
    }),
    whole("limits.context_messages", 2..=100_000, |c, n| {
        c.limits.context_messages = n as usize;
    }),
    whole("limits.turn_bytes", 10_000..=1_000_000_000, |c, n| {
        c.limits.turn_bytes = n as usize;
    }),
    whole("limits.turn_ms", SECOND..=WEEK, |c, n| c.limits.turn_ms = n),
    whole("limits.model_attempts", 1..=100, |c, n| {
        c.limits.model_attempts = n as u16;
    }),
    whole("limits.deliver_attempts", 1..=60_000, |c, n| {
        c.limits.deliver_attempts = n as u16;
    }),
    whole("limits.model_timeout_ms", 100..=24 * HOUR, |c, n| {
        c.limits.model_timeout_ms = n;
    }),
    whole("limits.deliver_timeout_ms", 100..=HOUR, |c, n| {
        c.limits.deliver_timeout_ms = n;
    }),
    whole("limits.grace_ms", 100..=HOUR, |c, n| c.limits.grace_ms = n),
    whole("limits.backoff_ms", 1..=HOUR, |c, n| {
        c.limits.backoff_ms = n
    }),
    whole("limits.backoff_max_ms", 1..=24 * HOUR, |c, n| {
        c.limits.backoff_max_ms = n;
    }),
    whole("limits.absent_max_ms", 1..=WEEK, |c, n| {
        c.limits.absent_max_ms = n;
    }),
    whole("limits.retry_after_max_ms", 0..=WEEK, |c, n| {
        c.limits.retry_after_max_ms = n;
    }),
    whole("limits.approval_ms", SECOND..=WEEK, |c, n| {
        c.limits.approval_ms = n;
    }),
    whole("limits.jobs", 0..=10_000, |c, n| c.limits.jobs = n as usize),
    whole("limits.grants", 0..=10_000, |c, n| {
        c.limits.grants = n as usize;
    }),
    whole("limits.guests", 0..=100_000, |c, n| {
        c.limits.guests = n as usize;
    }),
    whole("limits.sandboxes", 1..=10_000, |c, n| {
        c.limits.sandboxes = n as usize;
    }),
    whole("limits.sandbox_create_ms", SECOND..=24 * HOUR, |c, n| {
        c.limits.sandbox_create_ms = n;
    }),
    whole("limits.sandbox_destroy_ms", SECOND..=HOUR, |c, n| {
        c.limits.sandbox_destroy_ms = n;
    }),
    whole("limits.skills", 0..=10_000, |c, n| {
        c.limits.skills = n as usize;
    }),
    whole("limits.skill_bytes", 100..=1_000_000, |c, n| {
        c.limits.skill_bytes = n as usize;
    }),
    whole("limits.skills_bytes", 0..=10_000_000, |c, n| {
        c.limits.skills_bytes = n as usize;
    }),
    whole("limits.job_late_ms", SECOND..=24 * HOUR, |c, n| {
        c.limits.job_late_ms = n;
    }),
    whole("limits.same_result", 2..=1_000, |c, n| {
        c.limits.same_result = n as u16;
    }),
];

/// What a text for this key must be instead, if the key does not take it.
pub fn fault_of(path: &str, text: &str) -> Option<String> {
    let key = KEYS.iter().find(|key| key.path == path)?;
    let mut scratch = Config::defaults(std::path::PathBuf::new(), Env::default());
    match &key.kind {
        Kind::Text { set, .. } => set(&mut scratch, text).err(),
        _ => None,
    }
}

/// The known name that is nearest to `name`, if one is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| {
        // A key in the wrong section, or without one, is near by its last part.
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let whole = strsim::damerau_levenshtein(name, known);
        let tail = strsim::damerau_levenshtein(&last(name), &last(known)) + 1;
        whole.min(tail)
    };
    let best = known.min_by_key(|known| distance(known))?;
    let length = name.rsplit('.').next().unwrap_or_default().chars().count();
    (distance(best) <= 1 + length / 3).then_some(best)
}

fn filled<'a>(value: &'a str, expected: &str) -> Result<&'a str, String> {
    let value = value.trim();
    match value {
        "" => Err(expected.to_owned()),
        _ => Ok(value),
    }
}

fn provider(config: &mut Config, value: &str) -> Result<(), String> {
    match Provider::ALL.into_iter().find(|p| p.name() == value) {
        Some(provider) => {
            config.agent.provider = provider;
            Ok(())
        }
        None => Err(format!(
            "one of {}",
            Provider::ALL.map(Provider::name).join(", ")
        )),
    }
}

fn base_url(config: &mut Config, value: &str) -> Result<(), String> {
    config.agent.base_url = Some(url(value)?);
    Ok(())
}

/// A server's URL, without a slash at the end.
fn url(value: &str) -> Result<String, String> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|s| value.strip_prefix(s));
    match rest {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !value.contains(' ') => {
            Ok(value.trim_end_matches('/').to_owned())
        }
        _ => Err("a URL such as \"http://localhost:8080/v1\"".to_owned()),
    }
}

fn docker_host(config: &mut Config, value: &str) -> Result<(), String> {
    let value = value.trim();
    match value.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => {
            config.sandbox.docker_host = Some(value.to_owned());
            Ok(())
        }
        _ => Err("a socket of this machine, such as \"unix:///var/run/docker.sock\"".to_owned()),
    }
}

fn address(value: &str, port: &str) -> Result<SocketAddr, String> {
    let value = value.trim().replace("localhost:", "127.0.0.1:");
    let expected = |_| format!("an address and a port, such as \"127.0.0.1:{port}\"");
    value.parse::<SocketAddr>().map_err(expected)
}
