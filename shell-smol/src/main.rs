//! `openpistacrab`, the program.

fn main() -> std::process::ExitCode {
    openpista_shell_smol::command::main()
}
