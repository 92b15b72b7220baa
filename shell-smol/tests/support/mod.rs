//! What the tests of the shell share.

pub mod daemon;
pub mod program;
pub mod server;
