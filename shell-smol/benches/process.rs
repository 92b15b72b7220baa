//! What the program costs as a process: starting, one command, and memory at rest.
//! `cargo bench --bench process`. Linux alone tells the memory of a process.

#[path = "../tests/support/program.rs"]
mod program;
mod support;

use program::Home;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use support::{Samples, head, ms, row};

const RUN: [&str; 3] = ["run", "-e", "! true"];

fn main() {
    // On the disk that is built on, not in a memory of `/tmp`.
    let _ = tempfile::env::override_temp_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    head("process");
    starting();
    support::sync_costs();
    one_command();
    at_rest();
}

fn starting() {
    let home = Home::new();
    let version = Samples::of(100, || succeed(home.program(&["--version"])));
    row("--version", &version.text(), "≤ 5 ms");
    let nothing = Samples::of(100, || succeed(Command::new("true")));
    row("  a program that does nothing", &nothing.text(), "");
}

/// `run -e` beside the command alone, in turns.
fn one_command() {
    let first = |_| {
        let home = Home::new();
        Samples::one(|| succeed(home.program(&RUN)))
    };
    row(
        "run -e '! true', its first ever: the database is made",
        &Samples::new((0..20).map(first).collect()).text(),
        "",
    );
    let home = Home::new();
    let both = |_| {
        let ours = Samples::one(|| succeed(home.program(&RUN)));
        let bash = Samples::one(|| succeed(home.command("bash", &["-c", "true"])));
        (ours, bash)
    };
    let (ours, bash): (Vec<_>, Vec<_>) = (0..61).map(both).skip(1).unzip();
    let (ours, bash) = (Samples::new(ours), Samples::new(bash));
    row("run -e '! true', builtin provider", &ours.text(), "");
    row("  bash -c true alone", &bash.text(), "");
    let more = ours.median().saturating_sub(bash.median());
    row("  more than the command itself", &ms(more), "≤ 50 ms");
}

fn succeed(mut command: Command) {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

/// Resident memory of a REPL a second after its start, and a second after a turn.
fn at_rest() {
    let home = Home::new();
    let mut piped = home.start(&["repl"]);
    let mut stdin = piped.stdin.take().expect("a pipe");
    rest("on pipes", piped.id(), &mut |text| {
        writeln!(stdin, "{text}").expect("it reads");
    });
    // The end of what it reads is the end of it.
    drop(stdin);
    piped.wait().expect("it ends");

    let home = Home::new();
    let mut terminal = home.at_terminal(&["repl"]);
    rest("on a terminal", terminal.id(), &mut |text| {
        terminal.type_in(&format!("{text}\r"));
    });
    terminal.type_in("/quit\r");
    terminal.end();
}

fn rest(way: &str, pid: u32, say: &mut dyn FnMut(&str)) {
    thread::sleep(Duration::from_secs(1));
    row(
        &format!("memory of an idle REPL {way}"),
        &resident(pid),
        "≤ 15 MB",
    );
    say("! true");
    thread::sleep(Duration::from_secs(1));
    row("  after a turn", &resident(pid), "");
}

/// What a process holds of memory: all of it, and what is its own, not pages of files.
fn resident(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.map_or("?".to_owned(), |kib| format!("{:.1} MB", kib * 1.024e-3))
    };
    format!("{} ({} its own)", of("VmRSS:"), of("RssAnon:"))
}
