//! What a WebAssembly guest costs: its first compilation, the first call of a new process, and
//! each call after that. `cargo bench --bench wasm`. Needs a compiler for guests.

#[path = "../tests/support/hello_wasm.rs"]
mod hello_wasm;
#[expect(dead_code, reason = "this bench makes nothing durable")]
mod support;

use futures_lite::future::block_on;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::Exit;
use openpista_core::id::{SandboxId, Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::sandbox::wasm::{Wasm, WasmConfig};
use openpista_shell_smol::secret::Secrets;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Samples, head, row, scratch};

/// The first argument of the process that makes one call and tells how long it took.
const FIRST_CALL: &str = "first-call";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, way, home] = &arguments[..]
        && way == FIRST_CALL
    {
        let took = Samples::one(|| call(&engine(Path::new(home))));
        println!("{}", took.as_nanos());
        return;
    }
    head("wasm");
    let module = hello_wasm::hello_wasm().expect("a compiler for guests: see skills/README.md");
    let size = fs::metadata(module).expect("it was built").len();
    row("hello-wasm", &format!("{size} bytes"), "");
    let home = scratch();
    let skill = home.path().join("workspace/skills/hello-wasm");
    fs::create_dir_all(&skill).expect("a directory");
    fs::copy(module, skill.join("main.wasm")).expect("a copy");

    let compile = |_| {
        let _ = fs::remove_dir_all(home.path().join("cache"));
        let wasm = engine(home.path());
        Samples::one(|| {
            perform(&wasm, Action::Create(task())).expect("it compiles");
        })
    };
    let compile = Samples::new((0..10).map(compile).collect());
    row("the first compilation ever", &compile.text(), "≤ 1 s");
    let kept = fs::read_dir(home.path().join("cache")).expect("the cache");
    let kept: u64 = kept
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    row("  what is kept of it", &format!("{kept} bytes"), "");

    // A file that was changed just now is read each time.
    std::thread::sleep(Duration::from_millis(2_100));
    let first = Samples::new((0..50).map(|_| first_call(home.path())).collect());
    row("first call of a new process", &first.text(), "≤ 20 ms");
    warm(&engine(home.path()));
}

/// Each call is the whole life of a sandbox.
fn warm(wasm: &Wasm) {
    let warm = Samples::of(2_000, || call(wasm));
    let micros = |time: Duration| format!("{:.0} µs", time.as_secs_f64() * 1e6);
    let text = format!(
        "p50 {}, p99 {}",
        micros(warm.median()),
        micros(warm.at(0.99))
    );
    row("warm call: create, run, destroy", &text, "≤ 200 µs");
    let began = Instant::now();
    for _ in 0..2_000 {
        std::thread::spawn(|| {}).join().expect("it ends");
    }
    row(
        "  a thread that does nothing, for comparison",
        &micros(began.elapsed() / 2_000),
        "",
    );
    let resident = |process: &str| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let resident = status.lines().find(|line| line.starts_with("VmRSS"));
        resident.unwrap_or("?").to_owned()
    };
    row("memory of this process", &resident("self"), "");
    for host in hosts() {
        row("  of the host beside it", &resident(&host), "");
    }
    std::thread::sleep(Duration::from_secs(1));
    let threads = fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count());
    row(
        "threads a second after the last call",
        &threads.to_string(),
        "",
    );
}

/// The processes that we have started and that have not ended.
fn hosts() -> Vec<String> {
    let ours = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    ours.split_whitespace().map(str::to_owned).collect()
}

/// In a process of its own, without the time that it takes to start.
fn first_call(home: &Path) -> Duration {
    let ours = std::env::current_exe().expect("this program");
    let output = Command::new(ours).arg(FIRST_CALL).arg(home).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    Duration::from_nanos(text.trim().parse().expect("a number"))
}

fn engine(home: &Path) -> Wasm {
    Wasm::new(WasmConfig {
        host: Some(env!("CARGO_BIN_EXE_openpista-wasm").into()),
        workspace: home.join("workspace"),
        cache_dir: home.join("cache"),
        output_chars: 10_000,
        memory_bytes: 64 * 1024 * 1024,
        secrets: Secrets::default(),
    })
}

fn call(wasm: &Wasm) {
    perform(wasm, Action::Create(task())).expect("it is made");
    match perform(wasm, Action::Run(task())) {
        Ok(Done::Ended(Ended { ran, .. })) => {
            assert_eq!(ran.exit, Exit::Code(0), "{ran:?}");
            assert_eq!(ran.stdout.text, "Hello, Ada!");
        }
        other => panic!("{other:?}"),
    }
    perform(wasm, Action::Destroy).expect("it is gone");
}

fn perform(wasm: &Wasm, action: Action) -> Result<Done, SandboxFault> {
    let (_open, watched) = async_channel::bounded(1);
    let used = UseSandbox {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(1)),
        call: 0,
        sandbox: SandboxId {
            seq: Seq(1),
            slot: 0,
        },
        engine: Engine::Wasm,
        action,
        timeout_ms: 60_000,
    };
    block_on(wasm.perform(&used, &Stop::when_closed(watched), &|_| {}))
}

fn task() -> Task {
    Task {
        tool: "hello-wasm".to_owned(),
        arguments: r#"{"name":"Ada"}"#.to_owned(),
        program: Program::Skill {
            name: "hello-wasm".to_owned(),
            folder: "skills/hello-wasm".to_owned(),
            entry: "main.wasm".to_owned(),
            image: None,
        },
        timeout_ms: 30_000,
    }
}
