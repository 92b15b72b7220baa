//! Where inputs come from.
