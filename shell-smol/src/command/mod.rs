//! The commands of the program.

/// Runs the program: parses the command line and carries out the command.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
