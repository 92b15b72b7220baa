//! `skills/hello-wasm`, built as its guide says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What `skills/build` exits with where there is no compiler for WebAssembly.
const NO_COMPILER: i32 = 3;

/// The module. None where there is no compiler for it; in CI, which has to install one, that is
/// an error.
pub(crate) fn hello_wasm() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let skills = Path::new(env!("CARGO_MANIFEST_DIR")).join("../skills");
    let out =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hello-{}.wasm", std::process::id()));
    let mut command = Command::new("bash");
    command
        .arg(skills.join("build"))
        .arg(skills.join("hello-wasm"))
        .arg(&out);
    // What the build of the tests was told is not meant for a guest.
    for flags in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WRAPPER",
    ] {
        command.env_remove(flags);
    }
    let output = command.output().expect("bash is there");
    if output.status.code() == Some(NO_COMPILER) && std::env::var_os("CI").is_none() {
        eprintln!(
            "skipped: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return None;
    }
    assert!(output.status.success(), "{output:?}");
    Some(out)
}
