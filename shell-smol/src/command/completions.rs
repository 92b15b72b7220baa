//! `completions SHELL`: prints what completes our command lines in a shell, made from the table of
//! commands, so that it knows what the program knows.

mod bash;
mod fish;
mod zsh;

use super::{Error, print};
use std::process::ExitCode;

/// Prints the script for a shell: bash, zsh or fish.
///
/// # Errors
/// When the output cannot be written.
pub fn run(shell: &str) -> Result<ExitCode, Error> {
    print(&match shell {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        _ => fish::script(),
    })
}

/// A text as one word of a shell: each of the three understands this.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
