//! Confined processes: real ones, under the real guard, trying to get out.
#![cfg(target_os = "linux")]

use futures_lite::future::{block_on, zip};
use openpista_core::effect::sandbox::{
    Action, Done, Ended, Engine, Program, SandboxFault, Task, UseSandbox,
};
use openpista_core::effect::tool::{Exit, Ran};
use openpista_core::id::{SandboxId, Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::sandbox::subprocess::{Subprocess, SubprocessConfig};
use openpista_shell_smol::secret::{Secret, Secrets};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::io::Read;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OURS: &str = env!("CARGO_BIN_EXE_openpistacrab");
const CANARY: &str = "sk-canary-0123456789";

/// A workspace, a data directory, an engine, and its only sandbox.
struct Yard {
    dir: tempfile::TempDir,
    engine: Subprocess,
}

const SANDBOX: SandboxId = SandboxId {
    seq: Seq(12),
    slot: 3,
};

impl Yard {
    fn new() -> Yard {
        Yard::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SubprocessConfig)) -> Yard {
        let dir = tempfile::tempdir().unwrap();
        for inner in ["workspace", "data", "home"] {
            fs::create_dir(dir.path().join(inner)).unwrap();
        }
        fs::write(dir.path().join("workspace/note"), "noted\n").unwrap();
        fs::write(dir.path().join("data/memory.db"), "private\n").unwrap();
        fs::write(dir.path().join("home/key"), "private\n").unwrap();
        let mut config = SubprocessConfig {
            workspace: dir.path().join("workspace"),
            scratch_root: dir.path().join("data/scratch"),
            guard: OURS.into(),
            output_chars: 10_000,
            secrets: Secrets::new([("CANARY", Secret::new(CANARY))]),
            memory_bytes: 512 << 20,
            processes: 64,
            file_bytes: 16 << 20,
            unconfined: false,
        };
        change(&mut config);
        let engine = Subprocess::new(config);
        Yard { dir, engine }
    }

    fn workspace(&self) -> PathBuf {
        self.dir.path().join("workspace")
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("data/scratch/12.3")
    }

    fn scratch(&self) -> PathBuf {
        self.place().join("files")
    }

    fn perform(&self, action: Action, stop: &Stop) -> Result<Done, SandboxFault> {
        block_on(self.engine.perform(&used(action), stop, &|_| {}))
    }

    fn does(&self, action: Action) -> Result<Done, SandboxFault> {
        let (_open, stop) = never();
        self.perform(action, &stop)
    }

    /// Makes a sandbox and runs a task in it.
    fn task(&self, task: Task) -> Result<Ended, SandboxFault> {
        let made = self.does(Action::Create(task.clone()))?;
        assert_eq!(made, Done::Created { token: None });
        match self.does(Action::Run(task))? {
            Done::Ended(ended) => Ok(ended),
            other => panic!("{other:?}"),
        }
    }

    fn arguments(&self, arguments: Value) -> Ended {
        self.task(command(arguments)).unwrap()
    }

    fn run(&self, line: &str) -> Ran {
        self.arguments(json!({ "command": line })).ran
    }

    /// Runs a line for bash; what it reaches for must be refused, not missing.
    fn refused(&self, line: &str) {
        let ran = self.run(line);
        assert!(
            matches!(ran.exit, Exit::Code(code) if code != 0),
            "{line}: {ran:?}"
        );
        assert_eq!(ran.stdout.text, "", "{line}: {ran:?}");
        let said = ran.stderr.text.to_lowercase();
        let refusals = [
            "permission denied",
            "operation not permitted",
            "cross-device",
        ];
        assert!(
            refusals.iter().any(|word| said.contains(word)),
            "{line}: {ran:?}"
        );
    }

    fn skill(&self, entry: &str, program: &str) {
        let folder = self.workspace().join("skills/greet");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(entry), program).unwrap();
    }
}

fn used(action: Action) -> UseSandbox {
    UseSandbox {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(2)),
        call: 0,
        sandbox: SANDBOX,
        engine: Engine::Subprocess,
        action,
        timeout_ms: 60_000,
    }
}

fn command(arguments: Value) -> Task {
    Task {
        tool: "container.run".to_owned(),
        arguments: arguments.to_string(),
        program: Program::Command,
        timeout_ms: 60_000,
    }
}

fn skill(entry: &str, arguments: String) -> Task {
    Task {
        tool: "greet".to_owned(),
        arguments,
        program: Program::Skill {
            name: "greet".to_owned(),
            folder: "skills/greet".to_owned(),
            entry: entry.to_owned(),
            image: None,
        },
        timeout_ms: 60_000,
    }
}

fn never() -> (async_channel::Sender<std::convert::Infallible>, Stop) {
    let (sender, receiver) = async_channel::bounded(1);
    (sender, Stop::when_closed(receiver))
}

/// A process of the same user, ended whatever becomes of the test.
struct Other(std::process::Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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

fn pid_in(file: &Path) -> i32 {
    wait_for("pid file", || {
        let text = fs::read_to_string(file).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
}

fn assert_gone(pids: &[i32]) {
    let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "still alive: {left:?}");
}

/// A python that the sandbox may read, for what a shell cannot try.
fn python(program: &str) -> Value {
    json!({ "command": ["/usr/bin/python3", "-c", program] })
}

#[test]
fn the_kernel_confines_here_and_the_result_says_how() {
    let yard = Yard::new();
    let how = yard
        .engine
        .confinement()
        .expect("Landlock and seccomp")
        .to_string();
    let ended = yard.arguments(json!({
        "command": "echo out; echo err >&2; exit 3",
        "image": "debian:12", "cpus": 2, "env": null,
    }));
    assert_eq!(ended.ran.exit, Exit::Code(3));
    assert_eq!(
        (&*ended.ran.stdout.text, &*ended.ran.stderr.text),
        ("out\n", "err\n")
    );
    let note = ended.note.unwrap();
    assert!(
        note.starts_with(&format!("confined by {how}: workspace read-only")),
        "{note}"
    );
    assert!(note.ends_with("without effect: cpus, image"), "{note}");
}

#[test]
fn a_program_finds_what_it_needs() {
    let yard = Yard::new();
    let ran = yard.run(
        r#"
        set -e
        cat note $OPENPISTA_WORKSPACE/note
        cd "$TMPDIR"; [ "$HOME" = "$PWD" ]
        mkdir -p a/b; echo 1 > a/b/file; touch a/b/file; chmod 600 a/b/file
        mv a/b/file a/moved; cat a/moved; rm -r a
        cp "$OPENPISTA_WORKSPACE/note" copy; sed -i s/noted/copied/ copy; cat copy
        cat <(echo substituted) <<< here
        printf '#!/bin/sh\necho by a script\n' > script; bash script
        seq 3 | sort -r | head -n 1
        sleep 30 & kill $!; wait $! || echo killed
        timeout 0.1 sleep 30 || echo timed out
        head -c 4 /dev/urandom | wc -c; echo > /dev/null
    "#,
    );
    let expected = "noted\nnoted\n1\ncopied\nsubstituted\nby a script\n3\nkilled\ntimed out\n4\n";
    assert_eq!(ran.stdout.text, expected, "{ran:?}");
    assert_eq!(ran.stderr.text, "");
    let ended = yard.arguments(python(
        "import os, json, subprocess, tempfile, shutil, socket, threading\n\
         with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n\
         shutil.copy('note', os.environ['TMPDIR'] + '/copy')\n\
         threading.Thread(target=lambda: print('thread')).start()\n\
         a, b = socket.socketpair(type=socket.SOCK_SEQPACKET); a.send(b'pair'); print(b.recv(4).decode())\n\
         print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout, end='')",
    ));
    assert_eq!(ended.ran.stdout.text, "thread\npair\nchild\n", "{ended:?}");
    assert_eq!(ended.ran.stderr.text, "");
}

#[test]
fn nothing_can_be_written_but_the_scratch_directory() {
    let yard = Yard::new();
    let outside = yard.dir.path().display().to_string();
    for line in [
        "echo x > note".to_owned(),
        "echo x > new".to_owned(),
        "rm note".to_owned(),
        "mv note moved".to_owned(),
        "mkdir dir".to_owned(),
        "ln -s /etc link".to_owned(),
        "truncate -s 0 note".to_owned(),
        "python3 -c 'import os; os.open(\"note\", os.O_RDONLY | os.O_TRUNC)'".to_owned(),
        "ln note $TMPDIR/note".to_owned(),
        "mv note $TMPDIR/note".to_owned(),
        "echo x > $TMPDIR/../hold".to_owned(),
        "rm $TMPDIR/../input".to_owned(),
        "echo x > /tmp/openpista-was-here".to_owned(),
        "echo x > /usr/openpista-was-here".to_owned(),
        "mkdir /dev/shm/openpista-was-here".to_owned(),
        "chown 1:1 note".to_owned(),
        format!("echo x > {outside}/home/new"),
        format!("rm {outside}/home/key"),
    ] {
        yard.refused(&line);
    }
    assert_eq!(
        fs::read_to_string(yard.workspace().join("note")).unwrap(),
        "noted\n"
    );
    // These say that they are done, and are not.
    let note = yard.workspace().join("note");
    let before = fs::metadata(&note).unwrap();
    let key = yard.dir.path().join("home/key");
    let key_before = fs::metadata(&key).unwrap().permissions();
    yard.run(&format!(
        "chmod 777 note {0}; touch note {0}; chmod 700 /",
        key.display()
    ));
    let after = fs::metadata(&note).unwrap();
    assert_eq!(after.permissions(), before.permissions());
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    assert_eq!(fs::metadata(&key).unwrap().permissions(), key_before);
}

#[test]
fn nothing_private_can_be_read() {
    let yard = Yard::new();
    let outside = yard.dir.path().display().to_string();
    let workspace = yard.workspace();
    symlink(yard.dir.path().join("home"), workspace.join("way-out")).unwrap();
    symlink("../home/key", workspace.join("key")).unwrap();
    for line in [
        format!("cat {outside}/home/key"),
        format!("cat {outside}/data/memory.db"),
        format!("ls {outside}/data"),
        "cat way-out/key".to_owned(),
        "cat key".to_owned(),
        "cat ../home/key".to_owned(),
        "cat $TMPDIR/../hold".to_owned(),
        "cat $TMPDIR/../../../memory.db".to_owned(),
        format!("ln -s {outside}/home/key $TMPDIR/key; cat $TMPDIR/key"),
        format!("ln {outside}/home/key $TMPDIR/hard"),
        "ls /".to_owned(),
        "ls /root".to_owned(),
        "ls /tmp".to_owned(),
        "ls /home".to_owned(),
        "cat /etc/shadow".to_owned(),
        "cat /etc/hostname".to_owned(),
        "ls /dev".to_owned(),
        "ls /sys".to_owned(),
    ] {
        yard.refused(&line);
    }
}

#[test]
fn other_processes_cannot_be_read_or_touched() {
    let yard = Yard::new();
    let mut other = Other(Command::new("sleep").arg("1000").spawn().unwrap());
    let (us, pid) = (std::process::id(), other.0.id());
    for line in [
        format!("cat /proc/{us}/environ"),
        format!("cat /proc/{us}/cmdline"),
        format!("cat /proc/{us}/mem"),
        format!("ls /proc/{us}/fd"),
        "cat /proc/$PPID/environ".to_owned(),
        "cat /proc/self/environ".to_owned(),
        "ls /proc".to_owned(),
        format!("kill -9 {pid}"),
        "kill -9 $PPID".to_owned(),
        format!("prlimit --pid {pid} --nofile=1:1"),
        format!("renice 19 {pid}"),
        format!("taskset -p 1 {pid} > /dev/null"),
        "unshare -r true".to_owned(),
        "mount -t tmpfs none $TMPDIR".to_owned(),
        "chroot $TMPDIR".to_owned(),
    ] {
        yard.refused(&line);
    }
    assert_eq!(other.0.try_wait().unwrap(), None);
}

#[test]
fn there_is_no_network_of_any_kind() {
    let yard = Yard::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let port = tcp.local_addr().unwrap().port();
    let path = yard.scratch();
    let name = format!("openpista-test-{}", std::process::id());
    let named = SocketAddr::from_abstract_name(&name).unwrap();
    let hidden = UnixListener::bind_addr(&named).unwrap();
    hidden.set_nonblocking(true).unwrap();
    let socket = yard.workspace().join("socket");
    let open = UnixListener::bind(&socket).unwrap();
    open.set_nonblocking(true).unwrap();
    yard.refused(&format!("exec 3<> /dev/tcp/127.0.0.1/{port}"));
    for line in [
        format!("s = socket.create_connection(('127.0.0.1', {port}))"),
        "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)".to_owned(),
        "s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)".to_owned(),
        format!(
            "s = socket.socket(socket.AF_UNIX); s.connect('{}')",
            socket.display()
        ),
        format!("s = socket.socket(socket.AF_UNIX); s.connect('\\0{name}')"),
        format!(
            "s = socket.socket(socket.AF_UNIX); s.bind('{}/own')",
            path.display()
        ),
        "a, b = socket.socketpair(type=socket.SOCK_DGRAM)".to_owned(),
        format!(
            "a, b = socket.socketpair(); a.connect('{}')",
            socket.display()
        ),
    ] {
        let ended = yard.arguments(python(&format!("import socket\n{line}\nprint('open')")));
        assert_eq!(ended.ran.exit, Exit::Code(1), "{line}: {ended:?}");
        assert!(
            ended.ran.stderr.text.contains("PermissionError"),
            "{line}: {ended:?}"
        );
    }
    assert!(tcp.accept().is_err() && open.accept().is_err() && hidden.accept().is_err());
}

/// System calls that no program here makes, made by number.
#[test]
fn doors_that_others_left_by_are_shut() {
    let yard = Yard::new();
    let program = "import ctypes, errno\n\
        libc = ctypes.CDLL(None, use_errno=True)\n\
        def call(*args):\n\
        \x20   ctypes.set_errno(0)\n\
        \x20   libc.syscall(*args)\n\
        \x20   return errno.errorcode.get(ctypes.get_errno())\n\
        print(call(425, 8, 0), call(435, 0, 0), call(442, 0), call(463, 0), call(1 << 30 | 41, 1, 1, 0))";
    // io_uring_setup, clone3, mount_setattr, setxattrat, and socket by its x32 number.
    let ended = yard.arguments(python(program));
    assert_eq!(
        ended.ran.stdout.text, "EPERM ENOSYS EPERM ENOSYS ENOSYS\n",
        "{ended:?}"
    );
}

#[test]
fn root_is_nobody_inside() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let yard = Yard::new();
    let file = yard.workspace().join("foreign");
    fs::write(&file, "foreign\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    std::os::unix::fs::chown(&file, Some(1), Some(1)).unwrap();
    yard.refused("cat foreign");
}

#[test]
fn the_environment_is_made_anew() {
    let yard = Yard::new();
    let ended = yard.arguments(json!({
        "command": "env | sort", "env": { "MODE": "fast", "LD_PRELOAD": "/no/such.so" },
    }));
    let names: Vec<&str> = ended
        .ran
        .stdout
        .text
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    let expected = [
        "HOME",
        "LANG",
        "LD_PRELOAD",
        "MODE",
        "OPENPISTA_WORKSPACE",
        "PATH",
        "PWD",
        "SHLVL",
        "TMPDIR",
        "_",
    ];
    assert_eq!(names, expected);
    // No open file of ours is inherited.
    let ended = yard.arguments(python(
        "import os\n\
         for fd in range(3, 1000):\n\
         \x20   try: os.fstat(fd); print(fd)\n\
         \x20   except OSError: pass",
    ));
    assert_eq!(
        (ended.ran.exit, &*ended.ran.stdout.text),
        (Exit::Code(0), "")
    );
}

#[test]
fn what_is_printed_has_no_secret_and_is_cut() {
    let yard = Yard::new();
    let ran = yard.run(&format!(
        "echo {CANARY}; head -c 20000 /dev/zero | tr '\\0' x"
    ));
    assert!(
        ran.stdout.text.starts_with("[redacted: CANARY]\n"),
        "{ran:?}"
    );
    assert!(ran.stdout.cut_chars > 9_000, "{ran:?}");
}

#[test]
fn a_skill_reads_its_arguments_from_standard_input_and_the_environment() {
    let yard = Yard::new();
    yard.skill(
        "run.sh",
        "pwd; echo $OPENPISTA_SKILL; echo $OPENPISTA_ARGUMENTS; cat; exit 4",
    );
    let ended = yard
        .task(skill("run.sh", r#"{"name":"Ada"}"#.to_owned()))
        .unwrap();
    let folder = yard
        .workspace()
        .canonicalize()
        .unwrap()
        .join("skills/greet");
    let expected = format!(
        "{}\ngreet\n{{\"name\":\"Ada\"}}\n{{\"name\":\"Ada\"}}",
        folder.display()
    );
    assert_eq!(
        (ended.ran.exit, ended.ran.stdout.text),
        (Exit::Code(4), expected)
    );

    yard.skill(
        "main.py",
        "import json, os, sys\n\
         text = json.load(sys.stdin)['text']\n\
         print(len(text), text.strip('x') == '', 'OPENPISTA_ARGUMENTS' in os.environ)",
    );
    for (length, also_in_env) in [(90_000, "True"), (100_000, "False"), (3_000_000, "False")] {
        let arguments = json!({ "text": "x".repeat(length) }).to_string();
        let ended = yard.task(skill("main.py", arguments)).unwrap();
        assert_eq!(
            ended.ran.stdout.text,
            format!("{length} True {also_in_env}\n"),
            "{ended:?}"
        );
    }
}

#[test]
fn a_skill_that_leads_out_of_the_workspace_is_refused() {
    let yard = Yard::new();
    let elsewhere = yard.dir.path().join("home/skill");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("run.sh"), "echo out").unwrap();
    fs::create_dir_all(yard.workspace().join("skills")).unwrap();
    let link = yard.workspace().join("skills/greet");
    let failed = |what: &str| {
        let fault = yard.task(skill("run.sh", "{}".to_owned())).unwrap_err();
        let SandboxFault::Failed { message } = fault else {
            panic!("{what}: {fault:?}");
        };
        assert!(message.contains(what), "{message}");
    };
    symlink(&elsewhere, &link).unwrap();
    failed("leads out of the workspace");
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    failed("has no");
    symlink(elsewhere.join("run.sh"), link.join("run.sh")).unwrap();
    failed("leads out of the workspace");
    let mut task = skill("run.sh", "{}".to_owned());
    if let Program::Skill { folder, .. } = &mut task.program {
        *folder = "../home/skill".to_owned();
    }
    let fault = yard.task(task).unwrap_err();
    assert!(
        fault.to_string().contains("leads out of the workspace"),
        "{fault}"
    );
    assert!(!yard.place().exists());
}

#[test]
fn wrong_arguments_are_named_and_leave_nothing() {
    let yard = Yard::new();
    let table = [
        (json!({}), "`command` is missing"),
        (json!({ "command": [] }), "`command` is empty"),
        (json!({ "command": ["ls", 1] }), "each word of `command`"),
        (json!({ "command": 1 }), "`command` must be"),
        (json!({ "command": "ls", "env": { "A": 1 } }), "`env`: `A`"),
        (
            json!({ "command": "ls", "env": { "A=B": "1" } }),
            "`env`: `A=B`",
        ),
        (
            json!({ "command": "ls", "timeout_ms": 0 }),
            "`timeout_ms` must be",
        ),
        (
            json!({ "command": "ls", "working_dir": "/" }),
            "`working_dir`: / is not in",
        ),
        (
            json!({ "command": "ls", "working_dir": ".." }),
            "`working_dir`: .. is not in",
        ),
        (
            json!({ "command": "ls", "working_dir": "none" }),
            "`working_dir`: there is no",
        ),
        (
            json!({ "command": "ls", "working_dir": "note" }),
            "`working_dir`: note is not a",
        ),
        (json!([]), "the arguments must be a JSON object"),
    ];
    for (arguments, expected) in table {
        match yard.does(Action::Create(command(arguments))) {
            Err(SandboxFault::Arguments { message }) => {
                assert!(message.starts_with(expected), "{expected}: {message}");
            }
            other => panic!("{expected}: {other:?}"),
        }
        assert!(!yard.place().exists());
    }
    fs::create_dir(yard.workspace().join("sub")).unwrap();
    for dir in ["sub", "/workspace/sub"] {
        let ended = yard.arguments(json!({ "command": ["pwd"], "working_dir": dir }));
        assert!(
            ended.ran.stdout.text.ends_with("/workspace/sub\n"),
            "{ended:?}"
        );
    }
    // A program that is not there was not started.
    let fault = yard
        .task(command(json!({ "command": ["no-such-program"] })))
        .unwrap_err();
    assert!(
        matches!(&fault, SandboxFault::Failed { message } if message.contains("no-such-program")),
        "{fault:?}"
    );
}

#[test]
fn a_workspace_around_the_data_directory_is_refused() {
    let yard = Yard::with(|config| {
        config.workspace = config.workspace.parent().unwrap().to_owned();
    });
    let fault = yard
        .does(Action::Create(command(json!({ "command": "ls" }))))
        .unwrap_err();
    assert!(
        matches!(&fault, SandboxFault::Unavailable { message } if message.contains("choose another workspace")),
        "{fault:?}"
    );
}

#[test]
fn a_sandbox_runs_once_and_is_gone_when_destroyed() {
    let yard = Yard::new();
    let task = command(json!({ "command": "echo ran >> $TMPDIR/ran; cat $TMPDIR/ran" }));
    let run = || yard.does(Action::Run(task.clone()));
    assert_eq!(run(), Err(SandboxFault::Lost));
    assert_eq!(yard.does(Action::Destroy), Ok(Done::Destroyed));
    let first = yard.task(task.clone()).unwrap();
    assert_eq!(first.ran.stdout.text, "ran\n");
    assert_eq!(run(), Err(SandboxFault::Lost));
    assert_eq!(
        yard.does(Action::Resume(task.clone())),
        Err(SandboxFault::Lost)
    );
    // Made again, it is a new one.
    assert_eq!(yard.task(task.clone()).unwrap().ran.stdout.text, "ran\n");
    assert_eq!(yard.does(Action::Destroy), Ok(Done::Destroyed));
    assert!(!yard.place().exists());
}

#[test]
fn a_scratch_directory_can_be_removed_whatever_is_in_it() {
    let yard = Yard::new();
    fs::create_dir(yard.dir.path().join("home/kept")).unwrap();
    let home = yard.dir.path().join("home");
    let ran = yard.run(&format!(
        r#"cd $TMPDIR; mkdir -p a/b; echo x > a/b/c; mkfifo pipe; mkdir 'removed-0'
        ln -s {0} link; ln -s {0}/kept a/b/link
        (umask 777; mkdir -p locked/in a/b/shut; echo x > a/b/secret)
        python3 -c 'import os
for n in range(1500): os.mkdir("deep-directory"); os.chdir("deep-directory")'
        echo deep"#,
        home.display()
    ));
    assert!(ran.stdout.text.ends_with("deep\n"), "{ran:?}");
    assert_eq!(yard.does(Action::Destroy), Ok(Done::Destroyed));
    assert!(!yard.place().exists());
    assert!(home.join("kept").is_dir() && home.join("key").is_file());
}

#[test]
fn memory_is_bounded_of_one_process_and_of_all() {
    let yard = Yard::with(|config| config.memory_bytes = 256 << 20);
    let ended = yard.arguments(python("x = bytearray(1 << 30); print('had it')"));
    assert_eq!(ended.ran.exit, Exit::Code(1));
    assert!(ended.ran.stderr.text.contains("MemoryError"), "{ended:?}");
    let ended = yard.arguments(python(
        "import os, time\n\
         for n in range(8):\n\
         \x20   if os.fork() == 0: break\n\
         x = b'x' * (100 << 20)\n\
         time.sleep(1000)",
    ));
    assert_eq!(ended.ran.exit, Exit::Signal(9));
    let note = ended.note.unwrap();
    assert!(
        note.starts_with("ended because it used more than 256 MiB of memory; "),
        "{note}"
    );
}

#[test]
fn a_file_is_bounded_and_so_are_open_files() {
    let yard = Yard::with(|config| config.file_bytes = 1 << 20);
    let ran = yard.run("head -c 2000000 /dev/zero > $TMPDIR/big; echo $?; stat -c %s $TMPDIR/big; ulimit -n; ulimit -c");
    assert_eq!(ran.stdout.text, "153\n1048576\n1024\n0\n", "{ran:?}");
}

#[test]
fn a_fork_bomb_is_bounded_and_ended() {
    let yard = Yard::new();
    for bomb in [
        "while :; do sleep 1000 & done",
        // These leave the process group.
        "while :; do setsid sleep 1000 & done",
    ] {
        let ended = yard.arguments(json!({ "command": bomb }));
        let note = ended.note.unwrap();
        assert!(
            note.starts_with("ended because it used more than 64 processes; "),
            "{note}"
        );
    }
}

#[test]
fn a_timeout_and_a_stop_leave_nothing_running() {
    let yard = Yard::new();
    let family = r#"echo before
        setsid sh -c 'trap "" TERM HUP; echo $$ > $TMPDIR/escaped; while :; do sleep 1000; done' &
        echo $$ > $TMPDIR/main; wait"#;
    let pids = || ["escaped", "main"].map(|name| pid_in(&yard.scratch().join(name)));

    let ended = yard.arguments(json!({ "command": family, "timeout_ms": 1_000 }));
    assert_eq!(
        (ended.ran.exit, &*ended.ran.stdout.text),
        (Exit::TimedOut, "before\n")
    );
    assert_gone(&pids());

    let task = command(json!({ "command": family }));
    yard.does(Action::Create(task.clone())).unwrap();
    let (open, stop) = never();
    let used = used(Action::Run(task));
    let stopping = blocking::unblock({
        let file = yard.scratch().join("escaped");
        move || {
            pid_in(&file);
            drop(open);
        }
    });
    let (done, ()) = block_on(zip(yard.engine.perform(&used, &stop, &|_| {}), stopping));
    match done {
        Ok(Done::Ended(ended)) => {
            assert_eq!(
                (ended.ran.exit, &*ended.ran.stdout.text),
                (Exit::Cancelled, "before\n")
            );
        }
        other => panic!("{other:?}"),
    }
    assert_gone(&pids());
    assert_eq!(yard.does(Action::Destroy), Ok(Done::Destroyed));
    assert!(!yard.place().exists());
    // Before anything ran, nothing runs.
    let (open, stop) = never();
    drop(open);
    let create = Action::Create(command(json!({ "command": "true" })));
    assert_eq!(yard.perform(create, &stop), Err(SandboxFault::Cancelled));
}

/// Not a test of its own: the daemon that the next one kills.
const VICTIM: &str = "OPENPISTA_TEST_VICTIM";

#[test]
fn the_death_of_the_daemon_leaves_nothing_running() {
    let line = "echo $PPID > $TMPDIR/guard; echo $$ > $TMPDIR/main; sleep 1000";
    if std::env::var_os(VICTIM).is_some() {
        let yard = Yard::new();
        println!("{}", yard.dir.path().display());
        yard.run(line);
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "the_death_of_the_daemon_leaves_nothing_running",
        ])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = victim.stdout.take().unwrap();
    let mut said = String::new();
    let dir = wait_for("directory", || {
        let mut buffer = [0; 256];
        let count = stdout.read(&mut buffer).ok()?;
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let (before, _) = said.rsplit_once('\n')?;
        before
            .lines()
            .find_map(|line| Some(PathBuf::from(&line[line.find('/')?..])))
    });
    let files = dir.join("data/scratch/12.3/files");
    let pids = ["guard", "main"].map(|name| pid_in(&files.join(name)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait_for("end", || {
        pids.iter().all(|pid| !is_alive(*pid)).then_some(())
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
