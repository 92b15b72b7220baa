//! Guests that were prepared lately, ready to be instantiated.
//!
//! A guest is known by the digest of its bytes. So that its file need not be read each time, the
//! file's stamp is remembered too: as long as that is the same, so is the file. A file that was
//! changed only just now could change again within the same tick of its clock, so its stamp is
//! not yet believed.

use openpista_core::digest::Digest;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many guests are kept. Each holds its compiled code, a few times the size of its file.
const GUESTS: usize = 16;

/// How old a change must be before a stamp is believed.
const SETTLED: Duration = Duration::from_secs(2);

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let changed = UNIX_EPOCH + Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        now.duration_since(changed).is_ok_and(|age| age >= SETTLED)
    }
}

/// The guests, the one that was used last at the end.
#[derive(Debug)]
pub(super) struct Recent<G> {
    kept: Vec<Kept<G>>,
}

#[derive(Debug)]
struct Kept<G> {
    digest: Digest,
    guest: G,
    /// Where it was seen, with which stamp.
    seen: Option<(PathBuf, Stamp)>,
}

impl<G: Clone> Recent<G> {
    pub(super) fn new() -> Recent<G> {
        Recent { kept: Vec::new() }
    }

    /// The guest of the file that has this stamp.
    pub(super) fn by_stamp(&mut self, path: &Path, stamp: Stamp) -> Option<G> {
        self.take(|kept| {
            let seen = kept.seen.as_ref();
            seen.is_some_and(|(at, then)| at == path && *then == stamp)
        })
    }

    /// The guest of these bytes.
    pub(super) fn by_digest(&mut self, digest: &Digest) -> Option<G> {
        self.take(|kept| kept.digest == *digest)
    }

    fn take(&mut self, is_it: impl Fn(&Kept<G>) -> bool) -> Option<G> {
        let at = self.kept.iter().position(is_it)?;
        let kept = self.kept.remove(at);
        let guest = kept.guest.clone();
        self.kept.push(kept);
        Some(guest)
    }

    /// Keeps a guest, or where it is kept already, its stamp. `stamp` was taken before the file
    /// was read, at `now`.
    pub(super) fn keep(
        &mut self,
        digest: Digest,
        guest: G,
        path: &Path,
        stamp: Stamp,
        now: SystemTime,
    ) {
        self.kept.retain(|kept| kept.digest != digest);
        if self.kept.len() >= GUESTS {
            self.kept.remove(0);
        }
        self.kept.push(Kept {
            digest,
            guest,
            seen: stamp.is_settled(now).then(|| (path.to_owned(), stamp)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(100);

    fn stamp(changed: i64) -> Stamp {
        Stamp {
            device: 1,
            inode: 2,
            bytes: 3,
            modified: (4, 5),
            changed: (changed, 0),
        }
    }

    fn keep(recent: &mut Recent<u32>, number: u32, stamp: Stamp) {
        let digest = Digest::of(&[&number.to_be_bytes()]);
        recent.keep(digest, number, Path::new("/f"), stamp, UNIX_EPOCH + LATER);
    }

    #[test]
    fn a_guest_is_found_by_its_stamp_until_the_file_changes() {
        let mut recent = Recent::new();
        keep(&mut recent, 7, stamp(6));
        assert_eq!(recent.by_stamp(Path::new("/f"), stamp(6)), Some(7));
        assert_eq!(recent.by_stamp(Path::new("/g"), stamp(6)), None);
        assert_eq!(recent.by_stamp(Path::new("/f"), stamp(8)), None);
    }

    #[test]
    fn a_fresh_stamp_is_not_believed() {
        let mut recent = Recent::new();
        keep(&mut recent, 7, stamp(99));
        assert_eq!(recent.by_stamp(Path::new("/f"), stamp(99)), None);
        assert_eq!(
            recent.by_digest(&Digest::of(&[&7u32.to_be_bytes()])),
            Some(7)
        );
    }

    #[test]
    fn the_one_that_was_not_used_for_longest_goes() {
        let mut recent = Recent::new();
        for number in 0..GUESTS as u32 {
            keep(&mut recent, number, stamp(6));
        }
        let digest = |number: u32| Digest::of(&[&number.to_be_bytes()]);
        assert_eq!(recent.by_digest(&digest(0)), Some(0));
        keep(&mut recent, 99, stamp(6));
        assert_eq!(recent.by_digest(&digest(1)), None);
        assert_eq!(recent.by_digest(&digest(0)), Some(0));
        assert_eq!(recent.kept.len(), GUESTS);
    }
}
