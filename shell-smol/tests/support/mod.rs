//! What the tests of the shell share.

pub mod bot_api;
pub mod daemon;
pub mod program;
pub mod server;
