//! Durability: the real program is killed with SIGKILL at random moments, and started again on the
//! same data, over and over. In `local` it is a person's terminal, in `channels` the daemon with a
//! Telegram bot, alone with people and in their group, a schedule, and a client of the gateway.
//!
//! The people and the model are this test, and each command appends a word of its own to a file.
//! Afterwards the journal, the file and everything that was shown must tell the same story: every
//! message came to one visible end, no command ran twice or without leave, and what may have run is
//! said to be in doubt.
//!
//! `OPENPISTA_KILLS` says how many times each is killed, `OPENPISTA_SEED` chooses the moments.

mod bot_user;
mod chance;
mod channels;
mod client;
mod durable;
mod jobs;
mod local;
mod model;
mod place;
mod shown;
#[path = "../support/mod.rs"]
mod support;
mod verdict;
