//! One process at a time.

use crate::bench::{Bench, Dir};
use openpista_shell_smol::journal::{Journal, JournalError, LOCK_FILE_NAME, Reader};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const HOLD: &str = "OPENPISTA_TEST_HOLD";

/// Not a test of its own: the other process. Holds the journal until its standard input ends.
#[test]
fn holder() {
    let Some(database) = std::env::var_os(HOLD) else {
        return;
    };
    let bench = Bench::booted(Path::new(&database));
    println!("\nheld");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
    drop(bench);
}

fn spawn_holder(database: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::holder", "--nocapture"])
        .env(HOLD, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap() == "held"),
        "the other process did not start"
    );
    child
}

#[test]
fn another_process_is_named() {
    let dir = Dir::new();
    let mut child = spawn_holder(&dir.database());
    let told = Journal::open(&dir.database()).unwrap_err().to_string();
    let data_dir = dir.path().display().to_string();
    let pid = child.id();
    let expected = format!("the data directory {data_dir} is in use by pid {pid} (");
    assert!(told.starts_with(&expected), "{told}");
    assert!(
        told.ends_with("; stop it, or choose another with --data-dir"),
        "{told}"
    );
    assert!(
        Reader::open(&dir.database()).is_ok(),
        "a reader needs no lock"
    );

    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!dir.path().join(LOCK_FILE_NAME).exists());
    assert!(Journal::open(&dir.database()).is_ok());
}

#[test]
fn what_a_killed_process_left_does_not_block() {
    let dir = Dir::new();
    let mut child = spawn_holder(&dir.database());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path().join(LOCK_FILE_NAME).exists());
    let bench = Bench::open(&dir.database()).unwrap();
    assert!(bench.core.state().seq().0 > 0, "what it committed is there");
    let pid = std::fs::read_to_string(dir.path().join(LOCK_FILE_NAME)).unwrap();
    assert!(
        pid.starts_with(&format!("{}\n", std::process::id())),
        "{pid}"
    );
}

#[test]
fn the_same_process_is_kept_out_too() {
    let dir = Dir::new();
    let bench = Bench::booted(&dir.database());
    let error = Journal::open(&dir.database()).unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::InUse {
                holder: Some(_),
                ..
            }
        ),
        "{error}"
    );
    drop(bench);
    assert!(!dir.path().join(LOCK_FILE_NAME).exists());
    drop(Journal::open(&dir.database()).unwrap());
}

#[test]
fn a_lock_file_that_somebody_replaced_stays() {
    let dir = Dir::new();
    let bench = Bench::booted(&dir.database());
    let file = dir.path().join(LOCK_FILE_NAME);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "1\nsomebody else\n").unwrap();
    drop(bench);
    assert!(file.exists());
    drop(Journal::open(&dir.database()).unwrap());
}
