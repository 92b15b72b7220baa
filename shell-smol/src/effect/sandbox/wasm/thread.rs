//! Threads of our own, one a piece of work, gone when it is done.
//!
//! A pool would keep its threads for good, and let a guest that cannot be ended hold one of them.

use async_channel::Receiver;
use openpista_core::effect::sandbox::SandboxFault;
use std::thread::Builder;

/// Room for a guest's stack, which wasmtime bounds at 512 KiB, and for ours.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Starts the work; what it comes to is received, unless it panics. Nothing was done on an error.
pub(super) fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Receiver<T>, SandboxFault> {
    let (tell, told) = async_channel::bounded(1);
    let thread = Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = tell.try_send(work());
        });
    match thread {
        Ok(_) => Ok(told),
        Err(error) => Err(SandboxFault::Failed {
            message: format!("the system starts no more threads now ({error}): try again later"),
        }),
    }
}
