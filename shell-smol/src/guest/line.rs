//! What the daemon and a host say to each other, one a line.
//!
//! The daemon asks, one thing at a time; the host says what there is to see of it, and last what
//! became of it: [`Said::Prepared`], [`Said::Refused`], [`Said::Ended`] or [`Said::Tried`]. It can
//! not be asked to stop: it is killed.

use super::stamp::Stamp;
use openpista_core::digest::Digest;
use openpista_core::effect::tool::Exit;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

const WORKSPACE: &str = "OPENPISTA_WORKSPACE";
const CACHE_DIR: &str = "OPENPISTA_CACHE_DIR";
const MEMORY_BYTES: &str = "OPENPISTA_MEMORY_BYTES";

/// What holds for all that a host does. It is the whole of its environment.
#[derive(Clone, Debug)]
pub struct Place {
    /// What guests may read.
    pub workspace: PathBuf,
    /// Where compiled modules are kept.
    pub cache_dir: PathBuf,
    /// How much memory a guest may have.
    pub memory_bytes: u64,
}

impl Place {
    /// As a host is told of it.
    pub fn environment(&self) -> [(OsString, OsString); 3] {
        [
            (WORKSPACE.into(), self.workspace.clone().into()),
            (CACHE_DIR.into(), self.cache_dir.clone().into()),
            (MEMORY_BYTES.into(), self.memory_bytes.to_string().into()),
        ]
    }

    /// None when it was not the daemon that started us.
    pub fn of_environment() -> Option<Place> {
        Some(Place {
            workspace: std::env::var_os(WORKSPACE)?.into(),
            cache_dir: std::env::var_os(CACHE_DIR)?.into(),
            memory_bytes: std::env::var(MEMORY_BYTES).ok()?.parse().ok()?,
        })
    }
}

/// What a host is asked to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Make the guest in this file of the workspace ready. Only a host in which no guest has run
    /// is asked: it is the one that may write to the cache.
    Prepare {
        /// Where it is, in the workspace.
        file: PathBuf,
    },
    /// Let a guest that was prepared, here or in another host, answer one call.
    Run(Run),
    /// Try what must be impossible.
    Try,
}

/// One call.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// Where the guest is, in the workspace.
    pub file: PathBuf,
    /// What it was when it was prepared.
    pub digest: Digest,
    /// What it is to answer.
    pub request: Request,
    /// How long it may take. The daemon sees to that; the host bounds its instructions by it.
    pub timeout_ms: u64,
}

/// One call, as a guest is told of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// Whose guest it is: its one argument, as a program.
    pub skill: String,
    /// Which call this is.
    pub id: String,
    /// Which tool was called.
    pub tool: String,
    /// A JSON object: it goes in as it is.
    pub arguments: String,
}

/// What a host says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// First of all: it stands, behind walls of this kind or without them for this reason.
    Ready {
        /// The walls.
        walls: Result<String, String>,
    },
    /// First of all: nothing can run on this computer.
    Unusable {
        /// The end of a sentence.
        why: String,
    },
    /// Something for the log.
    Warning {
        /// In words for a person.
        what: String,
    },
    /// A module is being compiled.
    Compiling,
    /// A guest can run. Its file may be known by its stamp, if that is to be believed.
    Prepared {
        /// What it is known by.
        digest: Digest,
        /// What its file is known by.
        stamp: Option<Stamp>,
    },
    /// Nothing has run. It is the end of a sentence that begins with the file's name.
    Refused {
        /// Such an end.
        why: String,
    },
    /// Something was printed: what came since the last time.
    Printed {
        /// Whole characters.
        text: String,
    },
    /// A piece of a long answer, in their order.
    Answered {
        /// Whole characters.
        text: String,
    },
    /// The call is over: the rest of the answer.
    Ended {
        /// How.
        exit: Exit,
        /// Whole characters.
        text: String,
    },
    /// What was possible although it must not be.
    Tried {
        /// Each in words for a person.
        possible: Vec<String>,
    },
}
