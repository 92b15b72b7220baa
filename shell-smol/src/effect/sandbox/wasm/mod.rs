//! WebAssembly guests: skills whose program is a `main.wasm`.
//!
//! A guest runs inside the daemon, on a thread of its own, in a store of its own that is dropped
//! after one call. It sees the workspace as `/workspace` and cannot change it; it has no network,
//! no environment, and one argument, the skill's name. `skills/README.md` tells how to write one.
//! What it has of time, memory and instructions is bounded, and whatever it does becomes the
//! outcome of its own call: a broken guest harms nobody else's.
//!
//! | guest | outcome |
//! |---|---|
//! | answered | exit code 0, or 1 for `is_error`; the answer's output is standard output |
//! | broke the agreement, trapped, or exited | exit code 2, or its own; standard error says why |
//! | took too long | timed out |
//! | was stopped | cancelled |
//!
//! What it prints meanwhile, on either stream, is standard error.
//!
//! The engine is made when the first guest comes. While none runs there is no thread and no
//! ticking clock. A guest that is stopped while *we* are in a system call for it, on a disk that
//! hangs say, is given up after a second: its thread ends when the call does.

mod abi;
mod cache;
mod control;
mod engine;
mod host;
mod printed;
mod recent;
mod thread;

use self::abi::Request;
use self::cache::Cache;
use self::control::Control;
use self::engine::{Bounds, Call, Called, Guest, Machine};
use self::printed::Printed;
use crate::effect::Stop;
use crate::effect::tool::clip::Capture;
use crate::secret::Secrets;
use async_io::Timer;
use futures_lite::future::{or, pending};
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::id::SandboxId;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a guest that was stopped may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// The time between two looks at what a guest printed.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// What the engine is built from.
#[derive(Clone, Debug)]
pub struct WasmConfig {
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
    machine: OnceLock<Result<Arc<Machine>, String>>,
    sandboxes: Mutex<BTreeMap<SandboxId, Sandbox>>,
}

/// A sandbox, from its creation to its end.
#[derive(Debug)]
enum Sandbox {
    /// Nothing has run in it.
    Ready(Guest),
    /// Something runs in it, or has.
    Used(Arc<Control>),
}

impl Wasm {
    /// Touches nothing until the first guest comes.
    pub fn new(config: WasmConfig) -> Wasm {
        Wasm(Some(Arc::new(Inner {
            config,
            machine: OnceLock::new(),
            sandboxes: Mutex::default(),
        })))
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
                _ => Err(SandboxFault::Unavailable {
                    message: "WebAssembly is not set up here".to_owned(),
                }),
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
                    Some(Sandbox::Ready(guest)) => Some(guest.clone()),
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
                let request = skill.request(id, task);
                let timeout_ms = used.timeout_ms.min(task.timeout_ms);
                let ran = inner.run(id, guest, request, timeout_ms, stop, progress);
                Ok(Done::Ended(Ended {
                    ran: ran.await?,
                    note: None,
                }))
            }
            Action::Destroy => {
                inner.forget(id);
                Ok(Done::Destroyed)
            }
        }
    }
}

impl Inner {
    fn sandboxes(&self) -> MutexGuard<'_, BTreeMap<SandboxId, Sandbox>> {
        let sandboxes = self.sandboxes.lock();
        sandboxes.unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what runs in a sandbox, and forgets it.
    fn forget(&self, id: SandboxId) {
        let removed = self.sandboxes().remove(&id);
        if let (Some(Sandbox::Used(control)), Some(Ok(machine))) = (removed, self.machine.get()) {
            control.end(machine.engine(), Exit::Cancelled);
        }
    }

    fn machine(&self) -> Result<Arc<Machine>, SandboxFault> {
        let made = self.machine.get_or_init(|| {
            let bounds = Bounds {
                workspace: self.config.workspace.clone(),
                memory_bytes: self.config.memory_bytes,
            };
            let cache = Cache::new(self.config.cache_dir.clone());
            let machine = Machine::new(bounds, cache);
            machine.map(Arc::new).map_err(|error| format!("{error:#}"))
        });
        made.clone().map_err(|error| SandboxFault::Unavailable {
            message: format!("WebAssembly cannot run on this computer: {error}"),
        })
    }

    /// Out of memory at once; else on another thread, which goes on to fill the cache when
    /// nobody waits for it any more.
    async fn prepare(
        self: &Arc<Self>,
        skill: &Skill,
        used: &UseSandbox,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Guest, SandboxFault> {
        if stop.is_requested() {
            return Err(SandboxFault::Cancelled);
        }
        if let Some(Ok(machine)) = self.machine.get()
            && let Some(guest) = machine.recall(&skill.path)
        {
            return Ok(guest);
        }
        let (tell, told) = async_channel::bounded(1);
        let (inner, path) = (Arc::clone(self), skill.path.clone());
        let prepared = thread::start("guest-compiler", move || {
            let machine = inner.machine()?;
            let compiles = || {
                let _ = tell.try_send(());
            };
            Ok(machine.prepare(&path, &compiles))
        })?;
        let show = || progress(Chunk::Output(format!("compiling {} …\n", skill.name)));
        let prepared = async {
            let prepared = prepared.recv().await;
            if told.try_recv().is_ok() {
                show();
            }
            let panicked = |_| skill.fault("made the compiler panic, which is an error of ours");
            let prepared = prepared.map_err(panicked)??;
            prepared.map_err(|problem| skill.fault(&problem))
        };
        let compiles = async {
            if told.recv().await.is_ok() {
                show();
            }
            pending().await
        };
        let timed_out = async {
            Timer::after(Duration::from_millis(used.timeout_ms)).await;
            Err(SandboxFault::TimedOut)
        };
        let stopped = async {
            stop.requested().await;
            Err(SandboxFault::Cancelled)
        };
        or(or(prepared, compiles), or(timed_out, stopped)).await
    }

    /// Runs a guest to its end. Dropping the future ends it too.
    async fn run(
        &self,
        id: SandboxId,
        guest: Guest,
        request: Request,
        timeout_ms: u64,
        stop: &Stop,
        progress: &impl Fn(Chunk),
    ) -> Result<Ran, SandboxFault> {
        let machine = self.machine()?;
        let began = Instant::now();
        let control = Arc::new(Control::default());
        let used = Sandbox::Used(Arc::clone(&control));
        self.sandboxes().insert(id, used);
        let capture = || Capture::new(self.config.output_chars, &self.config.secrets);
        let printed = Printed::new(capture());
        let call = Call {
            guest,
            request,
            timeout_ms,
            control: Arc::clone(&control),
            printed: printed.clone(),
        };
        let guard = EndWhenDropped(Arc::clone(&machine), control);
        let running = thread::start("guest", move || machine.call(call))?;

        let showing = async {
            loop {
                Timer::after(PROGRESS_EVERY).await;
                show(&printed, progress);
            }
        };
        let answered = async { Ok(running.recv().await) };
        let cause = async { Err(or(or(timed_out(timeout_ms), stopped(stop)), showing).await) };
        let called = match or(answered, cause).await {
            Ok(called) => called,
            Err(cause) => {
                guard.end(cause);
                let given_up = async {
                    Timer::after(GRACE).await;
                    Ok(Called::without_answer(cause))
                };
                or(running.recv(), given_up).await
            }
        };
        // It panicked, which is an error of ours.
        let called = called.map_err(|_| SandboxFault::Lost)?;
        show(&printed, progress);
        let mut stdout = capture();
        stdout.push(called.output.as_bytes());
        Ok(Ran {
            exit: called.exit,
            stdout: stdout.finish(),
            stderr: printed.finish(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            pictures: Vec::new(),
        })
    }
}

async fn timed_out(timeout_ms: u64) -> Exit {
    Timer::after(Duration::from_millis(timeout_ms)).await;
    Exit::TimedOut
}

async fn stopped(stop: &Stop) -> Exit {
    stop.requested().await;
    Exit::Cancelled
}

fn show(printed: &Printed, progress: &impl Fn(Chunk)) {
    let fresh = printed.fresh();
    if !fresh.is_empty() {
        progress(Chunk::Output(fresh));
    }
}

/// Ends a run when nobody waits for it any more.
struct EndWhenDropped(Arc<Machine>, Arc<Control>);

impl EndWhenDropped {
    fn end(&self, cause: Exit) {
        self.1.end(self.0.engine(), cause);
    }
}

impl Drop for EndWhenDropped {
    fn drop(&mut self) {
        self.end(Exit::Cancelled);
    }
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

    fn request(&self, id: SandboxId, task: &Task) -> Request {
        Request {
            skill: self.name.clone(),
            id: id.to_string(),
            name: task.tool.clone(),
            arguments: task.arguments.clone(),
        }
    }
}
