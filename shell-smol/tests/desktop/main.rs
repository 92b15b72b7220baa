//! The desktop's tools under a real X server, witnessed by programs that are not ours.

mod capture;
mod daemon;
mod notify;
mod ocr;
mod rig;
#[path = "../support/mod.rs"]
mod support;
mod telegram;
#[path = "../support/xvfb.rs"]
mod xvfb;
