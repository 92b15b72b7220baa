//! The smol shell: openpista's core carried out against SQLite, a model server and the operating
//! system.
//!
//! [`driver`] is the one loop: take inputs, step the core, commit, open the gate, spawn effects.
//! What can happen arrives from [`source`]; what must be done is done in [`effect`], one small
//! module a kind, each of which turns every error into an outcome. Whether something is done is
//! never decided here.

mod alarm;
pub mod client;
pub mod clock;
pub mod command;
pub mod companion;
pub mod config;
pub mod desktop;
pub mod driver;
pub mod effect;
pub mod guest;
pub mod journal;
pub mod metrics;
pub mod secret;
pub mod skill;
pub mod source;
pub mod terminal;
pub mod worker;
