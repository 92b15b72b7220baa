//! The example in the repository, built by the script that its guide names.

use crate::hello_wasm::hello_wasm;
use crate::support::{Place, place_with};
use openpista_core::effect::tool::Exit;

#[test]
fn the_example_greets_and_says_what_is_wrong() {
    let Some(place) = hello_wasm().map(place_with) else {
        return;
    };
    let ran = place.run_with(r#"{"name":"Ada \u00e9 \"x\""}"#).unwrap();
    assert_eq!(ran.exit, Exit::Code(0), "{ran:?}");
    assert_eq!(ran.stdout.text, "Hello, Ada é \"x\"!");
    assert_eq!(ran.stderr.text, "greeting Ada é \"x\"\n");
    assert_eq!(place.run_with("{}").unwrap().stdout.text, "Hello, world!");

    let ran = place.run_with(r#"{"name":7}"#).unwrap();
    assert_eq!(ran.exit, Exit::Code(1));
    assert_eq!(ran.stdout.text, "`name` must be a string");
}

/// A long request: the guest's memory grows for it.
#[test]
fn the_example_takes_a_megabyte() {
    let Some(place) = hello_wasm().map(place_with) else {
        return;
    };
    let name = "x".repeat(1_000_000);
    let ran = place.run_with(&format!(r#"{{"name":"{name}"}}"#)).unwrap();
    assert_eq!(ran.exit, Exit::Code(0));
    assert_eq!(ran.stdout.cut_chars, 1_000_008 - 10_000);
}

/// A new engine finds it in the cache, and every call has an instance of its own.
#[test]
fn the_example_runs_again_and_again() {
    let Some(mut place) = hello_wasm().map(place_with) else {
        return;
    };
    let greet = |place: &Place| place.run_with("{}").unwrap().stdout.text;
    for _ in 0..20 {
        assert_eq!(greet(&place), "Hello, world!");
    }
    place.restart();
    assert_eq!(greet(&place), "Hello, world!");
}
