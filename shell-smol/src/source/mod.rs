//! Where inputs come from.

pub mod cli;
pub mod signal;
pub mod telegram;
