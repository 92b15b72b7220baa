//! WebAssembly guests under the real engine: what they answer, how they end, what they cannot do.

mod agreement;
mod bounds;
mod escape;
mod hello;
#[path = "../support/hello_wasm.rs"]
mod hello_wasm;
mod hosts;
mod support;
