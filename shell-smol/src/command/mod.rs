//! The commands of the program.

pub mod export;
pub mod output;
pub mod replay;
pub mod sessions;

/// Runs the program: parses the command line and carries out the command.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
