//! The tree of the whole workspace, and what cargo says of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of it.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = own.parent().expect("the package lies in the workspace");
    top.to_owned()
}

/// What this command prints there. It changes nothing and asks nobody.
///
/// # Panics
/// When it fails.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(root());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
