//! What comes of what a guest answers, and of what it breaks.

use crate::support::{
    CANARY, PRINT, Place, answer, guest, guest_answering, never, printing, task, used,
};
use futures_lite::future::block_on;
use openpista_core::effect::sandbox::{Action, Done, Program, SandboxFault};
use openpista_core::effect::tool::{Exit, Ran};
use openpista_shell_smol::effect::sandbox::wasm::Wasm;

fn failed(result: Result<Ran, SandboxFault>) -> String {
    match result {
        Err(SandboxFault::Failed { message }) => message,
        other => panic!("{other:?}"),
    }
}

/// The exit code and what is said of a guest that ran and broke the agreement.
fn broken(result: Result<Ran, SandboxFault>) -> String {
    let ran = result.unwrap();
    assert_eq!(ran.exit, Exit::Code(2), "{ran:?}");
    assert_eq!(ran.stdout.text, "");
    ran.stderr.text
}

#[test]
fn an_answer_is_standard_output() {
    let place = Place::new();
    let ran = place.run(&guest("", "")).unwrap();
    assert_eq!(
        (ran.exit, ran.stdout.text.as_str()),
        (Exit::Code(0), "done")
    );
    assert_eq!(ran.stderr.text, "");
}

#[test]
fn an_error_is_exit_code_1() {
    let ran = Place::new()
        .run(&guest_answering("", "", &answer("no such city", true)))
        .unwrap();
    assert_eq!(ran.exit, Exit::Code(1));
    assert_eq!(ran.stdout.text, "no such city");
}

/// The guest returns its request's own place, so the complaint about the missing fields shows
/// that it was there, whole, as JSON.
#[test]
fn the_request_is_in_the_guests_memory() {
    let echo = r#"(module
        (memory (export "memory") 2)
        (func (export "alloc") (param i32) (result i32) i32.const 65536)
        (func (export "run") (param i32 i32) (result i64)
            (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32))
                    (i64.extend_i32_u (local.get 1)))))"#;
    let place = Place::new();
    place.install(echo);
    let said = broken(place.run_with(r#"{"city":"Oslo"}"#));
    let request = r#"{"id":"1.0","name":"probe","arguments":{"city":"Oslo"}}"#;
    let end = format!(
        "missing field `call_id` at line 1 column {}\n",
        request.len()
    );
    assert!(said.ends_with(&end), "{said}");
}

#[test]
fn what_is_printed_is_standard_error_and_shown_and_secrets_are_not() {
    let place = Place::new();
    let text = format!("the key is {CANARY}.\n");
    let guest = guest_answering(&printing(&text), PRINT, &answer(CANARY, false));
    let shown = place.shown(&guest);
    assert!(
        shown.ends_with("the key is [redacted: CANARY].\n"),
        "{shown}"
    );
    let ran = place.run(&guest).unwrap();
    assert_eq!(ran.stderr.text, "the key is [redacted: CANARY].\n");
    assert_eq!(ran.stdout.text, "[redacted: CANARY]");
}

#[test]
fn long_answers_are_cut() {
    let long = answer(&"x".repeat(30_000), false);
    // The answer lies where the request would: this guest does not read it.
    let ran = Place::new().run(&guest_answering("", "", &long)).unwrap();
    assert_eq!(ran.stdout.cut_chars, 20_000);
    assert!(ran.stdout.text.contains("[… 20,000 characters left out …]"));
}

#[test]
fn what_is_not_a_guest_is_refused_by_name_and_nothing_runs() {
    let table = [
        ("(module)", "exports no `memory`"),
        (
            r#"(module (func (export "memory")))"#,
            "exports a `memory` that is not one",
        ),
        (
            r#"(module (memory (export "memory") 1))"#,
            "exports no `alloc(i32) -> i32`",
        ),
        (
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8))"#,
            "exports no `run(i32, i32) -> i64`",
        ),
        (
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "_start")))"#,
            "it is a command, but a skill is a library",
        ),
        (
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i64) (result i32) i32.const 8))"#,
            "exports `alloc(i64) -> i32` where `alloc(i32) -> i32` belongs",
        ),
        (
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "run") (param i32 i32)))"#,
            "exports `run(i32, i32)` where `run(i32, i32) -> i64` belongs",
        ),
        (
            r#"(module (memory (export "memory") 1) (global (export "alloc") i32 (i32.const 1)))"#,
            "exports a `alloc` that is not a function",
        ),
        (
            r#"(module (import "env" "f" (func)) (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
            "`env::f`",
        ),
        (
            r#"(module (memory (export "memory") 1025)
                (func (export "alloc") (param i32) (result i32) i32.const 8)
                (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
            "wants 67174400 bytes of memory from its start, and may have 67108864",
        ),
    ];
    let place = Place::new();
    for (wat, expected) in table {
        let said = failed(place.run(wat));
        assert!(
            said.starts_with("skills/probe/main.wasm of the skill `probe` "),
            "{said}"
        );
        assert!(said.contains(expected), "{wat}: {said}");
    }
}

#[test]
fn a_file_that_is_no_module_is_named() {
    let place = Place::new();
    let said = failed(place.run_with("{}"));
    assert_eq!(
        said,
        "skills/probe/main.wasm of the skill `probe` is missing: build it, see skills/README.md"
    );
    for (bytes, expected) in [
        (b"#!/bin/sh\n".as_slice(), "is not WebAssembly"),
        (b"", "is not WebAssembly"),
        (
            b"\0asm\x0d\0\x01\0",
            "is a component: build it for wasm32-wasip1",
        ),
        (
            b"\0asm\x01\0\0\0\xff\xff",
            "is not a valid WebAssembly module",
        ),
        (b"\0asm", "is not a valid WebAssembly module"),
    ] {
        place.install_bytes(bytes);
        let said = failed(place.run_with("{}"));
        assert!(said.contains(expected), "{said}");
    }
    std::fs::remove_file(place.module()).unwrap();
    std::fs::create_dir(place.module()).unwrap();
    assert!(failed(place.run_with("{}")).ends_with("is not a file"));
}

/// The guest says that its answer is there.
fn pointing(at: u32, len: u32) -> String {
    let packed = (u64::from(at) << 32) | u64::from(len);
    format!(
        r#"(module
            (memory (export "memory") 2)
            (func (export "alloc") (param i32) (result i32) i32.const 65536)
            (func (export "run") (param i32 i32) (result i64) (i64.const {packed})))"#
    )
}

#[test]
fn a_lying_pointer_is_found_out() {
    let place = Place::new();
    for (at, len) in [
        (131_072, 1),
        (131_071, 2),
        (8, u32::MAX),
        (u32::MAX, 8),
        (u32::MAX, u32::MAX),
        (0x8000_0000, 0x8000_0000),
    ] {
        let said = broken(place.run(&pointing(at, len)));
        let expected = format!(
            "probe: `run` returned {len} bytes at {at}, which is outside of its memory of 131072 \
             bytes\n"
        );
        assert_eq!(said, expected);
    }
    for (alloc, expected) in [
        ("-1", "at 4294967295, which is outside"),
        ("131071", "at 131071, which is outside"),
        ("0", "`alloc` found no room for"),
    ] {
        let said = broken(place.run(&format!(
            r#"(module
                (memory (export "memory") 2)
                (func (export "alloc") (param i32) (result i32) i32.const {alloc})
                (func (export "run") (param i32 i32) (result i64) unreachable))"#
        )));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_answer_that_was_not_agreed_on_is_named() {
    let table = [
        ("", "EOF while parsing"),
        ("{", "EOF while parsing"),
        ("hello", "expected value"),
        ("[1]", "is not what was agreed on"),
        (r#"{"call_id":"1.0"}"#, "missing field `tool_name`"),
        (
            r#"{"call_id":"1.0","tool_name":"probe","output":7,"is_error":false}"#,
            "invalid type: integer `7`, expected a string",
        ),
        (
            r#"{"call_id":"1.0","tool_name":"probe","output":"x","is_error":"no"}"#,
            "expected a boolean",
        ),
        (
            r#"{"call_id":"2.0","tool_name":"probe","output":"x","is_error":false}"#,
            r#"its answer is for the call "2.0" of "probe", and this one is "1.0" of "probe""#,
        ),
        (
            r#"{"call_id":"1.0","tool_name":"other","output":"x","is_error":false}"#,
            r#"its answer is for the call "1.0" of "other""#,
        ),
    ];
    let place = Place::new();
    for (answer, expected) in table {
        let said = broken(place.run(&guest_answering("", "", answer)));
        assert!(said.starts_with("probe: its answer"), "{said}");
        assert!(said.contains(expected), "{answer}: {said}");
    }
}

#[test]
fn a_trap_is_named_behind_what_was_printed() {
    let place = Place::new();
    let said = broken(place.run(&guest(
        &printing("half a line"),
        &format!("{PRINT} unreachable"),
    )));
    assert_eq!(
        said,
        "half a line\nprobe: it trapped in `run`: wasm trap: wasm `unreachable` instruction \
         executed\n"
    );
    let said = broken(place.run(&guest("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))")));
    assert!(said.contains("integer divide by zero"), "{said}");
    let endless = "(func $f (call $f) (call $f))";
    let said = broken(place.run(&guest(endless, "(call $f)")));
    assert!(said.contains("call stack exhausted"), "{said}");
    let said = broken(place.run(&guest("(func $f unreachable) (start $f)", "")));
    assert!(said.contains("while it was set up"), "{said}");
}

#[test]
fn an_exit_is_no_answer() {
    let place = Place::new();
    let exit = |code: u32| {
        guest(
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#,
            &format!("(call $exit (i32.const {code}))"),
        )
    };
    assert!(broken(place.run(&exit(0))).contains("it exited with code 0 in `run`"));
    let ran = place.run(&exit(7)).unwrap();
    assert_eq!(ran.exit, Exit::Code(7));
}

#[test]
fn initialize_runs_first() {
    let ready = "(global $ready (mut i32) (i32.const 0))
        (func (export \"_initialize\") (global.set $ready (i32.const 1)))";
    let body = "(if (i32.eqz (global.get $ready)) (then unreachable))";
    let ran = Place::new().run(&guest(ready, body)).unwrap();
    assert_eq!(ran.stdout.text, "done");
}

#[test]
fn arguments_must_be_an_object_before_anything_is_made() {
    let place = Place::new();
    place.install(&guest("", ""));
    for arguments in ["", "7", "[]", "{", "{} {}"] {
        let created = place.perform(Action::Create(task(arguments, 1_000)));
        let Err(SandboxFault::Arguments { message }) = created else {
            panic!("{created:?}");
        };
        assert!(message.contains("JSON object"), "{message}");
    }
}

#[test]
fn a_path_out_of_the_workspace_is_refused() {
    let place = Place::new();
    place.install(&guest("", ""));
    let (module, aside) = (place.module(), place.home().join("main.wasm"));
    std::fs::copy(module, &aside).unwrap();
    for folder in ["..", "skills/../..", place.home().to_str().unwrap()] {
        let mut task = task("{}", 1_000);
        task.program = Program::Skill {
            name: "probe".to_owned(),
            folder: folder.to_owned(),
            entry: "main.wasm".to_owned(),
            image: None,
        };
        let created = place.perform(Action::Create(task));
        let Err(SandboxFault::Failed { message }) = created else {
            panic!("{created:?}");
        };
        assert!(message.contains("not a path inside"), "{message}");
    }
}

#[test]
fn a_sandbox_serves_one_run_and_can_be_made_again() {
    let place = Place::new();
    place.install(&guest("", ""));
    let run = || place.perform(Action::Run(task("{}", 60_000)));
    place.create().unwrap();
    assert!(matches!(run(), Ok(Done::Ended(_))));
    assert!(matches!(run(), Err(SandboxFault::Failed { .. })));
    place.create().unwrap();
    assert!(matches!(run(), Ok(Done::Ended(_))));
    for _ in 0..2 {
        assert_eq!(place.perform(Action::Destroy), Ok(Done::Destroyed));
    }
}

/// After a crash the daemon asks for the run again, and this process has made nothing.
#[test]
fn a_run_after_a_restart_makes_its_guest_itself() {
    let mut place = Place::new();
    place.install(&guest("", ""));
    place.create().unwrap();
    place.restart();
    let ran = place.perform(Action::Run(task("{}", 60_000)));
    assert!(matches!(ran, Ok(Done::Ended(_))), "{ran:?}");
}

#[test]
fn a_guest_is_compiled_once_and_again_when_it_changes() {
    let mut place = Place::new();
    let guest = guest("", "");
    assert!(place.shown(&guest).contains("compiling probe …"));
    assert_eq!(place.shown(&guest), "");
    place.restart();
    assert_eq!(place.shown(&guest), "", "the cache of the last process");
    let other = guest.replace("done", "gone");
    assert!(place.shown(&other).contains("compiling probe …"));
    assert_eq!(place.run_with("{}").unwrap().stdout.text, "gone");
}

#[test]
fn a_damaged_cache_is_not_trusted() {
    let mut place = Place::new();
    let guest = guest("", "");
    place.shown(&guest);
    for entry in std::fs::read_dir(place.cache()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    place.restart();
    assert!(place.shown(&guest).contains("compiling probe …"));
    assert_eq!(place.run_with("{}").unwrap().stdout.text, "done");
}

#[test]
fn without_configuration_there_is_no_engine() {
    let (_open, stop) = never();
    let create = used(Action::Create(task("{}", 1_000)));
    let created = block_on(Wasm::default().perform(&create, &stop, &|_| {}));
    assert!(matches!(created, Err(SandboxFault::Unavailable { .. })));
    let destroyed = block_on(Wasm::default().perform(&used(Action::Destroy), &stop, &|_| {}));
    assert_eq!(destroyed, Ok(Done::Destroyed));
}
