//! `openpista-guard`, the program between the daemon and each command.

fn main() -> std::process::ExitCode {
    openpista_shell_smol::effect::tool::guard::program()
}
