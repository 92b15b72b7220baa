//! What a task starts is bounded in number and ends with it, whatever it does and whoever else is
//! killed.

use crate::{OURS, SANDBOX, Yard, command, never, python, used};
use futures_lite::future::{block_on, zip};
use openpista_core::effect::sandbox::{Action, Done, Ended, SandboxFault};
use openpista_core::effect::tool::Exit;
use openpista_shell_smol::effect::sandbox::subprocess::{Subprocess, SubprocessConfig};
use openpista_shell_smol::secret::Secrets;
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What tasks of this yard run now, by the numbers that they have here: each has its workspace in
/// its environment, and our own processes have not.
fn tasks(yard: &Path) -> BTreeSet<i32> {
    let mark = format!("OPENPISTA_WORKSPACE={}", yard.display());
    let has_mark = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environ.split(|byte| *byte == 0);
        variables.any(|variable| variable.starts_with(mark.as_bytes()))
    };
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(has_mark).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("PPid:"))?;
    line["PPid:".len()..].trim().parse().ok()
}

/// What runs, and those of ours that keep it.
struct Family {
    tasks: BTreeSet<i32>,
    init: i32,
    guard: i32,
}

impl Family {
    fn of(yard: &Path) -> Option<Family> {
        let tasks = tasks(yard);
        let is_ours = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name == "openpista-guard\n"
        };
        let init = tasks.iter().find_map(|pid| parent(*pid).filter(is_ours))?;
        let guard = parent(init).filter(is_ours)?;
        Some(Family { tasks, init, guard })
    }

    fn all(&self) -> BTreeSet<i32> {
        let ours = [self.init, self.guard];
        self.tasks.iter().copied().chain(ours).collect()
    }
}

fn assert_gone(pids: &BTreeSet<i32>) {
    let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "still alive: {left:?}");
}

/// How this user's tasks must be kept on this machine, as far as other programs can tell.
fn expected() -> [&'static str; 2] {
    let apart = |args: &[&str]| {
        let tried = Command::new("unshare").args(args).arg("true").output();
        tried.is_ok_and(|output| output.status.success())
    };
    let counted = match geteuid().is_root() {
        true if access("/sys/fs/cgroup/pids/tasks", Access::WRITE_OK).is_ok() => {
            "the kernel counts them in a cgroup"
        }
        false if apart(&["--user"]) => "the kernel counts them in a user namespace",
        _ => "",
    };
    let ended = match apart(&["--user", "--pid", "--fork"]) {
        true => "ends them as one PID namespace",
        false => "",
    };
    [counted, ended]
}

#[test]
fn the_kernel_counts_and_ends_them_wherever_it_can() {
    let yard = Yard::new();
    let note = yard.arguments(json!({ "command": "true" })).note.unwrap();
    for words in expected() {
        assert!(note.contains(words), "{words}: {note}");
    }
}

/// Starts as many as there may be, and says how many there are then, itself included.
const PROCESSES: &str = "import os, time\n\
    made = 1\n\
    while made < 2000:\n\
    \x20   try:\n\
    \x20       if os.fork() == 0: time.sleep(1000)\n\
    \x20   except BlockingIOError: break\n\
    \x20   made += 1\n\
    print(made)";

const THREADS: &str = "import os, threading, time\n\
    threading.stack_size(65536)\n\
    made = 1\n\
    while made < 2000:\n\
    \x20   try: threading.Thread(target=time.sleep, args=(1000,)).start()\n\
    \x20   except RuntimeError: break\n\
    \x20   made += 1\n\
    os.write(1, b'%d\\n' % made)\n\
    os._exit(0)";

#[test]
fn there_are_no_more_processes_than_there_may_be() {
    let yard = Yard::new();
    if expected()[0].is_empty() {
        eprintln!("the kernel does not count here");
        return;
    }
    for (program, asked, most) in [
        (PROCESSES, json!(null), 64),
        (PROCESSES, json!(5), 5),
        (PROCESSES, json!(500), 64),
        (THREADS, json!(null), 64),
    ] {
        let mut arguments = python(program);
        arguments["pids"] = asked;
        // Else each thread takes much address space.
        arguments["env"] = json!({ "MALLOC_ARENA_MAX": "1" });
        let ended = yard.arguments(arguments);
        assert_eq!(
            (ended.ran.exit, ended.ran.stdout.text),
            (Exit::Code(0), format!("{most}\n")),
            "{:?} {:?}",
            ended.ran.stderr,
            ended.note
        );
    }
    assert_gone(&tasks(yard.dir.path()));
}

#[test]
fn less_memory_can_be_asked_for_and_not_more() {
    let yard = Yard::new();
    for (asked, wanted, exit) in [(100, 200, 1), (400, 200, 0), (4_000, 600, 1)] {
        let mut arguments = python(&format!("x = bytearray({wanted} << 20)"));
        arguments["memory_mb"] = json!(asked);
        let ended = yard.arguments(arguments);
        assert_eq!(ended.ran.exit, Exit::Code(exit), "{asked}: {ended:?}");
    }
}

/// Not a test of its own: what another one runs in a process of its own.
const VICTIM: &str = "OPENPISTA_TEST_VICTIM";

fn is_victim() -> bool {
    std::env::var_os(VICTIM).is_some()
}

/// Runs the test of this name as a victim, as the last arguments of a command.
fn victim(test: &str, within: &[&str]) -> Command {
    let (program, args) = within.split_first().expect("a program");
    let mut command = Command::new(program);
    command
        .args(args)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(VICTIM, "1")
        .stdout(Stdio::piped());
    command
}

/// A second wall, around what throws bombs at the first.
struct Wall(Option<PathBuf>);

impl Wall {
    const MOST: &str = "3000";

    /// None where there is no way to build one.
    fn build() -> Option<Wall> {
        if !geteuid().is_root() {
            return Some(Wall(None));
        }
        let pids = Path::new("/sys/fs/cgroup/pids");
        let top = match pids.is_dir() {
            true => pids,
            false => Path::new("/sys/fs/cgroup"),
        };
        let dir = top.join(format!("wall-of-openpista-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let wall = Wall(Some(dir.clone()));
        fs::write(dir.join("pids.max"), Wall::MOST).ok()?;
        Some(wall)
    }

    fn around(&self, test: &str) -> Command {
        let enter = match &self.0 {
            Some(dir) => format!("echo 0 > {}/cgroup.procs", dir.display()),
            None => format!("ulimit -u {}", Wall::MOST),
        };
        let enter = format!("{enter} && exec timeout -s KILL 60 \"$@\"");
        victim(test, &["bash", "-c", &enter, "bash"])
    }
}

impl Drop for Wall {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            let procs = || fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            wait_for("empty wall", || {
                for pid in procs().lines().filter_map(|pid| pid.parse().ok()) {
                    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
                }
                fs::remove_dir(dir).ok()
            });
        }
    }
}

#[test]
fn a_fork_bomb_is_bounded_and_ended() {
    if !is_victim() {
        let Some(wall) = Wall::build() else {
            eprintln!("no bomb is thrown where nothing else would hold it");
            return;
        };
        let output = wall
            .around("family::a_fork_bomb_is_bounded_and_ended")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let yard = Yard::new();
    let counted = !expected()[0].is_empty();
    for bomb in [
        "while :; do sleep 1000 & done",
        "while :; do setsid sleep 1000 & done",
        "bomb() { bomb | bomb & }; bomb; sleep 1000",
        "exec python3 -c 'import os\nwhile True:\n try:\n  if os.fork() == 0: os.setsid()\n except OSError: pass'",
    ] {
        let (_open, stop) = never();
        let task = command(json!({ "command": bomb, "timeout_ms": 1_500 }));
        yard.does(Action::Create(task.clone())).unwrap();
        let used = used(Action::Run(task));
        let over = std::sync::atomic::AtomicBool::new(false);
        let (done, most) = std::thread::scope(|scope| {
            let counting = scope.spawn(|| {
                let mut most = 0;
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    most = most.max(tasks(yard.dir.path()).len());
                    std::thread::sleep(Duration::from_millis(20));
                }
                most
            });
            let done = block_on(yard.engine.perform(&used, &stop, &|_| {}));
            // At once: it is not waited for.
            let left = tasks(yard.dir.path());
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_gone(&left);
            (done, counting.join().unwrap())
        });
        let Ok(Done::Ended(ended)) = done else {
            panic!("{bomb}: {done:?}");
        };
        match counted {
            true => assert!((2..=64).contains(&most), "{bomb}: {most}, {ended:?}"),
            false => {
                let note = ended.note.unwrap();
                let why = "ended because it used more than 64 processes; ";
                assert!(note.starts_with(why), "{bomb}: {note}");
            }
        }
    }
}

/// Leaves the group, does not hear of a polite end, and has many children.
const FAMILY: &str = r#"echo before
    setsid sh -c 'trap "" TERM HUP; (setsid sleep 1000 & sleep 1000 &); echo > $TMPDIR/escaped
        while :; do sleep 1000; done' &
    while ! [ -f $TMPDIR/escaped ]; do sleep 0.01; done
    echo > $TMPDIR/ready; wait"#;

/// Runs the family, does something to it when it is complete, and returns what came of it.
fn run_and(yard: &Yard, then: impl FnOnce(&Family) + Send + 'static) -> Ended {
    let task = command(json!({ "command": FAMILY }));
    yard.does(Action::Create(task.clone())).unwrap();
    let (_open, stop) = never();
    let used = used(Action::Run(task));
    let dir = yard.dir.path().to_owned();
    let doing = blocking::unblock(move || {
        let family = complete(&dir);
        then(&family);
        family.all()
    });
    let (done, all) = block_on(zip(yard.engine.perform(&used, &stop, &|_| {}), doing));
    // Who kills ours has only the kernel left to end the others, and nobody who waits for it.
    wait_for("end", || {
        (!all.iter().any(|pid| is_alive(*pid))).then_some(())
    });
    match done {
        Ok(Done::Ended(ended)) => ended,
        other => panic!("{other:?}"),
    }
}

/// Waits until all have been started: two shells, and three that sleep.
fn complete(yard: &Path) -> Family {
    let ready = yard.join(format!("data/scratch/{SANDBOX}/files/ready"));
    wait_for("ready", || ready.exists().then_some(()));
    wait_for("family", || {
        Family::of(yard).filter(|family| family.tasks.len() >= 5)
    })
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn whoever_of_ours_is_killed_leaves_nothing_running() {
    let yard = Yard::new();
    for which in [
        |family: &Family| family.init,
        |family: &Family| family.guard,
    ] {
        let ended = run_and(&yard, move |family| kill(which(family)));
        assert_eq!(ended.ran.exit, Exit::Signal(9), "{ended:?}");
    }
}

#[test]
fn a_timeout_and_a_stop_leave_nothing_running() {
    let yard = Yard::new();
    let task = command(json!({ "command": FAMILY }));
    yard.does(Action::Create(task.clone())).unwrap();
    let (open, stop) = never();
    let run = used(Action::Run(task));
    let dir = yard.dir.path().to_owned();
    let stopping = blocking::unblock(move || {
        let family = complete(&dir);
        drop(open);
        family.all()
    });
    let (done, all) = block_on(zip(yard.engine.perform(&run, &stop, &|_| {}), stopping));
    assert_gone(&all);
    let Ok(Done::Ended(ended)) = done else {
        panic!("{done:?}");
    };
    assert_eq!(
        (ended.ran.exit, &*ended.ran.stdout.text),
        (Exit::Cancelled, "before\n")
    );
    assert_eq!(yard.does(Action::Destroy), Ok(Done::Destroyed));
    assert!(!yard.place().exists());

    let ended = yard.arguments(json!({ "command": FAMILY, "timeout_ms": 1_000 }));
    assert_eq!(ended.ran.exit, Exit::TimedOut);
    assert_gone(&tasks(yard.dir.path()));
    // Before anything ran, nothing runs.
    let (open, stop) = never();
    drop(open);
    let create = Action::Create(command(json!({ "command": "true" })));
    assert_eq!(yard.perform(create, &stop), Err(SandboxFault::Cancelled));
}

#[test]
fn what_ends_leaves_no_orphan_behind() {
    let yard = Yard::new();
    let ran = yard.run("(setsid sleep 1000 &); setsid sleep 1000 & sleep 1000 & echo done");
    assert_eq!((ran.exit, &*ran.stdout.text), (Exit::Code(0), "done\n"));
    assert_gone(&tasks(yard.dir.path()));
    // The first process cannot be ended from inside, nor the guard named.
    let ran = yard.run("kill -9 $PPID; kill -9 -1; sleep 0.2; echo alive");
    assert_eq!(
        (ran.exit, &*ran.stdout.text),
        (Exit::Code(0), "alive\n"),
        "{ran:?}"
    );
}

/// The directory that a victim has said that it works in.
fn said(victim: &mut Child) -> PathBuf {
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut paths = lines.filter_map(|line| {
        let line = line.unwrap();
        Some(PathBuf::from(&line[line.find('/')?..]))
    });
    paths.next().expect("a directory")
}

#[test]
fn the_death_of_the_daemon_leaves_nothing_running() {
    if is_victim() {
        let yard = Yard::new();
        println!("{}", yard.dir.path().display());
        yard.run(FAMILY);
        return;
    }
    let test = "family::the_death_of_the_daemon_leaves_nothing_running";
    // The guard with it, or not.
    for both in [false, true] {
        let mut victim = victim(test, &["env"]).spawn().unwrap();
        let dir = said(&mut victim);
        let family = complete(&dir);
        if both {
            // It cannot help any more.
            let daemon = Pid::from_child(&victim);
            kill_process(daemon, Signal::STOP).unwrap();
            kill(family.guard);
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        wait_for("end", || {
            (!family.all().iter().any(|pid| is_alive(*pid))).then_some(())
        });
        // What a new life removes.
        let engine = Subprocess::new(SubprocessConfig {
            workspace: dir.join("workspace"),
            scratch_root: dir.join("data/scratch"),
            guard: OURS.into(),
            output_chars: 100,
            secrets: Secrets::default(),
            memory_bytes: 1 << 30,
            processes: 64,
            file_bytes: 1 << 30,
            unconfined: false,
        });
        let (_open, stop) = never();
        let done = block_on(engine.perform(&used(Action::Destroy), &stop, &|_| {}));
        assert_eq!(done, Ok(Done::Destroyed));
        assert!(!dir.join("data/scratch/12.3").exists());
        fs::remove_dir_all(dir).unwrap();
    }
}

/// A place where namespaces are refused, as in many containers.
#[test]
fn without_namespaces_the_guard_does_it_and_the_result_says_so() {
    if !is_victim() {
        let none = "echo 0 > /proc/sys/user/max_user_namespaces && \
            echo 0 > /proc/sys/user/max_pid_namespaces && exec timeout -s KILL 60 \"$@\"";
        let within = [
            "unshare",
            "--user",
            "--map-root-user",
            "bash",
            "-c",
            none,
            "bash",
        ];
        let test = "family::without_namespaces_the_guard_does_it_and_the_result_says_so";
        if expected()[1].is_empty() {
            eprintln!("there are none here at all: every test is about this");
            return;
        }
        let output = victim(test, &within).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let yard = Yard::new();
    let bomb = "while :; do setsid sleep 1000 & done";
    let ended = yard.arguments(json!({ "command": bomb, "timeout_ms": 3_000 }));
    assert_gone(&tasks(yard.dir.path()));
    let note = ended.note.unwrap();
    assert!(note.contains("they are ended one by one"), "{note}");
    let counted = note.contains("the kernel counts them in a cgroup");
    let exceeded = note.starts_with("ended because it used more than 64 processes; ");
    assert_ne!(counted, exceeded, "{note}");
    assert!(
        exceeded == note.contains("counted ten times a second"),
        "{note}"
    );
    let ended = run_and(&yard, |family| kill(family.init));
    assert_eq!(ended.ran.exit, Exit::Signal(9), "{ended:?}");
}
