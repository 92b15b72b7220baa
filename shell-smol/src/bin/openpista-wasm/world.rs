//! What a guest may do in the world, which is little: WASI preview 1 with the workspace to read,
//! the clocks, randomness, and two streams to print on.
//!
//! Of WASI's functions we answer some ourselves, because fuel stops a guest only in its
//! own code. A sleep is slept here ([`poll_oneoff`]), without a runtime that has timers; what is
//! neither a file nor a directory is not opened at all, since a FIFO would hold the guest until
//! somebody writes ([`path_open`]); and sockets are refused without a line in the log for each try.
//!
//! The guest sees no environment, no network, and nothing outside of the workspace, which it
//! cannot change.

use super::printed::Printed;
use futures_lite::future::block_on;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::{AsContextMut, Caller, Engine, Extern, Linker, ResourceLimiter, Result, bail};
use wasmtime_wasi::p1::wasi_snapshot_preview1::{self as wasi, WasiSnapshotPreview1};
use wasmtime_wasi::p1::{self, WasiP1Ctx, types};
use wasmtime_wasi::{FsPerms, HostMonotonicClock, WasiCtxBuilder};
use wiggle::{GuestMemory, GuestPtr};

/// Where a guest finds the workspace.
pub(super) const WORKSPACE: &str = "/workspace";

/// The module that guests import WASI from.
const WASI: &str = "wasi_snapshot_preview1";

/// The most elements of one of a guest's tables. A compiler makes one for every function that is
/// called through a pointer.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// The most tables of a guest.
pub(super) const TABLES: u32 = 8;

/// The most things that a guest may wait for at once.
const SUBSCRIPTIONS: usize = 1_024;

// WASI's numbers for errors.
const SUCCESS: i32 = 0;
const EACCES: i32 = 2;
const EFAULT: i32 = 21;
const EINVAL: i32 = 28;
const ENOTSUP: i32 = 58;

/// What a store knows of its guest.
pub(super) struct State {
    wasi: WasiP1Ctx,
    pub(super) limits: Limits,
    began: Instant,
}

impl State {
    /// A guest that has done nothing yet. Fails when the workspace cannot be opened.
    pub(super) fn new(
        name: &str,
        workspace: &Path,
        memory_bytes: u64,
        printed: &Printed,
    ) -> Result<State> {
        let began = Instant::now();
        let wasi = WasiCtxBuilder::new()
            .allow_blocking_current_thread(true)
            .arg(name)
            .stdout(printed.clone())
            .stderr(printed.clone())
            .monotonic_clock(Monotonic(began))
            .preopened_dir(workspace, WORKSPACE, FsPerms::ReadOnly)?
            .build_p1();
        Ok(State {
            wasi,
            limits: Limits {
                memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
                refused: false,
            },
            began,
        })
    }
}

/// The clock that a guest's deadlines are told by.
struct Monotonic(Instant);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        nanos(self.0.elapsed())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Bounds what a guest holds of memory. What is too much is refused, as a full machine would.
#[derive(Debug)]
pub(super) struct Limits {
    memory_bytes: usize,
    /// It wanted more than that.
    pub(super) refused: bool,
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let granted = desired <= self.memory_bytes;
        self.refused |= !granted;
        Ok(granted)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        1
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}

/// All that a guest can import.
pub(super) fn linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
    linker.allow_shadowing(true);
    linker.func_wrap(WASI, "poll_oneoff", poll_oneoff)?;
    linker.func_wrap(WASI, "path_open", path_open)?;
    linker.func_wrap(WASI, "sock_accept", |_: i32, _: i32, _: i32| ENOTSUP)?;
    linker.func_wrap(WASI, "sock_shutdown", |_: i32, _: i32| ENOTSUP)?;
    linker.func_wrap(
        WASI,
        "sock_send",
        |_: i32, _: i32, _: i32, _: i32, _: i32| ENOTSUP,
    )?;
    linker.func_wrap(
        WASI,
        "sock_recv",
        |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| ENOTSUP,
    )?;
    Ok(linker)
}

/// The guest's memory and its state.
fn parts<'a>(caller: &'a mut Caller<'_, State>) -> Result<(&'a mut [u8], &'a mut State)> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.data_and_store_mut(caller)),
        _ => bail!("it exports no `memory`"),
    }
}

/// Opens a file or a directory, and nothing else.
#[expect(clippy::too_many_arguments, reason = "WASI's, and the caller")]
fn path_open(
    mut caller: Caller<'_, State>,
    dir: i32,
    lookup: i32,
    path: i32,
    path_len: i32,
    how: i32,
    rights: i64,
    inherited: i64,
    flags: i32,
    opened: i32,
) -> Result<i32> {
    let fuel = caller.as_context_mut().hostcall_fuel();
    let (memory, State { wasi: context, .. }) = parts(&mut caller)?;
    let mut memory = GuestMemory::Unshared(memory);

    let name = GuestPtr::<str>::new((path.cast_unsigned(), path_len.cast_unsigned()));
    let follow = types::Lookupflags::try_from(lookup.cast_unsigned())
        .unwrap_or(types::Lookupflags::SYMLINK_FOLLOW);
    context.set_hostcall_fuel(fuel);
    let looked_at = context.path_filestat_get(
        &mut memory,
        types::Fd::from(dir.cast_unsigned()),
        follow,
        name,
    );
    // What cannot be looked at cannot be opened either: WASI itself says why.
    if let Ok(found) = block_on(looked_at) {
        use types::Filetype::{Directory, RegularFile, SymbolicLink};
        if !matches!(found.filetype, RegularFile | Directory | SymbolicLink) {
            return Ok(EACCES);
        }
    }
    context.set_hostcall_fuel(fuel);
    block_on(wasi::path_open(
        context,
        &mut memory,
        dir,
        lookup,
        path,
        path_len,
        how,
        rights,
        inherited,
        flags,
        opened,
    ))
}

/// Waits for the first of several things.
///
/// Files and our streams are ready at any time, so a guest waits for clocks alone. One that waits
/// too long is ended as one that computes too long is: with its host.
fn poll_oneoff(
    mut caller: Caller<'_, State>,
    asked: i32,
    happened: i32,
    count: i32,
    happened_count: i32,
) -> Result<i32> {
    let (memory, state) = parts(&mut caller)?;
    let count = count.cast_unsigned() as usize;
    if count == 0 || count > SUBSCRIPTIONS {
        return Ok(EINVAL);
    }
    let Some(asked) = slice(memory, asked, count * Subscription::BYTES) else {
        return Ok(EFAULT);
    };
    let asked = asked.chunks_exact(Subscription::BYTES);
    let asked: Vec<(Subscription, Option<Duration>)> = asked
        .map(Subscription::read)
        .map(|one| (one, one.due_in(state.began)))
        .collect();

    let first = asked.iter().map(|(_, due)| due.unwrap_or_default()).min();
    let first = first.unwrap_or_default();
    if !first.is_zero() {
        thread::sleep(first);
    }

    let mut events = Vec::new();
    for (one, due) in &asked {
        if due.unwrap_or_default() <= first {
            events.extend_from_slice(&one.event(due.is_none()));
        }
    }
    let number = (events.len() / Subscription::EVENT_BYTES) as u32;
    let Some(room) = slice(memory, happened, events.len()) else {
        return Ok(EFAULT);
    };
    room.copy_from_slice(&events);
    let Some(room) = slice(memory, happened_count, 4) else {
        return Ok(EFAULT);
    };
    room.copy_from_slice(&number.to_le_bytes());
    Ok(SUCCESS)
}

/// That part of the guest's memory, if it is one.
fn slice(memory: &mut [u8], at: i32, len: usize) -> Option<&mut [u8]> {
    let start = at.cast_unsigned() as usize;
    memory.get_mut(start..start.checked_add(len)?)
}

/// One thing that a guest waits for, as it lies in its memory.
#[derive(Clone, Copy, Debug)]
struct Subscription {
    user: [u8; 8],
    kind: u8,
    clock: u32,
    time: u64,
    absolute: bool,
}

impl Subscription {
    const BYTES: usize = 48;
    const EVENT_BYTES: usize = 32;

    const CLOCK: u8 = 0;
    const REALTIME: u32 = 0;
    const MONOTONIC: u32 = 1;

    fn read(bytes: &[u8]) -> Subscription {
        let mut user = [0; 8];
        user.copy_from_slice(&bytes[..8]);
        let number = |at: usize, len: usize| {
            let mut eight = [0; 8];
            eight[..len].copy_from_slice(&bytes[at..at + len]);
            u64::from_le_bytes(eight)
        };
        Subscription {
            user,
            kind: bytes[8],
            clock: number(16, 4) as u32,
            time: number(24, 8),
            absolute: number(40, 2) & 1 == 1,
        }
    }

    /// When it comes, from now; none of a clock that there is not.
    fn due_in(&self, began: Instant) -> Option<Duration> {
        if self.kind != Subscription::CLOCK {
            return Some(Duration::ZERO);
        }
        let now = match self.clock {
            Subscription::REALTIME => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            Subscription::MONOTONIC => began.elapsed(),
            _ => return None,
        };
        let time = Duration::from_nanos(self.time);
        Some(match self.absolute {
            true => time.saturating_sub(now),
            false => time,
        })
    }

    /// The event that says that it came, or that it was wrong to ask for it.
    fn event(&self, wrong: bool) -> [u8; Subscription::EVENT_BYTES] {
        let mut event = [0; Subscription::EVENT_BYTES];
        event[..8].copy_from_slice(&self.user);
        event[8] = if wrong { EINVAL as u8 } else { 0 };
        event[10] = self.kind;
        // Of a stream, how many bytes there are for sure.
        event[16] = u8::from(self.kind != Subscription::CLOCK);
        event
    }
}
