//! What the tests of the shell share.

pub mod conversation;
pub mod history;
pub mod program;
pub mod server;
