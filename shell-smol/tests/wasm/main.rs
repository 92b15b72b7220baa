//! WebAssembly guests under the real engine: what they answer, how they end, what they cannot do.

mod agreement;
mod bounds;
mod escape;
mod support;
