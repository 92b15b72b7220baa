//! What the coordinates of a call mean here and now.

use super::call::At;
use crate::desktop::geometry::{Area, LastCapture, Point};

/// What a model knows of the desktop, and what there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// What it saw last: coordinates are in the pixels of that. Else they are the screen's.
    pub(super) seen: Option<LastCapture>,
    /// All screens together.
    pub(super) desktop: Area,
    /// Where the pointer is.
    pub(super) pointer: Point,
}

impl View {
    /// The place that is meant.
    ///
    /// # Errors
    /// It is outside of what was seen, or of the screen, with the bounds.
    pub(super) fn on_screen(&self, at: At) -> Result<Point, String> {
        let At { x, y } = at;
        let point = match self.seen {
            Some(seen) => seen.to_point(x, y).map_err(|outside| outside.to_string())?,
            None => Point {
                x: i32::try_from(x).map_err(|_| self.outside(x, y))?,
                y: i32::try_from(y).map_err(|_| self.outside(x, y))?,
            },
        };
        let pixel = Area {
            x: point.x,
            y: point.y,
            width: 1,
            height: 1,
        };
        match self.desktop.holds(&pixel) {
            true => Ok(point),
            false => Err(self.outside(point.x.into(), point.y.into())),
        }
    }

    /// A place in the terms of the call, and where that is.
    pub(super) fn say(&self, asked: At, point: Point) -> String {
        let (At { x, y }, Point { x: left, y: top }) = (asked, point);
        match self.seen {
            Some(_) => format!("{x},{y} (screen {left},{top})"),
            None => format!("{x},{y} (pixels of the screen: there was no capture before)"),
        }
    }

    fn outside(&self, x: i64, y: i64) -> String {
        let Area {
            x: left,
            y: top,
            width,
            height,
        } = self.desktop;
        let (right, bottom) = (
            i64::from(left) + i64::from(width) - 1,
            i64::from(top) + i64::from(height) - 1,
        );
        format!(
            "{x},{y} is outside of the screen, where x is {left} to {right} and y {top} to {bottom}"
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const DESKTOP: Area = Area {
        x: 0,
        y: 0,
        width: 1_280,
        height: 960,
    };
    const POINTER: Point = Point { x: 7, y: 8 };

    /// The whole screen was seen at half its size.
    pub(in crate::desktop::hands) fn half() -> View {
        View {
            seen: Some(LastCapture {
                area: DESKTOP,
                width: 640,
                height: 480,
            }),
            desktop: DESKTOP,
            pointer: POINTER,
        }
    }

    /// Nothing was seen.
    pub(in crate::desktop::hands) fn unseen() -> View {
        View {
            seen: None,
            ..half()
        }
    }

    #[test]
    fn without_a_capture_coordinates_are_the_screens() {
        let view = unseen();
        let at = At { x: 1_279, y: 959 };
        assert_eq!(view.on_screen(at), Ok(Point { x: 1_279, y: 959 }));
        for (x, y) in [(1_280, 0), (0, 960), (-1, 0), (i64::MAX, 0)] {
            let said = view.on_screen(At { x, y }).expect_err("outside");
            assert!(said.contains("x is 0 to 1279 and y 0 to 959"), "{said}");
        }
    }

    #[test]
    fn what_was_seen_may_lie_partly_off_the_screen() {
        let window = Area {
            x: 1_000,
            y: -100,
            width: 400,
            height: 400,
        };
        let seen = Some(LastCapture {
            area: window,
            width: 400,
            height: 400,
        });
        let view = View { seen, ..half() };
        let inside = view.on_screen(At { x: 0, y: 100 });
        assert_eq!(inside, Ok(Point { x: 1_000, y: 0 }));
        for at in [At { x: 0, y: 99 }, At { x: 280, y: 100 }] {
            let said = view.on_screen(at).expect_err("off the screen");
            assert!(said.contains("outside of the screen"), "{said}");
        }
    }
}
