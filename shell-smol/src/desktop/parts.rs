//! What sees and touches a display.
//!
//! All this belongs to the program `openpista-desktop`, which names this file, and not to the
//! library: what it needs of a display would else be linked to the daemon as well, by linkers that
//! do not look closely.

mod hands;
mod notify;
mod ocr;
mod picture;
pub(crate) mod program;
mod screen;

pub(crate) use openpista_shell_smol::desktop::*;
