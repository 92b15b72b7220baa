//! What the daemon and the program that guests run in have in common: what they say to each other,
//! and the walls around the program.
//!
//! The program itself is `bin/openpista-wasm`, which alone links what runs WebAssembly. How the
//! daemon uses it is told in [`crate::effect::sandbox::wasm`].

pub mod line;
pub mod recent;
pub mod stamp;

pub use crate::effect::tool::clip::Decoder;

use self::line::Place;
use crate::effect::sandbox::subprocess::confine::{self, Walls};
use std::io;

/// The program's file name.
pub const PROGRAM: &str = "openpista-wasm";

/// Closes the walls of a host around this thread and those that it starts: it may read the
/// workspace, and read and write the cache, if these are there, and nothing else. Says how they are
/// kept.
///
/// # Errors
/// What the kernel lacks. What it has is closed all the same.
pub fn enclose(place: &Place) -> io::Result<String> {
    let walls = Walls {
        read: vec![place.workspace.clone()],
        write: vec![place.cache_dir.clone()],
    };
    walls.close_alone().map(|how| how.to_string())
}

/// Takes from this thread, and from those that it starts, the right to write anywhere.
///
/// # Errors
/// What the kernel lacks.
pub fn close_to_writing() -> io::Result<()> {
    confine::close_to_writing()
}
