//! The QUIC gateway over real sockets: a whole daemon in this process, our own client, and one
//! that is written by hand.

#[path = "../support/server.rs"]
mod server;

mod abuse;
mod daemon;
mod early;
mod frames;
mod messages;
mod notices;
mod start;
