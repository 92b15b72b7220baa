//! What tells one state of a file from the next without reading it.
//!
//! As long as a file's stamp is the same, so is the file. One that was changed only just now could
//! change again within the same tick of its clock, so its stamp is not yet believed.

use serde::{Deserialize, Serialize};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How old a change must be before a stamp is believed.
const SETTLED: Duration = Duration::from_secs(2);

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of a file with this metadata.
    pub fn of(file: &Metadata) -> Stamp {
        Stamp {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// It may be believed, when it was taken at `now` before the file was read.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let changed = UNIX_EPOCH + Duration::from_secs(self.changed.0.try_into().unwrap_or(0));
        now.duration_since(changed).is_ok_and(|age| age >= SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_stamp_is_not_believed() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let stamp = Stamp {
            device: 1,
            inode: 2,
            bytes: 3,
            modified: (4, 5),
            changed: (99, 0),
        };
        assert!(!stamp.is_settled(at(98)));
        assert!(!stamp.is_settled(at(100)));
        assert!(stamp.is_settled(at(101)));
    }
}
