//! The program: hears the daemon, and does one call at a time.
//!
//! One thread hears and does nothing else, so that a stop is noticed in the middle of a call, and
//! the daemon's end always. Another works. When the daemon is gone the call that runs is stopped, and
//! the process ends, whether that call has ended or not.

use super::geometry::{Captures, LastCapture};
use super::hands::{self, Hands, watch};
use super::{Ability, Ask, Call, End, Lack, Told, notify, ocr, screen};
use crate::companion::{Served, Voice};
use openpista_core::effect::Recovery;
use openpista_core::message::ToolSpec;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ffi::OsStr;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the last call has to come to its end when the daemon is gone.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Serves the daemon that started it, until that is gone; or watches over one that does.
pub(crate) fn main() -> ExitCode {
    let argument = std::env::args_os().nth(1);
    match argument.as_deref().and_then(OsStr::to_str) {
        Some(watch::ARGUMENT) => return watch::main(),
        Some("--version") => {
            println!("{} {}", super::PROGRAM, env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let (mut served, voice) = match Served::new().and_then(|s| s.voice().map(|voice| (s, voice))) {
        Ok(both) => both,
        Err(error) => {
            eprintln!(
                "{} is started by openpistacrab, not by hand: {error}",
                super::PROGRAM
            );
            return ExitCode::from(2);
        }
    };
    let (sender, jobs) = mpsc::channel();
    let worker = thread::Builder::new().name("desktop".to_owned());
    let (working, worked) = mpsc::channel::<()>();
    let work = move || {
        work(&jobs, &voice);
        drop(working);
    };
    if let Err(error) = worker.spawn(work) {
        eprintln!("{} gets no thread: {error}", super::PROGRAM);
        return ExitCode::FAILURE;
    }
    let mut running: Option<(u64, Stop)> = None;
    while let Some(ask) = served.hear() {
        let job = match ask {
            Ask::Abilities => Job::Abilities,
            Ask::Release => Job::Release,
            Ask::Call(call) => {
                let stop = Stop::default();
                running = Some((call.id, stop.clone()));
                Job::Call(call, stop)
            }
            Ask::Stop { id } => {
                match &running {
                    Some((call, stop)) if *call == id => stop.request(),
                    _ => {}
                }
                continue;
            }
        };
        if sender.send(job).is_err() {
            break;
        }
    }
    if let Some((_, stop)) = running {
        stop.request();
    }
    drop(sender);
    // Nothing is ever sent: it waits for the end of the worker.
    let _ = worked.recv_timeout(LAST_CALL);
    ExitCode::SUCCESS
}

/// What the worker does next.
enum Job {
    Abilities,
    Release,
    Call(Call, Stop),
}

fn work(jobs: &Receiver<Job>, voice: &Voice) {
    let desk = Desk::default();
    for job in jobs {
        let told = match job {
            Job::Abilities => Told::Abilities(abilities()),
            Job::Release => {
                hands::release_leftovers();
                continue;
            }
            Job::Call(call, stop) => {
                let asked = Asked {
                    until: Instant::now() + Duration::from_millis(call.timeout_ms),
                    call: &call,
                    stop,
                    desk: &desk,
                    voice,
                };
                Told::Ended {
                    id: call.id,
                    end: perform(&asked),
                }
            }
        };
        if voice.say(&told).is_err() {
            return;
        }
    }
}

/// Every tool of this program, and whether it can be used.
fn abilities() -> Vec<Ability> {
    let eyes = [screen::offer(), ocr::offer(), notify::offer()];
    eyes.into_iter().chain(hands::offers()).collect()
}

fn perform(asked: &Asked<'_>) -> End {
    let done = || match asked.call.tool.as_str() {
        screen::NAME => screen::capture(asked),
        ocr::NAME => ocr::read(asked),
        notify::NAME => notify::show(asked),
        tool if hands::has(tool) => hands::perform(&mut lock(&asked.desk.hands), asked),
        other => Err(End::Refused {
            message: format!("there is no tool `{other}`"),
        }),
    };
    match panic::catch_unwind(AssertUnwindSafe(done)) {
        Ok(Ok(done)) => End::Done(done),
        Ok(Err(end)) => end,
        Err(_) => End::Failed {
            message: format!("internal error: {} panicked", asked.call.tool),
        },
    }
}

/// The arguments of a call, in the shape that its tool reads.
///
/// # Errors
/// They are refused; the words are for the model.
pub(super) fn parse<T: DeserializeOwned>(asked: &Asked<'_>) -> Result<T, End> {
    serde_json::from_str(&asked.call.arguments).map_err(|error| End::Refused {
        message: format!("the arguments are wrong: {error}"),
    })
}

/// A tool with what the model is told of it, or why it is not there.
pub(super) fn ability(tool: &str, offer: Result<ToolSpec, Lack>) -> Ability {
    let tool = tool.to_owned();
    Ability { tool, offer }
}

/// What the model is told of a tool, whose arguments have this JSON Schema.
pub(super) fn spec(
    name: &str,
    description: &str,
    parameters: &Value,
    recovery: Recovery,
    timeout_ms: u64,
) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: parameters.to_string(),
        recovery,
        // What is on somebody's screen is theirs: looking at it is asked for as well.
        read_only: false,
        timeout_ms,
        sandbox: None,
    }
}

/// One call, as a tool has it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// What is asked.
    pub(crate) call: &'a Call,
    /// When it has taken too long.
    pub(crate) until: Instant,
    /// Whether it is to end early.
    pub(crate) stop: Stop,
    /// What is remembered from call to call.
    pub(crate) desk: &'a Desk,
    voice: &'a Voice,
}

impl Asked<'_> {
    /// Tells the person how it is getting on.
    pub(crate) fn progress(&self, text: String) {
        // A daemon that is gone is noticed by the thread that hears it.
        let _ = self.voice.say(&Told::Progress {
            id: self.call.id,
            text,
        });
    }

    /// What this session saw last.
    pub(crate) fn last_capture(&self) -> Option<LastCapture> {
        lock(&self.desk.captures).last(&self.call.session)
    }

    /// This session has seen that.
    pub(crate) fn saw(&self, capture: LastCapture) {
        lock(&self.desk.captures).saw(&self.call.session, capture);
    }

    /// Says whether it may go on.
    ///
    /// # Errors
    /// The end that it has come to; the words say how far it came.
    pub(crate) fn go_on(&self, so_far: &str) -> Result<(), End> {
        self.pause(Duration::ZERO, so_far)
    }

    /// Waits that long, but no longer than until the call is to end. Says whether it may go on.
    ///
    /// # Errors
    /// The end that it has come to; the words say how far it came.
    pub(crate) fn pause(&self, time: Duration, so_far: &str) -> Result<(), End> {
        let left = self.until.saturating_duration_since(Instant::now());
        let message = so_far.to_owned();
        if self.stop.wait(time.min(left)) {
            return Err(End::Stopped { message });
        }
        match left < time || left.is_zero() {
            true => Err(End::TimedOut { message }),
            false => Ok(()),
        }
    }
}

/// What is remembered from call to call.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    captures: Mutex<Captures>,
    hands: Mutex<Hands>,
}

/// A request to end a call early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Waits that long, unless the call is to end before. Says whether it is to end.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let (requested, changed) = &*self.0;
        let waited = changed.wait_timeout_while(lock(requested), time, |requested| !*requested);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn request(&self) {
        let (requested, changed) = &*self.0;
        *lock(requested) = true;
        changed.notify_all();
    }
}

/// What is behind a lock makes sense also after a panic: it is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
