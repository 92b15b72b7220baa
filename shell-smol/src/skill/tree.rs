//! Walking the workspace: which folders have a `SKILL.md`, and what to look at to see that
//! something changed.
//!
//! The walk goes breadth first, so that what is near the top is found in any case, and is bounded in
//! depth and number. Links are not followed: what they lead to in the workspace is met by itself,
//! and what is outside of it nothing sandboxed could reach.

use super::{Broken, FILE_NAME};
use std::collections::VecDeque;
use std::fs::{self, DirEntry};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many folders deep a skill may lie.
const DEPTH: usize = 8;
/// How many files and folders are looked at.
const ENTRIES: usize = 20_000;

/// Folders that are full of what others made.
const SKIPPED: [&str; 2] = ["target", "node_modules"];

/// The files that a skill is made of, for us.
pub(super) const FILES: [&str; 5] = [
    FILE_NAME,
    "parameters.json",
    "run.sh",
    "main.py",
    "main.wasm",
];

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Folders with a `SKILL.md`, in the order of their paths.
    pub(super) folders: Vec<Folder>,
    /// What is wrong with the tree itself.
    pub(super) faults: Vec<Broken>,
}

/// A folder that may be a skill.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder {
    /// Its path, from the workspace.
    pub(super) path: PathBuf,
    /// When each of [`FILES`] changed; none of what is not there.
    stamps: [Option<Stamp>; FILES.len()],
}

impl Folder {
    /// It has this one of [`FILES`].
    pub(super) fn has(&self, name: &str) -> bool {
        let mut files = FILES.iter().zip(&self.stamps);
        files.any(|(file, stamp)| *file == name && stamp.is_some())
    }
}

/// What is different after a file was written or replaced: no tool can set the time that its inode
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Stamp {
            inode: found.ino(),
            bytes: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Tree {
    /// Walks a workspace, all of it but `apart`. One that is not there has no skills.
    pub(super) fn walk(workspace: &Path, apart: &Path) -> Tree {
        let mut walk = Walk {
            workspace,
            apart,
            left: ENTRIES,
            queue: VecDeque::from([(PathBuf::new(), 0)]),
            tree: Tree::default(),
        };
        while let Some((folder, depth)) = walk.queue.pop_front() {
            walk.folder(&folder, depth);
        }
        if walk.left == 0 {
            let message = format!(
                "has more than {ENTRIES} files and folders: skills beyond these are not found; \
                 name a smaller one as skills.workspace"
            );
            walk.tree.faults.push(Broken::new(workspace, message));
        }
        walk.tree.folders.sort();
        walk.tree.faults.sort();
        walk.tree
    }
}

struct Walk<'a> {
    workspace: &'a Path,
    apart: &'a Path,
    /// How many more entries are looked at.
    left: usize,
    queue: VecDeque<(PathBuf, usize)>,
    tree: Tree,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) {
        let place = self.workspace.join(folder);
        // What this user may not read holds none of their skills.
        let Ok(entries) = fs::read_dir(&place) else {
            return;
        };
        let mut inner = Vec::new();
        for entry in entries.flatten() {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let name = entry.file_name();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if name == FILE_NAME {
                let stamps = FILES.map(|file| Stamp::of(&place.join(file)));
                let path = folder.to_owned();
                self.tree.folders.push(Folder { path, stamps });
            } else if kind.is_symlink() {
                self.link(&entry);
            } else if kind.is_dir() && depth < DEPTH && !self.is_skipped(&entry) {
                inner.push((folder.join(name), depth + 1));
            }
        }
        inner.sort();
        self.queue.extend(inner);
    }

    fn is_skipped(&self, entry: &DirEntry) -> bool {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with('.') || SKIPPED.contains(&&*name) || entry.path() == self.apart
    }

    /// Whoever links a skill in from elsewhere must learn that it is not taken.
    fn link(&mut self, entry: &DirEntry) {
        let path = entry.path();
        if !path.join(FILE_NAME).is_file() {
            return;
        }
        let inside = match (path.canonicalize(), self.workspace.canonicalize()) {
            (Ok(real), Ok(workspace)) => real.starts_with(workspace),
            _ => false,
        };
        if !inside {
            let message = "this link leads out of the workspace, where no sandbox can follow: put \
                           the folder itself here";
            self.tree.faults.push(Broken::new(path, message));
        }
    }
}
