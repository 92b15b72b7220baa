//! `openpista-desktop`, the daemon's companion that touches the display.

use openpista_shell_smol::companion;

#[path = "../desktop/parts.rs"]
mod desktop;

fn main() -> std::process::ExitCode {
    desktop::program::main()
}
