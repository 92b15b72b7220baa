//! What the benches share: scratch places, samples, and rows of their tables.
//!
//! Targets are printed beside what was measured and never checked: a busy machine is no failure.
use std::fs::File;
use std::io::{Seek, Write};
use std::time::{Duration, Instant};

/// A directory on the same disk that goes with the bench.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory among the build's")
}

/// The head of a table.
pub(crate) fn head(title: &str) {
    println!("{title:<58} {:<32} target", "measured");
}

/// One line of it. Without a target it is for information.
pub(crate) fn row(what: &str, measured: &str, target: &str) {
    println!("  {what:<56} {measured:<32} {target}");
}

/// Times that were taken of the same thing.
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// At least one.
    pub(crate) fn new(mut taken: Vec<Duration>) -> Samples {
        assert!(!taken.is_empty(), "something was measured");
        taken.sort_unstable();
        Samples(taken)
    }

    /// Does a thing `times` over, after once for warmth.
    pub(crate) fn of(times: usize, mut thing: impl FnMut()) -> Samples {
        thing();
        Samples::new((0..times).map(|_| Samples::one(&mut thing)).collect())
    }

    /// How long a thing takes, once.
    pub(crate) fn one(thing: impl FnOnce()) -> Duration {
        let began = Instant::now();
        thing();
        began.elapsed()
    }

    pub(crate) fn median(&self) -> Duration {
        self.at(0.5)
    }

    /// The time that this share of them does not exceed.
    pub(crate) fn at(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share) as usize]
    }

    /// The median and the 99th of a hundred.
    pub(crate) fn text(&self) -> String {
        format!("p50 {}, p99 {}", ms(self.median()), ms(self.at(0.99)))
    }
}

/// A time in milliseconds.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Prints how long the disk takes to make 4 KiB durable: at the end of a file that grows, and in
/// the place of older ones, as a write-ahead log is written again and again.
pub(crate) fn sync_costs() {
    let dir = scratch();
    let mut file = File::create(dir.path().join("file")).expect("a file");
    let mut file = |times| {
        let took = Samples::of(times, || {
            file.write_all(&[7; 4096]).expect("room on the disk");
            file.sync_data().expect("a disk that works");
        });
        file.rewind().expect("a file");
        took
    };
    let (growing, again) = (file(300), file(300));
    row("one sync of 4 KiB, the file grows", &growing.text(), "");
    row("one sync of 4 KiB, written over", &again.text(), "");
}
