//! What the program costs as a process: starting, one command, and memory at rest.
//! `cargo bench --bench process`. Linux alone tells the memory of a process.

mod support;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use support::{PROGRAM, Samples, head, ms, row, scratch};

fn main() {
    head("process");
    let root = scratch();
    let version = Samples::of(100, || succeed(program(root.path()).arg("--version")));
    row("--version", &version.text(), "≤ 5 ms");
    let nothing = Samples::of(100, || succeed(&mut Command::new("true")));
    row("  a program that does nothing", &nothing.text(), "");
    one_command(root.path());
    at_rest(root.path());
}

/// `run -e` beside the command alone, in turns.
fn one_command(root: &Path) {
    let run = |dir: &Path| Samples::one(|| succeed(program(dir).args(["run", "-e", "! true"])));
    let fresh = |number| run(&root.join(format!("fresh-{number}")));
    row(
        "run -e '! true', its first ever: the database is made",
        &Samples::new((0..20).map(fresh).collect()).text(),
        "",
    );
    let both = |_| {
        let bash = Samples::one(|| succeed(Command::new("bash").args(["-c", "true"])));
        (run(&root.join("again")), bash)
    };
    let (ours, bash): (Vec<_>, Vec<_>) = (0..41).map(both).skip(1).unzip();
    let (ours, bash) = (Samples::new(ours), Samples::new(bash));
    row("run -e '! true', builtin provider", &ours.text(), "");
    row("  bash -c true alone", &bash.text(), "");
    let more = ours.median().saturating_sub(bash.median());
    row("  more than the command itself", &ms(more), "≤ 50 ms");
}

/// Resident memory of a REPL a second after its start, and a second after a turn.
fn at_rest(root: &Path) {
    let ways = [
        ("on pipes", piped(&root.join("piped"))),
        ("on a terminal", on_terminal(&root.join("terminal"))),
    ];
    for (way, child) in ways {
        let Ok(mut child) = child else {
            row(
                &format!("memory of a REPL {way}"),
                "not measured: cannot start it",
                "",
            );
            continue;
        };
        thread::sleep(Duration::from_secs(1));
        row(
            &format!("memory of an idle REPL {way}"),
            &resident(&child),
            "≤ 15 MB",
        );
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"! true\n").expect("it reads");
        thread::sleep(Duration::from_secs(1));
        row("  after a turn", &resident(&child), "");
        // The end of what it reads is the end of it.
        stdin.write_all(b"/quit\n").expect("it reads");
        drop(stdin);
        child.wait().expect("it ends");
    }
}

/// What a process holds of memory: its own, and in all with the pages of files.
fn resident(child: &Child) -> String {
    let pid = repl_of(child.id());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map_or("?".to_owned(), |kib| {
            format!("{:.1} MB", kib * 1024.0 / 1e6)
        })
    };
    format!("{} ({} its own)", of("VmRSS:"), of("RssAnon:"))
}

/// The REPL under what gave it a terminal, or itself.
fn repl_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let first = children
        .ok()
        .and_then(|pids| pids.split_whitespace().next()?.parse().ok());
    first.unwrap_or(pid)
}

fn program(dir: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    clean(&mut command, dir);
    command
}

/// Nobody's keys, and nobody's files.
fn clean(command: &mut Command, dir: &Path) {
    command.env_clear().env("HOME", dir).env("TERM", "xterm");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

fn piped(dir: &Path) -> io::Result<Child> {
    let mut command = program(dir);
    command.arg("repl").stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// util-linux's `script` gives it a terminal.
fn on_terminal(dir: &Path) -> io::Result<Child> {
    let mut command = Command::new("script");
    clean(&mut command, dir);
    command.args([
        "-q",
        "-e",
        "-c",
        &format!("exec '{PROGRAM}' repl"),
        "/dev/null",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()
}
