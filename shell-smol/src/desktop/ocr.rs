//! `screen.ocr`: the text on the desktop, and where it is.
//!
//! The reading is done by tesseract, a program that is found when it is needed. It gets the pixels
//! over a pipe, so that no picture is left behind. Places are told in the pixels of the session's
//! last picture where that shows them, since that is what every other coordinate is in; else what
//! was read becomes the last picture.

use super::geometry::{LastCapture, Point};
use super::program::{Asked, ability, parse, spec};
use super::screen::{self, Look, Wanted};
use super::{Ability, Done, End, Lack};
use openpista_core::effect::Recovery;
use serde::Deserialize;
use serde_json::json;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;
use xcap::image::imageops::{self, FilterType};

mod lines;

/// The tool's name.
pub(super) const NAME: &str = "screen.ocr";
/// How long it may take, in milliseconds.
const TIMEOUT_MS: u64 = 60_000;
/// The program that reads.
const ENGINE: &str = "tesseract";
/// The language that is read unless another is named.
const LANGUAGE: &str = "eng";
/// The most lines that are told.
const LINES: usize = 400;
/// The most bytes that are taken from the program.
const OUTPUT_BYTES: u64 = 8_000_000;
/// A picture of fewer pixels is read at twice its size: a screen's writing is small for an engine
/// that was taught on paper.
const LARGE_PIXELS: u64 = 2_560 * 1_600;
/// How often a program that reads is looked after.
const LOOK: Duration = Duration::from_millis(10);

/// What the model is told, or why nothing can be read.
pub(super) fn offer() -> Ability {
    let description = "Read the text on this computer's desktop, with the place of each line: of \
        a screen, a window or a region as screen.capture has them, or of a picture in the \
        session's folder. Each line is `x,y width×height confidence% text`.";
    let mut properties = screen::properties();
    properties["file"] = json!({
        "type": "string",
        "description": "A picture in the session's folder, instead of the desktop."
    });
    properties["languages"] = json!({
        "type": "string",
        "description": "Tesseract's names of languages, with + between: eng+deu. Default: eng"
    });
    let parameters = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false
    });
    let offered = |_| spec(NAME, description, &parameters, Recovery::Repeat, TIMEOUT_MS);
    ability(NAME, screen::sight().and_then(|()| engine()).map(offered))
}

/// What to read. The rest is for [`screen::look`].
#[derive(Debug, Deserialize)]
struct Reading {
    file: Option<String>,
    languages: Option<String>,
    #[serde(flatten)]
    desktop: serde_json::Map<String, serde_json::Value>,
}

/// Reads.
pub(super) fn read(asked: &Asked<'_>) -> Result<Done, End> {
    let Reading {
        file,
        languages,
        desktop,
    } = parse(asked)?;
    let wanted: Wanted = serde_json::from_value(desktop.into()).map_err(|error| End::Refused {
        message: format!("the arguments are wrong: {error}"),
    })?;
    let engine = engine().map_err(|Lack { why, mend }| End::Unable {
        message: format!("{why}: {mend}"),
    })?;
    let languages = languages.as_deref().unwrap_or(LANGUAGE);
    understood(asked, &engine, languages)?;
    match file {
        Some(_) if wanted != Wanted::default() => Err(End::Refused {
            message: "`file` is read whole: leave out what says where on the desktop".to_owned(),
        }),
        Some(file) => {
            let path = within(&asked.call.folder, &file)?;
            let found = recognise(asked, &engine, languages, Source::File(&path))?;
            let heading = format!("{}, places in its pixels:", path.display());
            Ok(Done::from(tell(&heading, &found, |line| line)))
        }
        None => {
            let look = screen::look(asked, &wanted)?;
            desktop_text(asked, &engine, languages, look)
        }
    }
}

/// Reads what was seen.
fn desktop_text(
    asked: &Asked<'_>,
    engine: &Path,
    languages: &str,
    look: Look,
) -> Result<Done, End> {
    let Look { image, area, of } = look;
    let (width, height) = image.dimensions();
    let own = LastCapture {
        area,
        width,
        height,
    };
    let factor = match u64::from(width) * u64::from(height) < LARGE_PIXELS {
        true => 2,
        false => 1,
    };
    let larger = match factor {
        1 => image,
        _ => imageops::resize(&image, width * 2, height * 2, FilterType::Triangle),
    };
    asked.progress(format!("reading {of}, {width} × {height} pixels\n"));
    let mut pixels = format!("P6 {} {} 255\n", larger.width(), larger.height()).into_bytes();
    pixels.extend_from_slice(larger.as_raw());
    let found = recognise(asked, engine, languages, Source::Pixels(pixels))?;
    let last = asked.last_capture().filter(|last| last.area.holds(&area));
    let seen = last.unwrap_or(own);
    let heading = match last {
        Some(_) => format!("{of}, places in the pixels of the last picture:"),
        None => {
            asked.saw(own);
            format!("{of}, coordinates are now in its pixels, {width} × {height}:")
        }
    };
    let place = |x: u32, y: u32| {
        let inside = |at: u32, size: u32| i64::from((at / factor).min(size - 1));
        let point = own.to_point(inside(x, width), inside(y, height));
        seen.to_pixel(point.unwrap_or(Point {
            x: area.x,
            y: area.y,
        }))
    };
    Ok(Done::from(tell(&heading, &found, |mut line| {
        let (left, top) = place(line.left, line.top);
        let (right, bottom) = place(line.left + line.width, line.top + line.height);
        let size = |from: i64, to: i64| u32::try_from(to - from).unwrap_or(0).max(1);
        (line.width, line.height) = (size(left, right), size(top, bottom));
        line.left = u32::try_from(left).unwrap_or(0);
        line.top = u32::try_from(top).unwrap_or(0);
        line
    })))
}

/// The lines, each with its place as `place` has it.
fn tell(
    heading: &str,
    found: &[lines::Line],
    place: impl Fn(lines::Line) -> lines::Line,
) -> String {
    let mut text = heading.to_owned();
    for line in found.iter().take(LINES) {
        let line = place(line.clone());
        let _ = write!(
            text,
            "\n{},{} {}×{} {}% {}",
            line.left, line.top, line.width, line.height, line.confidence, line.text
        );
    }
    if found.is_empty() {
        text.push_str("\nno text was found");
    }
    if let more @ 1.. = found.len().saturating_sub(LINES) {
        let _ = write!(text, "\nand {more} more lines: read a region");
    }
    text
}

/// Where tesseract is.
fn engine() -> Result<PathBuf, Lack> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(ENGINE));
    let mut found = found.filter(|program| program.is_file());
    found.next().ok_or_else(|| Lack {
        why: format!("no program {ENGINE} is on the PATH, which reads text in pictures"),
        mend: "apt install tesseract-ocr (Debian, Ubuntu), or brew install tesseract".to_owned(),
    })
}

/// The engine knows these languages.
fn understood(asked: &Asked<'_>, engine: &Path, languages: &str) -> Result<(), End> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_/+".contains(c);
    if languages.is_empty() || !languages.chars().all(plain) {
        return Err(End::Refused {
            message: format!("`languages` is {languages:?}, and not as in eng+deu"),
        });
    }
    let listed = output(asked, engine, &["--list-langs".into()], Vec::new())?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let known: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
    let unknown = languages.split('+').find(|one| !known.contains(one));
    unknown.map_or(Ok(()), |language| {
        let package = language.replace('_', "-");
        Err(End::Unable {
            message: format!(
                "{ENGINE} does not know the language {language}: apt install \
                 tesseract-ocr-{package} (Debian, Ubuntu), or brew install tesseract-lang. It \
                 knows {}",
                known.join(", ")
            ),
        })
    })
}

/// A picture of the session's folder, and of no other place.
fn within(folder: &Path, file: &str) -> Result<PathBuf, End> {
    let refused = |why: String| End::Refused {
        message: format!("`file` is {file:?}, {why}"),
    };
    let path = folder.join(file);
    let real = path
        .canonicalize()
        .map_err(|error| refused(format!("which cannot be read: {error}")))?;
    let folder = folder
        .canonicalize()
        .map_err(|error| refused(format!("and the session has no folder: {error}")))?;
    match real.starts_with(&folder) && real.is_file() {
        true => Ok(real),
        false => Err(refused(format!(
            "which is no file in the session's folder, {}",
            folder.display()
        ))),
    }
}

/// What is to be read.
enum Source<'a> {
    Pixels(Vec<u8>),
    File(&'a Path),
}

fn recognise(
    asked: &Asked<'_>,
    engine: &Path,
    languages: &str,
    source: Source<'_>,
) -> Result<Vec<lines::Line>, End> {
    let (from, input): (OsString, Vec<u8>) = match source {
        Source::Pixels(pixels) => ("stdin".into(), pixels),
        Source::File(path) => (path.into(), Vec::new()),
    };
    let mut arguments = vec![from];
    arguments.extend(["stdout", "-l", languages, "--psm", "3", "tsv"].map(OsString::from));
    let output = output(asked, engine, &arguments, input)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(400).collect();
        return Err(End::Failed {
            message: format!("{ENGINE} could not read it ({}): {said}", output.status),
        });
    }
    Ok(lines::parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Runs the engine. It is killed when the call is to end.
fn output(
    asked: &Asked<'_>,
    engine: &Path,
    arguments: &[OsString],
    input: Vec<u8>,
) -> Result<Output, End> {
    let failed = |error: std::io::Error| End::Unable {
        message: format!("{} cannot be run: {error}", engine.display()),
    };
    let mut child = Command::new(engine)
        .args(arguments)
        // Its own threads make it slower on pictures of this size.
        .env("OMP_THREAD_LIMIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = child.stdin.take();
    // It may end before it has taken everything.
    let feeding = thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(&input)));
    let stdout = child.stdout.take().map(|pipe| collect(Box::new(pipe)));
    let stderr = child.stderr.take().map(|pipe| collect(Box::new(pipe)));
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) => {}
            Err(error) => break Err(failed(error)),
        }
        if let Err(end) = asked.pause(LOOK, "the text was not read") {
            break Err(end);
        }
    };
    if status.is_err() {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    let _ = feeding.join();
    let whole = |pipe: Option<thread::JoinHandle<Vec<u8>>>| {
        pipe.and_then(|thread| thread.join().ok())
            .unwrap_or_default()
    };
    let (stdout, stderr) = (whole(stdout), whole(stderr));
    status.map(|status| Output {
        status,
        stdout,
        stderr,
    })
}

fn collect(pipe: Box<dyn Read + Send>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        // What was read until an error is what there is. More than that is not taken, and by the
        // closed pipe the program ends.
        let _ = pipe.take(OUTPUT_BYTES).read_to_end(&mut kept);
        kept
    })
}
