//! Running the task: under a guard, as the daemon runs its own commands, so that nothing which the
//! task started outlives it or us.

use super::arguments::Arguments;
use crate::effect::Stop;
use crate::effect::tool::guarded::{Bounds, NotRun, run_showing};
use crate::effect::tool::process::{Launch, What};
use crate::secret::Secrets;
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::wire::frame::Stream;
use std::path::{Path, PathBuf};

/// What a shell exits with when there is no such program.
const NOT_FOUND: i32 = 127;

/// A piece of what the task prints.
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) text: String,
}

/// Runs the task to its end, or to the end of its time.
pub(super) async fn run(arguments: &Arguments, secrets: &Secrets, show: &impl Fn(Piece)) -> Ran {
    let words = arguments.command.iter().map(String::as_str);
    let args: Vec<&str> = words.skip(1).collect();
    let program = Path::new(&arguments.command[0]);
    let launch = Launch {
        guard: &ourselves(),
        what: What::Program(program, &args, &[]),
        dir: None,
    };
    let bounds = Bounds {
        timeout_ms: arguments.timeout_ms,
        output_chars: arguments.output_chars,
        secrets,
    };
    // Whoever wants to stop us ends us, and the guard then ends the task.
    let (_held, watched) = async_channel::bounded(1);
    let stop = Stop::when_closed(watched);
    let show = |stream, text| show(Piece { stream, text });
    match run_showing(&launch, &bounds, &stop, &show).await {
        Ok(guarded) => guarded.ran,
        Err(NotRun::Guard(error)) => not_started(&error.to_string()),
        Err(NotRun::Program(why)) => not_started(&why),
    }
}

/// Our own program, which guards the task. `/proc` may not be there.
fn ourselves() -> PathBuf {
    let by_name = || std::env::args_os().next().unwrap_or_default().into();
    std::env::current_exe().unwrap_or_else(|_| by_name())
}

fn not_started(why: &str) -> Ran {
    let text = format!("the command could not be started: {why}\n");
    Ran {
        exit: Exit::Code(NOT_FOUND),
        stdout: Clip::default(),
        stderr: Clip { text, cut_chars: 0 },
        took_ms: 0,
        pictures: Vec::new(),
    }
}
