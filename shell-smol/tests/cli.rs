//! The program as a person starts it: help, version, mistakes, doctor.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in a home of its own, with nothing of ours in its environment.
fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openpistacrab"));
    command.env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", home).current_dir(home);
    command
}

/// Runs it with these arguments; gives exit status, stdout and stderr.
fn run(home: &Path, args: &[&str]) -> (i32, String, String) {
    outcome(program(home).args(args).output().unwrap())
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().expect("an exit status");
    (status, text(output.stdout), text(output.stderr))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

const COMMANDS: [&str; 13] = [
    "init",
    "run",
    "repl",
    "start",
    "token",
    "allow",
    "forbid",
    "sessions",
    "export",
    "replay",
    "doctor",
    "completions",
    "man",
];

#[test]
fn version_is_one_line_and_touches_nothing() {
    let home = home();
    for flag in ["--version", "-V"] {
        let (status, out, err) = run(home.path(), &[flag]);
        let version = concat!("openpistacrab ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!((status, out.as_str(), err.as_str()), (0, version, ""));
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn the_programs_beside_it_say_their_version_too() {
    for program in [
        env!("CARGO_BIN_EXE_openpista-guard"),
        env!("CARGO_BIN_EXE_openpista-wasm"),
        env!("CARGO_BIN_EXE_openpista-worker"),
        #[cfg(feature = "desktop")]
        env!("CARGO_BIN_EXE_openpista-desktop"),
    ] {
        let output = Command::new(program).arg("--version").output().unwrap();
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let version = format!("{name} {}\n", env!("CARGO_PKG_VERSION"));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), said), (Some(0), version));
    }
}

#[test]
fn help_is_the_same_whatever_way_it_is_asked_for() {
    let home = home();
    let (status, help, err) = run(home.path(), &["--help"]);
    assert_eq!((status, err.as_str()), (0, ""));
    insta::assert_snapshot!("help", help);
    assert_eq!(run(home.path(), &["-h"]).1, help);
    assert_eq!(run(home.path(), &["help"]).1, help);
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        let (status, own, _) = run(home.path(), &[command, "--help"]);
        assert_eq!(status, 0);
        assert!(
            own.contains("Usage: ") && own.contains("Examples:"),
            "{own}"
        );
        assert_eq!(run(home.path(), &["-h", command]).1, own);
        assert_eq!(run(home.path(), &["help", command]).1, own);
    }
    insta::assert_snapshot!("help_run", run(home.path(), &["run", "-h"]).1);
    let long = help.lines().find(|line| line.chars().count() > 100);
    assert_eq!(long, None);
}

#[test]
fn mistakes_name_the_cause_the_nearest_and_the_help() {
    let home = home();
    let lines: &[&[&str]] = &[
        &[],
        &["rnu"],
        &["frobnicate"],
        &["run", "--sesion", "x", "-e", "hi"],
        &["run", "-x"],
        &["run", "--frobnicate"],
        &["--sessoin"],
        &["--json", "run"],
        &["run", "hello"],
        &["run", "-e"],
        &["run", "-e", "a", "-e", "b"],
        &["run", "-e", "  "],
        &["run", "--json=yes", "-e", "hi"],
        &["run", "-e", "hi", "--session", ""],
        &["run"],
        &["sessions", "work"],
        &["sessions", "show"],
        &["sessions", "show", "a", "b"],
        &["replay"],
        &["replay", "a", "b"],
        &["doctor", "now"],
        &["start", "now"],
        &["token"],
        &["token", "add"],
        &["token", "remove", "x"],
        &["token", "add", "x", "y"],
        &["allow"],
        &["allow", "12345"],
        &["completions"],
        &["completions", "tcsh"],
        &["init", "now"],
        &["init", "--api-key", "x"],
        &["doctor", "--log", "loud"],
        &["export", "--config"],
        &["repl", "--config", "none.toml"],
    ];
    let mut said = Vec::new();
    for args in lines {
        let (status, out, err) = run(home.path(), args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.lines().count() <= 4, "{err}");
        said.push(format!("$ openpistacrab {}\n{err}", args.join(" ")));
    }
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_wrong_configuration_is_a_usage_error_with_its_line() {
    let home = home();
    let file = home.path().join("wrong.toml");
    std::fs::write(&file, "[agent]\nmodle = \"x\"\n").unwrap();
    for args in [
        ["--config", "wrong.toml", "sessions"],
        ["sessions", "--config", "wrong.toml"],
    ] {
        let (status, _, err) = run(home.path(), &args);
        assert_eq!(status, 2, "{err}");
        let expected = "wrong.toml:2: unknown key \"agent.modle\"; did you mean \"agent.model\"?";
        assert!(err.contains(expected), "{err}");
    }
    let mut command = program(home.path());
    command.env("OPENPISTACRAB_CONFIG", &file).arg("sessions");
    assert_eq!(outcome(command.output().unwrap()).0, 2);
}

#[test]
fn what_is_piped_in_must_be_text_of_bounded_length() {
    let home = home();
    let pipe = |bytes: &[u8]| {
        let mut command = program(home.path());
        command.args(["run", "-e", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The program may stop reading at its bound: that breaks the pipe, as it should.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        outcome(child.wait_with_output().unwrap())
    };
    let (status, _, err) = pipe(b"caf\xe9");
    assert_eq!(status, 2);
    assert!(err.contains("not valid UTF-8"), "{err}");
    let (status, _, err) = pipe(&[b'a'; 200_000]);
    assert_eq!(status, 2);
    assert!(err.contains("limits.message_bytes"), "{err}");
}

#[test]
fn doctor_finds_a_fresh_home_sound() {
    let home = home();
    std::fs::create_dir(home.path().join(".openpistacrab")).unwrap();
    let own = "[agent]\nprovider = \"builtin\"\n";
    std::fs::write(home.path().join(".openpistacrab/config.toml"), own).unwrap();
    let (status, out, err) = run(home.path(), &["doctor"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");
    for subject in [
        "configuration",
        "provider",
        "data dir",
        "workspace",
        "guard",
        "database",
        "disk",
        "lock",
        "bash",
        "docker",
        "workers",
        "wasm           confined by Landlock",
    ] {
        assert!(out.contains(subject), "{subject} is not in\n{out}");
    }
    assert!(!out.contains('\x1b'), "colours in a pipe:\n{out}");
    assert!(!home.path().join(".openpistacrab/memory.db").exists());
}

#[test]
fn doctor_names_each_fault_and_its_cure() {
    let home = home();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("memory.db"), "not a database".repeat(100)).unwrap();
    std::fs::write(data.join("workspace"), "in the way").unwrap();
    let config = "[agent]\nprovider = \"custom\"\napi_key = \"canary\"\n\
                  base_url = \"http://127.0.0.1:9/v1\"\n";
    std::fs::write(data.join("config.toml"), config).unwrap();
    let (status, out, _) = run(home.path(), &["--data-dir", "data", "doctor"]);
    assert_eq!(status, 1, "{out}");
    let (found, mended) = out.split_once("\nWhat works:\n").unwrap();
    let has = |text: &str, status: &str, subject: &str, part: &str| {
        let line = text.lines().find(|line| line.contains(subject)).unwrap();
        assert!(
            line.trim_start().starts_with(status) && line.contains(part),
            "{line}"
        );
    };
    has(found, "warn", " configuration ", "others may read it");
    has(found, "fault", " provider ", "127.0.0.1:9");
    has(found, "fault", " workspace ", "not a folder");
    has(found, "fault", " database ", "damaged");
    let (works, mended) = mended.split_once("\nTo be mended (3 at fault):\n").unwrap();
    assert!(
        !works.contains("run, repl") && works.contains("skills"),
        "{works}"
    );
    has(mended, "warn", " configuration ", "chmod 600");
    has(mended, "fault", " provider ", "openpistacrab init");
    has(mended, "fault", " workspace ", "move it");
    has(mended, "fault", " database ", "database");
    let lines = found.lines().filter(|line| line.starts_with("fault"));
    assert_eq!(lines.count(), 3, "{out}");
    assert!(!out.contains("canary"), "{out}");
}

/// Answers each connection with this, and tells what was asked.
fn serve(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (asked, requests) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap() == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            let _ = asked.send(String::from_utf8(request).unwrap());
        }
    });
    (url, requests)
}

#[test]
fn doctor_asks_the_server_with_the_key_and_tells_what_it_said() {
    let home = home();
    let doctor = |answer| {
        let (url, requests) = serve(answer);
        let config =
            format!("[agent]\nprovider = \"custom\"\nmodel = \"m\"\nbase_url = \"{url}\"\n");
        std::fs::write(home.path().join("c.toml"), config).unwrap();
        let mut command = program(home.path());
        command.env("OPENPISTACRAB_API_KEY", "canary-key");
        command.args(["doctor", "--config", "c.toml"]);
        let (status, out, _) = outcome(command.output().unwrap());
        assert!(!out.contains("canary"), "{out}");
        let line = out.lines().find(|line| line.contains(" provider "));
        let request = requests.recv().unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /v1/models "), "{request}");
        assert!(
            request.contains("authorization: bearer canary-key\r\n"),
            "{request}"
        );
        (status, line.unwrap().to_owned())
    };
    let (status, line) = doctor("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status, 1, "{line}");
    assert!(
        line.starts_with("fault") && line.contains("refuses the key (401)"),
        "{line}"
    );
    let (status, line) =
        doctor("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"data\":[{\"id\":\"m\"}]}");
    assert_eq!(status, 0, "{line}");
    assert!(line.starts_with("ok") && line.contains("model m"), "{line}");
}

#[test]
fn doctor_goes_on_after_a_wrong_configuration() {
    let home = home();
    std::fs::write(home.path().join("wrong.toml"), "[agnet]\n").unwrap();
    let (status, out, _) = run(home.path(), &["doctor", "--config", "wrong.toml"]);
    assert_eq!(status, 1, "{out}");
    assert!(
        out.starts_with("fault  configuration  wrong.toml:1:"),
        "{out}"
    );
    assert!(out.contains("bash"), "{out}");
}
