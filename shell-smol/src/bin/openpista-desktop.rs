//! `openpista-desktop`, the daemon's companion that touches the display.

fn main() -> std::process::ExitCode {
    openpista_shell_smol::desktop::program::main()
}
