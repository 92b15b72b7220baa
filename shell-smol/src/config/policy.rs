//! The words of `[policy]`.

use openpista_core::settings::Mode;

/// The tools that can have a mode of their own, beside skills.
pub(super) const TOOLS: &[&str] = &[
    "system.run",
    "container.run",
    "worker.run",
    "skill.read",
    "schedule.add",
    "schedule.list",
    "schedule.remove",
    "screen.capture",
    "screen.ocr",
    "input.click",
    "input.move",
    "input.type",
    "input.key",
    "input.scroll",
    "input.drag",
    "system.notify",
];

/// The modes, as errors list them.
pub(super) const MODES: &str = "\"full\", \"ask\" or \"read-only\"";

/// The names of the modes.
pub const MODE_NAMES: [&str; 3] = ["ask", "full", "read-only"];

/// A mode by its name.
pub fn mode(text: &str) -> Option<Mode> {
    match text {
        "full" => Some(Mode::Full),
        "ask" => Some(Mode::Ask),
        "read-only" => Some(Mode::ReadOnly),
        _ => None,
    }
}
