//! `repl`, through a pipe and at a terminal.

mod support;

use std::os::unix::fs::PermissionsExt;
use support::program::{Home, wait_for_end_of, wait_for_line};
use support::server::{Answer, Server};

#[test]
fn every_line_is_a_message_and_waits_for_the_one_before() {
    let home = Home::new();
    let lines = "! sleep 0.3; echo one\n\n! echo two\n/quit\n! echo never\n";
    let ended = home.run_with(&["repl"], lines);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("one\ntwo\n", ""));
}

#[test]
fn a_session_is_remembered_by_the_next_process() {
    let server = Server::start(|request| {
        let said = request.messages();
        let texts = said.iter().filter(|message| message["role"] == "user");
        let texts: Vec<&str> = texts
            .filter_map(|message| message["content"].as_str())
            .collect();
        match texts.last() {
            Some(&"fail") => Answer::error(400, "cannot"),
            _ => Answer::text(texts.join(", ")),
        }
    });
    let home = Home::with(&format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{}\"\n",
        server.base_url()
    ));
    let first = home.run_with(&["repl"], "my name is Ada\nfail\n");
    assert_eq!(
        (first.code, first.out.as_str()),
        (Some(0), "my name is Ada\n"),
        "{first:?}"
    );
    assert!(
        first.err.starts_with("error: ") && first.err.contains("cannot"),
        "{first:?}"
    );
    let second = home.run_with(&["repl"], "who am I?\n/new\nand now?\n");
    let replies: Vec<&str> = second.out.lines().collect();
    assert!(replies[0].starts_with("my name is Ada, "), "{second:?}");
    assert!(replies[0].ends_with("who am I?"), "{second:?}");
    assert_eq!(replies.last(), Some(&"and now?"), "{second:?}");
    let other = home.run_with(&["repl", "--session", "other"], "alone\n");
    assert_eq!(other.out, "alone\n");
}

#[test]
fn through_a_pipe_nobody_says_yes() {
    let home = Home::new();
    let ended = home.run_with(&["repl"], "uptime\n");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("denied") && ended.err.contains("[policy]"),
        "{ended:?}"
    );
}

#[test]
fn at_a_terminal_one_can_talk_answer_stop_and_leave() {
    let home = Home::new();
    let mut terminal = home.at_terminal(&["repl"]);
    terminal.wait_for("openpista> ");
    terminal.type_in("uptime\r");
    let question = terminal.wait_for("Allow? [y]es once / [s]ession / [N]o");
    assert!(question.contains("command: uptime"), "{question:?}");
    terminal.type_in("n\r");
    terminal.wait_for("the person said no");
    // Two lines in one write: the second must not be lost.
    terminal.type_in("/status\r! echo $$ > pid; exec sleep 1000\r");
    terminal.wait_for("idle");
    let pid = wait_for_line(&home.file("pid"));
    terminal.type_in("\u{3}");
    terminal.wait_for("Stopped.");
    wait_for_end_of(&pid);
    terminal.type_in("! echo $$ > pid2; exec sleep 1000\r");
    let pid = wait_for_line(&home.file("pid2"));
    terminal.type_in("/quit\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert!(shown.contains("Stopped."), "{shown:?}");
    wait_for_end_of(&pid);
    let history = home.file("../history");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(
        text.contains("uptime\n") && text.contains("exec sleep 1000\n"),
        "{text:?}"
    );
    let mode = std::fs::metadata(&history).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn ctrl_d_leaves() {
    let home = Home::new();
    let mut terminal = home.at_terminal(&["repl"]);
    terminal.wait_for("openpista> ");
    terminal.type_in("\u{3}");
    terminal.wait_for("to leave: /quit or Ctrl-D");
    terminal.wait_for("openpista> ");
    terminal.type_in("\u{4}");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
}
