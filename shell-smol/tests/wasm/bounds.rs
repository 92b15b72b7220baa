//! How guests end that do not end by themselves, and what they cannot have too much of.

use crate::support::{
    PRINT, Place, guest, guest_counting, never, printing, task, used, wait_for, wasi,
};
use futures_lite::future::{block_on, or, zip};
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{Action, Done, Ended, SandboxFault};
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::id::{SandboxId, Seq};
use std::sync::atomic::{AtomicBool, Ordering};

const ENDLESS: &str = "(loop (br 0))";

/// Waits for the monotonic clock, an hour from now.
fn sleeping() -> (String, String) {
    let import = wasi("poll_oneoff", "i32 i32 i32 i32");
    let body = "(i32.store (i32.const 16400) (i32.const 1))
        (i64.store (i32.const 16408) (i64.const 3600000000000))
        (drop (call $poll_oneoff (i32.const 16384) (i32.const 16448) (i32.const 1)
                                 (i32.const 16500)))";
    (import, body.to_owned())
}

#[test]
fn a_runaway_loop_times_out_and_keeps_what_it_printed() {
    let guest = guest(&printing("so far\n"), &format!("{PRINT} {ENDLESS}"));
    let ran = Place::new().run_for(&guest, 200);
    assert_eq!(ran.exit, Exit::TimedOut);
    assert_eq!(ran.stderr.text, "so far\n");
    assert!(ran.took_ms >= 200, "{ran:?}");
}

#[test]
fn a_loop_while_it_is_set_up_times_out() {
    let endless = format!("(func $f {ENDLESS}) (start $f)");
    let ran = Place::new().run_for(&guest(&endless, ""), 100);
    assert_eq!(ran.exit, Exit::TimedOut);
}

#[test]
fn a_sleeping_guest_times_out() {
    let (import, body) = sleeping();
    let ran = Place::new().run_for(&guest(&import, &body), 200);
    assert_eq!(ran.exit, Exit::TimedOut);
}

#[test]
fn a_short_sleep_is_slept() {
    let (import, body) = sleeping();
    let body = body.replace("3600000000000", "120000000");
    let ran = Place::new().run(&guest(&import, &body)).unwrap();
    assert_eq!(ran.exit, Exit::Code(0));
    assert!(ran.took_ms >= 120, "{ran:?}");
}

/// Runs the guest until it has printed, and then does something to it.
fn interrupt(
    guest: &str,
    then: impl FnOnce(async_channel::Sender<std::convert::Infallible>),
) -> Ran {
    let place = Place::new();
    place.install(guest);
    place.create().unwrap();
    let (open, stop) = never();
    let (tell, told) = async_channel::bounded(1);
    let run = used(Action::Run(task("{}", 60_000)));
    let saw = |_| {
        let _ = tell.try_send(());
    };
    let running = place.wasm.perform(&run, &stop, &saw);
    let interrupting = async {
        told.recv().await.unwrap();
        then(open);
    };
    match block_on(zip(running, interrupting)).0 {
        Ok(Done::Ended(Ended { ran, .. })) => ran,
        other => panic!("{other:?}"),
    }
}

#[test]
fn stop_ends_a_loop_and_a_sleep() {
    let (import, sleep) = sleeping();
    for body in [ENDLESS, &sleep] {
        let more = format!("{import} {}", printing("begun\n"));
        let guest = guest(&more, &format!("{PRINT} {body}"));
        let ran = interrupt(&guest, |open| {
            open.close();
        });
        assert_eq!(ran.exit, Exit::Cancelled);
        assert_eq!(ran.stderr.text, "begun\n");
    }
}

#[test]
fn stopped_before_it_began_nothing_runs() {
    let place = Place::new();
    place.install(&guest("", ""));
    let (open, stop) = never();
    open.close();
    let create = used(Action::Create(task("{}", 1_000)));
    let created = block_on(place.wasm.perform(&create, &stop, &|_| {}));
    assert_eq!(created, Err(SandboxFault::Cancelled));
    place.create().unwrap();
    let run = used(Action::Run(task("{}", 1_000)));
    let ran = block_on(place.wasm.perform(&run, &stop, &|_| {}));
    assert_eq!(ran, Err(SandboxFault::Cancelled));
    let destroyed = block_on(place.wasm.perform(&used(Action::Destroy), &stop, &|_| {}));
    assert_eq!(destroyed, Ok(Done::Destroyed));
}

/// The future is dropped, or the sandbox destroyed under it: the guest ends, and its host with it.
#[test]
fn what_nobody_waits_for_ends() {
    let place = Place::new();
    place.install(&guest(&printing("begun\n"), &format!("{PRINT} {ENDLESS}")));
    let (_open, stop) = never();
    let run = used(Action::Run(task("{}", 60_000)));

    place.create().unwrap();
    let begun = AtomicBool::new(false);
    let saw = |_: Chunk| begun.store(true, Ordering::Relaxed);
    let dropped = async {
        while !begun.load(Ordering::Relaxed) {
            futures_lite::future::yield_now().await;
        }
        None
    };
    let running = async { Some(place.wasm.perform(&run, &stop, &saw).await) };
    assert!(block_on(or(running, dropped)).is_none());

    place.create().unwrap();
    let (tell, told) = async_channel::bounded(1);
    let saw = |_: Chunk| {
        let _ = tell.try_send(());
    };
    let running = place.wasm.perform(&run, &stop, &saw);
    let destroying = async {
        told.recv().await.unwrap();
        let destroy = used(Action::Destroy);
        place.wasm.perform(&destroy, &stop, &|_| {}).await
    };
    let (ran, destroyed) = block_on(zip(running, destroying));
    assert_eq!(destroyed, Ok(Done::Destroyed));
    let Ok(Done::Ended(Ended { ran, .. })) = ran else {
        panic!("{ran:?}");
    };
    assert_eq!(ran.exit, Exit::Cancelled);
    wait_for("end of the guests' hosts", || place.hosts().is_empty());
}

#[test]
fn a_host_has_two_threads() {
    let place = Place::new();
    let open = wasi("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32");
    place
        .run(&guest(&format!("{open} {}", printing("x")), PRINT))
        .unwrap();
    let host = place.hosts().pop().unwrap();
    let tasks = std::fs::read_dir(format!("/proc/{host}/task")).unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(names, ["guest\n", "openpista-wasm\n"]);
}

#[test]
fn ending_one_guest_leaves_the_others() {
    let place = Place::new();
    let (import, sleep) = sleeping();
    let sleep = sleep.replace("3600000000000", "700000000");
    place.install(&guest(&import, &sleep));
    place.create().unwrap();

    let mut other = used(Action::Create(task("{}", 60_000)));
    other.sandbox = SandboxId {
        seq: Seq(2),
        slot: 0,
    };
    let (_open, stop) = never();
    place.install(&guest("", ENDLESS));
    let created = block_on(place.wasm.perform(&other, &stop, &|_| {}));
    assert_eq!(created, Ok(Done::Created { token: None }));
    other.action = Action::Run(task("{}", 100));

    let run = used(Action::Run(task("{}", 60_000)));
    let (slept, looped) = block_on(zip(
        place.wasm.perform(&run, &stop, &|_| {}),
        place.wasm.perform(&other, &stop, &|_| {}),
    ));
    let exit = |done| match done {
        Ok(Done::Ended(Ended { ran, .. })) => ran.exit,
        other => panic!("{other:?}"),
    };
    assert_eq!(exit(slept), Exit::Code(0));
    assert_eq!(exit(looped), Exit::TimedOut);
}

#[test]
fn memory_beyond_the_cap_is_refused_and_named() {
    let place = Place::new();
    let greedy = guest(
        "",
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
    );
    let ran = place.run(&greedy).unwrap();
    assert_eq!(ran.exit, Exit::Code(2));
    let end = "; it was refused memory beyond 64 MiB before that\n";
    assert!(ran.stderr.text.ends_with(end), "{ran:?}");

    // One that takes no for an answer: it has 2 pages and gets 1022 more, in steps of 73.
    let patient = guest_counting(
        "",
        "(block (result i32)
            (loop (br_if 0 (i32.ne (memory.grow (i32.const 73)) (i32.const -1))))
            (i32.sub (memory.size) (i32.const 1000)))",
    );
    let ran = place.run(&patient).unwrap();
    assert_eq!(ran.stdout.text, "024");
}

#[test]
fn a_table_cannot_grow_without_bound() {
    let guest = guest_counting(
        "(table $t 1 funcref)",
        "(i32.eq (table.grow $t (ref.null func) (i32.const 200000)) (i32.const -1))",
    );
    let ran = Place::new().run(&guest).unwrap();
    assert_eq!(ran.stdout.text, "001");
}

#[test]
fn who_prints_without_end_is_cut() {
    let guest = guest(
        &printing(&"0123456789".repeat(100)),
        &format!("(loop {PRINT} (br 0))"),
    );
    let ran = Place::new().run_for(&guest, 300);
    assert_eq!(ran.exit, Exit::TimedOut);
    assert!(ran.stderr.cut_chars > 0);
    assert!(ran.stderr.text.chars().count() < 10_100);
}
