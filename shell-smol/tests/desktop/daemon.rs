//! The daemon's side: what is offered, what a turn shows, and what `doctor` says.

use crate::rig::{Display, pattern, pixels};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

const PROGRAM: &str = env!("CARGO_BIN_EXE_openpistacrab");

fn run(display: &Display, program: &Path, arguments: &[&str]) -> (Output, String) {
    let mut command = display.command(program);
    let output = command.args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, said)
}

/// What `doctor` says of the desktop, and whether it says how to mend it.
fn doctor(display: &Display, program: &Path) -> String {
    let (_, said) = run(display, program, &["doctor"]);
    let (found, mended) = said.split_once("What works:").expect("a summary");
    let of = |text: &str| -> String {
        let lines = text
            .lines()
            .skip_while(|line| !line.contains("  desktop  "));
        let more = |(index, line): &(usize, &str)| *index == 0 || line.starts_with("        ");
        let lines = lines.enumerate().take_while(more);
        lines.map(|(_, line)| format!("{line}\n")).collect()
    };
    of(found) + &of(mended)
}

#[test]
fn a_turn_shows_where_the_picture_is() {
    let display = Display::new(400, 300);
    let shown = pattern(display.dir.path(), 400, 300);
    display.show(&shown);
    let arguments = ["run", "-e", "screen.capture {}", "--yes"];
    let (output, said) = run(&display, PROGRAM.as_ref(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let path = said.split_whitespace().find(|word| word.ends_with(".png"));
    let path = PathBuf::from(path.unwrap_or_else(|| panic!("no path: {said}")));
    let noted = String::from_utf8_lossy(&output.stderr).into_owned();
    let picture = format!("picture, 400×300: {}", path.display());
    assert!(noted.contains(&picture), "{noted}");
    let workspace = display
        .dir
        .path()
        .join(".openpistacrab/workspace/files/cli_local");
    assert!(path.starts_with(workspace), "{}", path.display());
    let mode = path.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(pixels(&path, None) == pixels(&shown, None));
    // What is on somebody's screen is not looked at unasked.
    let (_, said) = run(
        &display,
        PROGRAM.as_ref(),
        &["run", "-e", "screen.capture {}"],
    );
    assert!(said.contains("`screen.capture` did not run"), "{said}");
}

#[test]
fn without_a_display_nothing_is_offered_and_doctor_says_why() {
    let mut display = Display::new(200, 100);
    assert!(doctor(&display, PROGRAM.as_ref()).contains("screen.capture"));
    let works = |display: &Display| {
        let (_, said) = run(display, PROGRAM.as_ref(), &["doctor"]);
        said.contains("seeing it and using it")
    };
    assert!(works(&display));
    display.environment.retain(|(name, _)| name != "DISPLAY");
    let arguments = ["run", "-e", "screen.capture {}", "--yes"];
    let (_, said) = run(&display, PROGRAM.as_ref(), &arguments);
    assert!(said.contains("`screen.capture` is not on offer"), "{said}");
    let said = doctor(&display, PROGRAM.as_ref());
    assert!(
        said.contains("neither DISPLAY nor WAYLAND_DISPLAY is set"),
        "{said}"
    );
    assert!(said.contains("start openpistacrab within"), "{said}");
    display.set("DISPLAY", ":4242");
    let said = doctor(&display, PROGRAM.as_ref());
    assert!(
        said.contains("does not answer") && said.contains("XAUTHORITY"),
        "{said}"
    );
    assert!(!works(&display));
}

#[test]
fn without_the_program_doctor_says_how_to_get_it() {
    let display = Display::new(200, 100);
    let alone = Path::new(PROGRAM).with_file_name(format!("alone-{}", std::process::id()));
    std::fs::create_dir_all(&alone).expect("a directory");
    let program = alone.join("openpistacrab");
    std::fs::hard_link(PROGRAM, &program).expect("a link");
    let said = doctor(&display, &program);
    let (_, whole) = run(&display, &program, &["doctor"]);
    let arguments = ["run", "-e", "screen.capture {}", "--yes"];
    let (_, told) = run(&display, &program, &arguments);
    std::fs::remove_dir_all(&alone).expect("ours");
    assert!(
        said.contains("no program") && said.contains("--features desktop"),
        "{said}"
    );
    assert!(told.contains("is not on offer"), "{told}");
    assert!(!whole.contains("seeing it and using it"), "{whole}");
}

/// The libraries that a program cannot start without.
#[cfg(target_os = "linux")]
fn libraries(program: &str) -> Vec<String> {
    let output = std::process::Command::new("readelf")
        .arg("-d")
        .arg(program)
        .output();
    let output = output.expect("binutils are installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
    let name = |line: &str| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned());
    needed.filter_map(name).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_daemon_needs_no_library_of_a_display() {
    let of_system = ["libc.", "libm.", "libgcc_s.", "ld-linux"];
    let others = |program: &str| -> Vec<String> {
        let is_other = |name: &String| !of_system.iter().any(|start| name.starts_with(start));
        libraries(program).into_iter().filter(is_other).collect()
    };
    assert_eq!(others(PROGRAM), [""; 0]);
    let desktop = others(env!("CARGO_BIN_EXE_openpista-desktop"));
    assert!(
        desktop.iter().any(|name| name.starts_with("libxcb.")),
        "{desktop:?}"
    );
}
