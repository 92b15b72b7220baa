//! Secrets, and keeping them out of everything.
//!
//! A [`Secret`] prints as a placeholder, compares by value, and gives its text only to the one
//! call that sends it. It is never journaled: the core's settings have no field for it (law 22).

use std::fmt;

/// A text that must not be shown, such as an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
