//! What one sync costs at this moment.

use crate::support::{self, Samples};
use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;

/// A file that is written over and made durable again and again, as a write-ahead log is.
pub(crate) struct Disk {
    file: File,
    _dir: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let dir = support::scratch();
        let mut file = File::create(dir.path().join("file")).expect("a file");
        file.write_all(&[0; 64 * 1024]).expect("room on the disk");
        file.sync_all().expect("a disk that works");
        Disk { file, _dir: dir }
    }

    pub(crate) fn sync(&mut self) -> Duration {
        self.file.rewind().expect("a file");
        Samples::one(|| {
            self.file.write_all(&[7; 4096]).expect("room on the disk");
            self.file.sync_data().expect("a disk that works");
        })
    }

    pub(crate) fn samples(&mut self, times: usize) -> Samples {
        Samples::new((0..times).map(|_| self.sync()).collect())
    }
}
