//! A Docker daemon that hangs or goes away becomes an outcome, and never a hang.
//!
//! Between the engine and the daemon is a relay that can be frozen, and cut.

use super::rig::{Rig, command, ended, never, rig_with, used};
use futures_lite::future::block_on;
use openpista_core::effect::sandbox::{Action, Done, SandboxFault};
use openpista_core::effect::tool::Exit;
use openpista_shell_smol::effect::sandbox::docker::{Docker, DockerConfig};
use serde_json::json;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const OPEN: u8 = 0;
const FROZEN: u8 = 1;
const CUT: u8 = 2;

/// What stands between.
struct Relay {
    _dir: tempfile::TempDir,
    socket: String,
    state: Arc<AtomicU8>,
    streams: Arc<Mutex<Vec<UnixStream>>>,
}

impl Relay {
    fn new() -> Relay {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let relay = Relay {
            socket: socket.display().to_string(),
            _dir: dir,
            state: Arc::new(AtomicU8::new(OPEN)),
            streams: Arc::default(),
        };
        let (state, streams) = (Arc::clone(&relay.state), Arc::clone(&relay.streams));
        thread::spawn(move || {
            for ours in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock().unwrap();
                if state.load(Ordering::SeqCst) == CUT {
                    continue;
                }
                let theirs = UnixStream::connect(docker_socket()).unwrap();
                streams.extend([ours.try_clone().unwrap(), theirs.try_clone().unwrap()]);
                let pairs = [(&ours, &theirs), (&theirs, &ours)];
                for (from, to) in pairs.map(|(a, b)| (a.try_clone(), b.try_clone())) {
                    let state = Arc::clone(&state);
                    let (from, to) = (from.unwrap(), to.unwrap());
                    thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        relay
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::SeqCst);
        if state == CUT {
            for stream in self.streams.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Waits until a container is made, attached to, started and waited for, each by a connection
    /// of its own after two that asked for the version and the image.
    fn wait_until_waited_for(&self) {
        while self.streams.lock().unwrap().len() < 2 * 6 {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn rig(&self) -> Option<Rig> {
        let mut rig = rig_with(|_| {})?;
        rig.docker = Docker::new(DockerConfig {
            host: Some(self.socket.clone()),
            ..rig.config.clone()
        });
        Some(rig)
    }
}

fn docker_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    match host.strip_prefix("unix://") {
        Some(path) => path.to_owned(),
        None => "/var/run/docker.sock".to_owned(),
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, state: &AtomicU8) {
    let mut buffer = vec![0; 65_536];
    let mut pass = || -> io::Result<usize> {
        let count = from.read(&mut buffer)?;
        while state.load(Ordering::SeqCst) == FROZEN {
            thread::sleep(Duration::from_millis(10));
        }
        to.write_all(&buffer[..count])?;
        Ok(count)
    };
    while pass().is_ok_and(|count| count > 0) {}
    let _ = to.shutdown(Shutdown::Write);
}

/// Runs a task, and does something to the relay once it has begun.
fn run_and(rig: &Rig, line: &str, then: impl Fn()) -> Result<Done, SandboxFault> {
    let task = command(&json!({ "command": line, "timeout_ms": 10_000 }));
    rig.create(1, &task);
    let (_held, stop) = never();
    block_on(
        rig.docker
            .perform(&used(1, Action::Run(task)), &stop, &|_| then()),
    )
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let relay = Relay::new();
    let Some(rig) = relay.rig() else { return };
    let cut_once = std::cell::Cell::new(true);
    let done = run_and(&rig, "echo begun; sleep 3; echo done; exit 7", || {
        if cut_once.replace(false) {
            relay.wait_until_waited_for();
            relay.set(CUT);
            relay.set(OPEN);
        }
    });
    let ran = ended(done).ran;
    assert_eq!(
        (ran.exit, &*ran.stdout.text),
        (Exit::Code(7), "begun\ndone\n")
    );
    rig.destroy(1);
}

#[test]
fn one_that_goes_away_for_good_leaves_it_open() {
    let relay = Relay::new();
    let Some(rig) = relay.rig() else { return };
    let done = run_and(&rig, "echo begun; sleep 1000", || relay.set(CUT));
    assert_eq!(done, Err(SandboxFault::Lost));
    let gone = rig.act(1, Action::Destroy);
    assert!(matches!(gone, Err(SandboxFault::Failed { .. })), "{gone:?}");
    let unclear = rig.act(2, Action::Create(command(&json!({ "command": "true" }))));
    assert!(
        matches!(unclear, Err(SandboxFault::Unavailable { .. })),
        "{unclear:?}"
    );
    // Once it is back, the same engine goes on with it.
    relay.set(OPEN);
    rig.destroy(1);
    assert!(rig.left().is_empty());
}

#[test]
fn one_that_hangs_is_not_waited_for() {
    let relay = Relay::new();
    let Some(rig) = relay.rig() else { return };
    let done = run_and(&rig, "echo begun; sleep 1000", || relay.set(FROZEN));
    assert_eq!(done, Err(SandboxFault::Lost));
    let mut destroy = used(1, Action::Destroy);
    destroy.timeout_ms = 500;
    let (_held, stop) = never();
    let gone = block_on(rig.docker.perform(&destroy, &stop, &|_| {}));
    assert_eq!(gone, Err(SandboxFault::TimedOut));
    let mut create = used(2, Action::Create(command(&json!({ "command": "true" }))));
    create.timeout_ms = 500;
    let made = block_on(rig.docker.perform(&create, &stop, &|_| {}));
    assert_eq!(made, Err(SandboxFault::TimedOut));
    relay.set(OPEN);
    rig.destroy(1);
    rig.destroy(2);
}

/// A container that Docker makes when nobody waits for it any more is removed all the same.
#[test]
fn one_that_comes_too_late_is_removed() {
    let relay = Relay::new();
    let Some(rig) = relay.rig() else { return };
    let task = command(&json!({ "command": "true" }));
    rig.create(1, &task);
    rig.destroy(1);
    let (_held, stop) = never();
    let mut late = 0;
    for delay_ms in [1, 2, 5, 10, 20, 40, 80, 160] {
        let mut create = used(2, Action::Create(task.clone()));
        create.timeout_ms = delay_ms;
        let made = block_on(rig.docker.perform(&create, &stop, &|_| {}));
        late += u32::from(made == Err(SandboxFault::TimedOut));
        rig.destroy(2);
        assert!(rig.left().is_empty(), "after {delay_ms} ms");
    }
    assert!(late > 0);
    thread::sleep(Duration::from_secs(1));
    assert!(rig.left().is_empty());
}
