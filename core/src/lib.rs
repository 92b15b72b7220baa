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
//!
//! # A shell around it
//!
//! The smallest one there is: its journal is a list in memory, and its model says everything back.
//! `shell-smol` is the same loop with a disk, a clock, a network and an operating system.
//!
//! ```
//! use openpista_core::Core;
//! use openpista_core::effect::{Op, Outcome, deliver::Delivered, model::Reply};
//! use openpista_core::gate::{Gate, Opened, Receipt};
//! use openpista_core::input::{Arrival, Boot, Input};
//! use openpista_core::message::{Message, Prompt};
//! use openpista_core::{settings::Settings, time::Time};
//! use std::collections::VecDeque;
//!
//! /// Carries an effect out; whatever comes of it, also an error, is an outcome.
//! fn perform(op: &Op, prompt: Option<&Prompt>, shown: &mut Vec<String>) -> Outcome {
//!     let last = prompt.and_then(|prompt| prompt.messages.last());
//!     match (op, last.map(|entry| &entry.message)) {
//!         (Op::Model(_), Some(Message::User { text })) => {
//!             let text = format!("you said: {text}");
//!             Outcome::Model(Ok(Reply { text, ..Reply::default() }))
//!         }
//!         (Op::Deliver(delivery), _) => {
//!             shown.extend(delivery.body.text().map(String::from));
//!             Outcome::Deliver(Ok(Delivered))
//!         }
//!         other => unreachable!("this shell offers no tools: {other:?}"),
//!     }
//! }
//!
//! let settings = Settings { model: "echo".into(), owners: ["cli:me".into()].into(), ..Settings::default() };
//! let me = || String::from("cli:me");
//! let mut inputs = VecDeque::from([
//!     Input::Boot(Box::new(Boot { settings, unix_ms: 1_700_000_000_000 })),
//!     Input::Arrive(Arrival {
//!         origin: me(), key: "1".into(), peer: me(), session: None, text: "hello".into(), serial: None,
//!     }),
//! ]);
//! let (mut core, mut gate, mut now) = (Core::new(), Gate::new(), Time::ZERO);
//! let (mut journal, mut shown) = (Vec::new(), Vec::new());
//! while let Some(input) = inputs.pop_front().or_else(|| {
//!     // Nothing happens: the time comes of the next timer.
//!     core.deadline().map(|(due, timer)| { now = now.max(due); Input::Tick(timer) })
//! }) {
//!     let step = core.step(now, input); // decide,
//!     journal.push((step.seq, step.records.clone())); // commit,
//!     let receipt = Receipt::durable_through(step.seq);
//!     gate.hold(step);
//!     for opened in gate.open(receipt) { // act
//!         if let Opened::Effect(cleared) = opened {
//!             let (effect, prompt) = cleared.into_parts();
//!             let outcome = perform(&effect.op, prompt.as_ref(), &mut shown);
//!             inputs.push_back(Input::Finish { effect: effect.id, attempt: effect.attempt, outcome });
//!         }
//!     }
//! }
//! assert_eq!(shown, ["you said: hello"]);
//! ```
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
