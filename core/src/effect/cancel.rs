//! Stopping an effect that is running.

use crate::id::{EffectId, SessionId};
use serde::{Deserialize, Serialize};

/// Stop an effect. Its own outcome still comes, and says what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// For which session.
    pub session: SessionId,
    /// Which effect.
    pub target: EffectId,
}

/// What a cancellation found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancelled {
    /// It was running and was told to stop.
    Stopped,
    /// There was nothing to stop.
    Nothing,
}
