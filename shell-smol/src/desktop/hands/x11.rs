//! The keyboard of an X display: which of its keys write what, and who holds them.
//!
//! Keys are pressed by their codes. Which code a character has depends on the layout; one that has
//! none is *lent* a code that no key has, for as long as a call lasts. Shift is pressed where the
//! layout needs it, so that a text that the layout can write lends nothing. What a program
//! makes of a code it looks up when it comes to it, so codes change hands only when programs had
//! time to look ([`GIVE_BACK_MS`]).
//!
//! All that is X11's alone is in this file; `native.rs` is its like elsewhere.

use super::held::Fault;
use crate::desktop::Lack;
use crate::desktop::geometry::Area;
use enigo::{Direction, Enigo, Key, Keyboard as _};
use std::fmt::Display;
use x11rb::connection::{Connection, RequestConnection};
use x11rb::protocol::xinput::{ConnectionExt as _, InputStateData};
use x11rb::protocol::xproto::{ConnectionExt as _, KeyButMask, Window};
use x11rb::protocol::xtest;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;
use xkeysym::Keysym;

/// The keys that a person holds to stop us.
pub(super) const STOP_CHORD: &str = "Ctrl+Shift+Esc";

/// How long programs have to look up what was typed, before codes lose their meaning, in
/// milliseconds.
pub(super) const GIVE_BACK_MS: u64 = 250;
/// How long programs have to notice what codes mean, in milliseconds.
pub(super) const LEND_MS: u64 = 30;

/// A key, by its code.
pub(super) type Stroke = u8;

/// What the person at the keyboard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Person {
    /// Nothing that concerns us.
    Away,
    /// Holds a key that gives others another meaning.
    Modifies,
    /// Holds [`STOP_CHORD`].
    Stops,
}

/// The keys of which each must be held.
const CHORD: [&[Keysym]; 3] = [
    &[Keysym::Control_L, Keysym::Control_R],
    &[Keysym::Shift_L, Keysym::Shift_R],
    &[Keysym::Escape],
];

/// What gives other keys another meaning while it is held.
const MODIFIERS: [Keysym; 11] = [
    Keysym::Control_L,
    Keysym::Control_R,
    Keysym::Shift_L,
    Keysym::Shift_R,
    Keysym::Alt_L,
    Keysym::Alt_R,
    Keysym::Meta_L,
    Keysym::Meta_R,
    Keysym::Super_L,
    Keysym::Super_R,
    Keysym::ISO_Level3_Shift,
];

/// Whether there is a display to press keys on, and what it lacks.
pub(super) fn check() -> Result<(), Lack> {
    let lack = |why: String, mend: &str| Lack {
        why,
        mend: mend.to_owned(),
    };
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !set("DISPLAY") {
        return Err(match set("WAYLAND_DISPLAY") {
            true => lack(
                "this is a Wayland session without XWayland, and input goes through X11 alone"
                    .to_owned(),
                "log in to an X11 session",
            ),
            false => lack(
                "there is no display: DISPLAY is not set".to_owned(),
                "start openpistacrab in a graphical session",
            ),
        });
    }
    let (connection, _) = x11rb::connect(None).map_err(|error| {
        lack(
            format!("the X display does not let us in: {error}"),
            "check DISPLAY and XAUTHORITY",
        )
    })?;
    match connection.extension_information(xtest::X11_EXTENSION_NAME) {
        Ok(Some(_)) => Ok(()),
        _ => Err(lack(
            "the X server has no XTEST extension, by which keys are pressed".to_owned(),
            "start the X server with XTEST",
        )),
    }
}

/// The keyboard, as it was when it was last [looked at](Keyboard::look).
pub(super) struct Keyboard {
    connection: RustConnection,
    root: Window,
    map: Map,
    lent: Vec<(Stroke, Keysym)>,
    capitals: bool,
}

/// Which code has which symbols.
#[derive(Debug, Default)]
struct Map {
    first: Stroke,
    /// How many symbols each code has.
    width: usize,
    symbols: Vec<Keysym>,
    /// Which of the layouts is switched on, from zero.
    group: usize,
}

impl Keyboard {
    pub(super) fn open(display: Option<&str>) -> Result<Keyboard, Fault> {
        let (connection, screen) = x11rb::connect(display).map_err(fault)?;
        let screens = &connection.setup().roots;
        let root = screens.get(screen).ok_or_else(|| fault("no screen"))?.root;
        let mut keyboard = Keyboard {
            connection,
            root,
            map: Map::default(),
            lent: Vec::new(),
            capitals: false,
        };
        keyboard.look()?;
        Ok(keyboard)
    }

    /// Looks which layout there is now.
    pub(super) fn look(&mut self) -> Result<(), Fault> {
        let setup = self.connection.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let mapping = self
            .connection
            .get_keyboard_mapping(first, last - first + 1);
        let mapping = mapping.map_err(fault)?.reply().map_err(fault)?;
        let state = self.connection.query_pointer(self.root).map_err(fault)?;
        let mask = u16::from(state.reply().map_err(fault)?.mask);
        self.map = Map {
            first,
            width: usize::from(mapping.keysyms_per_keycode).max(1),
            symbols: mapping.keysyms.into_iter().map(Keysym::from).collect(),
            group: usize::from(mask >> 13 & 3),
        };
        self.capitals = mask & u16::from(KeyButMask::LOCK) != 0;
        Ok(())
    }

    /// All screens together.
    pub(super) fn desktop(&self, _enigo: &Enigo) -> Result<Area, Fault> {
        let root = self.connection.get_geometry(self.root).map_err(fault)?;
        let root = root.reply().map_err(fault)?;
        Ok(Area {
            x: 0,
            y: 0,
            width: root.width.into(),
            height: root.height.into(),
        })
    }

    /// Caps Lock is on: letters come out as capitals.
    pub(super) fn writes_capitals(&self) -> bool {
        self.capitals
    }

    /// The codes that make up a key, in the order in which they go down; none when it has none.
    pub(super) fn strokes(&self, key: Key) -> Option<Vec<Stroke>> {
        let symbol = Keysym::from(key);
        let lent = self.lent.iter().find(|(_, lent)| *lent == symbol);
        if let Some((stroke, _)) = lent {
            return Some(vec![*stroke]);
        }
        let Key::Unicode(c) = key else {
            return self.map.bare(symbol).map(|stroke| vec![stroke]);
        };
        if let Some(stroke) = self.map.writes(c, 0) {
            return Some(vec![stroke]);
        }
        let shift = self.map.bare(Keysym::Shift_L)?;
        Some(vec![shift, self.map.writes(c, 1)?])
    }

    /// What codes can be lent to those of the keys that have none, as many as there are codes.
    pub(super) fn lendable(&self, keys: impl Iterator<Item = Key>) -> Vec<(Stroke, Keysym)> {
        let mut spare = self.map.spare();
        let mut lent: Vec<(Stroke, Keysym)> = Vec::new();
        for key in keys {
            let symbol = Keysym::from(key);
            if self.strokes(key).is_some() || lent.iter().any(|(_, other)| *other == symbol) {
                continue;
            }
            match spare.next() {
                Some(stroke) => lent.push((stroke, symbol)),
                None => break,
            }
        }
        lent
    }

    /// Lends codes.
    pub(super) fn lend(&mut self, lent: Vec<(Stroke, Keysym)>) -> Result<(), Fault> {
        for (stroke, symbol) in &lent {
            // Alone it would stand for its small and its capital letter.
            self.bind(*stroke, &[symbol.raw(), symbol.raw()])?;
        }
        self.lent = lent;
        self.connection.sync().map_err(fault)
    }

    /// The codes mean nothing again.
    pub(super) fn give_back(&mut self, strokes: &[Stroke]) -> Result<(), Fault> {
        for stroke in strokes {
            self.bind(*stroke, &[0])?;
        }
        self.lent.clear();
        self.connection.sync().map_err(fault)
    }

    fn bind(&self, stroke: Stroke, symbols: &[u32]) -> Result<(), Fault> {
        let width = symbols.len() as u8;
        let asked = (self.connection).change_keyboard_mapping(1, stroke, width, symbols);
        asked.map_err(fault)?.check().map_err(fault)
    }

    /// What programs hold down, and no hand: keys, and the numbers of buttons. Every program that
    /// presses through XTEST does so on devices that are not the person's.
    pub(super) fn held_by_programs(&self) -> Result<(Vec<Stroke>, Vec<u8>), Fault> {
        let devices = self.connection.xinput_list_input_devices().map_err(fault)?;
        let devices = devices.reply().map_err(fault)?;
        let (mut keys, mut buttons) = (Vec::new(), Vec::new());
        let named = devices.devices.iter().zip(&devices.names);
        for (device, _) in named.filter(|(_, name)| is_of_programs(&name.name)) {
            let state = (self.connection).xinput_query_device_state(device.device_id);
            for class in state.map_err(fault)?.reply().map_err(fault)?.classes {
                match class.data {
                    InputStateData::Key(state) => keys.extend(set(&state.keys)),
                    InputStateData::Button(state) => buttons.extend(set(&state.buttons)),
                    _ => {}
                }
            }
        }
        Ok((keys, buttons))
    }

    /// What the person does, who is everybody but us: `ours` are the keys that we hold.
    ///
    /// A display tells only which keys are down. So what we hold too is taken for the person's only
    /// when a key of the chord is down that we do not hold.
    pub(super) fn person(&self, ours: &[Stroke]) -> Result<Person, Fault> {
        let down = self.connection.query_keymap().map_err(fault)?;
        let down = down.reply().map_err(fault)?.keys;
        let down: Vec<Stroke> = set(&down).collect();
        let is_down = |stroke: &Stroke| down.contains(stroke);
        let theirs = |stroke: &Stroke| is_down(stroke) && !ours.contains(stroke);
        let any = |symbols: &[Keysym], held: &dyn Fn(&Stroke) -> bool| {
            self.map.all(symbols).any(|stroke| held(&stroke))
        };
        let chord = CHORD.iter().all(|symbols| any(symbols, &is_down));
        if chord && CHORD.iter().any(|symbols| any(symbols, &theirs)) {
            return Ok(Person::Stops);
        }
        match any(&MODIFIERS, &theirs) {
            true => Ok(Person::Modifies),
            false => Ok(Person::Away),
        }
    }
}

impl Map {
    /// Every code and its symbols.
    fn codes(&self) -> impl Iterator<Item = (Stroke, &[Keysym])> {
        (self.first..=Stroke::MAX).zip(self.symbols.chunks(self.width.max(1)))
    }

    /// The code that writes a character, at the lower or upper level of the present layout. The
    /// number pad does not count: what it writes depends on Num Lock.
    fn writes(&self, c: char, level: usize) -> Option<Stroke> {
        // Symbols of the first two layouts come in pairs, those of others elsewhere.
        let column = (self.group < 2).then_some(2 * self.group + level)?;
        let mut codes = self.codes();
        let found = codes.find(|(_, symbols)| {
            let symbol = symbols.get(column);
            symbol.is_some_and(|symbol| !symbol.is_keypad_key() && symbol.key_char() == Some(c))
        });
        found.map(|(stroke, _)| stroke)
    }

    /// The code that has this symbol without another key.
    fn bare(&self, symbol: Keysym) -> Option<Stroke> {
        self.all(&[symbol]).next()
    }

    /// The codes that have one of these symbols without another key.
    fn all<'a>(&'a self, wanted: &'a [Keysym]) -> impl Iterator<Item = Stroke> + 'a {
        let codes = self.codes();
        codes
            .filter(|(_, symbols)| {
                symbols
                    .first()
                    .is_some_and(|symbol| wanted.contains(symbol))
            })
            .map(|(stroke, _)| stroke)
    }

    /// The codes that mean nothing. The lowest is never used: evdev makes nought of it.
    fn spare(&self) -> impl Iterator<Item = Stroke> {
        let codes = self.codes().skip(1);
        codes
            .filter(|(_, symbols)| symbols.iter().all(|symbol| *symbol == Keysym::NoSymbol))
            .map(|(stroke, _)| stroke)
    }
}

fn is_of_programs(device: &[u8]) -> bool {
    let mark = b"XTEST";
    device.windows(mark.len()).any(|part| part == mark)
}

/// The numbers of the bits that are set.
fn set(bits: &[u8; 32]) -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|bit| bits[usize::from(bit / 8)] & (1 << (bit % 8)) != 0)
}

/// Presses or releases a key.
pub(super) fn send(enigo: &mut Enigo, stroke: Stroke, direction: Direction) -> Result<(), Fault> {
    enigo.raw(stroke.into(), direction).map_err(Fault::from)
}

fn fault(error: impl Display) -> Fault {
    Fault(format!("the X display does not answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::call::Button;
    use super::super::held::{Device, Held, Pressed};
    use super::super::watch::Watcher;
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::{Child, Command, Stdio};

    /// Two layouts: `a A ф Ф`, `1 !` in both, a number pad's `1`, Shift, and two codes with nothing.
    fn map(group: usize) -> Map {
        let rows = [
            [0, 0, 0, 0],
            [0x61, 0x41, 0x6c6, 0x6e6],
            [0x31, 0x21, 0x31, 0x21],
            [0xffb1, 0xffb1, 0xffb1, 0xffb1],
            [0xffe1, 0, 0xffe1, 0],
            [0, 0, 0, 0],
        ];
        Map {
            first: 8,
            width: 4,
            symbols: rows
                .iter()
                .flatten()
                .map(|raw| Keysym::from(*raw))
                .collect(),
            group,
        }
    }

    #[test]
    fn characters_are_found_in_the_present_layout() {
        let (latin, cyrillic) = (map(0), map(1));
        assert_eq!(latin.writes('a', 0), Some(9));
        assert_eq!(latin.writes('A', 1), Some(9));
        assert_eq!(latin.writes('ф', 0), None);
        assert_eq!(cyrillic.writes('ф', 0), Some(9));
        assert_eq!(cyrillic.writes('a', 0), None);
        assert_eq!(latin.writes('1', 0), Some(10));
        assert_eq!(map(2).writes('a', 0), None);
    }

    #[test]
    fn only_codes_without_meaning_are_spare() {
        assert_eq!(map(0).spare().collect::<Vec<_>>(), [13]);
        assert_eq!(map(0).bare(Keysym::Shift_L), Some(12));
        assert_eq!(map(0).bare(Keysym::A), None);
    }

    /// A display of our own.
    struct Screen(Child, String);

    impl Screen {
        fn new() -> Screen {
            let mut server = Command::new("Xvfb");
            server.args(["-displayfd", "1", "-nolisten", "tcp"]);
            server.stdout(Stdio::piped()).stderr(Stdio::null());
            let mut server = server.spawn().expect("Xvfb: install xvfb");
            let said = server.stdout.take().expect("a pipe");
            let mut number = String::new();
            let read = BufReader::new(said).read_line(&mut number);
            read.expect("the number of the display");
            Screen(server, format!(":{}", number.trim()))
        }

        /// The state of all buttons and modifiers, and how many keys are down.
        fn down(&self) -> (u16, u32) {
            let (own, _) = x11rb::connect(Some(&self.1)).expect("a display");
            let root = own.setup().roots[0].root;
            let pointer = own.query_pointer(root).expect("a display").reply();
            let keys = own.query_keymap().expect("a display").reply();
            let keys = keys.expect("a display").keys;
            let mask = u16::from(pointer.expect("a display").mask);
            (mask, keys.iter().map(|byte| byte.count_ones()).sum())
        }
    }

    impl Drop for Screen {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn nothing_stays_down_after_a_panic() {
        let screen = Screen::new();
        let mut device = Device::open(Some(&screen.1)).expect("the display");
        let watcher = Watcher::idle();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut held = Held::new(&mut device, &watcher);
            let button = Pressed::Button(Button::Left);
            held.press(button).expect("the display");
            let keys = [Key::Control, Key::Unicode('?'), Key::Unicode('漢')];
            for key in keys {
                held.key_down(key, std::iter::once(key))
                    .expect("the display");
            }
            // Control, Shift, the key of `?`, and a lent one.
            assert_eq!(screen.down(), (0x105, 4));
            panic!("as it may happen");
        }));
        assert!(panicked.is_err());
        assert_eq!(screen.down(), (0, 0));
    }
}
