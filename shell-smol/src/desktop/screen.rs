//! Taking pictures of the desktop: of a screen, a window, or a part of what was seen last.
//!
//! [`look`] serves every tool that must see; [`capture`] is the one that keeps what it saw.

use super::geometry::{Area, LastCapture};
use super::program::{Asked, ability, parse};
use super::{Ability, Done, End, Lack, picture};
use openpista_core::effect::Recovery;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;
use xcap::image::{RgbImage, imageops};
use xcap::{Monitor, Window};

/// The tool's name.
pub(super) const NAME: &str = "screen.capture";
/// How long it may take, in milliseconds.
const TIMEOUT_MS: u64 = 15_000;
/// How many windows an error names.
const NAMED: usize = 20;

/// What the model is told, or why there is nothing to see.
pub(super) fn offer() -> Ability {
    let description = "Take a picture of this computer's desktop: of a whole screen, of a window, \
        or of a region of the last picture, to see it larger. The picture becomes a file in the \
        session's folder, and is shown to the person. Coordinates of every later call, also of \
        input.*, are in the pixels of the last picture, as its result says them.";
    let parameters = json!({
        "type": "object",
        "properties": properties(),
        "additionalProperties": false
    });
    let spec = |()| {
        let recovery = Recovery::Repeat;
        super::program::spec(NAME, description, &parameters, recovery, TIMEOUT_MS)
    };
    ability(NAME, sight().map(spec))
}

/// The arguments that say what to look at.
pub(super) fn properties() -> Value {
    json!({
        "what": {
            "type": "string",
            "enum": ["screen", "window", "region"],
            "description": "Default: region where x is given, window where window is, else screen."
        },
        "display": {
            "type": "string",
            "description": "Which screen, by its name or by its number from 1. Default: the primary one."
        },
        "window": {
            "type": "string",
            "description": "A window's id, or a part of its title. Without it: the one in front."
        },
        "x": {
            "type": "integer",
            "description": "The region's left edge, in pixels of the last picture; of the screen itself where display is given or there was no picture."
        },
        "y": { "type": "integer", "description": "The region's upper edge." },
        "width": { "type": "integer", "minimum": 1 },
        "height": { "type": "integer", "minimum": 1 }
    })
}

/// Whether there is anything to see.
pub(super) fn sight() -> Result<(), Lack> {
    let why = match Monitor::all() {
        Ok(screens) if !screens.is_empty() => return Ok(()),
        Ok(_) => "the display has no screen".to_owned(),
        Err(error) => format!("the display does not answer: {error}"),
    };
    Err(Lack {
        why,
        mend: "see that DISPLAY and XAUTHORITY are those of the desktop's session".to_owned(),
    })
}

/// What to look at, as the model says it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    what: Option<What>,
    display: Option<String>,
    window: Option<String>,
    x: Option<i64>,
    y: Option<i64>,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum What {
    Screen,
    Window,
    Region,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) image: RgbImage,
    /// What part of the desktop it is.
    pub(super) area: Area,
    /// In words.
    pub(super) of: String,
}

/// Takes a picture and keeps it.
pub(super) fn capture(asked: &Asked<'_>) -> Result<Done, End> {
    let wanted: Wanted = parse(asked)?;
    let Look { image, area, of } = look(asked, &wanted)?;
    asked.go_on("nothing was kept")?;
    let kept = picture::keep(&asked.call.folder, &image, asked.call.shown);
    let kept = kept.map_err(|message| End::Failed { message })?;
    let (width, height) = kept.seen;
    asked.saw(LastCapture {
        area,
        width,
        height,
    });
    let shot = kept.shot;
    let mut text = format!(
        "{of}, {} × {} pixels: {}\n",
        shot.width,
        shot.height,
        shot.path.display()
    );
    let _ = match (shot.width, shot.height) == kept.seen {
        true => write!(text, "Coordinates are in the pixels of this picture."),
        false => write!(
            text,
            "You see it as {width} × {height} pixels: give coordinates in those."
        ),
    };
    let pictures = vec![shot];
    Ok(Done { text, pictures })
}

/// Looks at what is wanted.
///
/// # Errors
/// The end that the call comes to.
pub(super) fn look(asked: &Asked<'_>, wanted: &Wanted) -> Result<Look, End> {
    let has_edge = [wanted.x, wanted.y].iter().any(Option::is_some)
        || [wanted.width, wanted.height].iter().any(Option::is_some);
    let what = match wanted.what {
        Some(what) => what,
        None if has_edge => What::Region,
        None if wanted.window.is_some() => What::Window,
        None => What::Screen,
    };
    match what {
        What::Window => window(wanted.window.as_deref()),
        What::Screen if has_edge => Err(refused(
            "x, y, width and height belong to what = \"region\"",
        )),
        What::Screen => Screens::all()?.named(wanted.display.as_deref())?.look(),
        What::Region => region(asked, wanted),
    }
}

fn region(asked: &Asked<'_>, wanted: &Wanted) -> Result<Look, End> {
    let (Some(x), Some(y), Some(width), Some(height)) =
        (wanted.x, wanted.y, wanted.width, wanted.height)
    else {
        return Err(refused("a region needs x, y, width and height"));
    };
    let within = |seen: LastCapture| {
        let area = seen.to_area(x, y, width, height);
        area.map_err(|outside| refused(&format!("{outside}: capture the screen to see elsewhere")))
    };
    let screens = Screens::all()?;
    let last = asked.last_capture().filter(|_| wanted.display.is_none());
    let area = last.map(within).transpose()?;
    let screen = match &area {
        Some(area) => screens.around(area),
        None => screens.named(wanted.display.as_deref())?,
    };
    let whole = screen.look()?;
    let (pixels_wide, pixels_high) = whole.image.dimensions();
    let full = LastCapture {
        area: whole.area,
        width: pixels_wide,
        height: pixels_high,
    };
    let area = match area {
        Some(area) => area,
        None => within(full)?,
    };
    let Some((left, top, right, bottom)) = full.to_pixels(&area) else {
        return Err(End::Unable {
            message: "this region is on no screen any more: capture the screen again".to_owned(),
        });
    };
    let part = imageops::crop_imm(&whole.image, left, top, right - left, bottom - top);
    let image = part.to_image();
    Ok(Look {
        of: format!("part of {}", whole.of),
        image,
        area: full.area_of(left, top, right, bottom),
    })
}

/// The screens there are.
struct Screens(Vec<Screen>);

struct Screen {
    monitor: Monitor,
    name: String,
    primary: bool,
    /// Where it is, in the points of a pointer.
    area: Area,
    /// As in "HDMI-1 (2 of 3 screens: …)".
    place: String,
}

impl Screens {
    fn all() -> Result<Screens, End> {
        let monitors = Monitor::all().map_err(|error| unable("the screens", &error))?;
        let mut screens = Vec::new();
        for monitor in monitors {
            let area = area(&monitor).map_err(|error| unable("a screen", &error))?;
            let name = monitor.name().map_err(|error| unable("a screen", &error))?;
            screens.push(Screen {
                primary: monitor.is_primary().unwrap_or(false),
                place: name.clone(),
                monitor,
                name,
                area,
            });
        }
        let count = screens.len();
        if count > 1 {
            let names: Vec<String> = screens.iter().map(|screen| screen.name.clone()).collect();
            let names = names.join(", ");
            for (index, screen) in screens.iter_mut().enumerate() {
                screen.place = format!(
                    "{} ({} of {count} screens: {names})",
                    screen.name,
                    index + 1
                );
            }
        }
        match count {
            0 => Err(End::Unable {
                message: "the display has no screen".to_owned(),
            }),
            _ => Ok(Screens(screens)),
        }
    }

    /// The screen of this name or number, or else the primary one.
    fn named(&self, wanted: Option<&str>) -> Result<&Screen, End> {
        let all = &self.0;
        let Some(wanted) = wanted else {
            return Ok(all.iter().find(|one| one.primary).unwrap_or(&all[0]));
        };
        let by_name = all.iter().find(|one| one.name == wanted);
        let by_number = || {
            let number: usize = wanted.parse().ok()?;
            all.get(number.checked_sub(1)?)
        };
        by_name.or_else(by_number).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
            refused(&format!(
                "there is no screen {wanted:?}, only {}",
                names.join(", ")
            ))
        })
    }

    /// The screen that shows the middle of an area, or else the primary one.
    fn around(&self, area: &Area) -> &Screen {
        let middle = area.middle();
        let around = |one: &&Screen| one.area.holds(&middle);
        let primary = || self.0.iter().find(|one| one.primary);
        self.0
            .iter()
            .find(around)
            .or_else(primary)
            .unwrap_or(&self.0[0])
    }
}

impl Screen {
    fn look(&self) -> Result<Look, End> {
        let image = self.monitor.capture_image();
        let image = image.map_err(|error| unable(&self.name, &error))?;
        let mut area = self.area;
        if IN_PIXELS {
            (area.width, area.height) = image.dimensions();
        }
        Ok(Look {
            image: picture::opaque(&image),
            area,
            of: format!("screen {}", self.place),
        })
    }
}

/// Pointers are moved in pixels here, and not in points of several.
const IN_PIXELS: bool = cfg!(target_os = "linux");

/// Where a screen is. Under X its place is told divided by the scale of its writing.
fn area(monitor: &Monitor) -> xcap::XCapResult<Area> {
    let scale = match IN_PIXELS {
        true => f64::from(monitor.scale_factor()?),
        false => 1.0,
    };
    let points = |at: f64| (at * scale).round();
    Ok(Area {
        x: points(f64::from(monitor.x()?)) as i32,
        y: points(f64::from(monitor.y()?)) as i32,
        width: points(f64::from(monitor.width()?)) as u32,
        height: points(f64::from(monitor.height()?)) as u32,
    })
}

fn window(wanted: Option<&str>) -> Result<Look, End> {
    let windows = Window::all().unwrap_or_default();
    if windows.is_empty() {
        return Err(End::Unable {
            message: "no window is known: either none is open, or there is no window manager that \
                      keeps a list of them; capture the screen instead"
                .to_owned(),
        });
    }
    let title = |window: &Window| match window.title() {
        Ok(title) if !title.is_empty() => title,
        _ => window.app_name().unwrap_or_default(),
    };
    let is_wanted = |window: &&Window| match wanted {
        Some(wanted) => {
            window.id().is_ok_and(|id| id.to_string() == wanted) || {
                let wanted = wanted.to_lowercase();
                !wanted.is_empty() && title(window).to_lowercase().contains(&wanted)
            }
        }
        None => window.is_focused().unwrap_or(false),
    };
    // The first is the one in front.
    let visible = |window: &&Window| !window.is_minimized().unwrap_or(false);
    let found = windows.iter().filter(visible).find(is_wanted);
    let found = match (found, wanted) {
        (None, None) => windows.iter().find(visible),
        (found, _) => found,
    };
    let Some(found) = found else {
        let names = windows.iter().take(NAMED).map(|window| {
            let id = window.id().map_or_else(|_| "?".into(), |id| id.to_string());
            let hidden = match window.is_minimized() {
                Ok(true) => ", minimized",
                _ => "",
            };
            format!("{id} {:?}{hidden}", title(window))
        });
        let names = names.collect::<Vec<_>>().join("; ");
        return Err(End::Refused {
            message: format!("there is no such window to be seen. The windows are: {names}"),
        });
    };
    let seen = || -> xcap::XCapResult<Look> {
        let image = found.capture_image()?;
        let (mut width, mut height) = (found.width()?, found.height()?);
        if IN_PIXELS {
            (width, height) = image.dimensions();
        }
        Ok(Look {
            image: picture::opaque(&image),
            area: Area {
                x: found.x()?,
                y: found.y()?,
                width,
                height,
            },
            of: format!("window {} {:?}", found.id()?, title(found)),
        })
    };
    seen().map_err(|error| End::Unable {
        message: format!(
            "the window cannot be captured: {error}; one that reaches over the screen's edge \
             cannot: capture the screen instead"
        ),
    })
}

fn refused(message: &str) -> End {
    End::Refused {
        message: message.to_owned(),
    }
}

fn unable(what: &str, error: &xcap::XCapError) -> End {
    End::Unable {
        message: format!("{what} cannot be seen: {error}"),
    }
}
