//! How the desktop is reached, as the configuration wants it.

use crate::companion;
use crate::config::Config;
use crate::desktop::PROGRAM;
use crate::effect::tool::desktop::DesktopConfig;
use crate::secret::Secrets;

/// What its companion is started and told with.
pub(super) fn config(config: &Config, secrets: Secrets) -> DesktopConfig {
    DesktopConfig {
        program: companion::find(PROGRAM, None),
        files_dir: config.received_files(),
        shown: config.agent.images,
        output_chars: config.tools.output_chars,
        secrets,
    }
}
