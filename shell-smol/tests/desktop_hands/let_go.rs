//! Nothing stays down, whoever dies.

use crate::companion::{Hands, LONG_DRAG, child_of, kill, send, typing, wait_gone};
use crate::display::Screen;
use crate::support::program::wait_until;
use rustix::process::Signal;

/// In the middle of a drag.
fn dragging(screen: &Screen) -> Hands {
    let mut hands = Hands::on(screen);
    hands.begin("input.drag", LONG_DRAG);
    wait_until("a button that is down", || {
        screen.has_button_down().then_some(())
    });
    hands
}

fn wait_until_up(screen: &Screen) {
    wait_until("all buttons up", || {
        (!screen.has_button_down()).then_some(())
    });
}

#[test]
fn after_the_companion_is_killed() {
    let screen = Screen::new();
    let hands = dragging(&screen);
    let watcher = hands.watcher();
    kill(hands.id());
    wait_until_up(&screen);
    wait_gone("the watcher", watcher);
    assert!(!screen.has_button_down());
}

#[test]
fn after_the_daemon_is_gone() {
    let screen = Screen::new();
    let hands = dragging(&screen);
    let (companion, watcher) = (hands.id(), hands.watcher());
    // Its end of the socket closes, as it does when the daemon is killed.
    drop(hands);
    wait_until_up(&screen);
    wait_gone("the companion", companion);
    wait_gone("the watcher", watcher);
    assert!(!screen.has_button_down());
    assert_ne!(screen.pointer(), (450, 350));
}

#[test]
fn after_a_service_manager_asked_all_of_them_to_end() {
    let screen = Screen::new();
    let hands = dragging(&screen);
    let watcher = hands.watcher();
    for id in [watcher, hands.id()] {
        send(id, Signal::TERM);
    }
    wait_until_up(&screen);
    wait_gone("the watcher", watcher);
    assert!(!screen.has_button_down());
}

#[test]
fn after_the_watcher_is_killed() {
    let screen = Screen::new();
    let mut hands = Hands::on(&screen);
    hands.done("input.move", r#"{"x":1,"y":1}"#);
    let watcher = hands.watcher();
    kill(watcher);
    wait_gone("the watcher", watcher);
    // Nothing is pressed that nobody watches; the next call has a new one.
    let end = hands.call("input.click", r#"{"x":2,"y":2}"#);
    assert!(
        format!("{end:?}").contains("the watcher is gone"),
        "{end:?}"
    );
    assert!(!screen.has_button_down());
    hands.done("input.click", r#"{"x":2,"y":2}"#);
}

#[test]
fn lent_codes_are_taken_back_when_the_companion_is_killed() {
    let screen = Screen::new();
    let map = screen.key_map();
    let (hands, _editor, _) = typing(&screen);
    kill(hands.id());
    wait_until("the layout as it was", || {
        (screen.key_map() == map).then_some(())
    });
    assert_eq!(screen.keys_down(), [0; 0]);
}

#[test]
fn the_next_companion_releases_what_nobody_was_left_to_release() {
    let screen = Screen::new();
    let map = screen.key_map();
    let hands = dragging(&screen);
    let watcher = hands.watcher();
    // So that neither sees the other die.
    send(hands.id(), Signal::STOP);
    kill(watcher);
    kill(hands.id());
    wait_gone("the watcher", watcher);
    wait_gone("the companion", hands.id());
    assert!(
        screen.has_button_down(),
        "else there is nothing to see here"
    );
    Hands::on(&screen).done("input.move", r#"{"x":1,"y":1}"#);
    assert!(!screen.has_button_down());
    assert_eq!(screen.key_map(), map);
}

#[test]
fn the_watcher_leaves_with_the_companion_that_held_nothing() {
    let screen = Screen::new();
    let mut hands = Hands::on(&screen);
    assert_eq!(
        child_of(hands.id()),
        None,
        "nobody watches before there is something to watch"
    );
    hands.done("input.move", r#"{"x":1,"y":1}"#);
    let watcher = hands.watcher();
    drop(hands);
    wait_gone("the watcher", watcher);
}
