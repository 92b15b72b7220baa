//! What an operator watches: the real daemon, a real model server, and plain HTTP.

mod support;

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::daemon::Daemon;
use support::program::Home;
use support::server::{Answer, Server};

/// How long a count may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon with metrics, of a model that first fails, then runs a command, then answers.
fn daemon() -> (Server, Home, Daemon) {
    let server = Server::start(|request| match request.last("tool") {
        Some(_) => Answer::text("done"),
        None if request
            .last("user")
            .is_some_and(|text| text.contains("deny")) =>
        {
            Answer::error(403, "no such model for you")
        }
        None => Answer::run("echo secret-word"),
    });
    let home = Home::with(&format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n\
         [policy]\nmode = \"full\"\n\
         [agent]\nprovider = \"custom\"\nmodel = \"m\"\napi_key = \"sk-sesame\"\nbase_url = \"{}\"\n",
        server.base_url()
    ));
    let daemon = Daemon::of(&home);
    (server, home, daemon)
}

/// The address of the page.
fn address(daemon: &Daemon) -> String {
    let url = daemon.told("metrics").to_owned();
    let address = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/metrics"));
    address.expect("a URL").to_owned()
}

/// What a request of these bytes is answered; none when the connection is dropped.
fn ask(address: &str, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(address).expect("the daemon listens");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_owned(), body.to_owned()))
}

/// The same where there is room for one more connection.
fn answer(address: &str, request: &str) -> (String, String) {
    ask(address, request).expect("a head and a body")
}

fn scrape(address: &str) -> Option<String> {
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let kind = "\r\nContent-Type: text/plain; version=0.0.4";
    assert!(head.contains(kind), "{head}");
    Some(body)
}

/// Scrapes until the sample with this name and these labels has the value.
fn wait_for(address: &str, sample: &str, value: &str) -> String {
    let line = format!("{sample} {value}");
    let began = Instant::now();
    loop {
        let text = scrape(address);
        let found = text
            .as_deref()
            .is_some_and(|text| text.lines().any(|l| l == line));
        match text {
            Some(text) if found => return text,
            text => assert!(began.elapsed() < PATIENCE, "no line {line:?} in:\n{text:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_happens_is_counted_by_what_came_of_it() {
    let (_server, home, daemon) = daemon();
    let address = address(&daemon);
    let said = home.run(&["run", "-e", "please"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "done\n"),
        "{said:?}"
    );
    let failed = home.run(&["run", "-e", "deny"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    for (sample, value) in [
        ("openpista_turns_total{end=\"replied\"}", "1"),
        ("openpista_turns_total{end=\"failed\"}", "1"),
        (
            "openpista_messages_total{channel=\"cli\",result=\"accepted\"}",
            "2",
        ),
        (
            "openpista_model_call_duration_seconds_count{code=\"200\",provider=\"custom\"}",
            "2",
        ),
        (
            "openpista_model_call_duration_seconds_count{code=\"403\",provider=\"custom\"}",
            "1",
        ),
        (
            "openpista_tool_call_duration_seconds_count{end=\"ok\",tool=\"system.run\"}",
            "1",
        ),
        (
            "openpista_deliveries_total{channel=\"cli\",end=\"ok\"}",
            "2",
        ),
        ("openpista_queue_depth{queue=\"turns\"}", "0"),
        ("openpista_queue_depth{queue=\"effects\"}", "0"),
        ("openpista_sandboxes{engine=\"docker\",state=\"busy\"}", "0"),
        ("openpista_effects_in_doubt_total", "0"),
    ] {
        wait_for(&address, sample, value);
    }
    let text = scrape(&address).expect("room");
    let version = format!(
        "openpista_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text.contains(&version), "{text}");
    let commits = |text: &str, name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it is there").trim().parse().expect("a number")
    };
    let count = commits(&text, "openpista_journal_commit_duration_seconds_count");
    assert_eq!(
        commits(&text, "openpista_journal_sync_duration_seconds_count"),
        count
    );
    assert!(count >= 6, "two turns were made durable: {count}");
    for word in ["please", "secret-word", "sesame", "local"] {
        assert!(!text.contains(word), "{word} is nobody's business:\n{text}");
    }
}

/// The program that judges is Prometheus's own: `.ci/run` has it.
#[test]
fn prometheus_finds_nothing_to_complain_of() {
    let promtool = std::env::var("PROMTOOL").unwrap_or("promtool".to_owned());
    let (_server, home, daemon) = daemon();
    assert_eq!(home.run(&["run", "-e", "please"]).code, Some(0));
    let text = scrape(&address(&daemon)).expect("room");
    let mut command = Command::new(&promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = match command.spawn() {
        Ok(judge) => judge,
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("not judged: {promtool}: {error}; it is in Debian's prometheus");
            return;
        }
        Err(error) => panic!("{promtool}: {error}: .ci/run fetches it"),
    };
    let mut stdin = judge.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("a reader");
    drop(stdin);
    let judged = judge.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn only_the_page_is_answered_and_nobody_can_hold_it_up() {
    let (_server, home, daemon) = daemon();
    let address = address(&daemon);
    let (head, body) = answer(&address, "GET / HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    assert_eq!(body, "the metrics are at /metrics\n");
    let (head, _) = answer(
        &address,
        "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("\r\nAllow: GET, HEAD\r\n"));
    let (head, body) = answer(&address, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty());
    // More than are served at once, of which none says anything.
    let held: Vec<_> = (0..64)
        .map(|_| TcpStream::connect(&address).expect("room"))
        .collect();
    assert_eq!(home.run(&["run", "-e", "please"]).code, Some(0));
    drop(held);
    wait_for(&address, "openpista_turns_total{end=\"replied\"}", "1");
    let mut endless = TcpStream::connect(&address).expect("room");
    let line = [b'x'; 4_096];
    while endless.write_all(&line).is_ok() {}
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn nothing_listens_unless_it_is_asked_to_and_a_taken_address_is_said() {
    let home = Home::with(support::daemon::CONFIG);
    let daemon = Daemon::of(&home);
    assert!(!daemon.said.iter().any(|line| line.starts_with("metrics")));
    assert_eq!(daemon.stop().code, Some(0));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let home = Home::with(&format!(
        "{}[metrics]\nlisten = \"{address}\"\n",
        support::daemon::CONFIG
    ));
    let ended = home.run(&["start"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = format!("cannot listen on {address} for [metrics] listen");
    assert!(
        ended.err.contains(&expected) && ended.err.contains("choose another"),
        "{ended:?}"
    );
}

#[test]
fn a_log_of_objects_names_sessions_and_effects_and_no_secret() {
    let (_server, home, first) = daemon();
    assert_eq!(first.stop().code, Some(0));
    let mut command = home.program(&["--log", "debug", "--log-format", "json", "start"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let daemon = Daemon::by(command);
    assert_eq!(home.run(&["run", "-e", "please"]).code, Some(0));
    let ended = daemon.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = ended
        .err
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let about_effects: Vec<Value> = lines
        .filter(|line| line["span"]["effect"].is_string())
        .collect();
    let tool = about_effects
        .iter()
        .find(|line| line["message"] == "system.run ended");
    let tool = tool.unwrap_or_else(|| panic!("no tool in {about_effects:#?}"));
    assert_eq!(tool["span"]["session"], "cli:local");
    for word in ["please", "secret-word", "sesame"] {
        assert!(
            !ended.err.contains(word),
            "{word} is nobody's business:\n{}",
            ended.err
        );
    }
}
