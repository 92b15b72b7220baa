//! A workspace, an engine, and guests written as text.

use async_channel::Sender;
use futures_lite::future::block_on;
use openpista_core::effect::Chunk;
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::Ran;
use openpista_core::id::{SandboxId, Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::sandbox::wasm::{Wasm, WasmConfig};
use openpista_shell_smol::secret::{Secret, Secrets};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub(crate) const CANARY: &str = "sk-canary-0123456789";

/// The sandbox of every test, and so the id of every call: `1.0`.
pub(crate) const SANDBOX: SandboxId = SandboxId {
    seq: Seq(1),
    slot: 0,
};

/// How long a guest may run that is not meant to end by time.
const LONG_MS: u64 = 60_000;

/// A home with a workspace and a cache.
pub(crate) struct Place {
    home: tempfile::TempDir,
    pub(crate) wasm: Wasm,
}

impl Place {
    pub(crate) fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("workspace")).unwrap();
        let wasm = engine(home.path());
        Place { home, wasm }
    }

    /// The engine of a new process.
    pub(crate) fn restart(&mut self) {
        self.wasm = engine(self.home.path());
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The processes in which the guests of this place run, or could.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let workspace = self.workspace().into_os_string().into_encoded_bytes();
        let of_ours = |pid: &String| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable.ends_with(&workspace))
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(of_ours).collect()
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.home.path().join("cache")
    }

    /// Where the program of the one skill is.
    pub(crate) fn module(&self) -> PathBuf {
        self.workspace().join("skills/probe/main.wasm")
    }

    /// Makes this the program of the skill.
    pub(crate) fn install(&self, wat: &str) {
        let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        self.install_bytes(&wasm);
    }

    pub(crate) fn install_bytes(&self, wasm: &[u8]) {
        let path = self.module();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, wasm).unwrap();
    }

    pub(crate) fn perform(&self, action: Action) -> Result<Done, SandboxFault> {
        let (_open, stop) = never();
        block_on(self.wasm.perform(&used(action), &stop, &|_| {}))
    }

    pub(crate) fn create(&self) -> Result<Done, SandboxFault> {
        self.perform(Action::Create(task("{}", LONG_MS)))
    }

    /// Creates, runs and destroys; what was shown of it meanwhile.
    pub(crate) fn shown(&self, wat: &str) -> String {
        self.install(wat);
        self.call(task("{}", LONG_MS)).1
    }

    /// Runs the skill as it is installed, with arguments.
    pub(crate) fn run_with(&self, arguments: &str) -> Result<Ran, SandboxFault> {
        self.call(task(arguments, LONG_MS)).0
    }

    /// Runs this as the skill.
    pub(crate) fn run(&self, wat: &str) -> Result<Ran, SandboxFault> {
        self.install(wat);
        self.run_with("{}")
    }

    /// The same, with so much time.
    pub(crate) fn run_for(&self, wat: &str, timeout_ms: u64) -> Ran {
        self.install(wat);
        self.call(task("{}", timeout_ms)).0.unwrap()
    }

    /// The whole life of a sandbox.
    fn call(&self, task: Task) -> (Result<Ran, SandboxFault>, String) {
        let (_open, stop) = never();
        let seen = Mutex::new(String::new());
        let saw = |chunk| match chunk {
            Chunk::Output(text) => seen.lock().unwrap().push_str(&text),
            other => panic!("{other:?}"),
        };
        let perform = |action| block_on(self.wasm.perform(&used(action), &stop, &saw));
        let ran = perform(Action::Create(task.clone())).and_then(|created| {
            assert_eq!(created, Done::Created { token: None });
            match perform(Action::Run(task))? {
                Done::Ended(Ended { ran, .. }) => Ok(ran),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(perform(Action::Destroy), Ok(Done::Destroyed));
        (ran, seen.into_inner().unwrap())
    }
}

/// A place with this file as the program of its skill.
pub(crate) fn place_with(module: &Path) -> Place {
    let place = Place::new();
    place.install_bytes(&std::fs::read(module).unwrap());
    place
}

fn engine(home: &Path) -> Wasm {
    engine_of(home, env!("CARGO_BIN_EXE_openpista-wasm").as_ref())
}

/// An engine whose guests run in this program.
pub(crate) fn engine_of(home: &Path, host: &Path) -> Wasm {
    Wasm::new(WasmConfig {
        host: Some(host.to_owned()),
        workspace: home.join("workspace"),
        cache_dir: home.join("cache"),
        output_chars: 10_000,
        memory_bytes: 64 * 1024 * 1024,
        secrets: Secrets::new([("CANARY", Secret::new(CANARY))]),
    })
}

pub(crate) fn never() -> (Sender<Infallible>, Stop) {
    let (sender, receiver) = async_channel::bounded(1);
    (sender, Stop::when_closed(receiver))
}

pub(crate) fn task(arguments: &str, timeout_ms: u64) -> Task {
    Task {
        tool: "probe".to_owned(),
        arguments: arguments.to_owned(),
        program: Program::Skill {
            name: "probe".to_owned(),
            folder: "skills/probe".to_owned(),
            entry: "main.wasm".to_owned(),
            image: None,
        },
        timeout_ms,
    }
}

pub(crate) fn used(action: Action) -> UseSandbox {
    UseSandbox {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(1)),
        call: 0,
        sandbox: SANDBOX,
        engine: Engine::Wasm,
        action,
        timeout_ms: LONG_MS,
    }
}

/// Waits for something that must come; only a broken program makes it wait long.
pub(crate) fn wait_for(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a guest of [`guest`] keeps its answer.
const ANSWER_AT: usize = 4_096;

/// A guest that runs `body` and then answers with `answer`. `more` is what else is in the module.
/// Its memory is free from 8192, and it takes the request at 65536.
pub(crate) fn guest_answering(more: &str, body: &str, answer: &str) -> String {
    let packed = (ANSWER_AT << 32) | answer.len();
    let quoted = answer.replace('\\', r"\\").replace('"', "\\\"");
    format!(
        r#"(module
            {more}
            (memory (export "memory") 2)
            (data (i32.const {ANSWER_AT}) "{quoted}")
            (func (export "alloc") (param i32) (result i32) i32.const 65536)
            (func (export "run") (param i32 i32) (result i64)
                {body}
                (i64.const {packed})))"#
    )
}

pub(crate) fn answer(output: &str, is_error: bool) -> String {
    let output = serde_json::Value::from(output);
    format!(r#"{{"call_id":"1.0","tool_name":"probe","output":{output},"is_error":{is_error}}}"#)
}

/// A guest that runs `body` and answers `done`.
pub(crate) fn guest(more: &str, body: &str) -> String {
    guest_answering(more, body, &answer("done", false))
}

/// A guest that answers with the number, from 0 to 999, that `body` leaves on the stack.
pub(crate) fn guest_counting(more: &str, body: &str) -> String {
    let answer = answer("000", false);
    let at = ANSWER_AT + answer.find("000").unwrap();
    let digit = |place: usize, by: u32| {
        let at = at + place;
        format!(
            "(i32.store8 (i32.const {at}) (i32.add (i32.const 48)
                (i32.rem_u (i32.div_u (global.get $n) (i32.const {by})) (i32.const 10))))"
        )
    };
    let digits = [digit(0, 100), digit(1, 10), digit(2, 1)].concat();
    guest_answering(
        &format!("{more} (global $n (mut i32) (i32.const 0))"),
        &format!("(global.set $n {body}) {digits}"),
        &answer,
    )
}

/// An import of WASI, under its own name.
pub(crate) fn wasi(name: &str, params: &str) -> String {
    format!(
        r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))"#
    )
}

/// Imports `fd_write`, and puts a text where [`PRINT`] prints it from.
pub(crate) fn printing(text: &str) -> String {
    let quoted = text.replace('\n', "\\n");
    let len = text.len();
    format!(
        r#"{}
        (data (i32.const 8192) "\00\30\00\00")
        (data (i32.const 8196) "\{:02x}\{:02x}\00\00")
        (data (i32.const 12288) "{quoted}")"#,
        wasi("fd_write", "i32 i32 i32 i32"),
        len & 0xff,
        len >> 8,
    )
}

/// Prints it on standard error.
pub(crate) const PRINT: &str =
    "(drop (call $fd_write (i32.const 2) (i32.const 8192) (i32.const 1) (i32.const 8200)))";
