//! The directory of one sandbox: made empty, removed whatever is in it.
//!
//! Beside the place that its program may write to, it has what the guard is told and what the
//! program reads; that it has this is the mark that the task was started.

use openpista_core::id::SandboxId;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where one sandbox is.
#[derive(Clone, Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// In the directory of all.
    pub(super) fn new(root: &Path, sandbox: SandboxId) -> Scratch {
        Scratch(root.join(sandbox.to_string()))
    }

    /// At this path.
    pub(super) fn at(dir: PathBuf) -> Scratch {
        Scratch(dir)
    }

    /// The whole of it.
    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    /// What the program may write to.
    pub(super) fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    /// What the program reads as its standard input.
    pub(super) fn input(&self) -> PathBuf {
        self.0.join("input")
    }

    /// What the guard is told.
    pub(super) fn hold(&self) -> PathBuf {
        self.0.join("hold")
    }

    /// Makes it, in the place of an older one.
    pub(super) fn make(&self) -> io::Result<()> {
        self.remove()?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.files())
    }

    /// Writes a file that must not be there yet.
    pub(super) fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file);
        new?.write_all(bytes)
    }

    /// Removes it with everything in it; nothing, when it is not there. However deep directories
    /// are in each other, and whatever their modes, each is emptied at the top; links are not
    /// followed.
    pub(super) fn remove(&self) -> io::Result<()> {
        let mut moved = 0_u64;
        while fs::symlink_metadata(&self.0).is_ok() {
            let dirs = dirs_of(&self.0)?;
            if dirs.is_empty() {
                fs::remove_dir(&self.0)?;
            }
            for dir in dirs {
                for inner in dirs_of(&dir)? {
                    fs::set_permissions(&inner, Permissions::from_mode(0o700))?;
                    fs::rename(inner, self.free(&mut moved))?;
                }
                fs::remove_dir(dir)?;
            }
        }
        Ok(())
    }

    /// A path at the top where nothing is, also after a removal that was cut short.
    fn free(&self, count: &mut u64) -> PathBuf {
        loop {
            let path = self.0.join(format!("removed-{count}"));
            *count += 1;
            if fs::symlink_metadata(&path).is_err() {
                return path;
            }
        }
    }
}

/// Removes all from a directory but directories, and returns those.
fn dirs_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    let mut dirs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => dirs.push(entry.path()),
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(dirs)
}
