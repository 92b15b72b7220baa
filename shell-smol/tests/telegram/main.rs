//! Telegram, with the real loop and journal, against a bot API on loopback.

mod daemon;
mod files;
mod groups;
mod pure;
mod questions;
#[path = "../support/mod.rs"]
mod support;
mod talk;
mod trouble;
