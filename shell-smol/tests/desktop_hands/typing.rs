//! Typed text arrives as it is, and the keyboard is as before.

use crate::companion::Hands;
use crate::display::{Editor, Screen};
use openpista_shell_smol::desktop::End;
use serde_json::json;

/// Types a text into `xterm`, and gives what a program in it has read.
fn typed(screen: &Screen, text: &str) -> String {
    let editor = Editor::open(screen);
    let mut hands = Hands::on(screen);
    hands.done("input.click", r#"{"x":200,"y":200}"#);
    let said = hands.done("input.type", &json!({ "text": text }).to_string());
    assert_eq!(said, format!("typed {} characters", text.chars().count()));
    hands.done("input.key", r#"{"keys":"enter"}"#);
    hands.done("input.key", r#"{"keys":"ctrl+d"}"#);
    editor.saved()
}

#[test]
fn text_arrives_whatever_the_layout_lacks() {
    let screen = Screen::new();
    let (map, xkb) = (screen.key_map(), screen.xkb_map());
    let text = "Hello, Wörld_漢字! Ünïcödé: € ½ Ω Привет 🙂\nA second line";
    assert_eq!(typed(&screen, text), format!("{text}\n"));
    assert_eq!(screen.key_map(), map);
    assert_eq!(screen.xkb_map(), xkb);
    assert_eq!(screen.keys_down(), [0; 0]);
}

#[test]
fn more_characters_than_there_are_free_keys_arrive() {
    let screen = Screen::new();
    let map = screen.key_map();
    let ascii: String = (' '..='~').collect();
    let han: String = ('\u{4e00}'..'\u{4e40}').collect();
    let text = format!("{ascii}\n{han}\n{han}");
    assert_eq!(typed(&screen, &text), format!("{text}\n"));
    assert_eq!(screen.key_map(), map);
}

#[test]
fn another_layout_is_typed_with_its_own_keys() {
    let screen = Screen::new();
    let set = screen.command("setxkbmap", &["de"]).status();
    assert!(set.expect("setxkbmap: install x11-xkb-utils").success());
    let map = screen.key_map();
    let text = "Zypern, Übergröße @ {y=z}";
    assert_eq!(typed(&screen, text), format!("{text}\n"));
    assert_eq!(screen.key_map(), map);
}

#[test]
fn caps_lock_is_noticed_before_letters_are_wrong() {
    let screen = Screen::new();
    let editor = Editor::open(&screen);
    let mut hands = Hands::on(&screen);
    hands.done("input.click", r#"{"x":200,"y":200}"#);
    screen.xdotool(&["key", "Caps_Lock"]);
    match hands.call("input.type", r#"{"text":"abc\n"}"#) {
        End::Refused { message } => assert!(message.contains("Caps Lock is on"), "{message}"),
        other => panic!("{other:?}"),
    }
    hands.done("input.key", r#"{"keys":"capslock"}"#);
    hands.done("input.type", r#"{"text":"abc\n"}"#);
    hands.done("input.key", r#"{"keys":"ctrl+d"}"#);
    assert_eq!(editor.saved(), "abc\n");
}
