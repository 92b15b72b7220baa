//! What the tests of the shell share.

pub mod server;
