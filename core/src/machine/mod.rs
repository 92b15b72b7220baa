//! The machines. Each owns one concern and its part of the state.
//!
//! They share a shape, not a trait: `decide`-like functions read `&self` and return records;
//! `evolve` alone changes, by a record, and makes no choice. No machine knows another: facts of
//! one reach the next as arguments, through [`crate::step`].
