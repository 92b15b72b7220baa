//! Commit, restore, snapshots, permissions.

use crate::bench::{Bench, Dir};
use openpista_shell_smol::journal::{Journal, JournalError, Reader};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

const STRANGER: &str = "OPENPISTA_TEST_STRANGER";

fn alter(database: &Path, sql: &str) {
    let conn = rusqlite::Connection::open(database).unwrap();
    let changed = conn.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql} changes nothing");
}

#[test]
fn what_was_committed_is_there_again() {
    let dir = Dir::new();
    let mut bench = Bench::booted(&dir.database());
    bench.say("one", "hello");
    bench.say("two", "! date");
    let (state, commits) = (bench.core.snapshot(), bench.journal.commits());
    assert_eq!(
        commits,
        bench.core.state().seq().0,
        "one step a commit here"
    );
    drop(bench);
    let again = Bench::open(&dir.database()).unwrap();
    assert_eq!(again.core.snapshot(), state);
    assert_eq!(again.journal.commits(), 0);
}

#[test]
fn the_beginning_is_written_once() {
    let dir = Dir::new();
    let first = Journal::open(&dir.database()).unwrap().began_unix_ms;
    std::thread::sleep(std::time::Duration::from_millis(2));
    let opened = Journal::open(&dir.database()).unwrap();
    assert_eq!(opened.began_unix_ms, first);
    let reader = Reader::open(&dir.database()).unwrap();
    assert_eq!(reader.began_unix_ms(), Ok(first));
}

#[test]
fn only_this_user_can_read_it() {
    let dir = Dir::new();
    let bench = Bench::booted(&dir.database());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path()), 0o700);
    let files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(bench);
}

#[test]
fn an_unreadable_snapshot_costs_time_and_no_data() {
    let dir = Dir::new();
    let database = dir.database();
    let mut bench = Bench::booted(&database);
    bench.say("one", "hello");
    let older = bench.snapshot();
    bench.say("one", "! date");
    let newer = bench.snapshot();
    bench.say("two", "hello");
    let state = bench.core.snapshot();
    drop(bench);
    let restored = || Bench::open(&database).map(|bench| bench.core.snapshot());
    assert_eq!(restored().unwrap(), state);

    alter(
        &database,
        &format!("UPDATE snapshots SET state = x'78' WHERE seq = {newer}"),
    );
    assert_eq!(restored().unwrap(), state);
    alter(
        &database,
        "UPDATE snapshots SET state = CAST('{\"format\":9}' AS BLOB)",
    );
    assert_eq!(restored().unwrap(), state);
    assert!(older < newer);
}

#[test]
fn a_start_reads_only_what_came_after_the_latest_good_snapshot() {
    let dir = Dir::new();
    let database = dir.database();
    let mut bench = Bench::booted(&database);
    bench.say("one", "hello");
    let older = bench.snapshot();
    bench.say("one", "more");
    let newer = bench.snapshot();
    bench.say("one", "and more");
    let state = bench.core.snapshot();
    drop(bench);
    let restored = || Bench::open(&database).map(|bench| bench.core.snapshot());
    let damage = |seq| {
        alter(
            &database,
            &format!("UPDATE steps SET records = '?' WHERE seq = {seq}"),
        )
    };

    damage(newer);
    assert_eq!(restored().unwrap(), state);
    alter(
        &database,
        &format!("DELETE FROM snapshots WHERE seq = {newer}"),
    );
    let error = restored().unwrap_err();
    assert!(matches!(error, JournalError::Unreadable { .. }));
    let told = error.to_string();
    assert!(told.contains(&format!("journal step {newer}: ")), "{told}");
    assert!(older < newer);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = Dir::new();
    fs::write(dir.path(), "in the way").unwrap();
    let error = Journal::open(&dir.database()).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("cannot create the directory "), "{told}");
    assert!(told.contains("--data-dir"), "{told}");
}

/// Not a test of its own: another user's process, that may not write.
#[test]
fn stranger() {
    if let Some(database) = std::env::var_os(STRANGER) {
        println!("\n<{}>", Journal::open(Path::new(&database)).unwrap_err());
    }
}

#[test]
fn a_read_only_directory_is_told() {
    let dir = Dir::new();
    drop(Bench::booted(&dir.database()));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(dir.database(), fs::Permissions::from_mode(0o444)).unwrap();
    let parent = dir.path().parent().unwrap().to_owned();
    fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).unwrap();
    // Root may write everywhere, so the other process is nobody's then. It runs a copy, for it may
    // not be let in where the program is.
    let program = parent.join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "store::stranger", "--nocapture"]);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.env(STRANGER, dir.database()).output().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("<cannot lock "), "{told}");
    assert!(told.contains("let this user write there"), "{told}");
}

#[test]
fn a_database_that_is_a_directory_is_an_error() {
    let dir = Dir::new();
    fs::create_dir_all(dir.database()).unwrap();
    let told = Journal::open(&dir.database()).unwrap_err().to_string();
    assert!(told.contains("it cannot be opened"), "{told}");
}

#[test]
fn a_reader_sees_one_moment_while_a_writer_goes_on() {
    let dir = Dir::new();
    let mut bench = Bench::booted(&dir.database());
    bench.say("one", "hello");
    let reader = Reader::open(&dir.database()).unwrap();
    let before = reader.sessions().unwrap();
    bench.say("two", "! date");
    assert_eq!(reader.sessions().unwrap(), before);
    let now = Reader::open(&dir.database()).unwrap().sessions().unwrap();
    assert_eq!(now.len(), 2);
}

#[test]
fn a_reader_makes_nothing() {
    let dir = Dir::new();
    let error = Reader::open(&dir.database()).unwrap_err();
    assert_eq!(error, JournalError::Missing(dir.database()));
    assert!(!dir.path().exists());
}
