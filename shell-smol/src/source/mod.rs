//! Where inputs come from.

pub mod cli;
pub mod quic;
pub mod signal;
pub mod skill;
pub mod telegram;
pub mod wall;
