//! What is to be done for a call, event by event, before any of it is done.
//!
//! Planning is pure: the same call in the same [`View`] makes the same list, whose length is
//! bounded. Whatever cannot be done is refused here, when nothing has moved yet.

use super::call::{At, Button, Call, Click, Drag, Scroll};
use super::keys;
use super::view::View;
use crate::desktop::geometry::Point;
use enigo::{Axis, Key};

/// How long a button or a key stays down, in milliseconds. Some programs look only now and then.
const DOWN_MS: u64 = 20;
/// Between two clicks of one call: less than what any desktop takes for a double click.
const BETWEEN_CLICKS_MS: u64 = 60;
/// Between two characters.
const BETWEEN_CHARS_MS: u64 = 4;
/// Between two notches of the wheel.
const BETWEEN_NOTCHES_MS: u64 = 10;
/// Between two moves of a drag, about.
const BETWEEN_MOVES_MS: u64 = 10;
/// Before a drag sets off and before it lets go, so that it is seen as one.
const GRIP_MS: u64 = 50;

/// One thing that is done to the display. Between two of them a call can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The pointer goes there, in pixels of the screen.
    Move(Point),
    Press(Button),
    Release(Button),
    Down(Key),
    Up(Key),
    /// A key goes down and up, with Shift where its character needs that.
    Tap(Key),
    /// The wheel turns by one notch: forward is down or right.
    Notch(Axis, Forward),
}

/// Which way a wheel turns.
pub(super) type Forward = bool;

/// An event, and the time that passes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) event: Event,
    pub(super) rest_ms: u64,
}

/// A call's events, and what has been done when they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) did: String,
}

/// Plans a call.
///
/// # Errors
/// It names a key that is not known, or a place that is not to be seen.
pub(super) fn plan(call: &Call, view: &View) -> Result<Plan, String> {
    match call {
        Call::Click(call) => click(call, view),
        Call::Move(at) => {
            let to = view.on_screen(*at)?;
            Ok(Plan {
                steps: vec![step(Event::Move(to), 0)],
                did: format!("moved the pointer to {}", view.say(*at, to)),
            })
        }
        Call::Type(text) => Ok(typed(text)),
        Call::Key(text) => key(text),
        Call::Scroll(call) => scroll(call, view),
        Call::Drag(call) => drag(call, view),
    }
}

fn step(event: Event, rest_ms: u64) -> Step {
    Step { event, rest_ms }
}

fn click(call: &Click, view: &View) -> Result<Plan, String> {
    let modifiers = keys::modifiers(&call.modifiers)?;
    let (to, place) = place(call.at(), view)?;
    let mut steps: Vec<Step> = to.into_iter().collect();
    steps.extend(modifiers.iter().map(|key| step(Event::Down(*key), 0)));
    for _ in 0..call.count() {
        steps.push(step(Event::Press(call.button), DOWN_MS));
        steps.push(step(Event::Release(call.button), BETWEEN_CLICKS_MS));
    }
    steps.extend(modifiers.iter().rev().map(|key| step(Event::Up(*key), 0)));
    let times = match call.count() {
        1 => String::new(),
        2 => " twice".to_owned(),
        count => format!(" {count} times"),
    };
    let held = match call.modifiers.is_empty() {
        true => String::new(),
        false => format!(" with {} held", call.modifiers.join("+")),
    };
    Ok(Plan {
        steps,
        did: format!("clicked {}{times} {place}{held}", call.button.name()),
    })
}

fn typed(text: &str) -> Plan {
    let lines = text.replace("\r\n", "\n");
    let tap = |c| match c {
        '\n' | '\r' => Key::Return,
        '\t' => Key::Tab,
        c => Key::Unicode(c),
    };
    Plan {
        steps: lines
            .chars()
            .map(|c| step(Event::Tap(tap(c)), BETWEEN_CHARS_MS))
            .collect(),
        did: match lines.chars().count() {
            1 => "typed 1 character".to_owned(),
            count => format!("typed {count} characters"),
        },
    }
}

fn key(text: &str) -> Result<Plan, String> {
    let keys = keys::chord(text)?;
    let down = |(index, key): (usize, &Key)| {
        let last = index + 1 == keys.len();
        step(Event::Down(*key), if last { DOWN_MS } else { 0 })
    };
    let up = |key: &Key| step(Event::Up(*key), 0);
    Ok(Plan {
        steps: (keys.iter().enumerate().map(down))
            .chain(keys.iter().rev().map(up))
            .collect(),
        did: format!("pressed {text}"),
    })
}

fn scroll(call: &Scroll, view: &View) -> Result<Plan, String> {
    let (to, place) = place(call.at(), view)?;
    let mut steps: Vec<Step> = to.into_iter().collect();
    let mut ways = Vec::new();
    for (notches, axis, forward, back) in [
        (call.dy, Axis::Vertical, "down", "up"),
        (call.dx, Axis::Horizontal, "right", "left"),
    ] {
        let notch = step(Event::Notch(axis, notches > 0), BETWEEN_NOTCHES_MS);
        let count = notches.unsigned_abs();
        steps.extend((0..count).map(|_| notch));
        if count > 0 {
            let way = if notches > 0 { forward } else { back };
            let notches = if count == 1 { "notch" } else { "notches" };
            ways.push(format!("{count} {notches} {way}"));
        }
    }
    Ok(Plan {
        steps,
        did: format!("scrolled {} {place}", ways.join(" and ")),
    })
}

fn drag(call: &Drag, view: &View) -> Result<Plan, String> {
    let (from, to) = (view.on_screen(call.from)?, view.on_screen(call.to)?);
    let moves = (call.duration_ms() / BETWEEN_MOVES_MS).max(2);
    let between = |index: u64| {
        // Bounded by the width of a screen and by DRAG_MS: far from the ends of an i64.
        let part = |from: i32, to: i32| {
            let way = i64::from(to) - i64::from(from);
            (i64::from(from) + way * index as i64 / moves as i64) as i32
        };
        Event::Move(Point {
            x: part(from.x, to.x),
            y: part(from.y, to.y),
        })
    };
    let mut steps = vec![
        step(Event::Move(from), DOWN_MS),
        step(Event::Press(call.button), GRIP_MS),
    ];
    let rest = call.duration_ms() / moves;
    steps.extend((1..=moves).map(|index| step(between(index), rest)));
    if let Some(last) = steps.last_mut() {
        last.rest_ms += GRIP_MS;
    }
    steps.push(step(Event::Release(call.button), 0));
    Ok(Plan {
        steps,
        did: format!(
            "dragged {} from {} to {}",
            call.button.name(),
            view.say(call.from, from),
            view.say(call.to, to)
        ),
    })
}

/// How to come to a place, and its name.
fn place(at: Option<At>, view: &View) -> Result<(Option<Step>, String), String> {
    let Some(at) = at else {
        let Point { x, y } = view.pointer;
        return Ok((None, format!("where the pointer is (screen {x},{y})")));
    };
    let to = view.on_screen(at)?;
    let go = step(Event::Move(to), DOWN_MS);
    Ok((Some(go), format!("at {}", view.say(at, to))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desktop::hands::call::{DRAG_MS, NOTCHES, TEXT_CHARS};
    use crate::desktop::hands::view::tests::{half, unseen};
    use Event::{Down, Move, Notch, Press, Release, Tap, Up};

    fn planned(tool: &str, arguments: &str, view: &View) -> Plan {
        let call = Call::read(tool, arguments).expect(arguments);
        plan(&call, view).expect(arguments)
    }

    fn events(plan: &Plan) -> Vec<Event> {
        plan.steps.iter().map(|step| step.event).collect()
    }

    fn at(x: i32, y: i32) -> Event {
        Move(Point { x, y })
    }

    #[test]
    fn a_click_is_in_the_pixels_of_what_was_seen() {
        let plan = planned("input.click", r#"{"x":120,"y":240}"#, &half());
        let left = Button::Left;
        assert_eq!(events(&plan), [at(241, 481), Press(left), Release(left)]);
        assert_eq!(plan.did, "clicked left at 120,240 (screen 241,481)");
    }

    #[test]
    fn modifiers_are_held_around_clicks() {
        let arguments = r#"{"button":"right","count":2,"modifiers":["ctrl","shift"]}"#;
        let plan = planned("input.click", arguments, &half());
        let right = Button::Right;
        let expected = [
            Down(Key::Control),
            Down(Key::Shift),
            Press(right),
            Release(right),
            Press(right),
            Release(right),
            Up(Key::Shift),
            Up(Key::Control),
        ];
        assert_eq!(events(&plan), expected);
        let did = "clicked right twice where the pointer is (screen 7,8) with ctrl+shift held";
        assert_eq!(plan.did, did);
    }

    #[test]
    fn a_chord_goes_up_in_reverse() {
        let plan = planned("input.key", r#"{"keys":"ctrl+shift+t"}"#, &unseen());
        let t = Key::Unicode('t');
        let expected = [
            Down(Key::Control),
            Down(Key::Shift),
            Down(t),
            Up(t),
            Up(Key::Shift),
            Up(Key::Control),
        ];
        assert_eq!(events(&plan), expected);
        assert_eq!(plan.did, "pressed ctrl+shift+t");
    }

    #[test]
    fn lines_and_tabs_are_keys() {
        let plan = planned("input.type", r#"{"text":"a\r\n\t漢\n"}"#, &unseen());
        let expected = [
            Tap(Key::Unicode('a')),
            Tap(Key::Return),
            Tap(Key::Tab),
            Tap(Key::Unicode('漢')),
            Tap(Key::Return),
        ];
        assert_eq!(events(&plan), expected);
        assert_eq!(plan.did, "typed 5 characters");
    }

    #[test]
    fn the_wheel_turns_by_notches() {
        let plan = planned("input.scroll", r#"{"x":0,"y":0,"dx":-1,"dy":2}"#, &half());
        let down = Notch(Axis::Vertical, true);
        let left = Notch(Axis::Horizontal, false);
        assert_eq!(events(&plan), [at(1, 1), down, down, left]);
        let did = "scrolled 2 notches down and 1 notch left at 0,0 (screen 1,1)";
        assert_eq!(plan.did, did);
    }

    #[test]
    fn a_drag_is_many_small_moves_between_press_and_release() {
        let arguments = r#"{"from":{"x":0,"y":0},"to":{"x":100,"y":50},"duration_ms":100}"#;
        let plan = planned("input.drag", arguments, &unseen());
        let events = events(&plan);
        assert_eq!(events.len(), 13);
        assert_eq!(
            events[..4],
            [at(0, 0), Press(Button::Left), at(10, 5), at(20, 10)]
        );
        assert_eq!(events[11..], [at(100, 50), Release(Button::Left)]);
        assert!(plan.did.contains("no capture"), "{}", plan.did);
    }

    #[test]
    fn what_is_not_to_be_seen_is_refused() {
        for (tool, arguments) in [
            ("input.move", r#"{"x":640,"y":0}"#),
            ("input.click", r#"{"x":0,"y":-1}"#),
            (
                "input.drag",
                r#"{"from":{"x":0,"y":0},"to":{"x":0,"y":480}}"#,
            ),
            ("input.scroll", r#"{"x":2147483647,"y":0,"dy":1}"#),
        ] {
            let call = Call::read(tool, arguments).expect(arguments);
            let said = plan(&call, &half()).expect_err(arguments);
            assert!(said.contains("640") && said.contains("480"), "{said}");
        }
    }

    #[test]
    fn the_longest_calls_are_bounded() {
        let text = format!(r#"{{"text":"{}"}}"#, "漢".repeat(TEXT_CHARS));
        let drag =
            format!(r#"{{"from":{{"x":0,"y":0}},"to":{{"x":9,"y":9}},"duration_ms":{DRAG_MS}}}"#);
        let scroll = format!(r#"{{"dx":{NOTCHES},"dy":-{NOTCHES}}}"#);
        for (tool, arguments) in [
            ("input.type", text),
            ("input.drag", drag),
            ("input.scroll", scroll),
        ] {
            let plan = planned(tool, &arguments, &unseen());
            assert!(plan.steps.len() <= 2_000, "{tool}: {}", plan.steps.len());
            let rests: u64 = plan.steps.iter().map(|step| step.rest_ms).sum();
            assert!(rests <= 15_000, "{tool}: {rests} ms");
        }
    }

    #[test]
    fn whatever_goes_down_comes_up() {
        for (tool, arguments) in [
            ("input.click", r#"{"count":3,"modifiers":["alt","super"]}"#),
            ("input.key", r#"{"keys":"ctrl+alt+?"}"#),
            ("input.drag", r#"{"from":{"x":1,"y":1},"to":{"x":9,"y":9}}"#),
        ] {
            let mut down = Vec::new();
            for event in events(&planned(tool, arguments, &unseen())) {
                match event {
                    Down(_) | Press(_) => down.push(format!("{event:?}")),
                    Up(key) => assert_eq!(down.pop(), Some(format!("{:?}", Down(key)))),
                    Release(button) => {
                        assert_eq!(down.pop(), Some(format!("{:?}", Press(button))));
                    }
                    _ => {}
                }
            }
            assert!(down.is_empty(), "{tool}: {down:?}");
        }
    }
}
