//! Nothing moves without permission, and nothing stays down when the daemon is killed.

use crate::companion::{LONG_DRAG, child_of, kill, wait_gone};
use crate::display::Screen;
use crate::support::program::{Ended, Home, send, wait_until};
use crate::support::server::{Answer, Server};
use crate::xvfb::Running;
use rustix::process::Signal;
use std::process::{Command, Stdio};

/// A model that wants one call, and tells what came of it.
fn wants(tool: &'static str, arguments: &'static str) -> Server {
    Server::start(move |request| match request.last("tool") {
        None => Answer::calls([(request.tool_name(tool).as_str(), arguments)]),
        Some(result) => Answer::text(result),
    })
}

/// The daemon's program on a screen, for one turn with this model.
fn turn(home: &Home, screen: &Screen, more: &[&str]) -> Command {
    let mut command = home.program(&["run"]);
    command.args(more).env("DISPLAY", screen.name());
    command
}

fn home_of(server: &Server) -> Home {
    Home::with(&format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{}\"\n\
         [policy]\nmode = \"ask\"\n",
        server.base_url()
    ))
}

#[test]
fn without_permission_nothing_moves_and_with_it_it_does() {
    let screen = Screen::new();
    let server = wants("input.move", r#"{"x":12,"y":34}"#);
    let home = home_of(&server);
    let before = screen.pointer();
    let ended = Ended::of(
        turn(&home, &screen, &["-e", "do it"])
            .output()
            .expect("the program"),
    );
    assert_eq!(screen.pointer(), before, "{ended:?}");
    assert_ne!(before, (12, 34));
    let said = ended.out + &ended.err;
    assert!(said.contains("input.move"), "it was asked for: {said}");
    let ended = Ended::of(
        turn(&home, &screen, &["--yes", "-e", "do it"])
            .output()
            .expect("the program"),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("moved the pointer to 12,34"),
        "{ended:?}"
    );
    assert_eq!(screen.pointer(), (12, 34));
}

#[test]
fn what_a_model_is_told_of_them_is_there_only_where_there_is_a_display() {
    let screen = Screen::new();
    let offered = |with_display: bool| {
        let server = Server::start(|_| Answer::text("nothing to do"));
        let home = home_of(&server);
        let mut command = turn(&home, &screen, &["-e", "do it"]);
        if !with_display {
            command.env_remove("DISPLAY");
        }
        let ended = Ended::of(command.output().expect("the program"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let body = server.requests()[0].json()["tools"].to_string();
        ["click", "move", "type", "key", "scroll", "drag"]
            .into_iter()
            .filter(|tool| body.contains(&format!("input_{tool}")))
            .count()
    };
    assert_eq!(offered(true), 6);
    assert_eq!(offered(false), 0);
}

/// The daemon in the middle of a drag: it, its companion and the watcher.
fn dragging(home: &Home, screen: &Screen) -> (Running, [u32; 2]) {
    let mut command = turn(home, screen, &["--yes", "-e", "do it"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let daemon = Running(command.spawn().expect("the program"));
    wait_until("a button that is down", || {
        screen.has_button_down().then_some(())
    });
    let companion = child_of(daemon.0.id()).expect("the companion");
    let watcher = child_of(companion).expect("the watcher");
    (daemon, [companion, watcher])
}

fn all_is_let_go(screen: &Screen, others: [u32; 2]) {
    wait_until("all buttons up", || {
        (!screen.has_button_down()).then_some(())
    });
    for id in others {
        wait_gone("the daemon's family", id);
    }
    assert!(!screen.has_button_down());
    assert_ne!(screen.pointer(), (450, 350));
}

#[test]
fn no_button_is_down_after_the_daemon_was_killed() {
    let screen = Screen::new();
    let server = wants("input.drag", LONG_DRAG);
    let home = home_of(&server);
    let (daemon, others) = dragging(&home, &screen);
    kill(daemon.0.id());
    all_is_let_go(&screen, others);
    drop(daemon);
    // It may have been done: the person is told, and it is not done again.
    let stayed = screen.pointer();
    let mut next = turn(
        &home,
        &screen,
        &["--yes", "--session", "another", "-e", "/status"],
    );
    let ended = Ended::of(next.output().expect("the program"));
    assert!(ended.err.contains("input.drag"), "{ended:?}");
    assert_eq!(screen.pointer(), stayed);
}

#[test]
fn the_next_start_releases_what_nobody_was_left_to_release() {
    let screen = Screen::new();
    let server = wants("input.drag", LONG_DRAG);
    let home = home_of(&server);
    let (daemon, [companion, watcher]) = dragging(&home, &screen);
    // As a service manager does that clears up: nobody sees another die.
    for id in [daemon.0.id(), companion] {
        crate::companion::send(id, Signal::STOP);
    }
    for id in [watcher, companion, daemon.0.id()] {
        kill(id);
        wait_gone("the daemon's family", id);
    }
    drop(daemon);
    assert!(
        screen.has_button_down(),
        "else there is nothing to see here"
    );
    let options = ["--session", "another", "-e", "/status"];
    let ended = turn(&home, &screen, &options).output();
    let ended = Ended::of(ended.expect("the program"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!screen.has_button_down(), "{ended:?}");
}

#[test]
fn a_person_stops_the_turn_and_its_drag() {
    let screen = Screen::new();
    let server = wants("input.drag", LONG_DRAG);
    let home = home_of(&server);
    let mut command = turn(&home, &screen, &["--yes", "-e", "do it"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let program = command.spawn().expect("the program");
    wait_until("a button that is down", || {
        screen.has_button_down().then_some(())
    });
    send(&program, Signal::INT);
    let ended = Ended::awaited(program);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(!screen.has_button_down());
    assert_ne!(screen.pointer(), (450, 350));
}

#[test]
fn no_button_is_down_after_both_were_killed_at_once() {
    let screen = Screen::new();
    let server = wants("input.drag", LONG_DRAG);
    let home = home_of(&server);
    let (daemon, others) = dragging(&home, &screen);
    kill(others[0]);
    kill(daemon.0.id());
    all_is_let_go(&screen, others);
}
