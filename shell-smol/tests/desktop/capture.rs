//! `screen.capture`, against pictures that ImageMagick shows and reads.

use crate::rig::{Display, Eyes, pattern, pixels};
use crate::support::program::wait_until;
use openpista_shell_smol::desktop::{End, Shot};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const NAME: &str = "screen.capture";

fn capture(eyes: &mut Eyes, arguments: &Value) -> Shot {
    let mut done = eyes.done(NAME, arguments);
    let shot = done.pictures.pop().expect("a picture");
    let path = shot.path.to_str().expect("a plain path");
    assert!(done.text.contains(path), "{}", done.text);
    shot
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_screen_is_captured_pixel_for_pixel() {
    let display = Display::new(800, 600);
    let shown = pattern(display.dir.path(), 800, 600);
    display.show(&shown);
    let mut eyes = Eyes::of(&display);
    let shot = capture(&mut eyes, &json!({}));
    assert_eq!((shot.width, shot.height, &shot.small), (800, 600, &None));
    assert!(pixels(&shot.path, None) == pixels(&shown, None));
    assert_eq!((mode(&shot.path), mode(&display.folder())), (0o600, 0o700));
    let part = json!({ "x": 101, "y": 33, "width": 250, "height": 120 });
    let shot = capture(&mut eyes, &part);
    assert_eq!((shot.width, shot.height), (250, 120));
    assert!(pixels(&shot.path, None) == pixels(&shown, Some("250x120+101+33")));
    // A part of that part: coordinates are in the pixels of the last picture.
    let part = json!({ "x": 10, "y": 20, "width": 30, "height": 40 });
    let shot = capture(&mut eyes, &part);
    assert!(pixels(&shot.path, None) == pixels(&shown, Some("30x40+111+53")));
    match eyes.call(NAME, &part) {
        End::Refused { message } => assert!(message.contains("30 × 40 pixels"), "{message}"),
        other => panic!("{other:?}"),
    }
    // Unless the screen is named, whose own they are then.
    let mut part = part;
    part["display"] = json!("1");
    let shot = capture(&mut eyes, &part);
    assert!(pixels(&shot.path, None) == pixels(&shown, Some("30x40+10+20")));
}

#[test]
fn what_a_model_sees_small_is_pointed_at_in_small() {
    let display = Display::new(3_136, 1_000);
    let shown = pattern(display.dir.path(), 3_136, 1_000);
    display.show(&shown);
    let mut eyes = Eyes::of(&display);
    eyes.shown = true;
    let shot = capture(&mut eyes, &json!({ "what": "screen" }));
    assert!(pixels(&shot.path, None) == pixels(&shown, None));
    let small = shot.small.expect("it is too large for a model");
    assert_eq!(mode(&small), 0o600);
    let told = display.run(
        "identify",
        &["-format", "%w %h", small.to_str().expect("plain")],
    );
    assert_eq!(String::from_utf8_lossy(&told.stdout), "1568 500");
    assert!(small.metadata().expect("it is there").len() <= 1_000_000);
    let part = json!({ "x": 100, "y": 50, "width": 200, "height": 60 });
    let shot = capture(&mut eyes, &part);
    assert!(pixels(&shot.path, None) == pixels(&shown, Some("400x120+200+100")));
}

#[test]
fn a_window_is_captured_by_its_title() {
    let mut display = Display::new(800, 600);
    display.manage();
    let shown = pattern(display.dir.path(), 200, 150);
    let picture = shown.to_str().expect("a plain path").to_owned();
    display.start(
        "display",
        &["-title", "A pattern", "-geometry", "+300+200", &picture],
    );
    let place = display.window("A pattern");
    // The way in which programs of today give a window its title.
    let title = [
        "-f",
        "_NET_WM_NAME",
        "8u",
        "-set",
        "_NET_WM_NAME",
        "A pattern",
    ];
    display.run("xprop", &[&["-name", "A pattern"], &title[..]].concat());
    let mut eyes = Eyes::of(&display);
    let wanted = pixels(&shown, None);
    // It is drawn some time after it is there.
    let shot = wait_until("the pattern", || {
        let shot = capture(&mut eyes, &json!({ "window": "a PATTERN" }));
        (pixels(&shot.path, None) == wanted).then_some(shot)
    });
    assert_eq!((shot.width, shot.height), (200, 150));
    assert_eq!((place.width, place.height), (200, 150));
    match eyes.call(NAME, &json!({ "window": "no such title" })) {
        End::Refused { message } => assert!(message.contains("\"A pattern\""), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_window_manager_no_window_is_known() {
    let display = Display::new(300, 200);
    let mut eyes = Eyes::of(&display);
    match eyes.call(NAME, &json!({ "what": "window" })) {
        End::Unable { message } => assert!(message.contains("no window manager"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let display = Display::new(300, 200);
    let mut eyes = Eyes::of(&display);
    for (arguments, expected) in [
        (json!({ "what": "moon" }), "unknown variant"),
        (json!({ "screen": 1 }), "unknown field"),
        (json!({ "x": 1, "y": 2 }), "a region needs"),
        (json!({ "what": "screen", "x": 1 }), "belong to"),
        (json!({ "display": "9" }), "there is no screen \"9\""),
        (
            json!({ "x": 290, "y": 0, "width": 11, "height": 1 }),
            "outside of the last capture",
        ),
        (
            json!({ "x": -1, "y": 0, "width": 1, "height": 1 }),
            "outside of the last capture",
        ),
    ] {
        match eyes.call(NAME, &arguments) {
            End::Refused { message } => assert!(message.contains(expected), "{message}"),
            other => panic!("{arguments}: {other:?}"),
        }
    }
    assert!(!display.folder().exists(), "nothing was kept");
}
