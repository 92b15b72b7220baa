//! The hands on a real display, witnessed by programs that are not ours: `xev`, `xterm`, `xdotool`.
//!
//! Each test has a display of its own (`Xvfb`). What is needed: the Debian packages xvfb, xdotool,
//! xterm and x11-utils.

#![cfg(target_os = "linux")]

#[path = "../support/mod.rs"]
#[allow(
    dead_code,
    reason = "it is a module of several test programs, and each uses a part of it"
)]
mod support;

mod aim;
mod companion;
mod display;
mod let_go;
mod policy;
mod stop;
mod typing;
#[path = "../support/xvfb.rs"]
mod xvfb;
