//! The machine that guests run on: made when the first one comes, and at rest without a thread.
//!
//! [`Machine::prepare`] turns a file into a [`Guest`], out of memory, the cache or the compiler,
//! in this order. [`Machine::call`] gives a guest a store of its own, lets it answer once, and
//! drops all of it. Both block.

use super::abi::{self, Answer, Broken, Request};
use super::cache::Cache;
use super::control::Control;
use super::host::{self, State};
use super::printed::Printed;
use super::recent::{Recent, Stamp};
use openpista_core::digest::Digest;
use openpista_core::effect::tool::Exit;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use wasmtime::{Config, Engine, InstancePre, Linker, Module, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;

/// The largest module that is read, in bytes.
const MODULE_BYTES: u64 = 32 * 1024 * 1024;

/// How many instructions a guest may run for each millisecond that it has: more than any machine
/// gets done, so that time is the bound that is met, and this one holds when nobody looks at it.
const FUEL_PER_MS: u64 = 10_000_000;

/// The exit code of a guest that did not answer as agreed.
const BROKEN: i32 = 2;

/// The machine.
pub(super) struct Machine {
    engine: Engine,
    linker: Linker<State>,
    cache: Cache,
    recent: Mutex<Recent<Guest>>,
    /// One compiles at a time; whoever waits may find it in memory then.
    compiling: Mutex<()>,
    /// wasmtime-wasi insists on tokio, and starts threads of its own where it finds none. This
    /// one has neither threads nor drivers: all that a guest may do is done on its own thread.
    tokio: tokio::runtime::Runtime,
    bounds: Bounds,
}

/// What every guest gets.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) workspace: PathBuf,
    pub(super) memory_bytes: u64,
}

/// A guest that is ready to be instantiated.
#[derive(Clone)]
pub(super) struct Guest(InstancePre<State>);

/// One call of a guest.
pub(super) struct Call {
    pub(super) guest: Guest,
    pub(super) request: Request,
    pub(super) timeout_ms: u64,
    pub(super) control: Arc<Control>,
    /// Where it prints, and where it is said why it did not answer.
    pub(super) printed: Printed,
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) exit: Exit,
    /// The guest's answer.
    pub(super) output: String,
}

impl Called {
    /// It ended before it answered.
    pub(super) fn without_answer(exit: Exit) -> Called {
        Called {
            exit,
            output: String::new(),
        }
    }
}

impl Machine {
    /// Fails where wasmtime has no compiler for this processor.
    pub(super) fn new(bounds: Bounds, cache: Cache) -> wasmtime::Result<Machine> {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .epoch_interruption(true)
            .wasm_multi_memory(false)
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .wasm_backtrace_max_frames(None);
        let engine = Engine::new(&config)?;
        let linker = host::linker(&engine)?;
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Machine {
            engine,
            linker,
            cache,
            recent: Mutex::new(Recent::new()),
            compiling: Mutex::new(()),
            tokio,
            bounds,
        })
    }

    /// What moves the epoch.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The guest in a file, if it is in memory. It is quick.
    pub(super) fn recall(&self, path: &Path) -> Option<Guest> {
        let stamp = Stamp::of(&std::fs::metadata(path).ok()?);
        self.recent().by_stamp(path, stamp)
    }

    /// The guest in a file. Calls `compiles` before it compiles it. The error is the end of a
    /// sentence that begins with the file's name.
    pub(super) fn prepare(&self, path: &Path, compiles: &dyn Fn()) -> Result<Guest, String> {
        let now = SystemTime::now();
        let (stamp, wasm) = read(path)?;
        let digest = Digest::of(&[&wasm]);
        let keep = |guest: &Guest| {
            let mut recent = self.recent();
            recent.keep(digest, guest.clone(), path, stamp, now);
        };
        let recalled = || self.recent().by_digest(&digest);
        if let Some(guest) = recalled() {
            keep(&guest);
            return Ok(guest);
        }
        let one_at_a_time = self.compiling.lock();
        let _one_at_a_time = one_at_a_time.unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = recalled() {
            return Ok(guest);
        }
        let module = match self.cache.load(&self.engine, &digest) {
            Some(module) => module,
            None => {
                compiles();
                let module = compile(&self.engine, &wasm)?;
                self.cache.store(&self.engine, &digest, &module);
                module
            }
        };
        let guest = self.link(&module)?;
        keep(&guest);
        Ok(guest)
    }

    fn link(&self, module: &Module) -> Result<Guest, String> {
        abi::check(module, self.bounds.memory_bytes)?;
        let linked = self.linker.instantiate_pre(module);
        let guest = linked.map_err(|error| {
            format!("wants what we do not offer: {error:#}; build it for wasm32-wasip1")
        })?;
        Ok(Guest(guest))
    }

    /// Lets a guest answer once.
    pub(super) fn call(&self, call: Call) -> Called {
        let _inside = self.tokio.enter();
        let Call {
            guest,
            request,
            timeout_ms,
            control,
            printed,
        } = call;
        let failed = |exit, why: String| {
            printed.say(&format!("{}: {why}\n", request.skill));
            Called::without_answer(exit)
        };
        let Bounds {
            workspace,
            memory_bytes,
        } = &self.bounds;
        let state = State::new(&request.skill, workspace, *memory_bytes, control, &printed);
        let mut store = match state {
            Ok(state) => self.store(state, timeout_ms),
            Err(error) => {
                let at = workspace.display();
                let why = format!("the workspace {at} cannot be opened: {error:#}");
                return failed(Exit::Code(BROKEN), why);
            }
        };
        if let Some(exit) = store.data().control.cause() {
            return Called::without_answer(exit);
        }
        match abi::call(&mut store, &guest.0, &request) {
            Ok(Answer {
                output, is_error, ..
            }) => Called {
                exit: Exit::Code(i32::from(is_error)),
                output,
            },
            Err(Broken::Agreement(why)) => failed(Exit::Code(BROKEN), why),
            Err(Broken::Ended(place, error)) => {
                let (exit, why) = end(&error, place, store.data(), *memory_bytes);
                match why {
                    Some(why) => failed(exit, why),
                    None => Called::without_answer(exit),
                }
            }
        }
    }

    /// A store with all of its bounds.
    fn store(&self, state: State, timeout_ms: u64) -> Store<State> {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store
            .set_fuel(timeout_ms.saturating_mul(FUEL_PER_MS))
            .expect("the engine was configured to count fuel");
        store.epoch_deadline_callback(|store| match store.data().control.cause() {
            Some(_) => wasmtime::bail!("its run is over"),
            // Somebody else's is.
            None => Ok(UpdateDeadline::Continue(1)),
        });
        store.set_epoch_deadline(1);
        store
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent<Guest>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a guest ended that did not answer, and what there is to say about it.
fn end(
    error: &wasmtime::Error,
    place: &str,
    state: &State,
    memory_bytes: u64,
) -> (Exit, Option<String>) {
    if let Some(exit) = state.control.cause() {
        return (exit, None);
    }
    if let Some(I32Exit(code)) = error.downcast_ref() {
        let exit = if *code == 0 { BROKEN } else { *code };
        let why = format!("it exited with code {code} {place}, instead of answering");
        return (Exit::Code(exit), Some(why));
    }
    let mut why = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let why = format!("it ran more instructions than it has time for {place}");
            return (Exit::TimedOut, Some(why));
        }
        Some(trap) => format!("it trapped {place}: {trap}"),
        None => format!("it failed {place}: {error:#}"),
    };
    if state.limits.refused {
        let most = memory_bytes / (1024 * 1024);
        why.push_str(&format!(
            "; it was refused memory beyond {most} MiB before that"
        ));
    }
    (Exit::Code(BROKEN), Some(why))
}

/// A module's file: its stamp, taken first, and its bytes.
fn read(path: &Path) -> Result<(Stamp, Vec<u8>), String> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "is missing: build it, see skills/README.md".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    // Not to wait for a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(file.map_err(|error| unreadable(error.into()))?);
    let stat = file.metadata().map_err(unreadable)?;
    if !stat.is_file() {
        return Err("is not a file".to_owned());
    }
    if stat.len() > MODULE_BYTES {
        let most = MODULE_BYTES / (1024 * 1024);
        return Err(format!(
            "is larger than the {most} MiB that a skill may have"
        ));
    }
    let mut wasm = Vec::new();
    let whole = file.take(MODULE_BYTES).read_to_end(&mut wasm);
    whole.map_err(unreadable)?;
    Ok((Stamp::of(&stat), wasm))
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Module, String> {
    // After the magic: a version, and whether it is a module or a component.
    match wasm.strip_prefix(b"\0asm") {
        None => return Err("is not WebAssembly".to_owned()),
        Some([_, _, 1, 0, ..]) => {
            return Err("is a component: build it for wasm32-wasip1 instead".to_owned());
        }
        Some(_) => {}
    }
    let compiled = Module::new(engine, wasm);
    compiled.map_err(|error| format!("is not a valid WebAssembly module: {error:#}"))
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("bounds", &self.bounds)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::tool::clip::Capture;
    use crate::secret::Secrets;

    /// Nobody looks at the clock here.
    #[test]
    fn fuel_ends_what_time_does_not() {
        let home = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            workspace: home.path().to_owned(),
            memory_bytes: 1 << 20,
        };
        let machine = Machine::new(bounds, Cache::new(home.path().join("cache"))).unwrap();
        let path = home.path().join("loop.wasm");
        let wasm = wat::parse_str(
            r#"(module
                (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "run") (param i32 i32) (result i64) (loop (br 0)) unreachable))"#,
        );
        std::fs::write(&path, wasm.unwrap()).unwrap();
        let printed = Printed::new(Capture::new(1_000, &Secrets::default()));
        let called = machine.call(Call {
            guest: machine.prepare(&path, &|| {}).unwrap(),
            request: Request {
                skill: "endless".to_owned(),
                id: "1.0".to_owned(),
                name: "endless".to_owned(),
                arguments: "{}".to_owned(),
            },
            timeout_ms: 1,
            control: Arc::default(),
            printed: printed.clone(),
        });
        assert_eq!(called.exit, Exit::TimedOut);
        assert_eq!(
            printed.finish().text,
            "endless: it ran more instructions than it has time for in `run`\n"
        );
    }
}
