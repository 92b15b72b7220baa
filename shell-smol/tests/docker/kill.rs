//! The program that uses the engine is killed: what it leaves is found again, and removed.
//!
//! Each life is this very test program, run again for one test that lives until it is killed.

use super::rig::{Rig, bare, command, ended, id, never, rig, used};
use bollard::query_parameters::InspectContainerOptions;
use futures_lite::future::block_on;
use openpista_core::effect::sandbox::{Action, SandboxFault, Task};
use openpista_core::effect::tool::Exit;
use openpista_core::effect::{Chunk, sandbox::Done};
use openpista_core::id::Seq;
use openpista_shell_smol::effect::sandbox::docker::{Docker, DockerConfig};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const OWNER: &str = "OPENPISTA_TEST_OWNER";
const WORKSPACE: &str = "OPENPISTA_TEST_WORKSPACE";
const LINE: &str = "OPENPISTA_TEST_LINE";

/// No test by itself: what a life does until it is killed.
#[test]
fn a_life() {
    let Ok(owner) = std::env::var(OWNER) else {
        return;
    };
    let docker = Docker::new(DockerConfig {
        owner,
        workspace: std::env::var_os(WORKSPACE).unwrap().into(),
        default_image: Some(super::rig::IMAGE.into()),
        ..DockerConfig::default()
    });
    let task = task(&std::env::var(LINE).unwrap());
    let (_held, stop) = never();
    let say = |chunk| {
        if let Chunk::Output(text) = chunk {
            println!("life: {}", text.trim());
        }
    };
    println!("life: begins");
    let made = block_on(docker.perform(&used(1, Action::Create(task.clone())), &stop, &say));
    assert!(matches!(made, Ok(Done::Created { .. })), "{made:?}");
    println!("life: created");
    block_on(docker.perform(&used(1, Action::Run(task)), &stop, &say)).unwrap();
    println!("life: ended");
    std::thread::sleep(Duration::from_secs(600));
}

fn task(line: &str) -> Task {
    command(&json!({ "command": line }))
}

/// A life, killed when it has said this.
fn kill_at(rig: &Rig, line: &str, word: &str, after: Duration) {
    let mut life = Life(
        Command::new(std::env::current_exe().unwrap())
            .args(["kill::a_life", "--exact", "--nocapture"])
            .env(OWNER, &rig.config.owner)
            .env(WORKSPACE, &rig.config.workspace)
            .env(LINE, line)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let said = BufReader::new(life.0.stdout.take().unwrap()).lines();
    let mark = format!("life: {word}");
    let found = said.map_while(Result::ok).any(|said| said.contains(&mark));
    assert!(found, "it never said {word}");
    std::thread::sleep(after);
    life.0.kill().unwrap();
    life.0.wait().unwrap();
}

struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something that must come; only a broken program makes it wait long.
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(60), "not {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_running(rig: &Rig) -> bool {
    let container = format!("openpista-{}-1-0", &rig.config.owner[..8]);
    bare(async |client| {
        let found = client.inspect_container(&container, None::<InspectContainerOptions>);
        found.await.unwrap().state.unwrap().running.unwrap()
    })
}

#[test]
fn nothing_is_left_after_ten_kills() {
    let Some(rig) = rig() else { return };
    for round in 0..10 {
        let (word, after) = match round {
            // Somewhere in the making, and in the start.
            0..=2 => ("begins", 20 * round),
            3..=4 => ("created", 20 * (round - 3)),
            5..=7 => ("begun", 0),
            _ => ("ended", 0),
        };
        let line = if word == "ended" {
            "echo begun"
        } else {
            "echo begun; sleep 1000"
        };
        kill_at(&rig, line, word, Duration::from_millis(after));
        // Whatever Docker was still at belongs to the next round, or to the last look.
        block_on(Docker::new(rig.config.clone()).sweep([].into(), Seq(u64::MAX))).unwrap();
    }
    wait_until("swept", || {
        block_on(rig.docker.sweep([].into(), Seq(u64::MAX))).unwrap();
        rig.left().is_empty()
    });
}

#[test]
fn what_somebody_owns_is_not_swept_and_what_others_own_is_not_touched() {
    let (Some(ours), Some(others)) = (rig(), rig()) else {
        return;
    };
    for seq in [1, 2] {
        ours.create(seq, &task("true"));
        others.create(seq, &task("true"));
    }
    assert_eq!(
        block_on(ours.docker.sweep([id(2)].into(), Seq(u64::MAX))),
        Ok(1)
    );
    assert_eq!((ours.left().len(), others.left().len()), (1, 2));
    assert!(ours.left()[0].ends_with("-2-0"));
}

#[test]
fn what_still_runs_is_waited_for_and_not_started_again() {
    let Some(rig) = rig() else { return };
    let line = "echo begun; sleep 3; echo done >&2; exit 5";
    kill_at(&rig, line, "begun", Duration::ZERO);
    assert!(is_running(&rig));
    let ran = ended(rig.act(1, Action::Resume(task(line)))).ran;
    assert_eq!(ran.exit, Exit::Code(5));
    assert_eq!(
        (&*ran.stdout.text, &*ran.stderr.text),
        ("begun\n", "done\n")
    );
    assert!(
        (2_500..60_000).contains(&ran.took_ms),
        "from its start: {ran:?}"
    );
    rig.destroy(1);
}

#[test]
fn what_has_ended_is_collected() {
    let Some(rig) = rig() else { return };
    let line = "echo begun; sleep 1; echo done; exit 6";
    kill_at(&rig, line, "begun", Duration::ZERO);
    wait_until("ended", || !is_running(&rig));
    let ran = ended(rig.act(1, Action::Resume(task(line)))).ran;
    assert_eq!(
        (ran.exit, &*ran.stdout.text),
        (Exit::Code(6), "begun\ndone\n")
    );
    rig.destroy(1);
}

#[test]
fn what_was_never_started_is_started_and_what_is_gone_is_lost() {
    let Some(rig) = rig() else { return };
    rig.create(1, &task("echo once"));
    let next = Docker::new(rig.config.clone());
    let (_held, stop) = never();
    let resume = used(1, Action::Resume(task("echo once")));
    let ran = ended(block_on(next.perform(&resume, &stop, &|_| {}))).ran;
    assert_eq!((ran.exit, &*ran.stdout.text), (Exit::Code(0), "once\n"));
    rig.destroy(1);
    let gone = rig.act(1, Action::Resume(task("echo once")));
    assert_eq!(gone, Err(SandboxFault::Lost));
}

/// The time that it may run began with the container, not with us.
#[test]
fn what_ran_too_long_meanwhile_is_killed() {
    let Some(rig) = rig() else { return };
    let line = "echo begun; sleep 1000";
    kill_at(&rig, line, "begun", Duration::from_millis(1_500));
    let task = command(&json!({ "command": line, "timeout_ms": 1_000 }));
    let ran = ended(rig.act(1, Action::Resume(task.clone()))).ran;
    assert_eq!((ran.exit, &*ran.stdout.text), (Exit::TimedOut, "begun\n"));
    assert!(!is_running(&rig));
    // Killed for that by a life that died before it could say so.
    let ran = ended(rig.act(1, Action::Resume(task))).ran;
    assert_eq!(ran.exit, Exit::TimedOut);
    rig.destroy(1);

    kill_at(&rig, line, "begun", Duration::ZERO);
    let task = super::rig::command(&json!({ "command": line }));
    let ran = ended(rig.act_until(1, Action::Resume(task), "begun")).ran;
    assert_eq!(ran.exit, Exit::Cancelled);
    rig.destroy(1);
}
