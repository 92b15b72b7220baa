//! A display of the test's own, programs that show things on it, and the companion that looks.

use crate::support::program::wait_until;
use crate::xvfb::{Running, Xvfb};
use openpista_shell_smol::companion::Companion;
use openpista_shell_smol::desktop::{Ability, Ask, Call, Done, End, Told};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// An X server without a screen to look at, and an environment in which programs find it.
pub(crate) struct Display {
    // Programs first: they end before their display does.
    programs: Vec<Running>,
    _server: Xvfb,
    pub(crate) dir: tempfile::TempDir,
    /// What every program gets.
    pub(crate) environment: Vec<(OsString, OsString)>,
}

impl Display {
    /// One of this size.
    pub(crate) fn new(width: u32, height: u32) -> Display {
        let server = Xvfb::of(width, height);
        let dir = tempfile::tempdir().expect("a directory");
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let path = std::env::var("PATH").expect("there is a PATH");
        let home = dir.path().to_str().expect("a plain path");
        Display {
            programs: Vec::new(),
            environment: vec![
                pair("DISPLAY", server.display()),
                pair("PATH", &path),
                pair("HOME", home),
            ],
            _server: server,
            dir,
        }
    }

    /// Adds to what programs get, or replaces it.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.retain(|(other, _)| other != name);
        self.environment.push((name.into(), value.into()));
    }

    /// A program that finds the display, and nothing else of ours.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().envs(self.environment.clone());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a program to its end, which must be a good one.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let output = self.command(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is installed: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {output:?}"
        );
        output
    }

    /// Starts a program that goes on.
    pub(crate) fn start(&mut self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{program} is installed: {error}"));
        self.programs.push(Running(child));
    }

    /// Starts a window manager, and waits until it manages.
    pub(crate) fn manage(&mut self) {
        self.start("openbox", &[]);
        wait_until("the window manager", || {
            let asked = self
                .command("xprop")
                .args(["-root", "_NET_SUPPORTING_WM_CHECK"])
                .output();
            let said =
                String::from_utf8_lossy(&asked.expect("xprop is installed").stdout).into_owned();
            said.contains("window id").then_some(())
        });
    }

    /// Waits until there is a window of this title, and returns its place and size as xdotool has
    /// them.
    pub(crate) fn window(&self, title: &str) -> Geometry {
        // Not with `--sync`, which may wait for ever.
        let search = ["search", "--onlyvisible", "--name", title];
        let id = wait_until(title, || {
            let found = self.command("xdotool").args(search).output();
            let found = found.expect("xdotool is installed").stdout;
            let first = String::from_utf8_lossy(&found).lines().next()?.to_owned();
            Some(first)
        });
        let told = self.run("xdotool", &["getwindowgeometry", "--shell", &id]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let field = |name: &str| -> i64 {
            let line = told
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.and_then(|value| value.parse().ok()).expect("a number")
        };
        Geometry {
            x: field("X"),
            y: field("Y"),
            width: field("WIDTH"),
            height: field("HEIGHT"),
        }
    }

    /// Shows a picture on the whole background.
    pub(crate) fn show(&self, picture: &Path) {
        let mut display = self.command("display");
        let status = display.args(["-window", "root"]).arg(picture).status();
        // It says that it failed when it has not.
        status.expect("ImageMagick is installed");
    }

    /// Where the companion puts its pictures.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("files/s")
    }
}

/// Where a window is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) x: i64,
    pub(crate) y: i64,
    pub(crate) width: i64,
    pub(crate) height: i64,
}

/// The companion, spoken to as the daemon does.
pub(crate) struct Eyes {
    companion: Companion,
    calls: u64,
    folder: PathBuf,
    /// The model sees pictures.
    pub(crate) shown: bool,
    /// How long a call may take.
    pub(crate) timeout_ms: u64,
}

impl Eyes {
    pub(crate) fn of(display: &Display) -> Eyes {
        let program = Path::new(env!("CARGO_BIN_EXE_openpista-desktop"));
        let started = Companion::start(program, display.environment.clone());
        Eyes {
            companion: smol::block_on(started).expect("it starts"),
            calls: 0,
            folder: display.folder(),
            shown: false,
            timeout_ms: 60_000,
        }
    }

    fn say(&self, ask: &Ask) {
        smol::block_on(self.companion.say(ask)).expect("it is there");
    }

    fn hear(&mut self) -> Told {
        smol::block_on(self.companion.hear()).expect("it answers")
    }

    /// Which tools it has, and why not.
    pub(crate) fn abilities(&mut self) -> Vec<Ability> {
        self.say(&Ask::Abilities);
        match self.hear() {
            Told::Abilities(abilities) => abilities,
            other => panic!("{other:?}"),
        }
    }

    /// Begins a call, and returns its number.
    pub(crate) fn begin(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.calls += 1;
        self.say(&Ask::Call(Call {
            id: self.calls,
            session: "s".to_owned(),
            tool: tool.to_owned(),
            arguments: arguments.to_string(),
            folder: self.folder.clone(),
            shown: self.shown,
            timeout_ms: self.timeout_ms,
        }));
        self.calls
    }

    /// Asks a call to stop.
    pub(crate) fn stop(&self, id: u64) {
        self.say(&Ask::Stop { id });
    }

    /// Waits for a call's end.
    pub(crate) fn end(&mut self, id: u64) -> End {
        loop {
            match self.hear() {
                Told::Ended { id: ended, end } if ended == id => return end,
                Told::Progress { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> End {
        let id = self.begin(tool, arguments);
        self.end(id)
    }

    /// A call that comes out.
    pub(crate) fn done(&mut self, tool: &str, arguments: &Value) -> Done {
        match self.call(tool, arguments) {
            End::Done(done) => done,
            other => panic!("{tool} {arguments}: {other:?}"),
        }
    }
}

/// A picture in which no two places nearby look alike, as PPM.
pub(crate) fn pattern(dir: &Path, width: u32, height: u32) -> PathBuf {
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    for y in 0..height {
        for x in 0..width {
            bytes.extend([x % 251, y % 241, (x / 251 + 7 * (y / 241)) * 19 % 256].map(|c| c as u8));
        }
    }
    let path = dir.join(format!("pattern-{width}x{height}.ppm"));
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// The pixels of a picture, or a part of it as in `100x50+10+20`, as ImageMagick reads them.
pub(crate) fn pixels(picture: &Path, part: Option<&str>) -> Vec<u8> {
    let mut command = Command::new("convert");
    command.arg(picture);
    if let Some(part) = part {
        command.args(["-crop", part, "+repage"]);
    }
    let output = command
        .args(["-depth", "8", "rgb:-"])
        .output()
        .expect("ImageMagick is installed");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}
