//! `run`, as a person or a script uses it: the real program, the real model inside it or a real
//! server, and real commands.

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::program::{Ended, Home, send, wait_for_end_of, wait_for_line};
use support::server::{Answer, Server};

/// A home whose model is this server.
fn home_of(server: &Server, more: &str) -> Home {
    Home::with(&format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{}\"\n{more}",
        server.base_url()
    ))
}

#[test]
fn a_command_prints_its_output_and_nothing_else() {
    let home = Home::new();
    let ended = home.run(&["run", "-e", "! printf 'one\\ntwo\\n'"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("one\ntwo\n", ""));
}

/// A program that was just copied may be open for writing in a process that another test starts at
/// this moment: then it cannot be run yet.
#[cfg(target_os = "linux")]
fn output(command: &mut std::process::Command) -> std::process::Output {
    loop {
        match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            ended => return ended.unwrap(),
        }
    }
}

/// Root may read everything, so then it is tried as somebody else.
#[cfg(target_os = "linux")]
#[test]
fn a_command_cannot_read_the_environment_or_the_memory_of_the_program() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;
    let home = Home::new();
    let line = "! d=/proc/$(cut -d ' ' -f 4 /proc/$PPID/stat); cat $d/environ; \
                dd if=$d/mem count=1; ls $d/fd; grep -c HOME= /proc/self/environ";
    let mut command = home.program(&["run", "-e", line]);
    if rustix::process::geteuid().is_root() {
        let copy = home.path().join("program");
        std::fs::copy(env!("CARGO_BIN_EXE_openpistacrab"), &copy).unwrap();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        command = home.command(copy.to_str().unwrap(), &["run", "-e", line]);
        let data = home.data();
        for path in [home.path(), &data, &data.join("workspace")] {
            chown(path, Some(65_534), Some(65_534)).unwrap();
        }
        command.uid(65_534).gid(65_534);
    }
    command.env("CANARY", "sk-canary-0123456789");
    let ended = Ended::of(output(&mut command));
    let said = format!("{}{}", ended.out, ended.err);
    assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
    assert!(!said.contains("CANARY"), "{said}");
    assert!(said.starts_with("```\n1\n```\n"), "{said}");
}

/// What guards commands is the small program beside ours; where there is none, our own.
#[cfg(target_os = "linux")]
#[test]
fn a_command_is_guarded_by_the_program_beside_ours_or_by_ours() {
    let home = Home::new();
    let line = "! basename \"$(readlink /proc/$PPID/exe)\"";
    let ended = home.run(&["run", "-e", line]);
    assert_eq!(ended.out, "openpista-guard\n", "{ended:?}");
    let alone = home.path().join("alone");
    std::fs::copy(env!("CARGO_BIN_EXE_openpistacrab"), &alone).unwrap();
    let mut command = home.command(alone.to_str().unwrap(), &["run", "-e", line]);
    let ended = Ended::of(output(&mut command));
    assert_eq!(ended.out, "alone\n", "{ended:?}");
    let doctor = |program: &str| Ended::of(output(&mut home.command(program, &["doctor"]))).out;
    let said = doctor(env!("CARGO_BIN_EXE_openpistacrab"));
    assert!(said.contains("\nok     guard "), "{said}");
    let said = doctor(alone.to_str().unwrap());
    assert!(
        said.contains("\nwarn   guard          there is no ") && said.contains("start later"),
        "{said}"
    );
    let cure = "put openpista-guard beside openpistacrab, of the same version";
    assert!(
        said.contains(&format!("  warn   guard          {cure}\n")),
        "{said}"
    );
    // One that is no program of this version starts nothing, and says so.
    std::fs::write(home.path().join("openpista-guard"), "#!/bin/sh\nexit 2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path().join("openpista-guard"), mode).unwrap();
    let mut command = home.command(alone.to_str().unwrap(), &["run", "-e", line]);
    let ended = Ended::of(output(&mut command));
    assert!(ended.out.contains("its guard ended at once"), "{ended:?}");
    let said = doctor(alone.to_str().unwrap());
    assert!(
        said.contains("\nfault  guard ") && !said.contains("system.run: "),
        "{said}"
    );
    assert!(
        said.contains(&format!("  fault  guard          {cure}\n")),
        "{said}"
    );
}

#[test]
fn a_model_runs_tools_and_replies() {
    let server = Server::start(|request| match request.last("tool") {
        None => Answer::run("echo made | tee made.txt"),
        Some(result) if result.contains("made") => Answer::text("It is **made**."),
        Some(result) => Answer::text(format!("unexpected: {result}")),
    });
    let home = home_of(&server, "[policy]\nmode = \"full\"\n");
    let ended = home.run(&["run", "-e", "make it"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        (ended.out.as_str(), ended.err.as_str()),
        ("It is **made**.\n", "")
    );
    assert_eq!(wait_for_line(&home.file("made.txt")), "made");
    assert_eq!(server.count(), 2);
}

#[test]
fn a_failed_turn_says_why_on_standard_error() {
    let server = Server::start(|_| Answer::error(401, "that key is not known here"));
    let home = home_of(&server, "");
    let ended = home.run(&["run", "-e", "hello"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.starts_with("error: "), "{ended:?}");
    assert!(
        ended.err.contains("that key is not known here"),
        "{ended:?}"
    );
    assert!(ended.err.lines().count() <= 2, "{ended:?}");
}

#[test]
fn json_tells_success_from_failure() {
    let server = Server::start(|request| match request.last("user").as_deref() {
        Some("good") => Answer::text("fine"),
        _ => Answer::error(400, "no such thing"),
    });
    let home = home_of(&server, "");
    let report = |ended: &Ended| serde_json::from_str::<Value>(&ended.out).expect("one object");
    let good = home.run(&["run", "--json", "--session", "s", "-e", "good"]);
    let told = report(&good);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert_eq!(
        (&told["session"], &told["reply"]),
        (&"s".into(), &"fine".into())
    );
    assert_eq!(told["is_error"], false);
    assert!(told["took_ms"].is_u64());
    let bad = home.run(&["run", "--json", "-e", "bad"]);
    let told = report(&bad);
    assert_eq!(
        (bad.code, &told["is_error"]),
        (Some(1), &true.into()),
        "{bad:?}"
    );
    assert!(told["reply"].as_str().unwrap().contains("no such thing"));
}

#[test]
fn without_a_terminal_nobody_says_yes() {
    let server = Server::start(|request| match request.last("tool") {
        None => Answer::run("touch made.txt"),
        Some(_) => Answer::text("done"),
    });
    let home = home_of(&server, "");
    let ended = home.run(&["run", "-e", "make it"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!home.file("made.txt").exists());
    for word in ["denied", "touch made.txt", "--yes", "[policy]"] {
        assert!(ended.err.contains(word), "{word} in {ended:?}");
    }
    let ended = home.run(&["run", "--yes", "-e", "make it"]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "done\n"),
        "{ended:?}"
    );
    assert!(home.file("made.txt").exists());
    assert!(ended.err.contains("allowed by --yes"), "{ended:?}");
}

#[test]
fn at_a_terminal_the_person_is_asked_and_sees_progress() {
    let server = Server::start(|request| match request.last("tool") {
        None => Answer::run("echo \u{1b}[2Jsly > made.txt"),
        Some(_) => Answer::text("# Done\n\n```\n**kept**\n```\n"),
    });
    let home = home_of(&server, "");
    let mut terminal = home.at_terminal(&["run", "-e", "make it"]);
    terminal.wait_for("asking test… ");
    let question = terminal.wait_for("Allow? [y]es once / [s]ession / [N]o ");
    assert!(
        question.contains("command: echo ␛[2Jsly > made.txt"),
        "{question:?}"
    );
    assert!(!home.file("made.txt").exists());
    terminal.type_in("y\n");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert!(home.file("made.txt").exists());
    assert!(shown.contains("Done\r\n"), "{shown:?}");
    assert!(
        !shown.contains("# Done") && !shown.contains("```"),
        "{shown:?}"
    );
    assert!(shown.contains("\r\n**kept**\r\n"), "{shown:?}");
    assert!(!shown.contains("\u{1b}[2J"), "{shown:?}");
}

#[test]
fn a_signal_stops_the_turn_and_its_command() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let home = Home::new();
        let child = home.start(&["run", "-e", "! echo $$ > pid; exec sleep 1000"]);
        let pid = wait_for_line(&home.file("pid"));
        send(&child, signal);
        let ended = Ended::of(child.wait_with_output().unwrap());
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(code), ""),
            "{ended:?}"
        );
        assert!(ended.err.contains("topp"), "{ended:?}");
        wait_for_end_of(&pid);
        let status = home.run(&["run", "-e", "/status"]);
        assert!(status.out.contains("idle"), "{status:?}");
        assert_eq!(status.err, "", "nothing is left to recover");
    }
}

#[test]
fn a_reader_that_is_gone_is_an_error() {
    let home = Home::new();
    let mut child = home.start(&["run", "-e", "! sleep 0.2; echo unseen"]);
    drop(child.stdout.take());
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .err
            .contains("cannot write the reply to standard output"),
        "{ended:?}"
    );
    let next = home.run(&["run", "-e", "! echo seen"]);
    assert_eq!(
        (next.out.as_str(), next.err.as_str()),
        ("seen\n", ""),
        "{next:?}"
    );
}

#[test]
fn a_second_process_is_told_who_holds_the_data() {
    let home = Home::new();
    let child = home.start(&["run", "-e", "! echo x > started; sleep 1000"]);
    wait_for_line(&home.file("started"));
    let second = home.run(&["run", "-e", "! echo two"]);
    assert_eq!(
        (second.code, second.out.as_str()),
        (Some(1), ""),
        "{second:?}"
    );
    assert!(second.err.contains(&child.id().to_string()), "{second:?}");
    send(&child, Signal::INT);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
}

#[test]
fn what_a_killed_program_left_is_told_at_the_next_start() {
    let home = Home::new();
    let mut child = home.start(&["run", "-e", "! echo $$ > pid; exec sleep 1000"]);
    let pid = wait_for_line(&home.file("pid"));
    send(&child, Signal::KILL);
    child.wait().unwrap();
    wait_for_end_of(&pid);
    let next = home.run(&["run", "--session", "another", "-e", "! echo mine"]);
    assert_eq!(
        (next.code, next.out.as_str()),
        (Some(0), "mine\n"),
        "{next:?}"
    );
    assert!(
        next.err.contains("recovered reply to an earlier message"),
        "{next:?}"
    );
    let third = home.run(&["run", "-e", "! echo third"]);
    assert_eq!(
        (third.out.as_str(), third.err.as_str()),
        ("third\n", ""),
        "{third:?}"
    );
}

#[test]
fn a_recovered_turn_is_not_cut_off_by_leaving() {
    let failures = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.json().to_string().contains("the second message") {
            return Answer::text("second");
        }
        match (request.number, request.last("tool")) {
            (1, _) => Answer::silence(),
            // So the turn also waits for another try, while nothing runs.
            (_, None) if failures.fetch_add(1, Ordering::Relaxed) == 0 => {
                Answer::error(500, "a passing fault")
            }
            (_, None) => Answer::run("sleep 0.5; echo whole > made.txt"),
            (_, Some(_)) => Answer::text("first"),
        }
    });
    let home = home_of(&server, "[policy]\nmode = \"full\"\n");
    let mut child = home.start(&["run", "-e", "the first message"]);
    server.wait_for(1);
    send(&child, Signal::KILL);
    child.wait().unwrap();
    let next = home.run(&["run", "--session", "another", "-e", "the second message"]);
    assert_eq!(
        (next.code, next.out.as_str()),
        (Some(0), "second\n"),
        "{next:?}"
    );
    assert!(next.err.contains("first"), "{next:?}");
    assert_eq!(wait_for_line(&home.file("made.txt")), "whole");
}

#[test]
fn a_journal_that_fails_ends_the_program_and_its_commands() {
    let server = Server::start(|request| match request.last("tool") {
        None => Answer::calls([
            (
                "system.run",
                r#"{"command":"echo $$ > pid; exec sleep 1000"}"#,
            ),
            (
                "system.run",
                r#"{"command":"until test -s pid; do sleep 0.05; done; yes | head -c 2000000"}"#,
            ),
        ]),
        Some(_) => Answer::text("never"),
    });
    let tools = "[tools]\noutput_chars = 1000000\n[policy]\nmode = \"full\"\n";
    let home = home_of(&server, tools);
    // The journal cannot grow to hold what the second command prints.
    let limited = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let program = env!("CARGO_BIN_EXE_openpistacrab");
    let args = ["-c", limited, program, "run", "-e", "go"];
    let ended = Ended::of(home.command("sh", &args).output().unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""), "{ended:?}");
    assert!(ended.err.contains("memory.db"), "{ended:?}");
    assert!(ended.err.lines().count() <= 2, "{ended:?}");
    wait_for_end_of(&wait_for_line(&home.file("pid")));
    let next = home.run(&["run", "-e", "/status"]);
    assert_eq!(next.code, Some(0), "{next:?}");
}
