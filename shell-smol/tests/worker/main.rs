//! Workers over real sockets: a whole daemon in this process or the real program, and our worker
//! program, or one that is written by hand, as the process that runs the task.

#[path = "../support/crowd.rs"]
mod crowd;

#[path = "../docker/rig.rs"]
#[allow(dead_code, reason = "the tests of containers use the rest")]
mod rig;

#[path = "../support/mod.rs"]
mod support;

mod containers;
mod daemon;
mod place;
mod real;
mod refused;
mod reports;
