//! `screen.ocr`, of what xterm shows.

use crate::rig::{Display, Eyes};
use crate::support::program::wait_until;
use openpista_shell_smol::desktop::End;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const NAME: &str = "screen.ocr";
const SENTENCE: &str = "The quick brown fox jumps over 13 lazy dogs";

/// A terminal that shows a sentence in letters that are large enough to be read.
fn write(display: &mut Display, sentence: &str) {
    let say = format!("printf '\\n  %s\\n' '{sentence}'; exec sleep 600");
    let mut arguments = vec!["-T", "Sentence", "-fa", "Monospace", "-fs", "16"];
    arguments.extend(["-geometry", "60x5+60+80", "-e", "sh", "-c", &say]);
    display.start("xterm", &arguments);
}

/// The place of a line, as in `12,34 56×78 90% words`.
fn place(line: &str) -> [i64; 4] {
    let numbers = line.split([',', ' ', '×']).take(4);
    let numbers: Vec<i64> = numbers.map(|one| one.parse().expect("a number")).collect();
    numbers.try_into().expect("four of them")
}

#[test]
fn a_sentence_is_read_where_it_stands() {
    let mut display = Display::new(1_024, 400);
    write(&mut display, SENTENCE);
    let window = display.window("Sentence");
    let mut eyes = Eyes::of(&display);
    let line = wait_until("the sentence", || {
        let done = eyes.done(NAME, &json!({}));
        let line = done.text.lines().find(|line| line.contains(SENTENCE));
        line.map(str::to_owned)
    });
    let [x, y, width, height] = place(&line);
    assert!(
        x >= window.x && x + width <= window.x + window.width,
        "{line} in {window:?}"
    );
    assert!(
        y >= window.y && y + height <= window.y + window.height,
        "{line} in {window:?}"
    );
    // What is read of a part of it is told in the same pixels.
    let part = json!({ "x": x - 9, "y": y - 9, "width": width + 18, "height": height + 18 });
    let done = eyes.done(NAME, &part);
    let again = done.text.lines().find(|line| line.contains(SENTENCE));
    let again = place(again.expect("it is there still"));
    let near = [x, y, width, height]
        .iter()
        .zip(again)
        .all(|(one, other)| (one - other).abs() <= 3);
    assert!(near, "{line}, then {again:?}");
    // As is a file.
    let shot = eyes
        .done("screen.capture", &json!({}))
        .pictures
        .pop()
        .expect("a picture");
    let name = shot
        .path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    let done = eyes.done(NAME, &json!({ "file": name }));
    assert!(done.text.contains("quick"), "{}", done.text);
    for file in ["../../../../etc/hostname", "/etc/hostname", "nothing.png"] {
        match eyes.call(NAME, &json!({ "file": file })) {
            End::Refused { message } => assert!(message.contains(file), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_language_that_is_missing_is_named_with_its_package() {
    let display = Display::new(200, 100);
    let mut eyes = Eyes::of(&display);
    match eyes.call(NAME, &json!({ "languages": "eng+zzz_old" })) {
        End::Unable { message } => {
            assert!(message.contains("tesseract-ocr-zzz-old"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    match eyes.call(NAME, &json!({ "languages": "--help" })) {
        End::Refused { message } => assert!(message.contains("eng+deu"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_engine_the_package_is_named() {
    let mut display = Display::new(200, 100);
    display.set("PATH", display.dir.path().to_owned());
    let mut eyes = Eyes::of(&display);
    let mut abilities = eyes.abilities().into_iter();
    let ocr = abilities.find(|one| one.tool == NAME).expect("it is known");
    let lack = ocr.offer.expect_err("there is no engine");
    assert!(lack.mend.contains("apt install tesseract-ocr"), "{lack:?}");
    assert!(lack.mend.contains("brew install tesseract"), "{lack:?}");
    match eyes.call(NAME, &json!({})) {
        End::Unable { message } => assert!(message.contains(&lack.mend), "{message}"),
        other => panic!("{other:?}"),
    }
}

/// An engine that says which languages it knows, and then reads for ever.
fn endless(dir: &Path) {
    let engine = dir.join("tesseract");
    let script = "#!/bin/sh\ncase $1 in --list-langs) echo List; echo eng;; *) echo $$ > \
                  \"$HOME/engine\"; exec sleep 600;; esac\n";
    std::fs::write(&engine, script).expect("a script");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&engine, executable).expect("ours");
    for program in ["sh", "sleep"] {
        symlink(Path::new("/bin").join(program), dir.join(program)).expect("a link");
    }
}

#[test]
fn an_engine_that_does_not_end_is_killed() {
    let mut display = Display::new(200, 100);
    endless(display.dir.path());
    display.set("PATH", display.dir.path().to_owned());
    let noted = display.dir.path().join("engine");
    let engine = || {
        let pid = wait_until("the engine", || {
            let pid = std::fs::read_to_string(&noted).ok()?;
            (pid.ends_with('\n')).then_some(pid)
        });
        std::fs::remove_file(&noted).expect("it is there");
        Path::new("/proc").join(pid.trim())
    };
    let mut eyes = Eyes::of(&display);
    eyes.timeout_ms = 2_000;
    let end = eyes.call(NAME, &json!({}));
    assert!(matches!(end, End::TimedOut { .. }), "{end:?}");
    assert!(!engine().exists());
    eyes.timeout_ms = 600_000;
    let id = eyes.begin(NAME, &json!({}));
    let running = engine();
    assert!(running.exists());
    eyes.stop(id);
    let end = eyes.end(id);
    assert!(matches!(end, End::Stopped { .. }), "{end:?}");
    assert!(!running.exists());
}
