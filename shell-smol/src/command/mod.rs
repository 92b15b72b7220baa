//! The commands of the program.

use crate::effect::tool::guard;

/// Runs the program: parses the command line and carries out the command.
pub fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before all other work: every command that a tool runs waits for this.
    if args.next().is_some_and(|first| first == guard::SUBCOMMAND) {
        return guard::main(args);
    }
    std::process::ExitCode::SUCCESS
}
