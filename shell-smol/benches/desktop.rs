//! What a look at the desktop costs: `screen.capture` of 1920 × 1080 pixels, as the daemon asks its
//! companion for it. `cargo bench --features desktop --bench desktop`. Needs Xvfb and ImageMagick.

#[expect(dead_code, reason = "this bench makes nothing durable")]
mod support;
#[path = "../tests/support/xvfb.rs"]
mod xvfb;

use openpista_shell_smol::companion::Companion;
use openpista_shell_smol::desktop::{Ask, Call, Done, End, Told};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use support::{Samples, head, ms, row, scratch};
use xvfb::Xvfb;

/// What ImageMagick shows: a desktop of flat areas, and the worst that a photo can be.
const SHOWN: [(&str, &[&str]); 2] = [
    (
        "windows and text",
        &[
            "-size",
            "1920x1080",
            "xc:#204060",
            "-fill",
            "white",
            "-draw",
        ],
    ),
    ("noise", &["-size", "1920x1080", "plasma:fractal"]),
];

/// Windows with lines of text.
const WINDOWS: &str = "rectangle 100,80 1200,900 fill #eeeeee rectangle 1100,300 1800,1000 fill black \
    text 130,120 'The quick brown fox' text 130,160 'jumps over the lazy dog' text 1130,340 'and back'";

fn main() {
    head("desktop");
    let server = Xvfb::of(1_920, 1_080);
    let environment = || {
        let display = (OsString::from("DISPLAY"), OsString::from(server.display()));
        let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
        std::iter::once(display).chain(path)
    };
    for (what, arguments) in SHOWN {
        let dir = scratch();
        let picture = dir.path().join("shown.png");
        let mut convert = Command::new("convert");
        convert.args(arguments);
        if arguments.ends_with(&["-draw"]) {
            convert.arg(WINDOWS);
        }
        let made = convert
            .arg(&picture)
            .status()
            .expect("ImageMagick is installed");
        assert!(made.success(), "{made}");
        // It says that it failed when it has not.
        let mut shows = Command::new("display");
        shows
            .env("DISPLAY", server.display())
            .args(["-window", "root"])
            .arg(&picture);
        shows.status().expect("ImageMagick is installed");
        let program = Path::new(env!("CARGO_BIN_EXE_openpista-desktop"));
        let began = Instant::now();
        let companion = Companion::start(program, environment());
        let mut companion = smol::block_on(companion).expect("it starts");
        row("the companion's start", &ms(began.elapsed()), "");
        for (shown, suffix, target) in [
            (false, "", "≤ 150 ms"),
            (true, ", and small for a model", ""),
        ] {
            let mut bytes = 0;
            let took = Samples::of(30, || bytes = capture(&mut companion, dir.path(), shown));
            let name = format!("{what}, 1920 × 1080, {} KB{suffix}", bytes / 1_000);
            row(&name, &took.text(), target);
        }
    }
}

/// The size of the picture, in bytes.
fn capture(companion: &mut Companion, folder: &Path, shown: bool) -> u64 {
    let call = Ask::Call(Call {
        id: 1,
        session: "s".to_owned(),
        tool: "screen.capture".to_owned(),
        arguments: "{}".to_owned(),
        folder: folder.join("captures"),
        shown,
        timeout_ms: 60_000,
    });
    let told = smol::block_on(async {
        companion.say(&call).await?;
        companion.hear().await
    });
    match told.expect("it answers") {
        Told::Ended {
            end: End::Done(Done { pictures, .. }),
            ..
        } => pictures[0].path.metadata().expect("it is there").len(),
        other => panic!("{other:?}"),
    }
}
