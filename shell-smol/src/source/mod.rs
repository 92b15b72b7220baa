//! Where inputs come from.

pub mod cli;
pub mod quic;
pub mod signal;
pub mod telegram;
pub mod wall;
