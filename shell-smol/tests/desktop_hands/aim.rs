//! Clicks, keys, the wheel and drags arrive where they were meant.

use crate::companion::Hands;
use crate::display::{Screen, Window};
use openpista_shell_smol::desktop::End;

/// The presses and releases among the events.
fn without_motions(events: Vec<String>) -> Vec<String> {
    let still = |event: &String| !event.starts_with("MotionNotify");
    events.into_iter().filter(still).collect()
}

#[test]
fn a_click_arrives_in_a_window_of_another_program() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    let said = hands.done("input.click", r#"{"x":220,"y":340}"#);
    let did = "clicked left at 220,340 (pixels of the screen: there was no capture before)";
    assert_eq!(said, did);
    let expected = [
        "ButtonPress 1 at 220,340 state 0x0",
        "ButtonRelease 1 at 220,340 state 0x100",
    ];
    assert_eq!(
        without_motions(window.wait_for("ButtonRelease 1")),
        expected
    );
    assert_eq!(screen.pointer(), (220, 340));
}

#[test]
fn buttons_counts_and_modifiers_are_seen() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":300,"y":200}"#);
    let arguments = r#"{"button":"right","count":2,"modifiers":["ctrl","shift"]}"#;
    let said = hands.done("input.click", arguments);
    let did = "clicked right twice where the pointer is (screen 300,200) with ctrl+shift held";
    assert_eq!(said, did);
    let expected = [
        "KeyPress Control_L at 300,200 state 0x0",
        "KeyPress Shift_L at 300,200 state 0x4",
        "ButtonPress 3 at 300,200 state 0x5",
        "ButtonRelease 3 at 300,200 state 0x405",
        "ButtonPress 3 at 300,200 state 0x5",
        "ButtonRelease 3 at 300,200 state 0x405",
        "KeyRelease Shift_L at 300,200 state 0x5",
        "KeyRelease Control_L at 300,200 state 0x4",
    ];
    let events = without_motions(window.wait_for("KeyRelease Control_L"));
    assert_eq!(events, expected);
    hands.done("input.click", r#"{"x":301,"y":201,"button":"middle"}"#);
    window.wait_for("ButtonRelease 2 at 301,201");
}

#[test]
fn a_chord_is_pressed_and_released() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":300,"y":200}"#);
    assert_eq!(
        hands.done("input.key", r#"{"keys":"ctrl+shift+t"}"#),
        "pressed ctrl+shift+t"
    );
    let expected = [
        "KeyPress Control_L at 300,200 state 0x0",
        "KeyPress Shift_L at 300,200 state 0x4",
        "KeyPress T at 300,200 state 0x5",
        "KeyRelease T at 300,200 state 0x5",
        "KeyRelease Shift_L at 300,200 state 0x5",
        "KeyRelease Control_L at 300,200 state 0x4",
    ];
    let events = without_motions(window.wait_for("KeyRelease Control_L"));
    assert_eq!(events, expected);
    for (keys, symbol) in [
        ("enter", "Return"),
        ("f5", "F5"),
        ("?", "question"),
        ("漢", "U6F22"),
    ] {
        hands.done("input.key", &format!(r#"{{"keys":"{keys}"}}"#));
        window.wait_for(&format!("KeyPress {symbol} "));
        window.wait_for(&format!("KeyRelease {symbol} "));
    }
    match hands.call("input.key", r#"{"keys":"ctrl+hyper"}"#) {
        End::Refused { message } => assert!(message.contains("pageup"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_wheel_turns() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    let arguments = r#"{"x":300,"y":200,"dy":3,"dx":-1}"#;
    let said = hands.done("input.scroll", arguments);
    assert!(
        said.starts_with("scrolled 3 notches down and 1 notch left at 300,200"),
        "{said}"
    );
    let events = window.wait_for("ButtonRelease 6");
    let count = |what: &str| {
        events
            .iter()
            .filter(|event| event.starts_with(what))
            .count()
    };
    assert_eq!(count("ButtonPress 5 at 300,200"), 3);
    assert_eq!(count("ButtonPress 6 at 300,200"), 1);
    hands.done("input.scroll", r#"{"dy":-1,"dx":1}"#);
    window.wait_for("ButtonPress 4 at 300,200");
    window.wait_for("ButtonPress 7 at 300,200");
}

#[test]
fn a_drag_moves_with_the_button_down() {
    let screen = Screen::new();
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    let arguments = r#"{"from":{"x":150,"y":150},"to":{"x":450,"y":350},"duration_ms":300}"#;
    hands.done("input.drag", arguments);
    let events = window.wait_for("ButtonRelease 1");
    let press = events
        .iter()
        .position(|event| event == "ButtonPress 1 at 150,150 state 0x0");
    let release =
        (events.iter()).position(|event| event == "ButtonRelease 1 at 450,350 state 0x100");
    let between = &events[press.expect("a press") + 1..release.expect("a release")];
    assert!(between.len() >= 20, "{between:?}");
    let dragged =
        |event: &String| event.starts_with("MotionNotify") && event.ends_with("state 0x100");
    assert!(between.iter().all(dragged), "{between:?}");
    assert!(!screen.has_button_down());
}

#[test]
fn what_lies_off_the_screen_is_refused_and_nothing_moves() {
    let screen = Screen::new();
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":5,"y":6}"#);
    for (tool, arguments) in [
        ("input.click", r#"{"x":1280,"y":0}"#),
        ("input.move", r#"{"x":0,"y":-1}"#),
        (
            "input.drag",
            r#"{"from":{"x":0,"y":0},"to":{"x":0,"y":800}}"#,
        ),
    ] {
        match hands.call(tool, arguments) {
            End::Refused { message } => {
                assert!(
                    message.contains("x is 0 to 1279 and y 0 to 799"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(screen.pointer(), (5, 6));
}

#[test]
fn without_a_display_the_tools_are_not_there() {
    for (variables, why) in [
        (&[][..], "DISPLAY is not set"),
        (
            &[("WAYLAND_DISPLAY", "wayland-0")],
            "Wayland session without XWayland",
        ),
        (&[("DISPLAY", ":54321")], "does not let us in"),
    ] {
        let abilities = Hands::with(variables).abilities();
        let hands = abilities
            .into_iter()
            .filter(|one| one.tool.starts_with("input."));
        let lacks: Vec<_> = hands.map(|one| one.offer.expect_err(&one.tool)).collect();
        assert_eq!(lacks.len(), 6);
        for lack in lacks {
            assert!(lack.why.contains(why), "{lack:?}");
            assert!(!lack.mend.is_empty());
        }
    }
}

#[test]
fn coordinates_are_in_the_pixels_of_the_last_picture() {
    // Twice as wide as a model is shown.
    let screen = Screen::of(3_136, 1_600);
    let window = Window::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("screen.capture", "{}");
    let said = hands.done("input.click", r#"{"x":120,"y":130}"#);
    assert_eq!(said, "clicked left at 120,130 (screen 241,261)");
    window.wait_for("ButtonRelease 1 at 241,261");
    // A part of that, which is shown as large as it is.
    hands.done(
        "screen.capture",
        r#"{"x":100,"y":100,"width":200,"height":100}"#,
    );
    let said = hands.done("input.click", r#"{"x":10,"y":20,"button":"right"}"#);
    assert_eq!(said, "clicked right at 10,20 (screen 210,220)");
    window.wait_for("ButtonRelease 3 at 210,220");
    match hands.call("input.click", r#"{"x":400,"y":0}"#) {
        End::Refused { message } => assert!(message.contains("400 × 200 pixels"), "{message}"),
        other => panic!("{other:?}"),
    }
}
