//! What the tests of the shell share.

pub mod bot_api;
pub mod conversation;
pub mod daemon;
pub mod history;
pub mod program;
pub mod server;
