//! One guarded program from its start to its end: how it ended, what it printed until then, and
//! whoever is shown it meanwhile. What it is, and in what place it runs, is its tool's affair.

use super::clip::{Capture, keep_last};
use super::process::{End, Launch, Process};
use crate::alarm::Alarm;
use crate::effect::Stop;
use crate::secret::Secrets;
use async_process::{ChildStderr, ChildStdout};
use futures_lite::future::{or, pending, yield_now, zip};
use futures_lite::{AsyncRead, AsyncReadExt};
use openpista_core::effect::Chunk;
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::wire::frame::Stream as Name;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long what a command left behind may still print once the command has ended: enough for the
/// last words of a process substitution.
const LINGER: Duration = Duration::from_millis(200);

/// How long to read on when everything that could print was killed: what is in the pipe comes at
/// once, and only somebody out of reach can keep it open longer.
const DRAIN: Duration = Duration::from_millis(200);

/// The shortest time between two chunks of progress of one stream.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The largest chunk of progress, in characters; of more, the last are shown.
const PROGRESS_CHARS: usize = 2_000;

/// How far a run may go.
pub(crate) struct Bounds<'a> {
    /// How long it may take, in milliseconds.
    pub(crate) timeout_ms: u64,
    /// How many characters of each stream are kept.
    pub(crate) output_chars: usize,
    /// What nobody may see of them.
    pub(crate) secrets: &'a Secrets,
}

/// What came of a run.
pub(crate) struct Guarded {
    /// How it ended and what it printed.
    pub(crate) ran: Ran,
    /// How it was kept, if it was held.
    pub(crate) kept: Option<String>,
    /// Which of its limits it went over, so that the guard ended it.
    pub(crate) exceeded: Option<String>,
}

/// Why nothing has run.
pub(crate) enum NotRun {
    /// The system would not start the guard.
    Guard(io::Error),
    /// The guard would not, or could not, start the program.
    Program(String),
}

/// Why we no longer wait for the program.
enum Cause {
    Itself(End),
    TimedOut,
    Stopped,
}

/// Runs one program to its end. Dropping the future ends the program too.
///
/// # Errors
/// Nothing has run.
pub(crate) async fn run(
    launch: &Launch<'_>,
    bounds: &Bounds<'_>,
    stop: &Stop,
    progress: &impl Fn(Chunk),
) -> Result<Guarded, NotRun> {
    let show = |_: Name, text| progress(Chunk::Output(text));
    run_showing(launch, bounds, stop, &show).await
}

/// The same, for whoever wants to know which stream a text came from.
///
/// # Errors
/// Nothing has run.
pub(crate) async fn run_showing(
    launch: &Launch<'_>,
    bounds: &Bounds<'_>,
    stop: &Stop,
    show: &impl Fn(Name, String),
) -> Result<Guarded, NotRun> {
    let began = Instant::now();
    let (mut process, stdout, stderr) = Process::start(launch).map_err(NotRun::Guard)?;
    let mut output = Output {
        stdout: Stream::new(Name::Stdout, stdout, bounds),
        stderr: Stream::new(Name::Stderr, stderr, bounds),
        show,
    };
    let cause = output
        .read_while(cause(&mut process, bounds.timeout_ms, stop))
        .await;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let exit = match cause {
        Cause::Itself(End::Exit(exit)) => {
            output.read_for(LINGER).await;
            exit
        }
        Cause::Itself(End::NotStarted(why)) => return Err(NotRun::Program(why)),
        Cause::TimedOut => Exit::TimedOut,
        Cause::Stopped => Exit::Cancelled,
    };
    process.end();
    output.read_while(process.gone()).await;
    output.read_for(DRAIN).await;
    Ok(Guarded {
        ran: Ran {
            exit,
            stdout: output.stdout.capture.finish(),
            stderr: output.stderr.capture.finish(),
            took_ms,
            pictures: Vec::new(),
        },
        kept: process.kept(),
        exceeded: process.exceeded(),
    })
}

async fn cause(process: &mut Process, timeout_ms: u64, stop: &Stop) -> Cause {
    let itself = async { Cause::Itself(process.ended().await) };
    let timed_out = async {
        Alarm::after(Duration::from_millis(timeout_ms)).await;
        Cause::TimedOut
    };
    let stopped = async {
        stop.requested().await;
        Cause::Stopped
    };
    or(itself, or(timed_out, stopped)).await
}

/// Says why the system would not start the guard, and what to do about it.
pub(crate) fn not_started(error: &io::Error, guard: &Path) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
            "its guard {} cannot be run ({error}): restart openpistacrab",
            guard.display()
        ),
        _ => format!("the system starts no more processes now ({error}): try again later"),
    }
}

/// Both streams of a command, and who is shown them.
struct Output<'a, S> {
    stdout: Stream<ChildStdout>,
    stderr: Stream<ChildStderr>,
    show: &'a S,
}

impl<S: Fn(Name, String)> Output<'_, S> {
    /// Reads until something else is done.
    async fn read_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let reading = async {
            self.read().await;
            pending().await
        };
        or(something, reading).await
    }

    /// Reads to the end, but no longer than this.
    async fn read_for(&mut self, time: Duration) {
        let late = async {
            Alarm::after(time).await;
        };
        or(self.read(), late).await;
    }

    async fn read(&mut self) {
        let show = self.show;
        zip(self.stdout.read(show), self.stderr.read(show)).await;
    }
}

/// One stream of a command.
struct Stream<R> {
    name: Name,
    /// None once it is at its end.
    source: Option<R>,
    buffer: Box<[u8]>,
    capture: Capture,
    /// What was read since something was last shown: the last of it.
    fresh: String,
    /// When something may next be shown.
    show_at: Instant,
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn new(name: Name, source: R, bounds: &Bounds<'_>) -> Stream<R> {
        Stream {
            name,
            source: Some(source),
            buffer: vec![0; 32 * 1024].into_boxed_slice(),
            capture: Capture::new(bounds.output_chars, bounds.secrets),
            fresh: String::new(),
            show_at: Instant::now(),
        }
    }

    /// Reads to the end. May be dropped at any time and called again.
    async fn read(&mut self, show: &impl Fn(Name, String)) {
        while let Some(source) = &mut self.source {
            let quiet = self.fresh.is_empty();
            let due = async {
                match quiet {
                    true => pending().await,
                    false => Alarm::at(self.show_at).await,
                };
                None
            };
            match or(async { Some(source.read(&mut self.buffer).await) }, due).await {
                Some(Ok(count)) if count > 0 => {
                    let clean = self.capture.push(&self.buffer[..count]);
                    self.fresh.push_str(&clean);
                    keep_last(&mut self.fresh, PROGRESS_CHARS);
                }
                Some(Ok(_) | Err(_)) => self.source = None,
                None => {}
            }
            if self.source.is_none() || Instant::now() >= self.show_at {
                self.show(show);
            }
            // A command that prints without pause must not keep the clock from being looked at.
            yield_now().await;
        }
    }

    fn show(&mut self, show: &impl Fn(Name, String)) {
        if !self.fresh.is_empty() {
            show(self.name, std::mem::take(&mut self.fresh));
            self.show_at = Instant::now() + PROGRESS_EVERY;
        }
    }
}
