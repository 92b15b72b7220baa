//! The journal's time from the system's clocks.
