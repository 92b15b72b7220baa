//! Secrets, and keeping them out of everything.
//!
//! A [`Secret`] prints as a placeholder, compares by value, and gives its text only to the one
//! call that sends it. It is never journaled: the core's settings have no field for it (law 22).

use std::fmt;

/// A text that must not be shown, such as an API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value; blanks around it, such as a file's last line break, are not part of it.
    pub fn new(value: &str) -> Secret {
        Secret(value.trim().to_owned())
    }

    /// The value itself, to be sent to the one it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
