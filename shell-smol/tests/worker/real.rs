//! The real program and workers in real containers: killed, restarted, asked for several at once.

use crate::place::{Place, is_network, network, owner, processes, wait_until};
use crate::rig::{IMAGE, bare};
use crate::support::daemon::{CONFIG, Daemon};
use crate::support::program::{Ended, Home};
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use openpista_core::record::Record;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

/// Everything that is on record.
fn records(home: &Home) -> Vec<Record> {
    let exported = home.run(&["export"]);
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let steps = exported.out.lines().skip(1);
    let of = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        serde_json::from_value::<Vec<Record>>(line["records"].clone()).unwrap()
    };
    steps.flat_map(of).collect()
}

fn heard(home: &Home) -> usize {
    let heard = |record: &&Record| matches!(record, Record::Heard { .. });
    records(home).iter().filter(heard).count()
}

fn offered(home: &Home, server: &crate::support::server::Server) -> String {
    let before = server.count();
    let ended = home.run(&["run", "-e", "hello"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    server.requests()[before].json()["tools"].to_string()
}

#[test]
fn a_turn_waits_for_all_its_workers_and_they_for_each_other() {
    let Some(place) = Place::with("at_once = 2") else {
        return;
    };
    // The daemon makes one that nobody's user can read.
    std::fs::remove_dir(place.home.file("")).unwrap();
    let daemon = Daemon::of(&place.home);
    assert!(daemon.told("workers").ends_with("openpista-worker"));
    let work =
        |n: u32| format!("ls /workspace; echo began {n}; sleep 1.5; echo ended {n}; exit {n}");
    let lines = [work(1), work(2), work(3)];
    let calls: Vec<(&str, &str)> = lines.iter().map(|l| ("worker.run", l.as_str())).collect();
    let mut run = place.start("s", &calls);
    let (mut most, mut owners) = (0, BTreeSet::new());
    wait_until("the turn ends", || {
        let containers = place.containers();
        owners.extend(containers.iter().map(owner));
        most = most.max(containers.len());
        run.try_wait().unwrap().is_some()
    });
    let ended = Ended::awaited(run);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let results: Vec<&str> = ended.out.split("\n----\n").collect();
    assert_eq!(results.len(), 3, "{ended:?}");
    for (result, n) in results.iter().zip(1..) {
        for part in [
            format!("stdout:\nbegan {n}\nended {n}\n"),
            format!("exit code: {n}\n"),
        ] {
            assert!(result.contains(&part), "{part} in {result}");
        }
        assert!(!result.contains("stderr"), "{result}");
    }
    assert_eq!(most, 2, "at once");
    // Their network goes with them, and comes again with the next one.
    wait_until("all is removed", || {
        place.containers().is_empty() && !is_network(&network(owners.iter().next().unwrap()))
    });
    // It works where it may not look, too.
    std::fs::set_permissions(place.home.file(""), PermissionsExt::from_mode(0o700)).unwrap();
    let doctor = place.home.run(&["doctor"]).out;
    assert!(doctor.contains("chmod o+rx"), "{doctor}");
    let again = Ended::awaited(place.start("s", &[("worker.run", "echo again")]));
    assert!(again.out.contains("again\n"), "{again:?}");
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(heard(&place.home), 4);
}

#[test]
fn a_report_lands_once_though_the_daemon_is_killed_meanwhile() {
    killed_meanwhile("7.0625", false);
}

#[test]
fn a_report_lands_once_though_the_task_ends_without_a_daemon() {
    killed_meanwhile("3.0625", true);
}

/// The daemon is killed while a task sleeps for so many seconds, and comes back before its end, or
/// after.
fn killed_meanwhile(seconds: &str, late: bool) {
    let Some(place) = Place::with("") else { return };
    let daemon = Daemon::of(&place.home);
    let line = format!("echo begun; sleep {seconds}; echo done; exit 3");
    let sleeping = format!("sleep {seconds} ");
    let run = place.start("s", &[("worker.run", &line)]);
    wait_until("it runs", || processes(&sleeping) == 1);
    daemon.send(Signal::KILL);
    assert_eq!(daemon.end().code, None);
    if late {
        wait_until("it has ended", || processes(&sleeping) == 0);
    }
    let daemon = Daemon::of(&place.home);
    let ended = Ended::awaited(run);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let result = "exit code: 3\nstdout:\nbegun\ndone\n";
    assert_eq!(ended.out, result, "{ended:?}");
    wait_until("all is removed", || place.containers().is_empty());
    // Nor does another death make two of it.
    daemon.send(Signal::KILL);
    assert_eq!(daemon.end().code, None);
    let daemon = Daemon::of(&place.home);
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(heard(&place.home), 1);
    let asked = place.server.requests();
    let results = asked.iter().filter(|asked| asked.last("tool").is_some());
    assert_eq!(results.count(), 1, "the model is told once");
}

#[test]
fn ten_kills_of_the_daemon_leave_nothing() {
    let Some(place) = Place::with("at_once = 6\ntimeout_ms = 5000") else {
        return;
    };
    let (mut volumes, mut owners) = (BTreeSet::new(), BTreeSet::new());
    let mut look = || {
        volumes.extend(place.volumes());
        owners.extend(place.containers().iter().map(owner));
    };
    for round in 0..10 {
        let daemon = Daemon::of(&place.home);
        let sleep = format!("exec sleep 1000.{round}25");
        let calls = [("worker.run", sleep.as_str()), ("container.run", &sleep)];
        let mut run = place.start(&format!("s{round}"), &calls);
        let sleeping = sleep.trim_start_matches("exec ").to_owned() + " ";
        match round % 3 {
            // While they are made, while they start, while they run.
            0 => wait_until("one is made", || !place.containers().is_empty()),
            1 => wait_until("one runs", || processes(&sleeping) > 0),
            _ => wait_until("both run", || processes(&sleeping) == 2),
        }
        look();
        daemon.send(Signal::KILL);
        assert_eq!(daemon.end().code, None);
        run.kill().unwrap();
        run.wait().unwrap();
    }
    let daemon = Daemon::of(&place.home);
    look();
    wait_until("every container is gone", || place.containers().is_empty());
    let owner = owners.pop_first().unwrap();
    assert!(owners.is_empty() && volumes.len() >= 3, "{volumes:?}");
    wait_until("the network is gone", || !is_network(&network(&owner)));
    assert_eq!(daemon.stop().code, Some(0));
    assert_eq!(processes("sleep 1000."), 0);
    for volume in volumes {
        let left = bare(async |client| client.inspect_volume(&volume).await);
        assert!(left.is_err(), "a token's place is left: {left:?}");
    }
}

/// Docker has made something for an earlier life only after we looked.
#[test]
fn what_docker_makes_late_is_swept_and_what_is_owned_is_not() {
    let Some(place) = Place::with("timeout_ms = 600000") else {
        return;
    };
    let daemon = Daemon::of(&place.home);
    let mut run = place.start("s", &[("container.run", "exec sleep 1001.25")]);
    wait_until("it runs", || processes("sleep 1001.25 ") == 1);
    let owned = place.containers();
    let owner = owner(&owned[0]);
    let stray = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["true".to_owned()]),
        labels: Some(HashMap::from([
            ("openpista.owner".to_owned(), owner.clone()),
            ("openpista.sandbox".to_owned(), "1.0".to_owned()),
        ])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            binds: Some(vec![format!(
                "{}:/workspace:ro",
                place.home.file("").display()
            )]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let name = format!("openpista-{}-1-0", &owner[..8]);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    bare(async |client| client.create_container(Some(options), stray).await).unwrap();
    assert_eq!(place.containers().len(), 2);
    wait_until("it is swept", || place.containers().len() == 1);
    assert_eq!(place.containers()[0].id, owned[0].id);
    assert_eq!(processes("sleep 1001.25 "), 1);
    run.kill().unwrap();
    run.wait().unwrap();
    drop(daemon);
}

#[test]
fn a_token_is_in_no_log_no_file_and_no_prompt() {
    let Some(place) = Place::with("") else { return };
    let log = place.home.path().join("log");
    let mut command = place.home.program(&["--log", "trace", "start"]);
    let file = std::fs::File::create(&log).unwrap();
    command.stdout(Stdio::piped()).stderr(file);
    let daemon = Daemon::by(command);
    // It tells the token in a way that nobody takes for one.
    let line =
        "sed 's/./&-/g' /run/openpista/token; echo; cat /run/openpista/token; echo; sleep 0.5";
    let ended = Ended::awaited(place.start("s", &[("worker.run", line)]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let told = ended
        .out
        .lines()
        .find(|line| line.matches('-').count() == 64);
    let token = told.expect("64 digits").trim().replace('-', "");
    assert!(token.chars().all(|c| c.is_ascii_hexdigit()), "{ended:?}");
    assert!(ended.out.contains("[redacted"), "{ended:?}");
    assert!(!ended.out.contains(&token) && !ended.err.contains(&token));
    for request in place.server.requests() {
        assert!(!String::from_utf8_lossy(&request.body).contains(&token));
    }
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(64).any(|part| part == token.as_bytes())
    };
    let mut dirs = vec![place.home.path().to_owned()];
    let mut looked = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => {
                    assert!(!holds(&path), "{}", path.display());
                    looked.push(path);
                }
            }
        }
    }
    assert!(looked.contains(&log) && looked.contains(&place.home.database()));
    assert!(
        std::fs::read_to_string(&log)
            .unwrap()
            .contains("a worker connected")
    );
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn workers_are_offered_only_where_they_can_work() {
    let Some(place) = Place::with("") else { return };
    let alone = offered(&place.home, &place.server);
    assert!(alone.contains("container_run") && !alone.contains("worker_run"));
    let daemon = Daemon::of(&place.home);
    assert!(offered(&place.home, &place.server).contains("worker_run"));
    let doctor = place.home.run(&["doctor"]).out;
    let line = doctor.lines().find(|line| line.contains(" workers "));
    assert!(line.is_some_and(|line| line.starts_with("ok")), "{doctor}");
    assert_eq!(daemon.stop().code, Some(0));

    // Without the gateway.
    let config = place.home.data().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("[gateway]", "[gateway]\nenabled = false"),
    )
    .unwrap();
    let daemon = Daemon::of(&place.home);
    assert!(!daemon.said.iter().any(|line| line.starts_with("workers")));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_missing_worker_is_named_with_its_cure() {
    // Another place, where it is alone; then one is there that has its libraries elsewhere.
    let home = Home::with(CONFIG);
    let alone = home.path().join("openpistacrab");
    let program = env!("CARGO_BIN_EXE_openpistacrab");
    if std::fs::hard_link(program, &alone).is_err() {
        std::fs::copy(program, &alone).unwrap();
    }
    let start = || {
        let mut command = home.command(alone.to_str().unwrap(), &["start"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Daemon::by(command)
    };
    let daemon = start();
    let told = daemon.told("workers").to_owned();
    assert!(told.contains("cannot be read"), "{told}");
    assert_eq!(daemon.stop().code, Some(0));
    std::fs::hard_link(&alone, home.path().join("openpista-worker")).unwrap();
    let daemon = start();
    let told = daemon.told("workers").to_owned();
    assert!(told.starts_with("none, the worker program "), "{told}");
    assert!(
        told.contains("not linked statically") && told.contains("README"),
        "{told}"
    );
    assert_eq!(daemon.stop().code, Some(0));

    let home = Home::with(&format!(
        "{CONFIG}[sandbox]\nworker = \"/nowhere/worker\"\n"
    ));
    let refused = home.run(&["start"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    for part in ["/nowhere/worker", "[sandbox]", "README"] {
        assert!(refused.err.contains(part), "{part}: {refused:?}");
    }
    let doctor = home.run(&["doctor"]);
    let line = doctor.out.lines().find(|line| line.contains("/nowhere"));
    assert!(
        line.is_some_and(|line| line.starts_with("fault")),
        "{doctor:?}"
    );
}
