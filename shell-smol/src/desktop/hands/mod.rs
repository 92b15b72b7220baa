//! The hands: the tools `input.*`, by which the pointer is moved and keys are pressed.
//!
//! A call is read ([`call`]), planned to the last event before anything moves ([`plan`]), and done
//! event by event. Between any two events it looks whether it is to end: the daemon says so or is
//! gone, its time is over, or the person holds [`STOP_CHORD`](system::STOP_CHORD). (Not
//! Ctrl+Alt+Esc, with which some desktops kill the window that is clicked next.) While the person
//! holds a modifier it waits, so that what it types does not become a shortcut.
//!
//! However it ends, nothing stays down: [`held`] releases in this process, and [`watch`] when this
//! process was killed. When both were killed in the same moment, the daemon has the next one release
//! what is down ([`release_leftovers`]) as soon as it starts.

mod call;
mod held;
mod keys;
#[cfg(target_os = "macos")]
mod native;
mod plan;
mod spec;
mod view;
pub(crate) mod watch;
#[cfg(not(target_os = "macos"))]
mod x11;

#[cfg(target_os = "macos")]
use native as system;
#[cfg(not(target_os = "macos"))]
use x11 as system;

use self::call::Call;
use self::held::{Device, Fault, Held};
use self::plan::{Event, Plan, Step};
use self::system::Person;
use self::view::View;
use self::watch::Watcher;
use super::program::Asked;
use super::{Ability, Done, End};
use openpista_core::message::ToolSpec;
use std::fmt;
use std::time::Duration;

/// How often it is looked whether a person has let go of a modifier.
const LOOK: Duration = Duration::from_millis(20);

/// What is kept from call to call: the display, and who watches. It is opened for the first call.
#[derive(Default)]
pub(crate) struct Hands(Option<Open>);

struct Open {
    device: Device,
    watcher: Watcher,
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hands")
    }
}

/// The tools, and whether they can be used.
pub(super) fn offers() -> Vec<Ability> {
    let lack = system::check().err();
    let offer = |spec: ToolSpec| Ability {
        tool: spec.name.clone(),
        offer: lack.clone().map_or(Ok(spec), Err),
    };
    spec::all().into_iter().map(offer).collect()
}

/// The tool is one of these.
pub(super) fn has(tool: &str) -> bool {
    tool.starts_with("input.")
}

/// Releases what another companion left down that was killed together with its watcher.
pub(super) fn release_leftovers() {
    // It does not tell there what is down, and asks the person when it is opened.
    if cfg!(target_os = "macos") {
        return;
    }
    // Where there is no display, nothing is down; of another fault the first call tells.
    let _ = Device::open(None).and_then(|mut device| device.release_leftovers());
}

/// Does a call. After a fault of the display both it and the watcher are opened anew: what this end
/// could not release, the watcher does.
pub(super) fn perform(hands: &mut Hands, asked: &Asked<'_>) -> Result<Done, End> {
    let refused = |message| End::Refused { message };
    let call = Call::read(&asked.call.tool, &asked.call.arguments).map_err(refused)?;
    let unable = |Fault(message)| End::Unable { message };
    let open = hands.open().map_err(unable)?;
    let plan = match open.plan(&call, asked) {
        Ok(plan) => plan.map_err(refused)?,
        Err(fault) => {
            hands.0 = None;
            return Err(unable(fault));
        }
    };
    let mut done = 0;
    match open.follow(&plan, asked, &mut done) {
        Ok(end) => end.map(|()| Done::from(plan.did)),
        Err(Fault(why)) => {
            hands.0 = None;
            let message = format!("{why}: {}", so_far(&plan, done));
            Err(End::Failed { message })
        }
    }
}

impl Hands {
    fn open(&mut self) -> Result<&mut Open, Fault> {
        if self.0.is_none() {
            let mut device = Device::open(None)?;
            device.release_leftovers()?;
            let watcher = Watcher::start(&watch::ourselves())?;
            self.0 = Some(Open { device, watcher });
        }
        (self.0.as_mut()).ok_or_else(|| Fault("there is no display".to_owned()))
    }
}

impl Open {
    fn plan(&mut self, call: &Call, asked: &Asked<'_>) -> Result<Result<Plan, String>, Fault> {
        self.device.keyboard.look()?;
        if matches!(call, Call::Type(_)) && self.device.keyboard.writes_capitals() {
            return Ok(Err(
                "Caps Lock is on, which would make other letters of it: switch it off with \
                 input.key and `capslock` first"
                    .to_owned(),
            ));
        }
        let view = View {
            seen: asked.last_capture(),
            desktop: self.device.desktop()?,
            pointer: self.device.pointer()?,
        };
        Ok(plan::plan(call, &view))
    }

    /// Does one event after the other, and counts them. The inner error is an early end.
    fn follow(
        &mut self,
        plan: &Plan,
        asked: &Asked<'_>,
        done: &mut usize,
    ) -> Result<Result<(), End>, Fault> {
        let mut held = Held::new(&mut self.device, &self.watcher);
        let mut end = Ok(());
        for (index, step) in plan.steps.iter().enumerate() {
            *done = index;
            end = may_go_on(&held, asked, plan, index)?;
            if end.is_err() {
                break;
            }
            act(&mut held, step.event, &plan.steps[index..])?;
            *done = index + 1;
            end = asked.pause(Duration::from_millis(step.rest_ms), &so_far(plan, *done));
            if end.is_err() && *done < plan.steps.len() {
                break;
            }
            end = Ok(());
        }
        held.let_go()?;
        Ok(end)
    }
}

/// Whether the next event may be done. Waits while the person holds a modifier.
fn may_go_on(
    held: &Held<'_>,
    asked: &Asked<'_>,
    plan: &Plan,
    done: usize,
) -> Result<Result<(), End>, Fault> {
    let so_far = so_far(plan, done);
    let mut wait = Duration::ZERO;
    loop {
        if let Err(end) = asked.pause(wait, &so_far) {
            return Ok(Err(end));
        }
        match held.person()? {
            Person::Away => return Ok(Ok(())),
            Person::Modifies => wait = LOOK,
            Person::Stops => {
                let chord = system::STOP_CHORD;
                let message = format!("a person held {chord}: {so_far}");
                return Ok(Err(End::Stopped { message }));
            }
        }
    }
}

fn act(held: &mut Held<'_>, event: Event, ahead: &[Step]) -> Result<(), Fault> {
    let keys = || {
        ahead.iter().filter_map(|step| match step.event {
            Event::Down(key) | Event::Tap(key) => Some(key),
            _ => None,
        })
    };
    match event {
        Event::Move(to) => held.move_to(to),
        Event::Press(button) => held.press(held::Pressed::Button(button)),
        Event::Release(button) => held.release(held::Pressed::Button(button)),
        Event::Down(key) => held.key_down(key, keys()),
        Event::Up(key) => held.key_up(key),
        Event::Tap(key) => held.tap(key, keys()),
        Event::Notch(axis, forward) => held.notch(axis, forward),
    }
}

fn so_far(plan: &Plan, done: usize) -> String {
    format!(
        "it ended after {done} of {} events, so this was done in part only: {}. No key and no \
         button is left down",
        plan.steps.len(),
        plan.did
    )
}
