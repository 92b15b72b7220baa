//! Faults of the disk and of the data directory, on the real program: each ends it with a clear
//! word and its exit code, and nothing that was durable is lost.
//!
//! The system is made to fail by `strace`, one call after another. Where that is not there or not
//! permitted, these tests fail when `CI` is set, and elsewhere say that they did nothing.

mod support;

use rusqlite::Connection;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::conversation::Conversation;
use support::history::{self, History};
use support::program::{Ended, Home};

/// It failed, and says so in a line or two that name all of `parts`.
fn failed_clearly(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines = ended.err.lines().count();
    assert!((1..=2).contains(&lines), "{lines} lines: {ended:?}");
    assert!(ended.err.starts_with("openpistacrab: "), "{ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{part:?} is not in {ended:?}");
    }
    for sign in ["panicked", "backtrace", "Error {", "Os {"] {
        assert!(!ended.err.contains(sign), "{sign:?} is in {ended:?}");
    }
}

/// A way in which the system fails.
struct Fault {
    /// The calls that fail.
    calls: &'static str,
    /// With this.
    error: &'static str,
    /// From the nth on, and not only the nth.
    stays: bool,
    /// What the program says of it.
    says: &'static str,
}

const SYNC_FAILS: Fault = Fault {
    calls: "fsync,fdatasync",
    error: "EIO",
    stays: true,
    says: "I/O error",
};
const SYNC_FAILS_ONCE: Fault = Fault {
    stays: false,
    ..SYNC_FAILS
};
const DISK_FULL: Fault = Fault {
    calls: "pwrite64",
    error: "ENOSPC",
    stays: true,
    says: "the disk is full",
};
const WRITE_FAILS_ONCE: Fault = Fault {
    calls: "pwrite64",
    error: "EIO",
    stays: false,
    says: "I/O error",
};

/// Can calls be made to fail here? Where they must be, not being able to is a failure.
fn can_inject() -> bool {
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output();
    let why = match traced {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let why = format!("no fault could be injected, because strace does not work here: {why}");
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// Runs the program with the fault in its `nth` call and says whether it came to that.
fn run_with(fault: &Fault, nth: u32, home: &Home, args: &[&str]) -> (Ended, bool) {
    let log = home.path().join("strace");
    let stays = if fault.stays { "+" } else { "" };
    let (calls, error) = (fault.calls, fault.error);
    let inject = format!("inject={calls}:error={error}:when={nth}{stays}");
    let mut strace = home.command("strace", &["-f", "-qq", "-e", "signal=none"]);
    strace.args(["-e", &format!("trace={calls}"), "-e", &inject]);
    strace
        .arg("-o")
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_openpistacrab"))
        .args(args);
    let ended = Ended::of(strace.output().expect("strace"));
    let log = fs::read_to_string(&log).expect("what was traced");
    (ended, log.contains("(INJECTED)"))
}

/// Lets one call after another fail during a turn with commands. After each, an undisturbed run
/// finds all that was durable, and ends what was interrupted.
fn each_call_fails(fault: &Fault, mut nth: impl Iterator<Item = u32>) {
    if !can_inject() {
        return;
    }
    let mut talk = Conversation::begin();
    let mut message = 0;
    let mut say = || {
        message += 1;
        format!("m{message} rounds 2")
    };
    assert_eq!(talk.run("one", &say()).code, Some(0));
    let mut failures = 0;
    loop {
        assert!(failures < 200, "no end of failures");
        let before = History::read(&talk.home.database());
        let args = ["run", "--session", "one", "-e", &say()];
        let (ended, injected) = run_with(fault, nth.next().expect("more"), &talk.home, &args);
        talk.saw(&ended.out);
        // When the database is closed all is durable, so a fault then costs nothing.
        if injected && ended.code != Some(0) {
            failures += 1;
            failed_clearly(
                &without_recovered(&ended),
                &[
                    "memory.db",
                    fault.says,
                    "nothing that was confirmed is lost",
                ],
            );
        } else {
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        talk.saw(&ended.err);
        let healed = talk.run("one", &say());
        assert_eq!(healed.code, Some(0), "{healed:?}");
        let after = talk.check();
        let kept = after.records().take(before.records().count());
        assert!(kept.eq(before.records()), "what was durable has changed");
        if !injected {
            break;
        }
    }
    assert!(failures > 2, "the fault hardly came: {failures} times");
    replays(&talk.home);
}

/// What the program says of itself; what it recovered comes before.
fn without_recovered(ended: &Ended) -> Ended {
    let own = ended.err.find("openpistacrab: ").unwrap_or(0);
    Ended {
        code: ended.code,
        out: ended.out.clone(),
        err: ended.err[own..].to_owned(),
    }
}

fn replays(home: &Home) {
    let export = home.run(&["export"]);
    assert_eq!(export.code, Some(0), "{export:?}");
    fs::write(home.path().join("export.jsonl"), export.out).expect("the export");
    let replay = home.run(&["replay", "export.jsonl"]);
    assert_eq!(replay.code, Some(0), "{replay:?}");
}

#[test]
fn a_disk_that_does_not_sync_any_more_loses_nothing_durable() {
    each_call_fails(&SYNC_FAILS, 1..);
}

#[test]
fn a_sync_that_fails_once_is_not_tried_again() {
    each_call_fails(&SYNC_FAILS_ONCE, 1..);
}

#[test]
fn a_full_disk_loses_nothing_durable() {
    each_call_fails(&DISK_FULL, (0..).map(|step| 1 + step * 7));
}

#[test]
fn a_write_that_fails_once_is_not_taken_for_done() {
    each_call_fails(&WRITE_FAILS_ONCE, (0..).map(|step| 1 + step * 11));
}

#[test]
fn a_database_that_could_not_be_made_is_made_the_next_time() {
    if !can_inject() {
        return;
    }
    for fault in [SYNC_FAILS, DISK_FULL] {
        for nth in 1..5 {
            let mut talk = Conversation::begin();
            let args = ["run", "--session", "one", "-e", "m1 rounds 1"];
            let (ended, injected) = run_with(&fault, nth, &talk.home, &args);
            talk.saw(&ended.out);
            assert!(injected, "{ended:?}");
            failed_clearly(&ended, &["memory.db", fault.says]);
            let healed = talk.run("one", "m2 rounds 1");
            assert_eq!(healed.code, Some(0), "{healed:?}");
            talk.check();
        }
    }
}

/// A small disk of its own under a data directory, until dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount.
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        let options = format!("size={size},mode=0700");
        let args = ["-t", "tmpfs", "-o", &options, "tmpfs"];
        let mounted = Command::new("mount").args(args).arg(at).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk(at.to_owned()))
    }

    fn grow(&self, size: &str) {
        let size = format!("remount,size={size}");
        let status = Command::new("mount")
            .args(["-o", &size])
            .arg(&self.0)
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_really_full_loses_nothing_durable() {
    let mut talk = Conversation::begin();
    let data = talk.home.data();
    let config = fs::read(data.join("config.toml")).expect("the configuration");
    let Some(disk) = SmallDisk::mount(&data, "1m") else {
        // The same fault is injected elsewhere.
        eprintln!("skipped: no disk could be mounted; it takes root");
        return;
    };
    fs::write(data.join("config.toml"), config).expect("the configuration");
    let mut done = 0;
    let failed = loop {
        // Long, to fill the disk: only the first and the last word of a message matter.
        let text = format!("m{done} {} 1", "x".repeat(30_000));
        let ended = talk.run("one", &text);
        if ended.code != Some(0) {
            break ended;
        }
        done += 1;
        assert!(done < 100, "a disk of 1 MiB took {done} messages of 30 kB");
    };
    assert!(done > 2, "{failed:?}");
    failed_clearly(
        &without_recovered(&failed),
        &["memory.db", "the disk is full"],
    );
    // Nothing changes while it is full, however often it is tried.
    let before = History::read(&talk.home.database()).records().count();
    let again = talk.run("one", "again 1");
    failed_clearly(&without_recovered(&again), &["the disk is full"]);
    disk.grow("64m");
    let healed = talk.run("one", "healed 1");
    assert_eq!(healed.code, Some(0), "{healed:?}");
    assert!(talk.check().records().count() > before);
    replays(&talk.home);
}

/// A home whose program is run by somebody whom permissions bind: root is nobody there.
struct Bound {
    talk: Conversation,
    is_root: bool,
}

const NOBODY: u32 = 65_534;

impl Bound {
    fn begin() -> Bound {
        let talk = Conversation::begin();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            // Where the program was built may be closed to others.
            let copy = talk.home.path().join("openpistacrab");
            fs::copy(env!("CARGO_BIN_EXE_openpistacrab"), copy).expect("a copy of the program");
            mode(talk.home.path(), 0o755);
            let data = talk.home.data();
            for own in [data.join("config.toml"), data.join("workspace"), data] {
                chown(own, Some(NOBODY), Some(NOBODY)).expect("a new owner");
            }
        }
        Bound { talk, is_root }
    }

    fn run(&mut self, args: &[&str]) -> Ended {
        let mut program = self.talk.home.program(args);
        if self.is_root {
            program = self.talk.home.command("./openpistacrab", args);
            program.uid(NOBODY).gid(NOBODY);
        }
        let ended = Ended::of(program.output().expect("the program"));
        self.talk.saw(&ended.out);
        self.talk.saw(&ended.err);
        ended
    }

    fn say(&mut self, text: &str) -> Ended {
        self.run(&["run", "--session", "one", "-e", text])
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("its permissions");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let mut bound = Bound::begin();
    assert_eq!(bound.say("m1 rounds 1").code, Some(0));
    let data = bound.talk.home.data();
    mode(&data, 0o500);
    let cure = "let this user write there, or choose another with --data-dir";
    let named = data.display().to_string();
    failed_clearly(
        &bound.say("m2 rounds 1"),
        &[&named, "Permission denied", cure],
    );
    failed_clearly(&bound.run(&["repl"]), &[&named, cure]);
    mode(&data, 0o700);
    assert_eq!(bound.say("m3 rounds 1").code, Some(0));
    assert_eq!(bound.talk.check().accepted().count(), 2);
}

#[test]
fn a_database_that_cannot_be_written_is_named() {
    const CURE: &str = "let this user write there";
    let mut bound = Bound::begin();
    assert_eq!(bound.say("m1 rounds 1").code, Some(0));
    let database = bound.talk.home.database();
    mode(&database, 0o400);
    failed_clearly(
        &bound.say("m2 rounds 1"),
        &["memory.db: Permission denied", CURE],
    );
    // What only reads does not mind, but leaves files beside it that nobody may write either.
    assert_eq!(bound.run(&["sessions"]).code, Some(0));
    mode(&database, 0o600);
    for part in ["memory.db-wal", "memory.db-shm"] {
        let named = format!("{part}: Permission denied");
        failed_clearly(&bound.say("m3 rounds 1"), &[&named, CURE]);
        mode(&bound.talk.home.data().join(part), 0o600);
    }
    mode(&database, 0o000);
    let unreadable = bound.run(&["export"]);
    failed_clearly(&unreadable, &["memory.db", "Let this user"]);
    mode(&database, 0o600);
    assert_eq!(bound.say("m4 rounds 1").code, Some(0));
    assert_eq!(bound.talk.check().accepted().count(), 2);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let talk = Conversation::begin();
    let config = talk.home.data().join("config.toml");
    fs::copy(config, talk.home.path().join("file")).expect("a copy");
    let ended = talk
        .home
        .run(&["--config", "file", "--data-dir", "file/data", "repl"]);
    failed_clearly(&ended, &["cannot", "file/data", "--data-dir"]);
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let mut talk = Conversation::begin();
    let mut repl = talk.home.program(&["repl", "--session", "one"]);
    repl.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut first = repl.spawn().expect("the program");
    let mut said = first.stdin.take().expect("its input");
    let mut shown = BufReader::new(first.stdout.take().expect("its output")).lines();
    let mut reply = |text: &str| {
        writeln!(said, "{text}").expect("it reads");
        shown.next().expect("a reply").expect("text")
    };
    talk.shown.push(reply("m1 rounds 1"));
    let holder = format!("pid {} (openpistacrab repl --session one)", first.id());
    let data = talk.home.data().display().to_string();
    for args in [&["run", "-e", "m2 rounds 0"][..], &["repl"]] {
        failed_clearly(
            &talk.home.run(args),
            &[&data, &holder, "stop it", "--data-dir"],
        );
    }
    // What only reads may do so meanwhile.
    for args in [&["sessions"][..], &["sessions", "show", "one"], &["export"]] {
        assert_eq!(talk.home.run(args).code, Some(0), "{args:?}");
    }
    talk.shown.push(reply("m3 rounds 1"));
    drop(said);
    assert_eq!(first.wait().expect("its end").code(), Some(0));
    assert_eq!(talk.run("one", "m4 rounds 1").code, Some(0));
    assert_eq!(talk.check().accepted().count(), 3);
}

#[test]
fn an_unknown_session_is_named() {
    let mut talk = Conversation::begin();
    let nothing = talk.home.run(&["sessions", "show", "garden"]);
    failed_clearly(&nothing, &["no session \"garden\""]);
    failed_clearly(
        &talk.home.run(&["export"]),
        &["no database", "openpistacrab run"],
    );
    assert_eq!(talk.run("garden", "m1 rounds 0").code, Some(0));
    for args in [
        &["sessions", "show", "gardne"][..],
        &["export", "--session", "gardne"],
    ] {
        let parts = ["no session \"gardne\"", "did you mean \"garden\"?"];
        failed_clearly(&talk.home.run(args), &parts);
    }
    let other = talk.home.run(&["sessions", "show", "xyz"]);
    failed_clearly(&other, &["no session \"xyz\"", "openpistacrab sessions"]);
}

/// What breaks a database, and what is said of it.
type Breakage = (fn(&Path), &'static str);

const BREAKAGES: [Breakage; 6] = [
    (
        |path| overwrite(path, 0, b"This was a database once."),
        "it is damaged, or no database",
    ),
    (
        |path| overwrite(path, 4_096, &[0xaa; 16 * 4_096]),
        "it is damaged, or no database",
    ),
    (
        |path| {
            fs::File::options()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(5_000))
                .expect("shorter")
        },
        "it is damaged, or no database",
    ),
    (
        |path| {
            sql(
                path,
                "UPDATE steps SET records = replace(records, '\"accepted\"', '\"axcepted\"')",
            )
        },
        "journal step ",
    ),
    (
        |path| sql(path, "PRAGMA user_version = 99"),
        "has version 99, and this program knows up to ",
    ),
    (
        |path| sql(path, "PRAGMA user_version = 0"),
        "a database of another program",
    ),
];

fn overwrite(path: &Path, at: usize, with: &[u8]) {
    let mut bytes = fs::read(path).expect("the database");
    let end = bytes.len().min(at + with.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
    fs::write(path, bytes).expect("the database");
}

fn sql(path: &Path, change: &str) {
    let conn = Connection::open(path).expect("the database");
    conn.execute_batch(change).expect("the change");
}

#[test]
fn a_database_that_cannot_be_used_is_left_as_it_is() {
    let mut talk = Conversation::begin();
    assert_eq!(talk.run("one", "m1 rounds 2").code, Some(0));
    let database = talk.home.database();
    let good = fs::read(&database).expect("the database");
    for (number, (breakage, says)) in BREAKAGES.into_iter().enumerate() {
        breakage(&database);
        let broken = fs::read(&database).expect("the database");
        for args in [&["run", "-e", "m2 rounds 0"][..], &["repl"]] {
            failed_clearly(&talk.home.run(args), &["memory.db", says]);
        }
        let now = fs::read(&database).expect("the database");
        assert!(now == broken, "breakage {number} was changed further");
        // A backup in its place, as the error says.
        for part in ["memory.db-wal", "memory.db-shm"] {
            let _ = fs::remove_file(talk.home.data().join(part));
        }
        fs::write(&database, &good).expect("the database");
    }
    assert_eq!(talk.run("one", "m3 rounds 1").code, Some(0));
    let sound: String = history::open(&database)
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(sound, "ok");
    assert_eq!(talk.check().accepted().count(), 2);
}
