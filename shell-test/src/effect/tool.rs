//! Pretends `core/src/effect/tool.rs`: a tool that prints its arguments. The one that looks at
//! the screen makes pictures too, now and then more than are shown.

use super::Course;
use crate::fault::ToolTrouble;
use crate::seed::Rng;
use openpista_core::effect::tool::{Clip, Exit, Ran, RunTool, ToolFault};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::message::Picture;

/// What a run comes to.
pub fn pretend(run: &RunTool, trouble: Option<ToolTrouble>, luck: &mut Rng) -> Course {
    let took = luck.between(1, 4_000);
    let output = format!("{} of {} is done", run.tool, run.arguments);
    let report = match trouble {
        None => {
            let mut outcome = ran(Exit::Code(0), &output, took);
            if let (Outcome::Tool(Ok(ran)), "screen.capture") = (&mut outcome, run.tool.as_str()) {
                ran.pictures = (0..took % 4).map(|of| picture(run, of)).collect();
            }
            Some((took, outcome))
        }
        Some(ToolTrouble::Fails) => Some((took, ran(Exit::Code(1), &output, took))),
        Some(ToolTrouble::TimedOut) => {
            let took = run.timeout_ms;
            Some((took, ran(Exit::TimedOut, &output, took)))
        }
        Some(ToolTrouble::NoStart) => {
            let message = "no such program".into();
            Some((1, Outcome::Tool(Err(ToolFault::Start { message }))))
        }
        Some(ToolTrouble::Hang) => None,
        Some(ToolTrouble::Late) => {
            let took = run.timeout_ms * 3;
            Some((took, ran(Exit::Code(0), &output, took)))
        }
    };
    Course {
        report,
        progress: vec![(took / 2, Chunk::Output(output))],
        ..Course::default()
    }
}

fn picture(run: &RunTool, of: u64) -> Picture {
    Picture {
        path: format!("{}-{}-{}-{of}.png", run.session, run.turn, run.call),
        width: 640,
        height: 480,
        small: (of == 1).then(|| "small.png".into()),
    }
}

/// Did the tool really run, or was it never started?
pub fn really_runs(trouble: Option<ToolTrouble>) -> bool {
    trouble != Some(ToolTrouble::NoStart)
}

/// The outcome of a run that ended like this.
pub fn ran(exit: Exit, stdout: &str, took_ms: u64) -> Outcome {
    Outcome::Tool(Ok(Ran {
        exit,
        stdout: Clip {
            text: stdout.into(),
            cut_chars: 0,
        },
        stderr: Clip::default(),
        took_ms,
        pictures: Vec::new(),
    }))
}
