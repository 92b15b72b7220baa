//! Whether the program that stands between the daemon and each command is there.

use super::{Finding, fault, ok, warn};
use crate::companion;
use crate::effect::tool::guard::NAME;
use std::process::{Command, Stdio};

const SUBJECT: &str = "guard";

pub(super) fn check() -> Finding {
    // Elsewhere it is always our own program.
    if !cfg!(target_os = "linux") {
        return ok(SUBJECT, "openpistacrab itself");
    }
    let program = companion::find(NAME, None);
    let shown = program.display();
    let mend = format!("put {NAME} beside openpistacrab, of the same version");
    let mut asked = Command::new(&program);
    asked.arg("--version").stdin(Stdio::null());
    match asked.output() {
        Ok(told) if told.stdout == own_version().as_bytes() => ok(SUBJECT, format!("{shown}")),
        Ok(_) => fault(
            SUBJECT,
            format!("{shown} is not of our version\nuntil then no command runs"),
            mend,
        ),
        Err(_) => warn(
            SUBJECT,
            format!("there is no {shown}\nopenpistacrab guards commands itself, which start later"),
            mend,
        ),
    }
}

/// What ours says of itself.
fn own_version() -> String {
    format!("{NAME} {}\n", env!("CARGO_PKG_VERSION"))
}
