//! Virtual time. The core never asks what time it is: a shell passes it in.

use serde::{Deserialize, Serialize};

/// Milliseconds since the journal began. Never decreases from one step to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The moment the journal began.
    pub const ZERO: Time = Time(0);

    /// The moment `ms` milliseconds after the journal began.
    pub const fn from_ms(ms: u64) -> Time {
        Time(ms)
    }

    /// Milliseconds since the journal began.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The moment `ms` later; saturates at the end of time.
    pub const fn after_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
