//! A call is stopped between two events: by the daemon, and by the person at the keyboard.

use crate::companion::{Hands, LONG_DRAG, typing};
use crate::display::{Editor, Screen, Window};
use openpista_shell_smol::desktop::End;

fn stopped(end: End) -> String {
    match end {
        End::Stopped { message } => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drag_stops_where_it_is_and_lets_go() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.begin("input.drag", LONG_DRAG);
    window.wait_for("MotionNotify pointer at 151");
    hands.stop();
    let message = stopped(hands.end());
    assert!(message.contains(" of 1003 events"), "{message}");
    assert!(
        message.contains("No key and no button is left down"),
        "{message}"
    );
    assert!(!screen.has_button_down());
    window.wait_for("ButtonRelease 1");
    assert_ne!(screen.pointer(), (450, 350));
}

#[test]
fn typing_stops_in_the_middle() {
    let screen = Screen::new();
    let map = screen.key_map();
    let (mut hands, editor, lines) = typing(&screen);
    hands.stop();
    stopped(hands.end());
    assert_eq!(screen.keys_down(), [0; 0]);
    assert_eq!(screen.key_map(), map);
    assert_ne!(editor.lines(), lines);
}

#[test]
fn a_chord_held_by_the_person_stops() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.begin("input.drag", LONG_DRAG);
    window.wait_for("MotionNotify pointer at 151");
    screen.xdotool(&["keydown", "ctrl", "keydown", "shift", "keydown", "Escape"]);
    let message = stopped(hands.end());
    assert!(
        message.starts_with("a person held Ctrl+Shift+Esc"),
        "{message}"
    );
    assert!(!screen.has_button_down());
    // What the person holds is the person's.
    assert_eq!(screen.keys_down().len(), 3);
    screen.xdotool(&["keyup", "Escape", "keyup", "shift", "keyup", "ctrl"]);
    hands.done("input.move", r#"{"x":1,"y":1}"#);
}

#[test]
fn the_same_chord_pressed_by_us_is_no_reason_to_stop() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":300,"y":200}"#);
    hands.done("input.key", r#"{"keys":"ctrl+shift+escape"}"#);
    window.wait_for("KeyPress Escape");
}

#[test]
fn typing_waits_while_the_person_holds_a_modifier() {
    let screen = Screen::new();
    let editor = Editor::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("input.click", r#"{"x":200,"y":200}"#);
    screen.xdotool(&["keydown", "ctrl"]);
    hands.begin("input.type", r#"{"text":"abc\n"}"#);
    screen.xdotool(&["sleep", "1", "keyup", "ctrl"]);
    assert!(matches!(hands.end(), End::Done(_)));
    hands.done("input.key", r#"{"keys":"ctrl+d"}"#);
    assert_eq!(editor.saved(), "abc\n");
}

#[test]
fn a_call_that_takes_too_long_lets_go() {
    let screen = Screen::new();
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":1,"y":1}"#);
    // The time of a call is its own; the person keeps this one waiting.
    screen.xdotool(&["keydown", "ctrl"]);
    hands.begin_for("input.drag", LONG_DRAG, 500);
    match hands.end() {
        End::TimedOut { message } => assert!(message.contains("after 0 of 1003"), "{message}"),
        other => panic!("{other:?}"),
    }
    screen.xdotool(&["keyup", "ctrl"]);
    hands.begin_for("input.drag", LONG_DRAG, 1_000);
    assert!(matches!(hands.end(), End::TimedOut { .. }));
    assert!(!screen.has_button_down());
}
