//! The keyboard of a system that takes characters as they are, and needs no layout from us.
//!
//! Who holds which keys is not asked here, so no chord of the person's stops a call: `/stop` does.

use super::held::Fault;
use crate::desktop::Lack;
use crate::desktop::geometry::Area;
use enigo::{Direction, Enigo, Key, Keyboard as _, Mouse as _};

/// The keys that a person holds to stop us.
pub(super) const STOP_CHORD: &str = "no keys";

/// Nothing is lent here.
pub(super) const GIVE_BACK_MS: u64 = 0;
/// Nothing is lent here.
pub(super) const LEND_MS: u64 = 0;

/// A key.
pub(super) type Stroke = Key;

/// What the person at the keyboard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "the others are seen on X11")]
pub(super) enum Person {
    Away,
    Modifies,
    Stops,
}

/// Whether there is a display to press keys on: the system asks the person when we press the first.
pub(super) fn check() -> Result<(), Lack> {
    Ok(())
}

/// The keyboard.
pub(super) struct Keyboard;

impl Keyboard {
    pub(super) fn open(_display: Option<&str>) -> Result<Keyboard, Fault> {
        Ok(Keyboard)
    }

    pub(super) fn look(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// The main screen.
    pub(super) fn desktop(&self, enigo: &Enigo) -> Result<Area, Fault> {
        let (width, height) = enigo.main_display()?;
        Ok(Area {
            x: 0,
            y: 0,
            width: width.unsigned_abs(),
            height: height.unsigned_abs(),
        })
    }

    pub(super) fn writes_capitals(&self) -> bool {
        false
    }

    pub(super) fn strokes(&self, key: Key) -> Option<Vec<Stroke>> {
        Some(vec![key])
    }

    pub(super) fn lendable(&self, _keys: impl Iterator<Item = Key>) -> Vec<(Stroke, Key)> {
        Vec::new()
    }

    pub(super) fn lend(&mut self, _lent: Vec<(Stroke, Key)>) -> Result<(), Fault> {
        Ok(())
    }

    pub(super) fn give_back(&mut self, _strokes: &[Stroke]) -> Result<(), Fault> {
        Ok(())
    }

    pub(super) fn held_by_programs(&self) -> Result<(Vec<Stroke>, Vec<u8>), Fault> {
        Ok((Vec::new(), Vec::new()))
    }

    pub(super) fn person(&self, _ours: &[Stroke]) -> Result<Person, Fault> {
        Ok(Person::Away)
    }
}

/// Presses or releases a key.
pub(super) fn send(enigo: &mut Enigo, stroke: Stroke, direction: Direction) -> Result<(), Fault> {
    enigo.key(stroke, direction).map_err(Fault::from)
}
