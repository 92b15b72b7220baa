//! `system.run` with real commands under the real guard.

use futures_lite::future::{block_on, zip};
use openpista_core::effect::tool::{Exit, Ran, RunTool, ToolFault};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::id::{Seq, SessionId, TurnId};
use openpista_shell_smol::effect::Stop;
use openpista_shell_smol::effect::tool::{ToolConfig, Tools, guard};
use openpista_shell_smol::secret::{Secret, Secrets};
use rustix::process::{Pid, test_kill_process};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const OURS: &str = env!("CARGO_BIN_EXE_openpistacrab");
const CANARY: &str = "sk-canary-0123456789";

fn tools(dir: &Path) -> Tools {
    Tools::new(ToolConfig {
        working_dir: dir.to_owned(),
        timeout_ms: 30_000,
        output_chars: 10_000,
        secrets: Secrets::new([("CANARY", Secret::new(CANARY))]),
        guard: OURS.into(),
    })
}

fn call(arguments: serde_json::Value) -> RunTool {
    RunTool {
        session: SessionId(Seq(1)),
        turn: TurnId(Seq(1)),
        call: 0,
        tool: "system.run".to_owned(),
        arguments: arguments.to_string(),
        timeout_ms: 30_000,
    }
}

fn never() -> (async_channel::Sender<std::convert::Infallible>, Stop) {
    let (sender, receiver) = async_channel::bounded(1);
    (sender, Stop::when_closed(receiver))
}

fn run_in(dir: &Path, arguments: serde_json::Value) -> Result<Ran, ToolFault> {
    let (_open, stop) = never();
    match block_on(tools(dir).run(&call(arguments), "s", stop, |_| {})) {
        Outcome::Tool(result) => result,
        other => panic!("{other:?}"),
    }
}

fn run(command: &str) -> Ran {
    run_in(
        &std::env::temp_dir(),
        serde_json::json!({ "command": command }),
    )
    .unwrap()
}

fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

/// Waits for something that must come; only a broken program makes it wait long.
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

fn wait_for_pid(file: &Path) -> i32 {
    wait_for("pid file", || {
        let text = std::fs::read_to_string(file).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
}

/// A command that starts a child, and a grandchild that leaves the process group and the session
/// and ignores what can be ignored, and writes down all three and its guard.
const FAMILY: &str = r#"
    setsid sh -c 'trap "" TERM HUP; echo $$ > escaped; while :; do sleep 1000; done' &
    sleep 1000 &
    echo $! > child
    echo $PPID > guard
    echo $$ > main
    wait
"#;

fn family(dir: &Path) -> [i32; 3] {
    ["escaped", "child", "main"].map(|name| wait_for_pid(&dir.join(name)))
}

fn assert_gone(pids: &[i32]) {
    let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "still alive: {left:?}");
}

#[test]
fn streams_and_exit_code_are_kept_apart() {
    let ran = run("echo out; echo err >&2; exit 3");
    assert_eq!(ran.exit, Exit::Code(3));
    assert_eq!(
        (ran.stdout.text.as_str(), ran.stderr.text.as_str()),
        ("out\n", "err\n")
    );
}

#[test]
fn a_missing_command_is_the_shells_127() {
    let ran = run("no-such-command-here");
    assert_eq!(ran.exit, Exit::Code(127));
    assert!(ran.stderr.text.contains("no-such-command-here"), "{ran:?}");
}

#[test]
fn a_signal_is_reported_as_one() {
    assert_eq!(run("kill -SEGV $$").exit, Exit::Signal(11));
    assert_eq!(run("kill -KILL $$").exit, Exit::Signal(9));
}

#[test]
fn a_broken_pipe_ends_a_command_as_in_any_shell() {
    let ran = run("yes | head -n 1; echo ${PIPESTATUS[0]}");
    assert_eq!(ran.stdout.text, "y\n141\n");
    assert_eq!(ran.stderr.text, "");
}

#[test]
fn standard_input_is_empty_and_there_is_no_terminal() {
    let ran = run("cat; (: < /dev/tty) 2> /dev/null || echo none");
    assert_eq!(ran.stdout.text, "none\n");
}

#[test]
fn bytes_that_are_not_utf8_are_marked_and_others_kept() {
    let ran = run(r"printf 'a\377\303'; sleep 0.05; printf '\251\0\033[1m'");
    assert_eq!(ran.stdout.text, "a\u{fffd}é\0\u{1b}[1m");
}

#[test]
fn a_command_may_close_its_streams() {
    let ran = run("exec >&- 2>&-; sleep 0.05; exit 4");
    assert_eq!(ran.exit, Exit::Code(4));
}

#[test]
fn a_process_substitution_may_finish_its_words() {
    let ran = run("echo late > >(sleep 0.02; cat)");
    assert_eq!(ran.stdout.text, "late\n");
}

#[test]
fn what_is_left_in_the_background_ends_with_the_command() {
    let ran = run("sleep 1000 & echo $!; setsid sleep 1000 > /dev/null 2>&1 & echo $!");
    assert_eq!(ran.exit, Exit::Code(0));
    let pids: Vec<i32> = ran
        .stdout
        .text
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 2);
    assert_gone(&pids);
}

#[test]
fn endless_output_is_cut_and_timed_out() {
    let arguments = serde_json::json!({ "command": "yes 0123456789", "timeout_ms": 300 });
    let ran = run_in(&std::env::temp_dir(), arguments).unwrap();
    assert_eq!(ran.exit, Exit::TimedOut);
    assert!(ran.stdout.cut_chars > 0);
    let (head, rest) = ran.stdout.text.split_once("\n[… ").unwrap();
    let (_, tail) = rest.split_once(" left out …]\n").unwrap();
    assert_eq!((head.chars().count(), tail.chars().count()), (5_000, 5_000));
}

#[test]
fn a_timeout_ends_everything_and_keeps_what_was_printed() {
    let dir = tempfile::tempdir().unwrap();
    // The tool's own timeout is far away: the call lowers it.
    let command = format!("echo before; {FAMILY}");
    let arguments = serde_json::json!({ "command": command, "timeout_ms": 1_000 });
    let ran = run_in(dir.path(), arguments).unwrap();
    assert_eq!(ran.exit, Exit::TimedOut);
    assert_eq!(ran.stdout.text, "before\n");
    assert_gone(&family(dir.path()));
}

#[test]
fn a_call_cannot_raise_its_timeout() {
    let (_open, stop) = never();
    let mut call = call(serde_json::json!({ "command": "sleep 1000", "timeout_ms": 60_000 }));
    call.timeout_ms = 50;
    let outcome = block_on(tools(&std::env::temp_dir()).run(&call, "s", stop, |_| {}));
    assert!(
        matches!(
            outcome,
            Outcome::Tool(Ok(Ran {
                exit: Exit::TimedOut,
                ..
            }))
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_stop_ends_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (open, stop) = never();
    let tools = tools(dir.path());
    let call = call(serde_json::json!({ "command": FAMILY }));
    let (outcome, pids) = block_on(zip(tools.run(&call, "s", stop, |_| {}), async {
        let pids = blocking::unblock({
            let dir = dir.path().to_owned();
            move || family(&dir)
        });
        let pids = pids.await;
        drop(open);
        pids
    }));
    assert!(
        matches!(
            outcome,
            Outcome::Tool(Ok(Ran {
                exit: Exit::Cancelled,
                ..
            }))
        ),
        "{outcome:?}"
    );
    assert_gone(&pids);
}

#[test]
fn what_was_stopped_before_it_began_does_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (open, stop) = never();
    drop(open);
    let call = call(serde_json::json!({ "command": "touch ran" }));
    let outcome = block_on(tools(dir.path()).run(&call, "s", stop, |_| {}));
    assert_eq!(outcome, Outcome::Tool(Err(ToolFault::Cancelled)));
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn dropping_the_future_ends_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (_open, stop) = never();
    let tools = tools(dir.path());
    let call = call(serde_json::json!({ "command": FAMILY }));
    let pids = block_on(futures_lite::future::or(
        async {
            tools.run(&call, "s", stop, |_| {}).await;
            panic!("the command ended by itself")
        },
        blocking::unblock({
            let dir = dir.path().to_owned();
            move || family(&dir)
        }),
    ));
    for pid in pids {
        wait_for("end", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_killed_guard_is_noticed_and_its_group_killed() {
    let ran = run("sleep 1000 & echo $! $$; kill -KILL $PPID; wait");
    assert_eq!(ran.exit, Exit::Signal(9));
    for pid in ran.stdout.text.split_whitespace() {
        let pid = pid.parse().unwrap();
        wait_for("end", || (!is_alive(pid)).then_some(()));
    }
}

#[test]
fn a_guard_ends_everything_when_its_socket_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut guard = Command::new(OURS)
        .args([guard::SUBCOMMAND, "bash", "-c", FAMILY])
        .current_dir(dir.path())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut reports = BufReader::new(ours);
    let mut line = String::new();
    reports.read_line(&mut line).unwrap();
    let pids = family(dir.path());
    assert_eq!(line, format!("started {}\n", pids[2]));
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    drop(reports);
    guard.wait().unwrap();
    assert_gone(&pids);
}

#[test]
fn a_guard_is_not_for_people() {
    let output = Command::new(OURS)
        .args([guard::SUBCOMMAND, "touch", "x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--help"),
        "{output:?}"
    );
}

/// Starts this test program again as a program that uses the tool once, with our environment
/// changed, in a directory that gets the outcome as `outcome.json`.
fn start_program(dir: &Path, command: &str, variables: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_program_that_uses_the_tool", "--nocapture"])
        .env("TEST_DIR", dir)
        .env("TEST_COMMAND", command)
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn the_program_that_uses_the_tool() {
    // Only for `start_program`; in the test run itself there is nothing to do.
    let Some(dir) = std::env::var_os("TEST_DIR") else {
        return;
    };
    let command = std::env::var("TEST_COMMAND").unwrap();
    let ran = run_in(dir.as_ref(), serde_json::json!({ "command": command })).unwrap();
    let outcome = serde_json::to_vec(&ran).unwrap();
    std::fs::write(Path::new(&dir).join("outcome.json"), outcome).unwrap();
}

#[test]
fn the_command_dies_with_us() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = start_program(dir.path(), FAMILY, &[]);
    let pids = family(dir.path());
    let guard = wait_for_pid(&dir.path().join("guard"));
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    for pid in [guard].iter().chain(&pids) {
        wait_for("end", || (!is_alive(*pid)).then_some(()));
    }
    assert!(!dir.path().join("outcome.json").exists());
}

#[test]
fn the_environment_has_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    // The command counts for itself: redaction of its output would hide what it saw.
    let script = "env | grep -c -e canary -e other-key; echo $INNOCENT";
    std::fs::write(dir.path().join("script"), script).unwrap();
    let variables = [
        ("OPENAI_API_KEY", "other-key"),
        ("CANARY", "other-key"),
        ("BY_VALUE", "user:sk-canary-0123456789@host"),
        ("INNOCENT", "1"),
    ];
    let status = start_program(dir.path(), "bash ./script", &variables)
        .wait()
        .unwrap();
    assert!(status.success());
    let outcome = std::fs::read(dir.path().join("outcome.json")).unwrap();
    let ran: Ran = serde_json::from_slice(&outcome).unwrap();
    assert_eq!(ran.stdout.text, "0\n1\n", "{ran:?}");
}

#[test]
fn law_22_what_a_command_prints_has_no_secret() {
    let command = format!(
        "echo 'key {CANARY}.' | tee /dev/stderr; printf sk-canary-; sleep 0.05; \
         echo 0123456789; printf %s {CANARY} | base64"
    );
    let chunks = Mutex::new(String::new());
    let (_open, stop) = never();
    let call = call(serde_json::json!({ "command": command }));
    let outcome =
        block_on(
            tools(&std::env::temp_dir()).run(&call, "s", stop, |chunk| match chunk {
                Chunk::Output(text) | Chunk::Text(text) => chunks.lock().unwrap().push_str(&text),
            }),
        );
    let Outcome::Tool(Ok(ran)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        ran.stdout.text,
        "key [redacted: CANARY].\n[redacted: CANARY]\n[redacted: CANARY]k=\n"
    );
    assert_eq!(ran.stderr.text, "key [redacted: CANARY].\n");
    let shown = chunks.into_inner().unwrap();
    assert!(
        !shown.contains("canary") && shown.contains("key [redacted: CANARY]"),
        "{shown}"
    );
}

#[test]
fn progress_is_shown_while_a_command_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (_open, stop) = never();
    // The command ends only once its output was shown.
    let call = call(serde_json::json!({
        "command": "echo one; until test -e shown; do sleep 0.01; done; seq 100000"
    }));
    let largest = Mutex::new(0);
    let outcome = block_on(tools(dir.path()).run(&call, "s", stop, |chunk| {
        let Chunk::Output(text) = chunk else {
            panic!("{chunk:?}");
        };
        if text == "one\n" {
            std::fs::write(dir.path().join("shown"), "").unwrap();
        }
        let mut largest = largest.lock().unwrap();
        *largest = text.chars().count().max(*largest);
    }));
    assert!(
        matches!(
            outcome,
            Outcome::Tool(Ok(Ran {
                exit: Exit::Code(0),
                ..
            }))
        ),
        "{outcome:?}"
    );
    assert!(largest.into_inner().unwrap() <= 2_000);
}

#[test]
fn the_working_directory_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let pwd = |working_dir: &str| {
        let arguments = serde_json::json!({ "command": "pwd", "working_dir": working_dir });
        run_in(dir.path(), arguments).map(|ran| ran.stdout.text)
    };
    let real = dir.path().canonicalize().unwrap();
    assert_eq!(pwd("sub"), Ok(format!("{}\n", real.join("sub").display())));
    assert_eq!(pwd("/"), Ok("/\n".to_owned()));
    let home = std::env::home_dir().unwrap().canonicalize().unwrap();
    assert_eq!(pwd("~"), Ok(format!("{}\n", home.display())));
    let Err(ToolFault::Arguments { message }) = pwd("missing") else {
        panic!("it ran");
    };
    assert!(
        message.contains("`working_dir`") && message.contains("missing"),
        "{message}"
    );
}

#[test]
fn what_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = || serde_json::json!({ "command": "true" });
    let Err(ToolFault::Start { message }) = run_in(&dir.path().join("gone"), arguments()) else {
        panic!("it ran");
    };
    assert!(
        message.contains("working directory") && message.contains("gone"),
        "{message}"
    );

    let long = format!(": {}", "x".repeat(3_000_000));
    let Err(ToolFault::Arguments { message }) =
        run_in(dir.path(), serde_json::json!({ "command": long }))
    else {
        panic!("it ran");
    };
    assert!(message.contains("3000002 bytes"), "{message}");

    for guard in ["/no/such/program", "true", "/"] {
        let (_open, stop) = never();
        let tools = Tools::new(ToolConfig {
            working_dir: dir.path().to_owned(),
            timeout_ms: 30_000,
            output_chars: 100,
            secrets: Secrets::default(),
            guard: guard.into(),
        });
        let outcome = block_on(tools.run(&call(arguments()), "s", stop, |_| {}));
        let Outcome::Tool(Err(ToolFault::Start { message })) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(message.contains("restart openpistacrab"), "{message}");
    }
}

#[test]
fn the_spec_offers_what_the_tool_takes() {
    let specs = tools(Path::new("/srv")).specs();
    assert_eq!(specs.len(), 1);
    let schema: serde_json::Value = serde_json::from_str(&specs[0].parameters).unwrap();
    let offered: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(offered, ["command", "timeout_ms", "working_dir"]);
    assert_eq!(schema["required"], serde_json::json!(["command"]));
    assert!(!specs[0].read_only);
}

/// Several runs at once, and the future can be moved between threads.
#[test]
fn many_commands_run_at_once() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let tools = tools(&std::env::temp_dir());
    let runs = (0..8).map(|index| {
        let tools = tools.clone();
        smol::spawn(is_send(async move {
            let (_open, stop) = never();
            let call = call(serde_json::json!({ "command": format!("echo {index}") }));
            tools.run(&call, "s", stop, |_| {}).await
        }))
    });
    let runs: Vec<_> = runs.collect();
    for (index, run) in runs.into_iter().enumerate() {
        let Outcome::Tool(Ok(ran)) = block_on(run) else {
            panic!("run {index} failed");
        };
        assert_eq!(ran.stdout.text, format!("{index}\n"));
    }
}
