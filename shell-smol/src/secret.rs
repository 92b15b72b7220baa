//! Secrets, and keeping them out of everything.
