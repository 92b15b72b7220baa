//! openpista's core: an agent daemon as deterministic state machines, without input or output.
//!
//! *Decide, commit, act.* Every input goes through one pure function, [`Core::step`], that decides
//! a list of facts, the [`record::Record`]s. A shell commits them to disk. Only then does the
//! [`gate::Gate`] hand out the effects that the facts intend; the shell performs them, and what
//! came of each is the next input. Recovery ([`recover`]) folds the facts and decides nothing;
//! [`replay`] decides everything again and finds the first fact that differs.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time, configuration and the
//! world are arguments, and the crate is `no_std`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cron;
pub mod depth;
pub mod digest;
pub mod effect;
pub mod gate;
pub mod hint;
pub mod id;
pub mod input;
pub mod limit;
mod machine;
pub mod message;
pub mod record;
pub mod recover;
pub mod refusal;
pub mod replay;
mod say;
pub mod settings;
pub mod skill;
pub mod state;
pub mod step;
pub mod time;
pub mod timer;
pub mod wire;

pub use crate::machine::schedule::specs as schedule_tools;
pub use crate::step::{Core, Step};
