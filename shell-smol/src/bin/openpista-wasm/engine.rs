//! The machine that guests run on.
//!
//! [`Machine::prepare`] turns a file into a [`Guest`], out of memory, the cache or the compiler,
//! in this order. [`Machine::call`] gives a guest a store of its own, lets it answer once, and
//! drops all of it. One guest runs at a time, so its memory is one place that is used again and
//! again: what a guest wrote there is gone before the next one comes.
//!
//! Nothing here ends a guest that takes too long: the daemon does, with the whole process. The
//! fuel is there for when it does not.

use super::Tell;
use super::abi::{self, Answer, Broken};
use super::cache::Cache;
use super::printed::Printed;
use super::world::{self, State};
use openpista_core::digest::Digest;
use openpista_core::effect::tool::Exit;
use openpista_shell_smol::guest::line::{Request, Said};
use openpista_shell_smol::guest::recent::Recent;
use openpista_shell_smol::guest::stamp::Stamp;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, InstancePre, Linker, Module,
    PoolingAllocationConfig, Store, Trap,
};
use wasmtime_wasi::I32Exit;

/// The largest module that is read, in bytes.
const MODULE_BYTES: u64 = 32 * 1024 * 1024;

/// How many guests are kept in memory. Each holds its compiled code, a few times the size of its
/// file.
const GUESTS: usize = 16;

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
    /// The cache may be written to.
    writes: bool,
    recent: Recent<Digest, Guest>,
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

/// What came of a call.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) exit: Exit,
    /// The guest's answer.
    pub(super) output: String,
}

impl Called {
    /// It ended before it answered.
    fn without_answer(exit: Exit) -> Called {
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
            .wasm_multi_memory(false)
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .wasm_backtrace_max_frames(None)
            // An image that is mapped would be a file without a name, which our walls forbid.
            .memory_init_cow(false)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(one_place()));
        let engine = Engine::new(&config)?;
        let linker = world::linker(&engine)?;
        let tokio = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Machine {
            engine,
            linker,
            cache,
            writes: true,
            recent: Recent::new(GUESTS),
            tokio,
            bounds,
        })
    }

    /// From now on the cache is only read.
    pub(super) fn stop_writing(&mut self) {
        self.writes = false;
    }

    /// Makes the guest in a file ready; gives what it is known by. The error is the end of a
    /// sentence that begins with the file's name.
    pub(super) fn prepare(
        &mut self,
        path: &Path,
        tell: &Tell,
    ) -> Result<(Digest, Option<Stamp>), String> {
        let now = SystemTime::now();
        let (stamp, wasm) = read(path)?;
        let digest = Digest::of(&[&wasm]);
        self.ready(&digest, || Ok(wasm), tell)?;
        Ok((digest, stamp.is_settled(now).then_some(stamp)))
    }

    /// The guest that was prepared from this file when it had this digest. The error is like that
    /// of [`Machine::prepare`].
    pub(super) fn guest(
        &mut self,
        digest: &Digest,
        path: &Path,
        tell: &Tell,
    ) -> Result<Guest, String> {
        let again = || match read(path)? {
            (_, wasm) if Digest::of(&[&wasm]) == *digest => Ok(wasm),
            _ => Err("was changed after its sandbox was made: call it again".to_owned()),
        };
        self.ready(digest, again, tell)
    }

    fn ready(
        &mut self,
        digest: &Digest,
        wasm: impl FnOnce() -> Result<Vec<u8>, String>,
        tell: &Tell,
    ) -> Result<Guest, String> {
        if let Some(guest) = self.recent.get(digest) {
            return Ok(guest);
        }
        let warn = |what| {
            tell(&Said::Warning { what });
            None
        };
        let loaded = self.cache.load(&self.engine, digest);
        let module = match loaded.unwrap_or_else(warn) {
            Some(module) => module,
            None => {
                let wasm = wasm()?;
                tell(&Said::Compiling);
                let module = compile(&self.engine, &wasm)?;
                if self.writes
                    && let Err(what) = self.cache.store(&self.engine, digest, &module)
                {
                    tell(&Said::Warning { what });
                }
                module
            }
        };
        let guest = self.link(&module)?;
        self.recent.keep(*digest, guest.clone());
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

    /// Lets a guest answer once. What it prints, and why it did not answer, is told.
    pub(super) fn call(
        &self,
        guest: &Guest,
        request: &Request,
        timeout_ms: u64,
        tell: &Tell,
    ) -> Called {
        let _inside = self.tokio.enter();
        let printed = Printed::new(Tell::clone(tell));
        let Bounds {
            workspace,
            memory_bytes,
        } = &self.bounds;
        let (called, why) = match State::new(&request.skill, workspace, *memory_bytes, &printed) {
            Ok(state) => self.run(state, guest, request, timeout_ms),
            Err(error) => {
                let at = workspace.display();
                let why = format!("the workspace {at} cannot be opened: {error:#}");
                (Called::without_answer(Exit::Code(BROKEN)), Some(why))
            }
        };
        printed.finish();
        if let Some(why) = why {
            printed.say(&format!("{}: {why}\n", request.skill));
        }
        called
    }

    /// What came of it, and what there is to say about it.
    fn run(
        &self,
        state: State,
        guest: &Guest,
        request: &Request,
        timeout_ms: u64,
    ) -> (Called, Option<String>) {
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store
            .set_fuel(timeout_ms.saturating_mul(FUEL_PER_MS))
            .expect("the engine was configured to count fuel");
        match abi::call(&mut store, &guest.0, request) {
            Ok(Answer {
                output, is_error, ..
            }) => {
                let exit = Exit::Code(i32::from(is_error));
                (Called { exit, output }, None)
            }
            Err(Broken::Agreement(why)) => (Called::without_answer(Exit::Code(BROKEN)), Some(why)),
            Err(Broken::Ended(place, error)) => {
                let (exit, why) = end(&error, place, store.data(), self.bounds.memory_bytes);
                (Called::without_answer(exit), Some(why))
            }
        }
    }
}

/// Room for one guest.
fn one_place() -> PoolingAllocationConfig {
    let mut place = PoolingAllocationConfig::new();
    place
        .total_core_instances(1)
        .total_memories(1)
        // All that there are addresses for: what a guest may have is not decided here.
        .max_memory_size(1 << 32)
        .total_tables(world::TABLES)
        .max_tables_per_module(world::TABLES)
        .table_elements(world::TABLE_ELEMENTS)
        // Functions and globals, of the largest module.
        .max_core_instance_size(16 * 1024 * 1024);
    place
}

/// How a guest ended that did not answer, and what there is to say about it.
fn end(error: &wasmtime::Error, place: &str, state: &State, memory_bytes: u64) -> (Exit, String) {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        let exit = if *code == 0 { BROKEN } else { *code };
        let why = format!("it exited with code {code} {place}, instead of answering");
        return (Exit::Code(exit), why);
    }
    let mut why = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let why = format!("it ran more instructions than it has time for {place}");
            return (Exit::TimedOut, why);
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
    (Exit::Code(BROKEN), why)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Nobody looks at the clock here.
    #[test]
    fn fuel_ends_what_time_does_not() {
        let home = tempfile::tempdir().unwrap();
        let bounds = Bounds {
            workspace: home.path().to_owned(),
            memory_bytes: 1 << 20,
        };
        let mut machine = Machine::new(bounds, Cache::new(home.path().join("cache"))).unwrap();
        let path = home.path().join("loop.wasm");
        let wasm = wat::parse_str(
            r#"(module
                (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "run") (param i32 i32) (result i64) (loop (br 0)) unreachable))"#,
        );
        std::fs::write(&path, wasm.unwrap()).unwrap();
        let request = Request {
            skill: "endless".to_owned(),
            id: "1.0".to_owned(),
            tool: "endless".to_owned(),
            arguments: "{}".to_owned(),
        };
        let told = Arc::new(Mutex::new(String::new()));
        let tell: Tell = Arc::new({
            let told = Arc::clone(&told);
            move |said| {
                if let Said::Printed { text } = said {
                    told.lock().unwrap().push_str(text);
                }
            }
        });
        let (digest, _) = machine.prepare(&path, &tell).unwrap();
        let guest = machine.guest(&digest, &path, &tell).unwrap();
        let called = machine.call(&guest, &request, 1, &tell);
        assert_eq!(called.exit, Exit::TimedOut);
        assert_eq!(
            *told.lock().unwrap(),
            "endless: it ran more instructions than it has time for in `run`\n"
        );
    }
}
