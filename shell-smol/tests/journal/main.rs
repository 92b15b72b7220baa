//! The journal with a real core, a real disk and other processes.

mod bench;
mod commands;
mod lock;
mod store;
