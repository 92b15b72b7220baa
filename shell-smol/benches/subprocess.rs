//! What confining a process costs: the same command plainly under the guard, and confined.
//! `cargo bench --bench subprocess`. Linux alone confines.

#[expect(dead_code, reason = "this bench makes nothing durable")]
mod support;

use futures_lite::future::block_on;
use openpista_core::effect::Outcome;
use openpista_core::effect::sandbox::{Action, Done, Engine, Program, Task, UseSandbox};
use openpista_core::effect::tool::{Exit, RunTool};
use openpista_core::id::{SandboxId, Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::sandbox::subprocess::{Subprocess, SubprocessConfig};
use openpista_shell_smol::effect::tool::{ToolConfig, Tools};
use openpista_shell_smol::secret::Secrets;
use std::time::Duration;
use support::{Samples, head, ms, row};

const GUARD: &str = env!("CARGO_BIN_EXE_openpista-guard");

fn main() {
    head("subprocess");
    let dir = support::scratch();
    let workspace = dir.path().join("workspace");
    std::fs::create_dir(&workspace).expect("our own");
    let engine = Subprocess::new(SubprocessConfig {
        workspace: workspace.clone(),
        scratch_root: dir.path().join("data/scratch"),
        guard: GUARD.into(),
        output_chars: 10_000,
        secrets: Secrets::default(),
        memory_bytes: 512 << 20,
        processes: 256,
        file_bytes: 1 << 30,
        unconfined: false,
    });
    let how = match engine.confinement() {
        Ok(how) => how.to_string(),
        Err(why) => {
            row("nothing is confined here", &why, "");
            return;
        }
    };
    let tools = Tools::new(ToolConfig {
        working_dir: workspace,
        timeout_ms: 30_000,
        output_chars: 10_000,
        secrets: Secrets::default(),
        guard: GUARD.into(),
    });
    // In turns, so that both meet the same load.
    let all: Vec<[Duration; 4]> = (0..201).map(|_| once(&tools, &engine)).skip(1).collect();
    let of = |index: usize| Samples::new(all.iter().map(|times| times[index]).collect());
    let [plain, create, run, destroy] = [0, 1, 2, 3].map(of);
    row("`true` under the guard", &plain.text(), "");
    row(&format!("the same confined by {how}"), &run.text(), "");
    let more = run.median().saturating_sub(plain.median());
    row("  more than plainly", &ms(more), "≤ 5 ms");
    row("  making its scratch directory", &create.text(), "");
    row("  removing it", &destroy.text(), "");
}

fn once(tools: &Tools, engine: &Subprocess) -> [Duration; 4] {
    let arguments = r#"{"command":"true"}"#.to_owned();
    let task = Task {
        tool: "container.run".to_owned(),
        arguments: arguments.clone(),
        program: Program::Command,
        timeout_ms: 30_000,
    };
    let call = RunTool {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(2)),
        call: 0,
        tool: "system.run".to_owned(),
        arguments,
        timeout_ms: 30_000,
    };
    let plain = Samples::one(|| {
        let (_open, stop) = never();
        let outcome = block_on(tools.run(&call, "s", stop, |_| {}));
        assert!(matches!(outcome, Outcome::Tool(Ok(ran)) if ran.exit == Exit::Code(0)));
    });
    let action = |action| {
        let used = used(action);
        let (_open, stop) = never();
        Samples::one(|| match block_on(engine.perform(&used, &stop, &|_| {})) {
            Ok(Done::Ended(ended)) => assert_eq!(ended.ran.exit, Exit::Code(0)),
            other => assert!(other.is_ok(), "{other:?}"),
        })
    };
    let create = action(Action::Create(task.clone()));
    [
        plain,
        create,
        action(Action::Run(task)),
        action(Action::Destroy),
    ]
}

fn never() -> (async_channel::Sender<std::convert::Infallible>, Stop) {
    let (sender, receiver) = async_channel::bounded(1);
    (sender, Stop::when_closed(receiver))
}

fn used(action: Action) -> UseSandbox {
    UseSandbox {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(2)),
        call: 0,
        sandbox: SandboxId {
            seq: Seq(3),
            slot: 0,
        },
        engine: Engine::Subprocess,
        action,
        timeout_ms: 30_000,
    }
}
