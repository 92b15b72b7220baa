//! Pure codecs between bytes and our types. They round-trip, do not care where chunks break, never
//! panic, and bound what they allocate (law 19).

pub mod frame;
pub mod openai;
pub mod skill;
pub mod sse;
