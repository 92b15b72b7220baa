//! Reports of the real worker program: each lands once, whatever happens on the way.

use crate::daemon::{Home, SECRET, Worker};
use openpista_core::effect::tool::Exit;
use std::time::Duration;

#[test]
fn a_task_shows_what_it_prints_and_reports_once() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let line = "echo begun; echo trouble >&2; exit 3";
    let worker = Worker::start(&home, &daemon, &task.token, line);
    daemon.wait_for_output("begun");
    assert_eq!(worker.ended(), (Some(0), String::new()));
    let ran = daemon.wait_for_end(&task);
    assert_eq!(ran.exit, Exit::Code(3));
    assert_eq!(ran.stdout.text, "begun\n");
    assert_eq!(ran.stderr.text, "trouble\n");
    // The same again: it is ours already, and changes nothing.
    let again = Worker::start(&home, &daemon, &task.token, "echo another");
    assert_eq!(again.ended(), (Some(0), String::new()));
    assert_eq!(daemon.ends(&task), [ran]);
    // Once the container is gone, nobody bears the token any more.
    daemon.remove(1);
    let late = Worker::start(&home, &daemon, &task.token, "sleep 1000");
    let (code, said) = late.ended();
    assert!(
        code == Some(3) && said.contains("not valid") && !said.contains(&task.token),
        "{said}"
    );
    assert_eq!(daemon.ends(&task).len(), 1);
}

#[test]
fn several_work_at_once_and_each_reports_its_own() {
    let home = Home::new();
    let daemon = home.start();
    let tasks = daemon.begin(5);
    let workers: Vec<Worker> = tasks
        .iter()
        .enumerate()
        .map(|(n, task)| {
            let line = format!("sleep 0.2; echo {n}; exit {n}");
            Worker::start(&home, &daemon, &task.token, &line)
        })
        .collect();
    for worker in workers {
        assert_eq!(worker.ended(), (Some(0), String::new()));
    }
    for (n, task) in tasks.iter().enumerate() {
        let ran = daemon.wait_for_end(task);
        assert_eq!(ran.exit, Exit::Code(i32::try_from(n).unwrap()));
        assert_eq!(ran.stdout.text, format!("{n}\n"));
        assert_eq!(daemon.ends(task).len(), 1);
    }
}

/// The daemon dies while the task runs, and the task ends while nobody is there.
#[test]
fn a_report_outlives_the_daemon() {
    let home = Home::new();
    let daemon = home.start();
    let address = daemon.address;
    let task = daemon.begin(1).remove(0);
    let line = "echo begun; while [ ! -e gone ]; do sleep 0.05; done; echo done";
    let line = format!("cd {}; {line}; touch ended", home.path().display());
    let worker = Worker::start(&home, &daemon, &task.token, &line);
    daemon.wait_for_output("begun");
    daemon.kill();
    std::fs::write(home.path().join("gone"), "").unwrap();
    while !home.path().join("ended").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let daemon = home.start_at(address);
    let ran = daemon.wait_for_end(&task);
    assert_eq!(
        (ran.exit, &*ran.stdout.text),
        (Exit::Code(0), "begun\ndone\n")
    );
    assert_eq!(worker.ended().0, Some(0));
    assert_eq!(daemon.ends(&task).len(), 1);
    // Nor does another restart make two of it.
    daemon.kill();
    let daemon = home.start_at(address);
    assert_eq!(daemon.ends(&task), [ran]);
}

#[test]
fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let line = format!(
        "setsid sh -c 'echo $$ > {0}/pid; sleep 1000' & echo begun; sleep 1000",
        home.path().display()
    );
    let options = ["--timeout-ms", "1500"];
    let worker = Worker::start_with(&home, &daemon, &task.token, &line, &options);
    let ran = daemon.wait_for_end(&task);
    assert_eq!((ran.exit, &*ran.stdout.text), (Exit::TimedOut, "begun\n"));
    assert_eq!(worker.ended(), (Some(0), String::new()));
    let pid = std::fs::read_to_string(home.path().join("pid")).unwrap();
    let process = format!("/proc/{}", pid.trim());
    assert!(!std::path::Path::new(&process).exists(), "{process}");
}

#[test]
fn a_task_that_is_over_ends_its_worker() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let worker = Worker::start(&home, &daemon, &task.token, "echo begun; sleep 1");
    daemon.wait_for_output("begun");
    daemon.stop_turn();
    let (code, _) = worker.ended();
    // Stopping tells the engine, which has not said yet what came of it: until then a report is
    // still the truth.
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    assert!(daemon.ends(&task).len() <= 1);
}

#[test]
fn what_cannot_be_started_is_reported_too() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let worker = Worker::start(&home, &daemon, &task.token, "exec /nowhere/at/all");
    assert_eq!(worker.ended().0, Some(0));
    let ran = daemon.wait_for_end(&task);
    assert!(matches!(ran.exit, Exit::Code(126 | 127)), "{ran:?}");
}

#[test]
fn long_output_is_cut_and_secrets_are_not_kept() {
    let home = Home::new();
    let daemon = home.start();
    let task = daemon.begin(1).remove(0);
    let line = format!(
        "echo {SECRET}; echo {}; head -c 3000000 /dev/zero; echo end",
        task.token
    );
    // It keeps more than the gateway takes.
    let options = ["--output-chars", "100000"];
    let worker = Worker::start_with(&home, &daemon, &task.token, &line, &options);
    let ran = daemon.wait_for_end(&task);
    assert_eq!(worker.ended().0, Some(0));
    assert!(ran.stdout.text.chars().count() <= 10_064);
    assert!(ran.stdout.cut_chars > 2_900_000, "{}", ran.stdout.cut_chars);
    assert!(ran.stdout.text.starts_with("[redacted: KEY]\n[redacted: "));
    assert!(ran.stdout.text.ends_with("\0end\n"));
    let all = serde_json::to_string(&daemon.records()).unwrap();
    assert!(!all.contains(SECRET) && !all.contains(&task.token));
}
