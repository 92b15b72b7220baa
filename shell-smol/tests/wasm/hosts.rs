//! The processes that guests run in: how many there are, how they end, and what they cannot do.

use crate::support::{PRINT, Place, engine_of, guest, never, printing, task, used, wait_for, wasi};
use futures_lite::future::{block_on, zip};
use openpista_core::effect::sandbox::{Action, Done, Ended, SandboxFault};
use openpista_core::effect::tool::Exit;
use openpista_core::id::{SandboxId, Seq};
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn kill(pid: &str) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

/// Prints, and never ends.
fn endless() -> String {
    guest(&printing("begun\n"), &format!("{PRINT} (loop (br 0))"))
}

#[test]
fn calls_one_after_the_other_have_one_host() {
    let place = Place::new();
    place.install(&guest("", ""));
    // A file that was changed just now is made ready each time, by a host of its own.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    place.run_with("{}").unwrap();
    let hosts = place.hosts();
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    for _ in 0..5 {
        place.run_with("{}").unwrap();
    }
    assert_eq!(place.hosts(), hosts);
    // One that has served a guest makes no other ready: that could write to the cache.
    place.run(&guest("", "(drop (i32.const 1))")).unwrap();
    assert_eq!(place.hosts().len(), 2);
}

#[test]
fn two_calls_at_once_have_two_hosts() {
    let place = Place::new();
    let sleep = "(i32.store (i32.const 16400) (i32.const 1))
        (i64.store (i32.const 16408) (i64.const 500000000))
        (drop (call $poll_oneoff (i32.const 16384) (i32.const 16448) (i32.const 1)
                                 (i32.const 16500)))";
    let more = format!(
        "{} {}",
        wasi("poll_oneoff", "i32 i32 i32 i32"),
        printing("begun\n")
    );
    place.install(&guest(&more, &format!("{PRINT} {sleep}")));
    let (_open, stop) = never();
    let (tell, told) = async_channel::bounded(2);
    let saw = |_| {
        let _ = tell.try_send(());
    };
    let call = |seq| {
        let mut run = used(Action::Run(task("{}", 60_000)));
        run.sandbox = SandboxId {
            seq: Seq(seq),
            slot: 0,
        };
        let (place, stop, saw) = (&place, &stop, &saw);
        async move { place.wasm.perform(&run, stop, saw).await }
    };
    let calls = async {
        let ended = zip(call(1), call(2)).await;
        tell.close();
        ended
    };
    let counting = async {
        let mut most = 0;
        while told.recv().await.is_ok() {
            most = most.max(place.hosts().len());
        }
        most
    };
    let (ended, most) = block_on(zip(calls, counting));
    assert_eq!(most, 2, "{ended:?}");
    for ended in [ended.0, ended.1] {
        // Each call is told its own id, and this guest answers for the first alone.
        assert!(matches!(ended, Ok(Done::Ended(_))), "{ended:?}");
    }
}

#[test]
fn a_host_that_is_killed_is_the_fault_of_one_call() {
    let place = Place::new();
    place.install(&endless());
    place.create().unwrap();
    let (_open, stop) = never();
    let (tell, told) = async_channel::bounded(1);
    let saw = |_| {
        let _ = tell.try_send(());
    };
    let run = used(Action::Run(task("{}", 60_000)));
    let running = place.wasm.perform(&run, &stop, &saw);
    let killing = async {
        told.recv().await.unwrap();
        let hosts = place.hosts();
        assert_eq!(hosts.len(), 1, "{hosts:?}");
        kill(&hosts[0]);
    };
    let (ran, ()) = block_on(zip(running, killing));
    assert_eq!(ran, Err(SandboxFault::Lost));
    assert_eq!(place.perform(Action::Destroy), Ok(Done::Destroyed));
    assert_eq!(place.run(&guest("", "")).unwrap().stdout.text, "done");
}

#[test]
fn an_idle_host_that_is_killed_is_nobodys_fault() {
    let place = Place::new();
    place.run(&guest("", "")).unwrap();
    for created in [false, true] {
        if created {
            place.create().unwrap();
        }
        let hosts = place.hosts();
        hosts.iter().for_each(|host| kill(host));
        let is_over = |host: &String| {
            // Its first thread may be gone before the others.
            let threads = std::fs::read_dir(format!("/proc/{host}/task"));
            let status = std::fs::read_to_string(format!("/proc/{host}/status"));
            threads.is_ok_and(|threads| threads.count() == 1)
                && status.is_ok_and(|status| status.contains("State:\tZ"))
        };
        wait_for("end of the hosts", || hosts.iter().all(is_over));
        let ran = match created {
            true => match place.perform(Action::Run(task("{}", 60_000))) {
                Ok(Done::Ended(Ended { ran, .. })) => ran,
                other => panic!("{other:?}"),
            },
            false => place.run_with("{}").unwrap(),
        };
        assert_eq!(ran.exit, Exit::Code(0), "{ran:?}");
    }
}

#[test]
fn who_took_too_long_leaves_no_host_and_the_next_call_has_one() {
    let place = Place::new();
    assert_eq!(place.run_for(&endless(), 100).exit, Exit::TimedOut);
    wait_for("end of the host", || place.hosts().is_empty());
    let ran = place.run(&guest("", "")).unwrap();
    assert_eq!(ran.exit, Exit::Code(0));
}

/// Tried with the host's own system calls, not with a guest's.
#[test]
fn a_host_can_do_nothing_that_a_guest_has_no_need_of() {
    let place = Place::new();
    let checked = block_on(place.wasm.check()).unwrap();
    assert_eq!(checked.possible, Vec::<String>::new());
    let how = checked.walls.unwrap();
    assert!(how.contains("Landlock"), "{how}");

    place.run(&guest("", "")).unwrap();
    let host = place.hosts().pop().unwrap();
    let at = |file: &str| PathBuf::from(format!("/proc/{host}/{file}"));
    for task in std::fs::read_dir(at("task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let is = |field: &str, value: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            assert_eq!(line.map(str::trim), Some(value), "{field} {status}");
        };
        is("NoNewPrivs:", "1");
        is("Seccomp:", "2");
        is("CapEff:", "0000000000000000");
    }
    let environment = std::fs::read(at("environ")).unwrap();
    let names: BTreeSet<_> = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| variable.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let expected = [
        "OPENPISTA_CACHE_DIR",
        "OPENPISTA_MEMORY_BYTES",
        "OPENPISTA_WORKSPACE",
    ];
    assert_eq!(names, expected.map(str::to_owned).into());
    // The one to us, however often it is open.
    let open = std::fs::read_dir(at("fd")).unwrap();
    let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let sockets: BTreeSet<_> = open
        .filter(|to| to.to_string_lossy().starts_with("socket:"))
        .collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
}

fn why_not(place: &Place, host: &str) -> String {
    place.install(&guest("", ""));
    let wasm = engine_of(place.home(), host.as_ref());
    let (_open, stop) = never();
    let create = used(Action::Create(task("{}", 60_000)));
    match block_on(wasm.perform(&create, &stop, &|_| {})) {
        Err(SandboxFault::Unavailable { message }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_program_is_named_and_what_to_do() {
    let place = Place::new();
    let why = why_not(&place, "/nowhere/openpista-wasm");
    assert!(why.contains("/nowhere/openpista-wasm"), "{why}");
    assert!(why.contains("`wasm_host` under [sandbox]"), "{why}");
}

#[test]
fn a_program_of_another_version_is_not_used() {
    let place = Place::new();
    let host = place.home().join("host");
    // By another process: what we have open to write, nobody can run.
    let script =
        r#"printf '#!/bin/sh\nprintf '\''{"version":"0.0.1"}\\n'\'' >&0\n' > "$0"; chmod +x "$0""#;
    let made = Command::new("sh").arg("-c").arg(script).arg(&host).status();
    assert!(made.unwrap().success());
    let why = why_not(&place, host.to_str().unwrap());
    assert!(why.contains("is of version 0.0.1, we are of"), "{why}");
    assert!(why.contains("restart openpistacrab"), "{why}");
    // One that says nothing of itself at all.
    let why = why_not(&place, "/bin/true");
    assert!(why.contains("/bin/true ended before it said"), "{why}");
}
