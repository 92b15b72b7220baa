//! What we hold down, which comes up again whatever happens.
//!
//! [`Held`] is the only way to press anything, and knows all that is pressed. It releases when it
//! is dropped, so after an error and a panic too. A killed process drops nothing: for that, the
//! [watcher](super::watch) is told of each press before it is made, and of each release after it.

use super::call::Button;
use super::system::{self, Keyboard, Person, Stroke};
use super::watch::{Note, Watcher};
use crate::desktop::geometry::Point;
use enigo::{Axis, Coordinate, Direction, Enigo, InputError, Key, Mouse as _, Settings};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::thread;
use std::time::Duration;

/// What can be held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Pressed {
    /// A button of the mouse.
    Button(Button),
    /// A key.
    Key(Stroke),
}

/// The display did not do as it was told, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<InputError> for Fault {
    fn from(error: InputError) -> Fault {
        Fault(error.to_string())
    }
}

/// A pointer and a keyboard.
pub(crate) struct Device {
    enigo: Enigo,
    pub(super) keyboard: Keyboard,
}

impl Device {
    /// Opens a display; none is the one of the environment.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) fn open(display: Option<&str>) -> Result<Device, Fault> {
        let settings = Settings {
            x11_display: display.map(str::to_owned),
            // How long things last is ours to say.
            linux_delay: 0,
            release_keys_when_dropped: false,
            ..Settings::default()
        };
        let enigo = Enigo::new(&settings).map_err(|error| Fault(error.to_string()))?;
        let keyboard = Keyboard::open(display)?;
        Ok(Device { enigo, keyboard })
    }

    pub(super) fn pointer(&self) -> Result<Point, Fault> {
        let (x, y) = enigo::Mouse::location(&self.enigo)?;
        Ok(Point { x, y })
    }

    pub(super) fn desktop(&self) -> Result<crate::desktop::geometry::Area, Fault> {
        self.keyboard.desktop(&self.enigo)
    }

    fn send(&mut self, what: Pressed, direction: Direction) -> Result<(), Fault> {
        match what {
            Pressed::Key(stroke) => system::send(&mut self.enigo, stroke, direction),
            Pressed::Button(button) => {
                let button = match button {
                    Button::Left => enigo::Button::Left,
                    Button::Right => enigo::Button::Right,
                    Button::Middle => enigo::Button::Middle,
                };
                Ok(self.enigo.button(button, direction)?)
            }
        }
    }

    /// Releases what programs hold, and no hand: another companion may have been killed together with
    /// who watched over it.
    pub(super) fn release_leftovers(&mut self) -> Result<(), Fault> {
        let (keys, buttons) = self.keyboard.held_by_programs()?;
        for key in keys {
            self.release(Pressed::Key(key))?;
        }
        for button in [Button::Left, Button::Middle, Button::Right] {
            if buttons.contains(&button.number()) {
                self.release(Pressed::Button(button))?;
            }
        }
        Ok(())
    }

    /// Releases, also what is not down.
    pub(super) fn release(&mut self, what: Pressed) -> Result<(), Fault> {
        self.send(what, Direction::Release)
    }
}

/// What one call holds down, and the codes that it has lent.
pub(crate) struct Held<'a> {
    device: &'a mut Device,
    watcher: &'a Watcher,
    down: Vec<Pressed>,
    lent: Vec<Stroke>,
}

impl<'a> Held<'a> {
    /// Nothing yet.
    pub(crate) fn new(device: &'a mut Device, watcher: &'a Watcher) -> Held<'a> {
        Held {
            device,
            watcher,
            down: Vec::new(),
            lent: Vec::new(),
        }
    }

    /// Presses, and remembers it.
    ///
    /// # Errors
    /// The display or the watcher is gone. It counts as pressed then.
    pub(crate) fn press(&mut self, what: Pressed) -> Result<(), Fault> {
        self.watcher.tell(&Note::Down(what))?;
        self.down.push(what);
        self.device.send(what, Direction::Press)
    }

    pub(super) fn release(&mut self, what: Pressed) -> Result<(), Fault> {
        self.device.release(what)?;
        self.down.retain(|held| *held != what);
        self.watcher.tell(&Note::Up(what))
    }

    pub(super) fn move_to(&mut self, Point { x, y }: Point) -> Result<(), Fault> {
        Ok(self.device.enigo.move_mouse(x, y, Coordinate::Abs)?)
    }

    pub(super) fn notch(&mut self, axis: Axis, forward: bool) -> Result<(), Fault> {
        // A wheel that is not at rest is nothing that could be held.
        let length = if forward { 1 } else { -1 };
        Ok(self.device.enigo.scroll(length, axis)?)
    }

    /// A key goes down. `ahead` are the keys that will, this one first.
    pub(super) fn key_down(
        &mut self,
        key: Key,
        ahead: impl Iterator<Item = Key>,
    ) -> Result<(), Fault> {
        for stroke in self.strokes(key, ahead)? {
            let what = Pressed::Key(stroke);
            if !self.down.contains(&what) {
                self.press(what)?;
            }
        }
        Ok(())
    }

    /// A key comes up, with what was pressed for it.
    pub(super) fn key_up(&mut self, key: Key) -> Result<(), Fault> {
        let strokes = self.device.keyboard.strokes(key).unwrap_or_default();
        for stroke in strokes.into_iter().rev() {
            self.release(Pressed::Key(stroke))?;
        }
        Ok(())
    }

    /// A key goes down and comes up.
    pub(super) fn tap(&mut self, key: Key, ahead: impl Iterator<Item = Key>) -> Result<(), Fault> {
        self.key_down(key, ahead)?;
        self.key_up(key)
    }

    /// What the person at the keyboard does.
    pub(super) fn person(&self) -> Result<Person, Fault> {
        let ours = self.down.iter().filter_map(|what| match what {
            Pressed::Key(stroke) => Some(*stroke),
            Pressed::Button(_) => None,
        });
        self.device.keyboard.person(&ours.collect::<Vec<_>>())
    }

    /// The codes of a key. Where it has none, it and the next ones without are lent some.
    fn strokes(
        &mut self,
        key: Key,
        ahead: impl Iterator<Item = Key>,
    ) -> Result<Vec<Stroke>, Fault> {
        if let Some(strokes) = self.device.keyboard.strokes(key) {
            return Ok(strokes);
        }
        self.give_back()?;
        let lent = self.device.keyboard.lendable(ahead);
        self.lent = lent.iter().map(|(stroke, _)| *stroke).collect();
        self.watcher.tell(&Note::Lent(self.lent.clone()))?;
        self.device.keyboard.lend(lent)?;
        thread::sleep(Duration::from_millis(system::LEND_MS));
        let strokes = self.device.keyboard.strokes(key);
        strokes.ok_or_else(|| {
            Fault(format!(
                "the keyboard layout has no key for {key:?}, and no free one to lend it"
            ))
        })
    }

    fn give_back(&mut self) -> Result<(), Fault> {
        if self.lent.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(system::GIVE_BACK_MS));
        self.device.keyboard.give_back(&self.lent)?;
        self.lent.clear();
        self.watcher.tell(&Note::Lent(Vec::new()))
    }

    /// Releases everything, the last first, and gives back what was lent.
    ///
    /// # Errors
    /// Some of it could not be; all of it was tried.
    pub(crate) fn let_go(&mut self) -> Result<(), Fault> {
        let mut end = Ok(());
        for what in self.down.clone().into_iter().rev() {
            end = end.and(self.release(what));
        }
        end.and(self.give_back())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What cannot be released here, the watcher releases.
        let _ = self.let_go();
    }
}
