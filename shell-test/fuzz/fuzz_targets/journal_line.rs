//! Lines of an exported journal: no bytes panic, and what was read is written so that it reads as
//! the same, and is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::replay::Line;

fuzz_target!(|bytes: &[u8]| {
    let Ok(line) = serde_json::from_slice::<Line>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&line).expect("a line can be written");
    let again: Line = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(line, again);
    assert_eq!(
        written,
        serde_json::to_vec(&again).expect("a line can be written")
    );
});
