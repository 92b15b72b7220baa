//! Skills in the workspace: finding them, and making of each what the core is to know.
//!
//! [`Skills::look`] walks the tree and reads nothing but names and times, so it may be asked often;
//! [`Skills::read`] reads what was found. A folder that cannot be a skill is named with file and
//! line and left out alone. What a skill's program may do is decided nowhere here: it becomes a
//! tool that runs in a sandbox, like any other.

mod program;
mod tree;

pub use self::tree::Tree;

use self::tree::Folder;
use crate::config::{Config, Sandbox};
use openpista_core::limit::Limits;
use openpista_core::skill::Skill;
use openpista_core::wire::skill::{MAX_BYTES, SkillFile};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What makes a folder a skill.
pub const FILE_NAME: &str = "SKILL.md";

/// Where skills are looked for, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Skills {
    workspace: PathBuf,
    /// A folder that strangers' files are put into: nothing there is a skill.
    received: PathBuf,
    limits: Limits,
    sandbox: Sandbox,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The skills, by the paths of their folders.
    pub skills: Vec<Skill>,
    /// What would be one if it were right.
    pub broken: Vec<Broken>,
}

/// A skill that is none, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    /// What is wrong.
    pub file: PathBuf,
    /// The line in it, from 1, if it is a line's fault.
    pub line: Option<usize>,
    /// Why, and what would be right.
    pub message: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of files may hold anything, and people read this at a terminal.
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let file: String = self.file.to_string_lossy().chars().map(clean).collect();
        match self.line {
            Some(line) => write!(f, "{file}:{line}: {}", self.message),
            None => write!(f, "{file}: {}", self.message),
        }
    }
}

impl Broken {
    fn new(file: impl Into<PathBuf>, message: impl Into<String>) -> Broken {
        Broken {
            file: file.into(),
            line: None,
            message: message.into(),
        }
    }
}

impl Skills {
    /// Those of the configured workspace.
    pub fn of(config: &Config) -> Skills {
        Skills {
            workspace: config.workspace.clone(),
            received: config.received_files(),
            limits: config.limits.clone(),
            sandbox: config.sandbox.clone(),
        }
    }

    /// Which folders may be skills, and when what they are made of changed. Two answers are equal
    /// when there is nothing new to read. Blocks; the work is bounded.
    pub fn look(&self) -> Tree {
        Tree::walk(&self.workspace, &self.received)
    }

    /// Reads the skills of a tree. Blocks.
    pub fn read(&self, tree: &Tree) -> Found {
        let mut found = Found {
            skills: Vec::new(),
            broken: tree.faults.clone(),
        };
        let mut places: BTreeMap<String, PathBuf> = BTreeMap::new();
        for folder in &tree.folders {
            let file = self.workspace.join(&folder.path).join(FILE_NAME);
            let skill = match self.skill(folder, &file) {
                Ok(skill) => skill,
                Err(broken) => {
                    found.broken.push(broken);
                    continue;
                }
            };
            let most = self.limits.skills;
            if let Some(other) = places.get(&skill.name) {
                let other = other.display();
                let message = format!(
                    "the skill `{}` is in {other} already: rename one of the folders",
                    skill.name
                );
                found.broken.push(Broken::new(file, message));
            } else if found.skills.len() >= most {
                let message =
                    format!("there are {most} skills already, as limits.skills has it: raise it");
                found.broken.push(Broken::new(file, message));
            } else {
                places.insert(skill.name.clone(), folder.path.clone());
                found.skills.push(skill);
            }
        }
        found
    }

    fn skill(&self, folder: &Folder, file: &Path) -> Result<Skill, Broken> {
        let wrong = |message: String| Broken::new(file, message);
        let bytes = read_file(file, MAX_BYTES).map_err(|error| wrong(error.to_string()))?;
        let place = self.workspace.join(&folder.path);
        let own = place.file_name().unwrap_or_default().to_string_lossy();
        let said = SkillFile::parse(&bytes, &own).map_err(|error| Broken {
            file: file.to_owned(),
            line: Some(error.line),
            message: error.problem.to_string(),
        })?;
        let (bytes, most) = (said.body.len(), self.limits.skill_bytes);
        if bytes > most {
            return Err(wrong(format!(
                "the text is {bytes} bytes long, more than limits.skill_bytes, which is {most}: \
                 put a part of it into other files, and say where"
            )));
        }
        let tool = program::tool(self, folder, &said)?;
        Ok(Skill {
            name: said.name,
            description: said.description,
            body: Arc::from(said.body),
            tool,
        })
    }
}

/// Reads a file of at most so many bytes: no link, for that might lead elsewhere, and nothing that
/// could block, such as a named pipe.
fn read_file(path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).map_err(|error| {
        match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => io::Error::other("this is a link: put the file itself here"),
            false => io::Error::other(format!("cannot be read: {error}; let this user read it")),
        }
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is not a file: expected one"));
    }
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() > max_bytes {
        true => Err(io::Error::other(format!(
            "the file is too long: at most {max_bytes} bytes are read"
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests;
