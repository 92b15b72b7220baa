//! The processes that guests run in, each of which serves one call at a time.
//!
//! A host is started when there is none for a call, and kept when the call is over: the next one
//! finds its guest ready in it. There are no more at work than [`AT_WORK`]; whoever comes then
//! waits. Those that nobody needs end after a while. A host that was stopped, or that did not do
//! what it was asked to, is never used again: [`Lease`] gives back only what it is told to.

use crate::companion::Companion;
use crate::guest::line::{Ask, Place, Said};
use openpista_core::digest::Digest;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How many hosts may be at work at once.
const AT_WORK: usize = 8;
/// How many hosts without work are kept.
const IDLE: usize = 4;
/// How long a host without work is kept beside another.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// How long the last one is kept.
const LAST_FOR: Duration = Duration::from_secs(300);
/// How often hosts without work are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Room for the stack of the thread that does.
const STACK_BYTES: usize = 64 * 1024;

/// All of them.
#[derive(Debug)]
pub(super) struct Hosts {
    program: PathBuf,
    place: Place,
    room: Arc<Semaphore>,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// With when each began to wait; the one that worked last at the end.
    hosts: Vec<(Instant, Host)>,
    /// There is a thread that looks at them.
    watched: bool,
}

/// What a host is wanted for.
#[derive(Clone, Copy, Debug)]
pub(super) enum For<'a> {
    /// To make a guest ready: one in which none has run.
    Preparing,
    /// To run this guest, best one that has it.
    Running(&'a Digest),
}

/// A process.
#[derive(Debug)]
struct Host {
    companion: Companion,
    /// How it is confined, or why it is not.
    walls: Result<String, String>,
    /// The guest that it has served last.
    last: Option<Digest>,
    /// A guest has run in it.
    ran: bool,
}

/// A host at work. Dropping it ends the host.
#[derive(Debug)]
pub(super) struct Lease {
    host: Host,
    hosts: Arc<Hosts>,
    _room: SemaphoreGuardArc,
}

impl Hosts {
    /// Starts nothing yet.
    pub(super) fn new(program: PathBuf, place: Place) -> Hosts {
        Hosts {
            program,
            place,
            room: Arc::new(Semaphore::new(AT_WORK)),
            idle: Mutex::default(),
        }
    }

    /// A host for one call, as soon as there is room for it.
    ///
    /// # Errors
    /// There is none, in words for a person.
    pub(super) async fn take(self: &Arc<Self>, wanted: For<'_>) -> Result<Lease, String> {
        let room = self.room.acquire_arc().await;
        let idle = self.idle().take(wanted);
        let host = match idle {
            Some(host) => host,
            None => self.start().await?,
        };
        Ok(Lease {
            host,
            hosts: Arc::clone(self),
            _room: room,
        })
    }

    async fn start(&self) -> Result<Host, String> {
        let program = self.program.display();
        let started = Companion::start(&self.program, self.place.environment()).await;
        let mut companion = started.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
                "the program that WebAssembly skills run in, {program}, cannot be started \
                 ({error}): put it there, or set `wasm_host` under [sandbox] to where it is"
            ),
            io::ErrorKind::UnexpectedEof => {
                format!("{program} ended before it said who it is: install openpista again")
            }
            _ => format!("WebAssembly skills cannot run: {error}"),
        })?;
        match companion.hear().await {
            Ok(Said::Ready { walls }) => Ok(Host {
                companion,
                walls,
                last: None,
                ran: false,
            }),
            Ok(Said::Unusable { why }) => {
                Err(format!("WebAssembly cannot run on this computer: {why}"))
            }
            Ok(said) => Err(format!(
                "{program} began with {said:?}: install openpista again"
            )),
            Err(error) => Err(format!("{program} ended when it was started: {error}")),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(self: &Arc<Self>, host: Host) {
        let mut idle = self.idle();
        idle.hosts.push((Instant::now(), host));
        let surplus = idle.hosts.len().saturating_sub(IDLE);
        let surplus: Vec<_> = idle.hosts.drain(..surplus).collect();
        if !idle.watched {
            let hosts = Arc::downgrade(self);
            let watch = thread::Builder::new()
                .name("wasm-hosts".to_owned())
                .stack_size(STACK_BYTES);
            // Without it they stay a little longer: until the next time.
            idle.watched = watch.spawn(move || watch_over(&hosts)).is_ok();
        }
        drop(idle);
        drop(surplus);
    }
}

impl Idle {
    fn take(&mut self, wanted: For<'_>) -> Option<Host> {
        loop {
            let hosts = || self.hosts.iter().map(|(_, host)| host);
            let at = match wanted {
                For::Preparing => hosts().rposition(|host| !host.ran),
                For::Running(guest) => hosts()
                    .rposition(|host| host.last.as_ref() == Some(guest))
                    .or(self.hosts.len().checked_sub(1)),
            };
            let (_, mut host) = self.hosts.remove(at?);
            // It may have been killed meanwhile.
            if host.companion.is_alive() {
                return Some(host);
            }
        }
    }
}

/// Ends hosts that have waited for too long, until none waits.
fn watch_over(hosts: &Weak<Hosts>) {
    loop {
        thread::sleep(LOOK_EVERY);
        let Some(hosts) = hosts.upgrade() else {
            return;
        };
        let mut idle = hosts.idle();
        let waited: Vec<Duration> = idle
            .hosts
            .iter()
            .map(|(since, _)| since.elapsed())
            .collect();
        let ended: Vec<_> = idle.hosts.drain(..overdue(&waited)).collect();
        idle.watched = !idle.hosts.is_empty();
        let done = !idle.watched;
        drop(idle);
        drop(ended);
        if done {
            return;
        }
    }
}

/// How many of those that have waited so long, the longest first, have waited for too long.
fn overdue(waited: &[Duration]) -> usize {
    let last = waited.len().saturating_sub(1);
    let is_over = |(at, waited): &(usize, &Duration)| match *at == last {
        true => **waited >= LAST_FOR,
        false => **waited >= IDLE_FOR,
    };
    waited.iter().enumerate().take_while(is_over).count()
}

impl Lease {
    /// Asks the host for something.
    ///
    /// # Errors
    /// It is gone, and has not heard all of it.
    pub(super) async fn ask(&self, ask: &Ask) -> io::Result<()> {
        self.host.companion.say(ask).await
    }

    /// Hears what is no word for the log. May be dropped and called again.
    ///
    /// # Errors
    /// The host is gone, or makes no sense.
    pub(super) async fn hear(&mut self) -> io::Result<Said> {
        loop {
            match self.host.companion.hear().await? {
                Said::Warning { what } => tracing::warn!("{what}"),
                said => return Ok(said),
            }
        }
    }

    /// Ends the host at once. What it has said can still be heard.
    pub(super) fn kill(&mut self) {
        self.host.companion.kill();
    }

    /// How the host is confined, or why it is not.
    pub(super) fn walls(&self) -> Result<String, String> {
        self.host.walls.clone()
    }

    /// The host has done what it was asked: others may use it.
    pub(super) fn give_back(self, served: Option<Digest>, ran: bool) {
        let Lease {
            mut host, hosts, ..
        } = self;
        host.last = served.or(host.last);
        host.ran |= ran;
        hosts.put_back(host);
    }

    /// Lets the host do what it was asked although nobody waits for it: a module that takes long to
    /// compile is in the cache the next time.
    pub(super) fn leave_alone(mut self, at_most: Duration) {
        let last = thread::Builder::new()
            .name("wasm-compiles".to_owned())
            .stack_size(STACK_BYTES);
        let waited = last.spawn(move || {
            let heard = async { while let Ok(Said::Compiling) = self.hear().await {} };
            let late = async {
                async_io::Timer::after(at_most).await;
            };
            futures_lite::future::block_on(futures_lite::future::or(heard, late));
        });
        // It is ended then, and compiles the next time.
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_nobody_needs_go_and_the_last_one_later() {
        let waited = |seconds: &[u64]| {
            let waited: Vec<_> = seconds.iter().map(|s| Duration::from_secs(*s)).collect();
            overdue(&waited)
        };
        assert_eq!(waited(&[]), 0);
        assert_eq!(waited(&[59]), 0);
        assert_eq!(waited(&[299]), 0);
        assert_eq!(waited(&[300]), 1);
        assert_eq!(waited(&[100, 60, 59, 0]), 2);
        assert_eq!(waited(&[100, 61]), 1);
        assert_eq!(waited(&[301, 300]), 2);
    }
}
