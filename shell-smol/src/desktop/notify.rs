//! `system.notify`: a notification on the desktop.
//!
//! On Linux it is the one call that the desktops have agreed on, over the session's D-Bus. zbus
//! makes it, which taking pictures brings along anyway: notify-rust would only wrap the same call.

use super::program::{Asked, ability, parse, spec};
use super::{Ability, Done, End, Lack};
use openpista_core::effect::Recovery;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// The tool's name.
pub(super) const NAME: &str = "system.notify";
/// How long it may take, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// How long the desktop is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest title, in characters.
const TITLE_CHARS: usize = 200;
/// The longest body, in characters.
const BODY_CHARS: usize = 4_000;

/// What the model is told, or why nobody would show it.
pub(super) fn offer() -> Ability {
    let description = "Show a notification on this computer's desktop, to whoever sits there.";
    let parameters = json!({
        "type": "object",
        "properties": {
            "title": { "type": "string", "description": "One short line." },
            "body": { "type": "string", "description": "Plain text." },
            "urgency": {
                "type": "string",
                "enum": ["low", "normal", "critical"],
                "description": "Default: normal. A critical one stays until it is closed."
            }
        },
        "required": ["title"],
        "additionalProperties": false
    });
    let offered = |()| spec(NAME, description, &parameters, Recovery::Doubt, TIMEOUT_MS);
    ability(NAME, platform::ready().map(offered))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification {
    title: String,
    body: Option<String>,
    urgency: Option<Urgency>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Urgency {
    Low,
    #[default]
    Normal,
    Critical,
}

/// Shows one.
pub(super) fn show(asked: &Asked<'_>) -> Result<Done, End> {
    let Notification {
        title,
        body,
        urgency,
    } = parse(asked)?;
    let (body, urgency) = (body.unwrap_or_default(), urgency.unwrap_or_default());
    let refused = |message: String| Err(End::Refused { message });
    if title.trim().is_empty() {
        return refused("`title` is empty".to_owned());
    }
    for (name, text, most) in [("title", &title, TITLE_CHARS), ("body", &body, BODY_CHARS)] {
        if text.chars().count() > most {
            return refused(format!("`{name}` is longer than {most} characters"));
        }
        if text.contains('\0') {
            return refused(format!("`{name}` has a NUL character in it"));
        }
    }
    asked.go_on("nothing was shown")?;
    platform::show(&title, &body, urgency).map(Done::from)
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{ANSWER, End, Lack, Urgency};
    use std::collections::HashMap;
    use zbus::blocking::connection::Builder;
    use zbus::blocking::fdo::DBusProxy;
    use zbus::blocking::{Connection, Proxy};
    use zbus::zvariant::Value;

    /// The name under which a desktop's notifications are shown.
    const SERVICE: &str = "org.freedesktop.Notifications";
    const PATH: &str = "/org/freedesktop/Notifications";

    fn connect() -> zbus::Result<Connection> {
        Builder::session()?.method_timeout(ANSWER).build()
    }

    /// Somebody would show it, or could be started to.
    pub(super) fn ready() -> Result<(), Lack> {
        let lack = |why: String, mend: &str| Lack {
            why,
            mend: mend.to_owned(),
        };
        let no_bus = |error: zbus::Error| {
            lack(
                format!("there is no session of D-Bus: {error}"),
                "start openpistacrab within the desktop's session, or set \
                 DBUS_SESSION_BUS_ADDRESS for it",
            )
        };
        let connection = connect().map_err(no_bus)?;
        let known = || -> zbus::Result<bool> {
            let bus = DBusProxy::new(&connection)?;
            let runs = bus.name_has_owner(SERVICE.try_into()?)?;
            let could = || bus.list_activatable_names();
            Ok(runs || could()?.iter().any(|name| name.as_str() == SERVICE))
        };
        match known().map_err(no_bus)? {
            true => Ok(()),
            false => Err(lack(
                "nobody shows notifications in this session of D-Bus".to_owned(),
                "start a program that does, for example dunst (Debian: apt install dunst)",
            )),
        }
    }

    pub(super) fn show(title: &str, body: &str, urgency: Urgency) -> Result<String, End> {
        let unable = |error: zbus::Error| End::Unable {
            message: format!("nobody can be reached who shows notifications: {error}"),
        };
        let connection = connect().map_err(unable)?;
        let proxy = Proxy::new(&connection, SERVICE, PATH, SERVICE).map_err(unable)?;
        let can: Vec<String> = proxy.call("GetCapabilities", &()).map_err(unable)?;
        let body = match can.iter().any(|one| one == "body-markup") {
            true => escaped(body),
            false => body.to_owned(),
        };
        let urgency = match urgency {
            Urgency::Low => 0_u8,
            Urgency::Normal => 1,
            Urgency::Critical => 2,
        };
        let hints = HashMap::from([("urgency", Value::from(urgency))]);
        let (replaces, actions, expires_ms) = (0_u32, Vec::<&str>::new(), -1_i32);
        let notification = (
            "openpista",
            replaces,
            "",
            title,
            &body,
            actions,
            hints,
            expires_ms,
        );
        let number: u32 = proxy
            .call("Notify", &notification)
            .map_err(|error| End::Failed {
                message: format!("the notification may not have been shown: {error}"),
            })?;
        Ok(format!("shown, as notification {number}"))
    }

    /// The text as it is, where marks in it would be obeyed.
    fn escaped(text: &str) -> String {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{End, Lack, Urgency};
    use std::process::{Command, Stdio};

    /// Takes its words as arguments, so that nothing in them is a command.
    const SCRIPT: &str = "on run argv\n\
        display notification (item 2 of argv) with title (item 1 of argv)\n\
        end run";

    pub(super) fn ready() -> Result<(), Lack> {
        Ok(())
    }

    pub(super) fn show(title: &str, body: &str, urgency: Urgency) -> Result<String, End> {
        let mut command = Command::new("osascript");
        command.args(["-e", SCRIPT, "--", title, body]);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(match urgency {
                Urgency::Normal => "shown".to_owned(),
                Urgency::Low | Urgency::Critical => {
                    "shown; this system has no urgencies".to_owned()
                }
            }),
            Ok(status) => Err(End::Failed {
                message: format!("the notification was not shown: osascript: {status}"),
            }),
            Err(error) => Err(End::Unable {
                message: format!("osascript cannot be started: {error}"),
            }),
        }
    }
}
