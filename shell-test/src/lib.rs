//! openpista's simulator: the core under a virtual clock, a lossy disk and every crash.
//!
//! A seed makes a [`plan::Plan`], the plan a [`world`], the world a [`story::Story`], and the
//! [`law`]s are checked on the story. [`exhaustive`] crashes a scripted conversation at every cut,
//! [`shrink`] reduces a failing plan to a fixture, and [`mutant`] shows that every check can fail.
//!
//! It is the shell that pretends: the noun that `core/src/effect/tool.rs` describes and
//! `shell-smol/src/effect/tool.rs` performs, [`effect::tool`] pretends.
#![forbid(unsafe_code)]

pub mod channel;
pub mod clock;
pub mod disk;
pub mod effect;
pub mod exhaustive;
pub mod fault;
pub mod law;
pub mod mutant;
pub mod plan;
pub mod reference;
pub mod seed;
pub mod shrink;
pub mod story;
pub mod world;
