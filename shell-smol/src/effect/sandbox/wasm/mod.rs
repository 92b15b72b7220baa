//! WebAssembly guests: skills whose program is a `main.wasm`.
//!
//! A guest runs in a process of its own program, a host ([`crate::guest`]), of which a few are kept
//! (`hosts`); each call is an instance of its own there, dropped after it. It sees the workspace as
//! `/workspace` and cannot change it; it has no network, no environment, and one argument, the
//! skill's name. `skills/README.md` tells how to write one. What it has of time, memory and
//! instructions is bounded, and whatever it does becomes the outcome of its own call: a broken guest
//! harms nobody else's.
//!
//! | guest | outcome |
//! |---|---|
//! | answered | exit code 0, or 1 for `is_error`; the answer's output is standard output |
//! | broke the agreement, trapped, or exited | exit code 2, or its own; standard error says why |
//! | took too long | timed out |
//! | was stopped | cancelled |
//! | its host died | lost: nobody knows how far it came |
//!
//! What it prints meanwhile, on either stream, is standard error.
//!
//! Creating a sandbox makes its guest ready, in memory and in the cache of compiled modules, and
//! remembers which it is; running it takes any host. As long as a file is seen to be the same, no
//! host is asked. A guest that is stopped or takes too long is ended by killing its host: that ends
//! it wherever it is, in a loop, asleep, or in a system call on a disk that hangs, and the next host
//! is there in a few milliseconds. Secrets are taken out here: hosts do not know them.

mod hosts;
mod output;

use self::hosts::{For, Hosts, Lease};
use self::output::Output;
use crate::alarm::Alarm;
use crate::companion;
use crate::effect::Stop;
use crate::guest;
use crate::guest::line::{Ask, Place, Request, Run, Said};
use crate::guest::recent::Recent;
use crate::guest::stamp::Stamp;
use crate::secret::Secrets;
use futures_lite::future::{or, yield_now};
use openpista_core::digest::Digest;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::id::SandboxId;
use serde::de::IgnoredAny;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long to listen to a host that was killed: what it has said is there at once.
const DRAIN: Duration = Duration::from_millis(500);

/// The time between two looks at what a guest printed.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// How many pieces are heard before somebody else's turn comes.
const PIECES: u32 = 16;

/// How long a module may go on being compiled that nobody waits for any more.
const COMPILING: Duration = Duration::from_secs(300);

/// How long a host may take to be found well.
const ANSWERS: Duration = Duration::from_secs(10);

/// How many files are known by their stamps.
const KNOWN: usize = 64;

/// What the engine is built from.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// The program that guests run in; else the one beside our own.
    pub host: Option<PathBuf>,
    /// Where skills are, and what guests may read.
    pub workspace: PathBuf,
    /// Where compiled modules are kept. Made when it is needed; it must be ours alone, and no
    /// part of the workspace.
    pub cache_dir: PathBuf,
    /// How many characters are kept of an answer, and of what is printed.
    pub output_chars: usize,
    /// How much memory a guest may have, in bytes.
    pub memory_bytes: u64,
    /// What nobody must see of what a guest says.
    pub secrets: Secrets,
}

/// The engine. Clones share it; the default one can run nothing.
#[derive(Clone, Debug, Default)]
pub struct Wasm(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    config: WasmConfig,
    hosts: Arc<Hosts>,
    /// Guests that were made ready, by their files.
    known: Mutex<Recent<(PathBuf, Stamp), Digest>>,
    sandboxes: Mutex<BTreeMap<SandboxId, Sandbox>>,
}

/// A sandbox, from its creation to its end.
#[derive(Debug)]
enum Sandbox {
    /// Nothing has run in it.
    Ready(Digest),
    /// Something runs in it, or has. Closing this ends it.
    Used(async_channel::Sender<Infallible>),
}

/// How a host was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How it is confined, or why it is not.
    pub walls: Result<String, String>,
    /// What was possible in it, by the system calls of its own, although it must not be.
    pub possible: Vec<String>,
}

impl Wasm {
    /// Touches nothing until the first guest comes.
    pub fn new(config: WasmConfig) -> Wasm {
        let place = Place {
            workspace: config.workspace.clone(),
            cache_dir: config.cache_dir.clone(),
            memory_bytes: config.memory_bytes,
        };
        let program = companion::find(guest::PROGRAM, config.host.as_deref());
        Wasm(Some(Arc::new(Inner {
            config,
            hosts: Arc::new(Hosts::new(program, place)),
            known: Mutex::new(Recent::new(KNOWN)),
            sandboxes: Mutex::default(),
        })))
    }

    /// Starts a host and looks whether its walls hold.
    ///
    /// # Errors
    /// There is none, in words for a person.
    pub async fn check(&self) -> Result<Checked, String> {
        let late = async {
            Alarm::after(ANSWERS).await;
            Err("the program that WebAssembly skills run in does not answer".to_owned())
        };
        or(self.try_walls(), late).await
    }

    async fn try_walls(&self) -> Result<Checked, String> {
        let hosts = match &self.0 {
            Some(inner) => &inner.hosts,
            None => return Err(NOT_SET_UP.to_owned()),
        };
        let mut lease = hosts.take(For::Preparing).await?;
        let gone = |error: io::Error| format!("the host of guests ended: {error}");
        lease.ask(&Ask::Try).await.map_err(gone)?;
        match lease.hear().await.map_err(gone)? {
            Said::Tried { possible } => Ok(Checked {
                walls: lease.walls(),
                possible,
            }),
            said => Err(format!("the host of guests said {said:?}")),
        }
    }

    /// Performs one action.
    pub async fn perform(
        &self,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Done, SandboxFault> {
        let Some(inner) = &self.0 else {
            return match used.action {
                Action::Destroy => Ok(Done::Destroyed),
                _ => Err(unavailable(NOT_SET_UP.to_owned())),
            };
        };
        let id = used.sandbox;
        match &used.action {
            Action::Create(task) => {
                inner.forget(id);
                let skill = Skill::of(task, &inner.config.workspace)?;
                let guest = inner.prepare(&skill, used, stop, progress).await?;
                inner.sandboxes().insert(id, Sandbox::Ready(guest));
                Ok(Done::Created { token: None })
            }
            // A guest changes nothing, so one that a crash cut short may run again. There is
            // nothing left of it, so it is made again first.
            Action::Run(task) | Action::Resume(task) => {
                let skill = Skill::of(task, &inner.config.workspace)?;
                let ready = match inner.sandboxes().get(&id) {
                    Some(Sandbox::Ready(guest)) => Some(*guest),
                    Some(Sandbox::Used(_)) => {
                        let problem = "ran in this sandbox already, which serves one run";
                        return Err(skill.fault(problem));
                    }
                    None => None,
                };
                let guest = match ready {
                    Some(guest) => guest,
                    None => inner.prepare(&skill, used, stop, progress).await?,
                };
                if stop.is_requested() {
                    return Err(SandboxFault::Cancelled);
                }
                let run = skill.run(id, guest, task, used.timeout_ms);
                let ran = inner.run(id, &skill, run, stop, progress).await?;
                Ok(Done::Ended(Ended { ran, note: None }))
            }
            Action::Destroy => {
                inner.forget(id);
                Ok(Done::Destroyed)
            }
        }
    }
}

const NOT_SET_UP: &str = "WebAssembly is not set up here";

impl Inner {
    fn sandboxes(&self) -> MutexGuard<'_, BTreeMap<SandboxId, Sandbox>> {
        let sandboxes = self.sandboxes.lock();
        sandboxes.unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Recent<(PathBuf, Stamp), Digest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what runs in a sandbox, and forgets it.
    fn forget(&self, id: SandboxId) {
        let removed = self.sandboxes().remove(&id);
        if let Some(Sandbox::Used(alive)) = removed {
            alive.close();
        }
    }

    /// At once when the file is known; else a host makes it ready, and goes on to fill the cache
    /// when nobody waits for it any more.
    async fn prepare(
        &self,
        skill: &Skill,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Digest, SandboxFault> {
        if stop.is_requested() {
            return Err(SandboxFault::Cancelled);
        }
        if let Ok(file) = std::fs::metadata(&skill.path)
            && let Some(guest) = self.known().get(&(skill.path.clone(), Stamp::of(&file)))
        {
            return Ok(guest);
        }
        let mut given_up = pin!(given_up(used.timeout_ms, stop));
        let taken = async {
            let taken = self.hosts.take(For::Preparing).await;
            taken.map_err(unavailable)
        };
        let mut lease = or(taken, async { Err(given_up.as_mut().await) }).await?;
        let prepared = async { Ok(skill.prepare_in(&mut lease, progress).await) };
        match or(prepared, async { Err(given_up.as_mut().await) }).await {
            Ok(Ok(Said::Prepared { digest, stamp })) => {
                lease.give_back(Some(digest), false);
                if let Some(stamp) = stamp {
                    self.known().keep((skill.path.clone(), stamp), digest);
                }
                Ok(digest)
            }
            Ok(Ok(Said::Refused { why })) => {
                lease.give_back(None, false);
                Err(skill.fault(&why))
            }
            Ok(Ok(said)) => Err(skill.fault(&format!("made the compiler say {said:?}"))),
            Ok(Err(error)) => Err(skill.fault(&format!("ended the compiler ({error})"))),
            Err(given_up) => {
                lease.leave_alone(COMPILING);
                Err(given_up)
            }
        }
    }

    /// Runs a guest to its end. Dropping the future ends it too.
    async fn run(
        &self,
        id: SandboxId,
        skill: &Skill,
        run: Run,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Ran, SandboxFault> {
        let (guest, timeout_ms) = (run.digest, run.timeout_ms);
        let (alive, destroyed) = async_channel::bounded(1);
        self.sandboxes().insert(id, Sandbox::Used(alive));
        let taken = async {
            let taken = self.hosts.take(For::Running(&guest)).await;
            taken.map_err(unavailable)
        };
        let mut lease = or(taken, async { Err(given_up(timeout_ms, stop).await) }).await?;
        let began = Instant::now();
        let output = RefCell::new(Output::new(self.config.output_chars, &self.config.secrets));
        let showing = async {
            loop {
                Alarm::after(PROGRESS_EVERY).await;
                output.borrow_mut().show(progress);
            }
        };
        let ended = or(
            or(timed_out(timeout_ms), or(stopped(stop), gone(&destroyed))),
            showing,
        );
        let heard = async { Ok(skill.run_in(&mut lease, run, &output, progress).await) };
        let exit = match or(heard, async { Err(ended.await) }).await {
            Ok(Ok(Ok(exit))) => {
                lease.give_back(Some(guest), true);
                exit
            }
            Ok(Ok(Err(why))) => return Err(skill.fault(&why)),
            Ok(Err(error)) => {
                tracing::warn!("the host of {} ended in the middle: {error}", skill.name);
                return Err(SandboxFault::Lost);
            }
            Err(cause) => {
                lease.kill();
                let rest = skill.hear_out(&mut lease, &output, progress);
                let late = async {
                    Alarm::after(DRAIN).await;
                    Err(io::ErrorKind::TimedOut.into())
                };
                match or(rest, late).await {
                    Ok(Ok(exit)) => exit,
                    _ => cause,
                }
            }
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut output = output.into_inner();
        output.show(progress);
        Ok(output.finish(exit, took_ms))
    }
}

/// Nothing has run, and nothing is to run any more.
async fn given_up(timeout_ms: u64, stop: &Stop) -> SandboxFault {
    match or(timed_out(timeout_ms), stopped(stop)).await {
        Exit::TimedOut => SandboxFault::TimedOut,
        _ => SandboxFault::Cancelled,
    }
}

async fn timed_out(timeout_ms: u64) -> Exit {
    Alarm::after(Duration::from_millis(timeout_ms)).await;
    Exit::TimedOut
}

async fn stopped(stop: &Stop) -> Exit {
    stop.requested().await;
    Exit::Cancelled
}

/// The sandbox was destroyed.
async fn gone(destroyed: &async_channel::Receiver<Infallible>) -> Exit {
    let _ = destroyed.recv().await;
    Exit::Cancelled
}

fn unavailable(message: String) -> SandboxFault {
    SandboxFault::Unavailable { message }
}

/// What a task says of its program.
#[derive(Debug)]
struct Skill {
    name: String,
    /// From the workspace.
    file: PathBuf,
    path: PathBuf,
}

impl Skill {
    fn of(task: &Task, workspace: &Path) -> Result<Skill, SandboxFault> {
        let Program::Skill {
            name,
            folder,
            entry,
            ..
        } = &task.program
        else {
            return Err(SandboxFault::Failed {
                message: format!("`{}` is not a WebAssembly skill", task.tool),
            });
        };
        let file = Path::new(folder).join(entry);
        let skill = Skill {
            name: name.clone(),
            path: workspace.join(&file),
            file,
        };
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !skill.file.components().all(inside) {
            return Err(skill.fault("is not a path inside of the workspace"));
        }
        let arguments = serde_json::from_str::<BTreeMap<String, IgnoredAny>>(&task.arguments);
        match arguments {
            Ok(_) => Ok(skill),
            Err(error) => Err(SandboxFault::Arguments {
                message: format!("the arguments must be a JSON object: {error}"),
            }),
        }
    }

    /// The program cannot be run. `problem` is the end of a sentence about its file.
    fn fault(&self, problem: &str) -> SandboxFault {
        let (name, file) = (&self.name, self.file.display());
        SandboxFault::Failed {
            message: format!("{file} of the skill `{name}` {problem}"),
        }
    }

    fn run(&self, id: SandboxId, digest: Digest, task: &Task, timeout_ms: u64) -> Run {
        Run {
            file: self.file.clone(),
            digest,
            request: Request {
                skill: self.name.clone(),
                id: id.to_string(),
                tool: task.tool.clone(),
                arguments: task.arguments.clone(),
            },
            timeout_ms: timeout_ms.min(task.timeout_ms),
        }
    }

    /// Has a host make its guest ready.
    async fn prepare_in(&self, lease: &mut Lease, progress: &impl Fn(Chunk)) -> io::Result<Said> {
        let file = self.file.clone();
        lease.ask(&Ask::Prepare { file }).await?;
        loop {
            match lease.hear().await? {
                Said::Compiling => self.compiles(progress),
                said => return Ok(said),
            }
        }
    }

    /// Has a host run its guest; see [`Skill::hear_out`].
    async fn run_in(
        &self,
        lease: &mut Lease,
        run: Run,
        output: &RefCell<Output>,
        progress: &impl Fn(Chunk),
    ) -> io::Result<Result<Exit, String>> {
        if let Err(error) = lease.ask(&Ask::Run(run)).await {
            return Ok(Err(format!("found no host ({error}): call it again")));
        }
        self.hear_out(lease, output, progress).await
    }

    /// Hears what a host says until the call is over, or refused: then nothing has run. Fails when
    /// nobody knows how far it came.
    async fn hear_out(
        &self,
        lease: &mut Lease,
        output: &RefCell<Output>,
        progress: &impl Fn(Chunk),
    ) -> io::Result<Result<Exit, String>> {
        let mut heard = 0_u32;
        loop {
            match lease.hear().await? {
                Said::Compiling => self.compiles(progress),
                Said::Printed { text } => output.borrow_mut().printed(&text),
                Said::Answered { text } => output.borrow_mut().answered(&text),
                Said::Ended { exit, text } => {
                    output.borrow_mut().answered(&text);
                    return Ok(Ok(exit));
                }
                Said::Refused { why } => return Ok(Err(why)),
                said => return Err(io::Error::other(format!("it said {said:?}"))),
            }
            heard += 1;
            if heard.is_multiple_of(PIECES) {
                yield_now().await;
            }
        }
    }

    fn compiles(&self, progress: &impl Fn(Chunk)) {
        progress(Chunk::Output(format!("compiling {} …\n", self.name)));
    }
}
