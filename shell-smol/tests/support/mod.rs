//! What the tests of the shell share.

pub mod program;
pub mod server;
