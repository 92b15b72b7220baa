//! Photos and documents on their way into the session's folder.
//!
//! A name that a stranger to this machine chose is not trusted: it becomes one plain component,
//! behind the number of its update, so that it leads nowhere else and replaces nothing. A file that
//! is there already came with the same update, and is left as it is.

use super::update::{File, Place};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file that the bot API gives away, in bytes.
pub(super) const MOST: u64 = 20_000_000;
/// The longest name that is kept, in characters.
const NAME_CHARS: usize = 80;

/// Keeps a file that came with an update, and returns where.
///
/// # Errors
/// When it cannot be written; the words say where.
pub(super) fn keep(
    dir: &Path,
    place: Place,
    update: i64,
    name: &str,
    bytes: &[u8],
) -> Result<PathBuf, String> {
    let dir = match place.thread {
        Some(thread) => dir.join(format!("{}_{thread}", place.chat)),
        None => dir.join(place.chat.to_string()),
    };
    let path = dir.join(format!("{update}-{}", safe(name)));
    let failed = |error: io::Error| format!("{} cannot be written: {error}", path.display());
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(&dir).map_err(failed)?;
    if path.symlink_metadata().is_ok() {
        return Ok(path);
    }
    // A file that is only half there never has its name.
    let part = dir.join(format!(".{update}.part"));
    let _ = fs::remove_file(&part);
    let write = || {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, &path)
    };
    match write() {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = fs::remove_file(&part);
            Err(failed(error))
        }
    }
}

/// What the model reads of a file.
pub(super) fn note(path: &Path, bytes: usize, kind: &str) -> String {
    let size = match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/+.-".contains(c);
    match !kind.is_empty() && kind.len() <= 100 && kind.chars().all(plain) {
        true => format!("[file: {}, {size}, {kind}]", path.display()),
        false => format!("[file: {}, {size}]", path.display()),
    }
}

/// The file is known to be too large.
pub(super) fn is_too_large(file: &File) -> bool {
    file.bytes.is_some_and(|bytes| bytes > MOST)
}

/// A name as one component of a path, of letters, digits and `._-` alone.
fn safe(name: &str) -> String {
    let plain = |c: char| match c.is_alphanumeric() || "._-".contains(c) {
        true => c,
        false => '_',
    };
    let name: String = name.trim().chars().map(plain).collect();
    // The end says what kind of file it is.
    let skip = name.chars().count().saturating_sub(NAME_CHARS);
    let end: String = name.chars().skip(skip).collect();
    match end.trim_start_matches('.') {
        "" => "file".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, keep, note, safe};
    use proptest::prelude::*;
    use std::path::Path;

    const PLACE: Place = Place {
        chat: -5,
        thread: None,
    };

    #[test]
    fn a_file_replaces_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = keep(dir.path(), PLACE, 7, "a b.txt", b"one").expect("it is kept");
        assert_eq!(path, dir.path().join("-5").join("7-a_b.txt"));
        let again = keep(dir.path(), PLACE, 7, "a b.txt", b"two").expect("it is there");
        assert_eq!(std::fs::read(again).expect("it can be read"), b"one");
        let other = keep(dir.path(), PLACE, 8, "a b.txt", b"two").expect("it is kept");
        assert_ne!(path, other);
        let topic = Place {
            thread: Some(3),
            ..PLACE
        };
        let topic = keep(dir.path(), topic, 9, "x", b"").expect("it is kept");
        assert_eq!(topic, dir.path().join("-5_3").join("9-x"));
    }

    #[test]
    fn notes_say_what_came() {
        let path = Path::new("/w/7-a.png");
        assert_eq!(note(path, 999, ""), "[file: /w/7-a.png, 999 bytes]");
        assert_eq!(
            note(path, 12_001, "image/png"),
            "[file: /w/7-a.png, 13 KB, image/png]"
        );
        assert_eq!(
            note(path, 1_950_000, "a]\n[b"),
            "[file: /w/7-a.png, 1.9 MB]"
        );
    }

    proptest! {
        #[test]
        fn a_name_leads_nowhere(name in ".{0,120}") {
            let safe = safe(&name);
            prop_assert!(!safe.is_empty() && !safe.contains('/') && !safe.starts_with('.'));
            prop_assert!(safe.len() <= 4 * super::NAME_CHARS);
            prop_assert!(!safe.chars().any(char::is_control));
        }
    }
}
