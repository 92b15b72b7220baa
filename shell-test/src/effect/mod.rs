//! The pretended effects. Each says what came of an attempt in the world, and when; the world
//! keeps the ledger of it in its [`crate::story::Story`].

pub mod cancel;
pub mod deliver;
pub mod model;
pub mod sandbox;
pub mod tool;
pub mod wire;

use crate::story::Modelled;
use openpista_core::effect::{Chunk, Outcome};

/// What will come of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// What it reports, and how long after its start in milliseconds; none when it is never heard
    /// of again.
    pub report: Option<(u64, Outcome)>,
    /// What is seen of it meanwhile.
    pub progress: Vec<(u64, Chunk)>,
    /// For a delivery: when the person sees it.
    pub shown_ms: Option<u64>,
    /// For a model call: what went over the wire.
    pub modelled: Option<Modelled>,
}
