//! A display, and the witnesses of what happens on it.

use crate::support::program::wait_until;
use crate::xvfb::{Running, Xvfb};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt as _, KeyButMask};
use x11rb::rust_connection::RustConnection;

/// A screen that nobody looks at.
pub(crate) struct Screen {
    server: Xvfb,
    own: RustConnection,
}

impl Screen {
    /// One of 1280 × 800 pixels.
    pub(crate) fn new() -> Screen {
        Screen::of(1_280, 800)
    }

    /// One of this size.
    pub(crate) fn of(width: u32, height: u32) -> Screen {
        let server = Xvfb::of(width, height);
        let (own, _) = x11rb::connect(Some(server.display())).expect("a display");
        Screen { server, own }
    }

    /// What DISPLAY is set to.
    pub(crate) fn name(&self) -> &str {
        self.server.display()
    }

    /// A program on this screen.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("DISPLAY", self.name());
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// What `xdotool` prints.
    pub(crate) fn xdotool(&self, args: &[&str]) -> String {
        let mut command = self.command("xdotool", args);
        let output = command.stdout(Stdio::piped()).output();
        let output = output.expect("xdotool: install xdotool");
        assert!(output.status.success(), "xdotool {args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Where the pointer is, says `xdotool`.
    pub(crate) fn pointer(&self) -> (i32, i32) {
        let said = self.xdotool(&["getmouselocation", "--shell"]);
        let of = |name: &str| -> i32 {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.parse().ok()).expect(&said)
        };
        (of("X="), of("Y="))
    }

    /// Whether a button of the mouse is down.
    pub(crate) fn has_button_down(&self) -> bool {
        let root = self.own.setup().roots[0].root;
        let reply = self.own.query_pointer(root).expect("a display").reply();
        let mask = u16::from(reply.expect("a display").mask);
        let buttons = [
            KeyButMask::BUTTON1,
            KeyButMask::BUTTON2,
            KeyButMask::BUTTON3,
        ];
        buttons.into_iter().any(|one| mask & u16::from(one) != 0)
    }

    /// The keys that are down, by their codes.
    pub(crate) fn keys_down(&self) -> Vec<usize> {
        let reply = self.own.query_keymap().expect("a display").reply();
        let keys = reply.expect("a display").keys;
        let down = |code: &usize| keys[code / 8] & (1 << (code % 8)) != 0;
        (0..256).filter(down).collect()
    }

    /// What each key means.
    pub(crate) fn key_map(&self) -> Vec<u32> {
        let setup = self.own.setup();
        let (first, last) = (setup.min_keycode, setup.max_keycode);
        let asked = self.own.get_keyboard_mapping(first, last - first + 1);
        asked
            .expect("a display")
            .reply()
            .expect("a display")
            .keysyms
    }

    /// The same as XKB has it, in words of `xkbcomp`.
    pub(crate) fn xkb_map(&self) -> String {
        let mut command = self.command("xkbcomp", &["-xkb", self.name(), "-"]);
        let output = command.stdout(Stdio::piped()).output();
        let output = output.expect("xkbcomp: install x11-xkb-utils");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// A window of `xev` from 100,100 to 500,400, which writes down what happens to it.
pub(crate) struct Window {
    _xev: Running,
    log: tempfile::NamedTempFile,
}

impl Window {
    pub(crate) fn open(screen: &Screen) -> Window {
        let log = tempfile::NamedTempFile::new().expect("a file of our own");
        let args = [
            "-geometry",
            "400x300+100+100",
            "-event",
            "button",
            "-event",
            "mouse",
            "-event",
            "keyboard",
            "-event",
            "structure",
        ];
        let out = log.reopen().expect("our own");
        let xev = screen.command("xev", &args).stdout(out).spawn();
        let window = Window {
            _xev: Running(xev.expect("xev: install x11-utils")),
            log,
        };
        wait_until("the window of xev", || {
            window.text().contains("MapNotify").then_some(())
        });
        window
    }

    fn text(&self) -> String {
        let text = std::fs::read(self.log.path()).expect("our own");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What happened, in a line each: `ButtonPress 1 at 120,140 state 0x0`.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let mut events: Vec<String> = text.split("\n\n").filter_map(event).collect();
        // The last may be half written.
        if !text.ends_with('\n') {
            events.pop();
        }
        events
    }

    /// Waits for an event, and gives all until then.
    pub(crate) fn wait_for(&self, event: &str) -> Vec<String> {
        wait_until(event, || {
            let events = self.events();
            let found = events.iter().any(|one| one.starts_with(event));
            found.then_some(events)
        })
    }
}

/// One event of `xev`.
fn event(text: &str) -> Option<String> {
    let kind = text.trim_start().split(' ').next()?;
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let until = |rest: &str, end: &[char]| rest.split(end).next().map(str::to_owned);
    let at = until(after("root:(")?, &[')'])?;
    let state = until(after("state ")?, &[',', '\n'])?;
    let what = match kind {
        "ButtonPress" | "ButtonRelease" => until(after("button ")?, &[','])?,
        "KeyPress" | "KeyRelease" => until(after("(keysym ")?, &[')'])?
            .split_once(", ")?
            .1
            .into(),
        "MotionNotify" => "pointer".into(),
        _ => return None,
    };
    Some(format!("{kind} {what} at {at} state {state}"))
}

/// An `xterm` over the whole screen, in which `cat` writes what is typed into a file, line by line.
pub(crate) struct Editor {
    _xterm: Running,
    dir: tempfile::TempDir,
}

impl Editor {
    pub(crate) fn open(screen: &Screen) -> Editor {
        let dir = tempfile::tempdir().expect("a directory of our own");
        let script = "touch ready; cat > typed; mv typed saved";
        let args = [
            "-u8",
            "-fn",
            "fixed",
            "-geometry",
            "200x60+0+0",
            "-e",
            "sh",
            "-c",
            script,
        ];
        let mut command = screen.command("xterm", &args);
        let xterm = command.current_dir(dir.path()).spawn();
        let editor = Editor {
            _xterm: Running(xterm.expect("xterm: install xterm")),
            dir,
        };
        wait_until("a shell in xterm", || {
            editor.file("ready").exists().then_some(())
        });
        editor
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// What was typed, when the file was ended by Ctrl+D.
    pub(crate) fn saved(&self) -> String {
        let saved = self.file("saved");
        wait_until("the end of the text", || saved.exists().then_some(()));
        read(&saved)
    }

    /// The lines that are there by now.
    pub(crate) fn lines(&self) -> String {
        match self.file("typed").exists() {
            true => read(&self.file("typed")),
            false => String::new(),
        }
    }
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    let file = File::open(path);
    if let Ok(mut file) = file {
        std::io::Read::read_to_end(&mut file, &mut text).expect("our own");
    }
    String::from_utf8_lossy(&text).into_owned()
}
