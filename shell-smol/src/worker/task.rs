//! Running the task: under a guard, as the daemon runs its own commands, so that nothing which the
//! task started outlives it or us.

use super::arguments::Arguments;
use crate::effect::tool::clip::{Capture, keep_last};
use crate::effect::tool::process::{End, Launch, Process};
use crate::secret::Secrets;
use async_io::Timer;
use futures_lite::future::{or, pending, yield_now, zip};
use futures_lite::{AsyncRead, AsyncReadExt};
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::wire::frame::Stream;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long what the task left behind may still print once it has ended.
const LINGER: Duration = Duration::from_millis(200);
/// How long to read on when everything that could print was killed.
const DRAIN: Duration = Duration::from_millis(200);
/// The shortest time between two pieces of output of one stream.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// The largest piece of output, in characters; of more, the last are shown.
const SHOW_CHARS: usize = 2_000;
/// What a shell exits with when there is no such program.
const NOT_FOUND: i32 = 127;

/// A piece of what the task prints.
pub(super) struct Piece {
    pub(super) stream: Stream,
    pub(super) text: String,
}

/// Runs the task to its end, or to the end of its time.
pub(super) async fn run(arguments: &Arguments, secrets: &Secrets, show: &impl Fn(Piece)) -> Ran {
    let began = Instant::now();
    let (guard, dir) = (ourselves(), Path::new("."));
    let args: Vec<&str> = arguments.command.iter().skip(1).map(String::as_str).collect();
    let started = Process::start(&Launch {
        guard: &guard,
        program: Path::new(&arguments.command[0]),
        args: &args,
        dir,
        hidden: &[],
    });
    let (mut process, stdout, stderr) = match started {
        Ok(started) => started,
        Err(error) => return not_started(&error.to_string()),
    };
    let new = |stream| Source::new(stream, arguments.output_chars, secrets);
    let mut output = Output {
        stdout: (new(Stream::Stdout), Some(stdout)),
        stderr: (new(Stream::Stderr), Some(stderr)),
        show,
    };
    let itself = async { Some(process.ended().await) };
    let late = async {
        Timer::after(arguments.timeout).await;
        None
    };
    let ended = output.read_while(or(itself, late)).await;
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let exit = match ended {
        Some(End::Exit(exit)) => {
            output.read_for(LINGER).await;
            exit
        }
        Some(End::NotStarted(why)) => return not_started(&why),
        None => Exit::TimedOut,
    };
    process.end();
    output.read_while(process.gone()).await;
    output.read_for(DRAIN).await;
    Ran {
        exit,
        stdout: output.stdout.0.capture.finish(),
        stderr: output.stderr.0.capture.finish(),
        took_ms,
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
    }
}

/// Both streams of the task; each is none once it is at its end.
struct Output<'a, O, E, S> {
    stdout: (Source, Option<O>),
    stderr: (Source, Option<E>),
    show: &'a S,
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin, S: Fn(Piece)> Output<'_, O, E, S> {
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
            Timer::after(time).await;
        };
        or(self.read(), late).await;
    }

    async fn read(&mut self) {
        let (stdout, from_stdout) = &mut self.stdout;
        let (stderr, from_stderr) = &mut self.stderr;
        zip(
            stdout.read(from_stdout, self.show),
            stderr.read(from_stderr, self.show),
        )
        .await;
    }
}

/// What is kept of one stream, and when more of it may be shown.
struct Source {
    stream: Stream,
    buffer: Box<[u8]>,
    capture: Capture,
    /// What was read since something was last shown: the last of it.
    fresh: String,
    show_at: Instant,
}

impl Source {
    fn new(stream: Stream, chars: usize, secrets: &Secrets) -> Source {
        Source {
            stream,
            buffer: vec![0; 32 * 1024].into_boxed_slice(),
            capture: Capture::new(chars, secrets),
            fresh: String::new(),
            show_at: Instant::now(),
        }
    }

    /// Reads to the end. May be dropped at any time and called again.
    async fn read<R: AsyncRead + Unpin>(&mut self, from: &mut Option<R>, show: &impl Fn(Piece)) {
        while let Some(source) = from {
            let quiet = self.fresh.is_empty();
            let due = async {
                match quiet {
                    true => pending().await,
                    false => Timer::at(self.show_at).await,
                };
                None
            };
            match or(async { Some(source.read(&mut self.buffer).await) }, due).await {
                Some(Ok(count)) if count > 0 => {
                    let clean = self.capture.push(&self.buffer[..count]);
                    self.fresh.push_str(&clean);
                    keep_last(&mut self.fresh, SHOW_CHARS);
                }
                Some(_) => *from = None,
                None => {}
            }
            if !self.fresh.is_empty() && (from.is_none() || Instant::now() >= self.show_at) {
                show(Piece {
                    stream: self.stream,
                    text: std::mem::take(&mut self.fresh),
                });
                self.show_at = Instant::now() + SHOW_EVERY;
            }
            // A task that prints without pause must not keep the clock from being looked at.
            yield_now().await;
        }
    }
}
