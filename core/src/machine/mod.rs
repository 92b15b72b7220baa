//! The machines. Each owns one concern and its part of the state.
//!
//! They share a shape, not a trait: functions that decide take `&self` and return records;
//! `evolve` alone changes anything, by a record, and makes no choice. No machine knows another:
//! what one must know of another reaches it as an argument, from [`crate::step`].

pub(crate) mod approval;
pub(crate) mod intent;
pub(crate) mod outbox;
pub(crate) mod policy;
pub(crate) mod router;
pub(crate) mod sandbox;
pub(crate) mod schedule;
pub(crate) mod skill;
pub(crate) mod turn;
