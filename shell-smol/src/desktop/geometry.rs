//! Where on the desktop what a model points at is.
//!
//! A model knows the desktop from the last picture that it got, which may be a part of one screen,
//! and made small. [`LastCapture`] leads from that picture's pixels to the points in which a
//! pointer is moved, and back. Nothing here asks the system.

use std::collections::BTreeMap;
use std::fmt;

/// How many sessions' captures are remembered.
const SESSIONS: usize = 64;

/// A part of the desktop, in the points in which a pointer is moved. All screens lie in one plane,
/// in which some may have negative coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// The left edge.
    pub x: i32,
    /// The upper edge.
    pub y: i32,
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

impl Area {
    /// The other lies wholly within this one.
    pub fn holds(&self, other: &Area) -> bool {
        let within = |at: i32, size: u32, inner: i32, inner_size: u32| {
            let (at, inner) = (i64::from(at), i64::from(inner));
            at <= inner && inner + i64::from(inner_size) <= at + i64::from(size)
        };
        within(self.x, self.width, other.x, other.width)
            && within(self.y, self.height, other.y, other.height)
    }

    /// The one point in its middle.
    pub fn middle(&self) -> Area {
        let half = |size: u32| i32::try_from(size / 2).unwrap_or(i32::MAX);
        Area {
            x: self.x.saturating_add(half(self.width)),
            y: self.y.saturating_add(half(self.height)),
            width: 1,
            height: 1,
        }
    }
}

/// A place on the desktop where a pointer can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// From the left.
    pub x: i32,
    /// From the top.
    pub y: i32,
}

/// What a session saw last: the coordinates that its model gives are in the pixels of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastCapture {
    /// What part of the desktop it shows.
    pub area: Area,
    /// How many pixels wide the model knows it to be.
    pub width: u32,
    /// How many pixels high the model knows it to be.
    pub height: u32,
}

impl LastCapture {
    /// The point under the middle of a pixel.
    ///
    /// # Errors
    /// The pixel is outside of the picture.
    pub fn to_point(&self, x: i64, y: i64) -> Result<Point, Outside> {
        let inside = |at: i64, size: u32| (0..i64::from(size)).contains(&at);
        if !inside(x, self.width) || !inside(y, self.height) {
            let LastCapture { width, height, .. } = *self;
            #[rustfmt::skip]
            return Err(Outside { x, y, width, height });
        }
        Ok(Point {
            x: self.area.x + middle(x, self.area.width, self.width),
            y: self.area.y + middle(y, self.area.height, self.height),
        })
    }

    /// The part of the desktop that some pixels show; at least a point of it.
    ///
    /// # Errors
    /// A part of it is outside of the picture.
    pub fn to_area(&self, x: i64, y: i64, width: u32, height: u32) -> Result<Area, Outside> {
        let last = |from: i64, size: u32| from.saturating_add(i64::from(size.max(1)) - 1);
        let (right, bottom) = (last(x, width), last(y, height));
        self.to_point(x, y)?;
        self.to_point(right, bottom)?;
        let edge = |pixel: i64| u32::try_from(pixel).unwrap_or(u32::MAX);
        Ok(self.area_of(edge(x), edge(y), edge(right + 1), edge(bottom + 1)))
    }

    /// The pixels that show an area, from the first on the left and at the top to before the last;
    /// none when the area is not seen.
    pub fn to_pixels(&self, area: &Area) -> Option<(u32, u32, u32, u32)> {
        let pixels = |from: i32, size: u32, of: (i32, u32), pixels: u32| {
            let points = i64::from(of.1.max(1));
            let from = i64::from(from) - i64::from(of.0);
            let to = (from + i64::from(size)).clamp(0, points);
            let first = from.max(0) * i64::from(pixels) / points;
            let end = (to * i64::from(pixels) + points - 1) / points;
            let both = (u32::try_from(first).ok()?, u32::try_from(end).ok()?);
            (both.0 < both.1).then_some(both)
        };
        let Area { x, y, .. } = self.area;
        let (left, right) = pixels(area.x, area.width, (x, self.area.width), self.width)?;
        let (top, bottom) = pixels(area.y, area.height, (y, self.area.height), self.height)?;
        Some((left, top, right, bottom))
    }

    /// The area that these pixels of it show, which are some of them.
    pub fn area_of(&self, left: u32, top: u32, right: u32, bottom: u32) -> Area {
        let last = |end: u32| i64::from(end) - 1;
        let (x, width) = span(left.into(), last(right), self.area.width, self.width);
        let (y, height) = span(top.into(), last(bottom), self.area.height, self.height);
        Area {
            x: self.area.x + x,
            y: self.area.y + y,
            width,
            height,
        }
    }

    /// The pixel that shows a point; outside of the picture when the point is.
    pub fn to_pixel(&self, point: Point) -> (i64, i64) {
        let back = |at: i32, from: i32, points: u32, pixels: u32| {
            let at = 2 * (i64::from(at) - i64::from(from)) + 1;
            (at * i64::from(pixels)).div_euclid(2 * i64::from(points.max(1)))
        };
        (
            back(point.x, self.area.x, self.area.width, self.width),
            back(point.y, self.area.y, self.area.height, self.height),
        )
    }
}

/// Where the points begin that the pixels from `first` to `last` show, and how many they are.
fn span(first: i64, last: i64, points: u32, pixels: u32) -> (i32, u32) {
    let (points, pixels) = (i64::from(points), i64::from(pixels));
    let from = first * points / pixels;
    let to = ((last + 1) * points + pixels - 1) / pixels;
    (
        i32::try_from(from).unwrap_or(i32::MAX),
        u32::try_from(to - from).unwrap_or(u32::MAX).max(1),
    )
}

/// How many points from the edge the middle of a pixel is. `pixel` is below `pixels`.
fn middle(pixel: i64, points: u32, pixels: u32) -> i32 {
    let points = (2 * pixel + 1) * i64::from(points) / (2 * i64::from(pixels));
    i32::try_from(points).unwrap_or(i32::MAX)
}

/// A pixel is not in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    x: i64,
    y: i64,
    width: u32,
    height: u32,
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "({}, {}) is outside of the last capture, which is {} × {} pixels",
            self.x, self.y, self.width, self.height
        )
    }
}

impl std::error::Error for Outside {}

/// What each session saw last. Those that have not looked for longest are forgotten.
#[derive(Debug, Default)]
pub struct Captures {
    by_session: BTreeMap<String, (u64, LastCapture)>,
    /// Counts the captures.
    looks: u64,
}

impl Captures {
    /// What this session saw last.
    pub fn last(&self, session: &str) -> Option<LastCapture> {
        self.by_session.get(session).map(|(_, capture)| *capture)
    }

    /// A session has seen this.
    pub fn saw(&mut self, session: &str, capture: LastCapture) {
        self.looks += 1;
        self.by_session
            .insert(session.to_owned(), (self.looks, capture));
        if self.by_session.len() > SESSIONS {
            let oldest = self.by_session.iter().min_by_key(|(_, (look, _))| *look);
            if let Some(oldest) = oldest.map(|(session, _)| session.clone()) {
                self.by_session.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn capture(area: (i32, i32, u32, u32), width: u32, height: u32) -> LastCapture {
        let (x, y, w, h) = area;
        let area = Area {
            x,
            y,
            width: w,
            height: h,
        };
        LastCapture {
            area,
            width,
            height,
        }
    }

    #[test]
    fn a_picture_of_full_size_is_only_moved() {
        let seen = capture((1_920, -200, 800, 600), 800, 600);
        assert_eq!(seen.to_point(0, 0), Ok(Point { x: 1_920, y: -200 }));
        assert_eq!(seen.to_point(799, 599), Ok(Point { x: 2_719, y: 399 }));
    }

    #[test]
    fn a_small_picture_leads_to_the_middle_of_what_a_pixel_shows() {
        let seen = capture((0, 0, 2_560, 1_440), 1_568, 882);
        assert_eq!(seen.to_point(0, 0), Ok(Point { x: 0, y: 0 }));
        assert_eq!(seen.to_point(1_567, 881), Ok(Point { x: 2_559, y: 1_439 }));
        assert_eq!(seen.to_point(784, 441), Ok(Point { x: 1_280, y: 720 }));
    }

    #[test]
    fn a_screen_of_two_pixels_a_point() {
        let seen = capture((100, 0, 1_440, 900), 2_880, 1_800);
        assert_eq!(seen.to_point(0, 1), Ok(Point { x: 100, y: 0 }));
        assert_eq!(seen.to_point(2_879, 1_799), Ok(Point { x: 1_539, y: 899 }));
    }

    #[test]
    fn a_part_of_a_picture_is_a_part_of_the_desktop() {
        let seen = capture((100, 50, 2_560, 1_440), 1_280, 720);
        let area = |x, y, width, height| Area {
            x,
            y,
            width,
            height,
        };
        assert_eq!(seen.to_area(10, 20, 30, 40), Ok(area(120, 90, 60, 80)));
        assert_eq!(seen.to_area(0, 0, 1_280, 720), Ok(seen.area));
        assert!(seen.to_area(0, 0, 1_281, 1).is_err());
        assert_eq!(
            seen.to_pixels(&area(120, 90, 60, 80)),
            Some((10, 20, 40, 60))
        );
        assert_eq!(
            seen.to_pixels(&area(2_600, 90, 600, 80)),
            Some((1_250, 20, 1_280, 60))
        );
        assert_eq!(seen.to_pixels(&area(60, 90, 60, 80)), Some((0, 20, 10, 60)));
        assert_eq!(seen.to_pixels(&area(2_660, 90, 600, 80)), None);
        assert_eq!(seen.to_pixels(&area(-600, 90, 600, 80)), None);
        let fine = capture((0, 0, 100, 100), 200, 200);
        assert_eq!(fine.to_area(1, 199, 1, 1), Ok(area(0, 99, 1, 1)));
    }

    #[test]
    fn what_is_outside_is_named() {
        let seen = capture((0, 0, 10, 10), 10, 10);
        for (x, y) in [(10, 0), (0, 10), (-1, 0), (0, i64::MIN), (i64::MAX, 0)] {
            let said = seen.to_point(x, y).unwrap_err().to_string();
            assert!(
                said.contains(&format!("({x}, {y})")) && said.contains("10 × 10"),
                "{said}"
            );
        }
    }

    #[test]
    fn the_oldest_looks_are_forgotten() {
        let mut captures = Captures::default();
        let seen = capture((0, 0, 1, 1), 1, 1);
        for session in 0..=SESSIONS {
            captures.saw(&session.to_string(), seen);
            captures.saw("mine", seen);
        }
        assert_eq!(captures.last("mine"), Some(seen));
        assert_eq!(captures.last("0"), None);
        assert_eq!(captures.last("1"), None);
        assert_eq!(captures.last("2"), Some(seen));
        assert_eq!(captures.by_session.len(), SESSIONS);
    }

    proptest! {
        #[test]
        fn a_pixel_leads_into_the_area_and_back_unless_points_are_fewer(
            (x, y) in (-5_000..5_000, -5_000..5_000),
            (points, shrink) in (1_u32..8_000, 1_u32..8),
            at in 0.0..1.0_f64,
        ) {
            let pixels = (points / shrink).max(1);
            let seen = capture((x, y, points, points), pixels, pixels);
            let pixel = (at * f64::from(pixels)) as i64;
            let point = seen.to_point(pixel, pixel).unwrap();
            prop_assert!((x..x + points as i32).contains(&point.x));
            prop_assert!((y..y + points as i32).contains(&point.y));
            prop_assert_eq!(seen.to_pixel(point), (pixel, pixel));
        }
    }
}
