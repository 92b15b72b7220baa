//! Files as `init` writes them: whole or not at all, and never over something without a copy of it.

use crate::clock::utc;
use crate::command::Error;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Only its owner reads and writes it.
pub(super) const PRIVATE: u32 = 0o600;
/// Everybody may read it.
pub(super) const PUBLIC: u32 = 0o644;

/// Puts a file in its place, with this mode. What was there, if it was something else, is kept in a
/// copy that only its owner can read; gives the copy's path.
pub(super) fn put(path: &Path, text: &str, mode: u32) -> Result<Option<PathBuf>, Error> {
    // Where the path is a link, what it points to is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| {
        let shown = path.display();
        Error::failed(format!(
            "cannot write {shown}: {error}; see that you may write there, and that there is room"
        ))
    };
    try_put(&path, text, mode).map_err(failed)
}

fn try_put(path: &Path, text: &str, mode: u32) -> io::Result<Option<PathBuf>> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let copy = match fs::read(path) {
        Ok(found) if found == text.as_bytes() => None,
        Ok(found) => Some(keep(path, &found)?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(&new, text.as_bytes(), mode)?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()?;
    Ok(copy)
}

/// Writes a file that is not there yet, down to the disk.
fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    file.sync_all()
}

/// Keeps a copy beside the file, named for the moment.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let moment = utc(since.as_millis() as u64).replace(['-', ':'], "");
    for again in 0.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".bak-{moment}"));
        if again > 0 {
            name.push(format!("-{again}"));
        }
        let copy = path.with_file_name(name);
        match write(&copy, bytes, PRIVATE) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            written => return written.map(|()| copy),
        }
    }
    unreachable!("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_there_is_kept_and_what_is_the_same_is_not_copied() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/config.toml");
        assert_eq!(put(&path, "one", PRIVATE).unwrap(), None);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(put(&path, "one", PRIVATE).unwrap(), None);
        assert_eq!(mode(&path), 0o600, "the same text, but the right mode");
        let copies = ["one", "two"].map(|old| {
            let copy = put(&path, &format!("{old}+"), PRIVATE).unwrap().unwrap();
            put(&path, "two", PRIVATE).unwrap();
            copy
        });
        assert_eq!(fs::read_to_string(&copies[0]).unwrap(), "one");
        assert_eq!(fs::read_to_string(&copies[1]).unwrap(), "two");
        assert_eq!(mode(&copies[0]), 0o600);
        let name = copies[0].file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("config.toml.bak-2"), "{name}");
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        assert!(
            left.flatten()
                .all(|entry| entry.path().extension().is_none_or(|e| e != "new"))
        );
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        put(&link, "new", PRIVATE).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
    }
}
