//! A container's life: made, run once, removed, however it ends.

use super::rig::{IMAGE, Rig, bare, command, ended, id, import, never, rig, rig_with, used};
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectContainerOptions;
use futures_lite::future::{block_on, poll_once};
use openpista_core::effect::sandbox::{Action, Done, Program, SandboxFault, Task};
use openpista_core::effect::tool::Exit;
use openpista_core::effect::{Chunk, sandbox::Ended};
use openpista_shell_smol::effect::sandbox::docker::{WORKER, spec};
use openpista_shell_smol::secret::{Secret, Secrets};
use serde_json::json;
use std::cell::RefCell;
use std::fs;

const CANARY: &str = "sk-canary-0123456789";

fn container(rig: &Rig, seq: u64) -> String {
    format!("openpista-{}-{seq}-0", &rig.config.owner[..8])
}

/// What Docker says of a container.
fn inspect(rig: &Rig, seq: u64) -> ContainerInspectResponse {
    let name = container(rig, seq);
    let found = bare(async |client| {
        let options = None::<InspectContainerOptions>;
        client.inspect_container(&name, options).await
    });
    found.expect("it is there")
}

#[test]
fn streams_and_exit_code_are_kept_apart() {
    let Some(rig) = rig() else { return };
    let Ended { ran, note } = rig.sh(1, "echo out; echo err >&2; exit 3");
    assert_eq!(ran.exit, Exit::Code(3));
    assert_eq!((&*ran.stdout.text, &*ran.stderr.text), ("out\n", "err\n"));
    assert_eq!(note, None);
    assert!(rig.left().is_empty());
}

#[test]
fn what_is_asked_for_is_what_runs() {
    let Some(rig) = rig() else { return };
    fs::create_dir(rig.config.workspace.join("sub")).unwrap();
    fs::write(rig.config.workspace.join("sub/file"), "read").unwrap();
    let task = command(&json!({
        "command": ["sh", "-c", "pwd; cat file; echo \" $A $HOME $1\"", "sh", "x y"],
        "image": IMAGE, "env": { "A": "b c" }, "working_dir": "sub"
    }));
    let ran = rig.whole(1, &task).ran;
    assert_eq!(
        ran.stdout.text, "/workspace/sub\nread b c /tmp x y\n",
        "{ran:?}"
    );
}

#[test]
fn output_is_cut_redacted_and_shown_while_it_runs() {
    let Some(rig) = rig_with(|config| {
        config.output_chars = 1_000;
        config.secrets = Secrets::new([("CANARY", Secret::new(CANARY))]);
    }) else {
        return;
    };
    let line = format!("printf sk-can; sleep 1; echo {}; seq 1000000", &CANARY[6..]);
    let task = command(&json!({ "command": line }));
    rig.create(1, &task);
    let shown = RefCell::new(String::new());
    let (_held, stop) = never();
    let saw = |chunk| {
        if let Chunk::Output(text) = chunk {
            shown.borrow_mut().push_str(&text);
        }
    };
    let run = used(1, Action::Run(task));
    let ran = ended(block_on(rig.docker.perform(&run, &stop, &saw))).ran;
    rig.destroy(1);
    assert!(
        ran.stdout.text.starts_with("[redacted: CANARY]\n1\n2\n"),
        "{ran:?}"
    );
    assert!(ran.stdout.text.ends_with("999999\n1000000\n"), "{ran:?}");
    assert!(ran.stdout.cut_chars > 6_000_000, "{ran:?}");
    // Of what comes too fast the last is shown.
    let shown = shown.into_inner();
    assert!(!shown.is_empty() && !shown.contains("canary"), "{shown}");
}

#[test]
fn what_takes_too_long_is_killed_and_what_it_printed_is_kept() {
    let Some(rig) = rig_with(|config| config.at_once = 10) else {
        return;
    };
    // Long enough to begin on a busy machine; so all of them at once.
    let task = command(&json!({ "command": "echo begun; sleep 1000", "timeout_ms": 8_000 }));
    std::thread::scope(|scope| {
        for seq in 1..=10 {
            let (rig, task) = (&rig, &task);
            scope.spawn(move || {
                let ran = rig.whole(seq, task).ran;
                assert_eq!(ran.exit, Exit::TimedOut);
                assert_eq!(ran.stdout.text, "begun\n");
            });
        }
    });
    assert!(rig.left().is_empty());
}

#[test]
fn what_is_stopped_is_killed_and_what_it_printed_is_kept() {
    let Some(rig) = rig() else { return };
    for seq in 1..=10 {
        // It cannot be asked to end: it must be killed.
        let task = command(&json!({ "command": "trap '' TERM INT; echo begun; sleep 1000" }));
        rig.create(seq, &task);
        let ran = ended(rig.act_until(seq, Action::Run(task), "begun")).ran;
        assert_eq!(ran.exit, Exit::Cancelled);
        assert_eq!(ran.stdout.text, "begun\n");
        let state = inspect(&rig, seq).state.unwrap();
        assert_eq!(state.running, Some(false));
        rig.destroy(seq);
    }
    assert!(rig.left().is_empty());
}

#[test]
fn nothing_is_left_after_fifty_tasks() {
    let Some(rig) = rig() else { return };
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let rig = &rig;
            scope.spawn(move || {
                for seq in 0..25 {
                    let ran = rig.sh(worker * 100 + seq, &format!("exit {}", seq % 3)).ran;
                    assert_eq!(ran.exit, Exit::Code((seq % 3) as i32));
                }
            });
        }
    });
    assert!(rig.left().is_empty());
}

#[test]
fn a_run_that_nobody_waits_for_is_killed() {
    let Some(rig) = rig() else { return };
    let task = command(&json!({ "command": "echo begun; sleep 1000" }));
    rig.create(1, &task);
    let (_held, stop) = never();
    let (sender, begun) = async_channel::bounded(1);
    let saw = |_| {
        let _ = sender.try_send(());
    };
    let run = used(1, Action::Run(task));
    let given_up = async {
        begun.recv().await.unwrap();
        Ok(Done::Destroyed)
    };
    let run = rig.docker.perform(&run, &stop, &saw);
    assert_eq!(
        block_on(futures_lite::future::or(run, given_up)),
        Ok(Done::Destroyed)
    );
    let code = bare(async |client| {
        let mut waiting = client.wait_container(
            &container(&rig, 1),
            None::<bollard::query_parameters::WaitContainerOptions>,
        );
        futures_lite::StreamExt::next(&mut waiting).await
    });
    let killed = matches!(
        code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError {
            code: 137,
            ..
        }))
    );
    assert!(killed, "{code:?}");
    rig.destroy(1);
}

#[test]
fn a_second_try_takes_the_place_of_the_first() {
    let Some(rig) = rig() else { return };
    rig.create(1, &command(&json!({ "command": "echo first" })));
    let second = command(&json!({ "command": "echo second" }));
    rig.create(1, &second);
    assert_eq!(rig.left().len(), 1);
    let ran = ended(rig.act(1, Action::Run(second))).ran;
    assert_eq!(ran.stdout.text, "second\n");
    rig.destroy(1);
    rig.destroy(1);
    assert!(rig.left().is_empty());
}

#[test]
fn further_ones_wait_for_their_turn() {
    let Some(rig) = rig_with(|config| config.at_once = 1) else {
        return;
    };
    let task = command(&json!({ "command": "true" }));
    rig.create(1, &task);
    let (_held, stop) = never();
    let (sender, waits) = async_channel::bounded(1);
    let saw = |chunk| {
        assert!(
            matches!(&chunk, Chunk::Output(text) if text.starts_with("waiting")),
            "{chunk:?}"
        );
        let _ = sender.try_send(());
    };
    let create = used(2, Action::Create(task.clone()));
    let mut second = std::pin::pin!(rig.docker.perform(&create, &stop, &saw));
    block_on(async {
        let waits = async {
            waits.recv().await.unwrap();
            Ok(Done::Destroyed)
        };
        let first = futures_lite::future::or(waits, second.as_mut()).await;
        assert_eq!(first, Ok(Done::Destroyed));
        assert!(poll_once(second.as_mut()).await.is_none());
    });
    assert_eq!(rig.left().len(), 1);
    // One that waits can be stopped, and takes nobody's place.
    let stopped = rig.act_until(3, Action::Create(task), "waiting");
    assert_eq!(stopped, Err(SandboxFault::Cancelled));
    rig.destroy(1);
    assert_eq!(block_on(second), Ok(Done::Created { token: None }));
    rig.destroy(2);
    assert!(rig.left().is_empty());
}

#[test]
fn a_missing_image_is_named_with_what_to_do() {
    let Some(rig) = rig() else { return };
    let missing = command(&json!({ "command": "true", "image": "localhost:1/no/such:image" }));
    let Err(SandboxFault::Failed { message }) = rig.act(1, Action::Create(missing.clone())) else {
        panic!("there is no such image");
    };
    assert!(
        message.contains("`docker pull localhost:1/no/such:image`"),
        "{message}"
    );
    assert!(message.contains("`sandbox.pull = true`"), "{message}");

    let Some(rig) = rig_with(|config| config.pull = true) else {
        return;
    };
    let Err(SandboxFault::Failed { message }) = rig.act(1, Action::Create(missing)) else {
        panic!("there is no such registry");
    };
    assert!(
        message.starts_with("the image localhost:1/no/such:image could not be fetched"),
        "{message}"
    );
    assert!(rig.left().is_empty());
}

#[test]
fn what_cannot_be_started_has_not_run() {
    let Some(rig) = rig() else { return };
    let wrong = command(&json!({ "command": "" }));
    let wrong = rig.act(1, Action::Create(wrong));
    assert!(
        matches!(wrong, Err(SandboxFault::Arguments { .. })),
        "{wrong:?}"
    );
    assert!(rig.left().is_empty());

    let absent = command(&json!({ "command": ["/no/such/program"] }));
    rig.create(2, &absent);
    match rig.act(2, Action::Run(absent)) {
        Err(SandboxFault::Failed { message }) => assert!(message.contains("/no/such/program")),
        // Some versions find out only in there.
        other => assert_eq!(ended(other).ran.exit, Exit::Code(127)),
    }
    rig.destroy(2);

    let gone = rig.act(3, Action::Run(command(&json!({ "command": "true" }))));
    assert!(matches!(gone, Err(SandboxFault::Failed { .. })), "{gone:?}");
}

#[test]
fn a_skill_reads_its_arguments_twice() {
    let Some(rig) = rig() else { return };
    let folder = rig.config.workspace.join("skills/one");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("run.sh"),
        "pwd; cat; echo \" $OPENPISTA_ARGUMENTS\"; exit 4\n",
    )
    .unwrap();
    fs::write(folder.join("main.py"), "").unwrap();
    let skill = |entry: &str| Task {
        tool: "one".into(),
        arguments: r#"{"text":"it's \"one\" %s\n"}"#.into(),
        program: Program::Skill {
            name: "one".into(),
            folder: "skills/one".into(),
            entry: entry.into(),
            image: Some(IMAGE.into()),
        },
        timeout_ms: 60_000,
    };
    let task = skill("run.sh");
    let ran = rig.whole(1, &task).ran;
    let expected = format!("/workspace/skills/one\n{0} {0}\n", task.arguments);
    assert_eq!((ran.exit, ran.stdout.text), (Exit::Code(4), expected));
    let ran = rig.whole(2, &skill("main.py")).ran;
    assert_eq!(ran.exit, Exit::Code(127));
    assert_eq!(
        ran.stderr.text,
        "the image has neither python3 nor python\n"
    );
}

fn worker(line: &str) -> Task {
    Task {
        program: Program::Worker,
        ..command(&json!({ "command": line }))
    }
}

#[test]
fn a_worker_needs_a_configuration() {
    let Some(rig) = rig() else { return };
    let made = rig.act(1, Action::Create(worker("true")));
    assert!(
        matches!(made, Err(SandboxFault::Unavailable { .. })),
        "{made:?}"
    );
    assert!(rig.left().is_empty());
    assert_eq!(WORKER, "/run/openpista-worker");
}

#[test]
fn memory_processors_and_processes_are_bounded() {
    let Some(rig) = rig() else { return };
    let hungry = command(&json!({ "command": ["tail", "/dev/zero"], "memory_mb": 32 }));
    let Ended { ran, note } = rig.whole(1, &hungry);
    assert_eq!(ran.exit, Exit::Code(137));
    assert!(
        note.is_some_and(|note| note.contains("memory was used up")),
        "{ran:?}"
    );

    let many = "for i in $(seq 40); do sleep 3 & done; wait";
    let many = command(&json!({ "command": many, "pids": 8 }));
    let ran = rig.whole(2, &many).ran;
    assert!(ran.stderr.text.contains("can't fork"), "{ran:?}");

    // Both versions of control groups.
    let busy = "end=$(($(date +%s) + 2)); while [ $(date +%s) -lt $end ]; do :; done; \
                cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu.max 2>/dev/null; \
                cat cpu/cpu.stat cpu.stat 2>/dev/null | grep nr_throttled";
    let ran = rig
        .whole(3, &command(&json!({ "command": busy, "cpus": 0.25 })))
        .ran;
    let lines: Vec<_> = ran.stdout.text.lines().collect();
    assert!(lines[0].starts_with("25000"), "{ran:?}");
    assert_ne!(lines[1], "nr_throttled 0", "{ran:?}");

    let full = "dd if=/dev/zero of=/tmp/x bs=1M count=100";
    let ran = rig.sh(4, full).ran;
    assert!(ran.stderr.text.contains("No space left"), "{ran:?}");
}

/// What an image declares as a volume is bounded, and gone afterwards.
#[test]
fn an_image_gets_no_volumes() {
    let Some(rig) = rig() else { return };
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("bin")).unwrap();
    let which = std::process::Command::new("busybox")
        .args(["which", "busybox"])
        .output()
        .unwrap();
    let path = String::from_utf8(which.stdout).unwrap();
    fs::copy(path.trim(), root.path().join("bin/busybox")).unwrap();
    let changes = vec![
        "VOLUME /data".to_owned(),
        "ENTRYPOINT [\"/bin/false\"]".to_owned(),
    ];
    import(root.path(), "openpista-test:volume", changes).unwrap();
    let task = command(&json!({
        "command": ["/bin/busybox", "grep", " /data ", "/proc/mounts"],
        "image": "openpista-test:volume"
    }));
    let ran = rig.whole(1, &task).ran;
    assert!(
        ran.stdout
            .text
            .starts_with("tmpfs /data tmpfs rw,nosuid,nodev"),
        "{ran:?}"
    );
    assert!(ran.stdout.text.contains("size=65536k"), "{ran:?}");
}

#[test]
fn the_tool_is_described() {
    let Some(rig) = rig() else { return };
    let spec = spec(&rig.config, None);
    let parameters: serde_json::Value = serde_json::from_str(&spec.parameters).unwrap();
    assert_eq!(parameters["required"], json!(["command"]));
    assert_eq!(spec.name, "container.run");
    assert_eq!(id(1).to_string(), "1.0");
}
