//! `openpista-worker`, the program that runs a task in a container and reports over the gateway.

fn main() -> std::process::ExitCode {
    openpista_shell_smol::worker::main()
}
