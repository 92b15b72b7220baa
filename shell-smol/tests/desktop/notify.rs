//! `system.notify`, to a notification daemon over a D-Bus of the test's own.

use crate::rig::{Display, Eyes};
use crate::support::program::wait_until;
use crate::xvfb::Running;
use openpista_shell_smol::desktop::End;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

const NAME: &str = "system.notify";

/// A bus for this display's programs alone, on which nothing is started by being asked for.
fn bus(display: &mut Display) -> Running {
    let config = display.dir.path().join("bus.conf");
    let address = display.dir.path().join("bus");
    let text = format!(
        "<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">\
         <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
         <allow own=\"*\"/></policy></busconfig>",
        address.display()
    );
    std::fs::write(&config, text).expect("a file");
    let mut daemon = display.command("dbus-daemon");
    daemon.arg(format!("--config-file={}", config.display()));
    daemon
        .args(["--print-address", "--nofork", "--nopidfile"])
        .stdout(Stdio::piped());
    let mut daemon = daemon.spawn().expect("dbus is installed");
    let mut address = String::new();
    let mut told = BufReader::new(daemon.stdout.take().expect("it is piped"));
    told.read_line(&mut address)
        .expect("the bus tells its address");
    display.set("DBUS_SESSION_BUS_ADDRESS", address.trim());
    Running(daemon)
}

#[test]
fn a_notification_is_shown_as_it_was_said() {
    let mut display = Display::new(640, 480);
    let _bus = bus(&mut display);
    display.start("dunst", &[]);
    wait_until("dunst", || {
        let asked = display
            .command("dunstctl")
            .arg("count")
            .output()
            .expect("dunst is installed");
        asked.status.success().then_some(())
    });
    let mut eyes = Eyes::of(&display);
    let mut abilities = eyes.abilities().into_iter();
    let offer = abilities
        .find(|one| one.tool == NAME)
        .expect("it is known")
        .offer;
    assert!(offer.is_ok(), "{offer:?}");
    let title = "Wörld 漢字";
    let body = "1 < 2 & <b>not bold</b>";
    let arguments = json!({ "title": title, "body": body, "urgency": "critical" });
    let done = eyes.done(NAME, &arguments);
    assert!(done.text.starts_with("shown"), "{}", done.text);
    display.run("dunstctl", &["close-all"]);
    let told = wait_until("the history", || {
        let told = display.run("dunstctl", &["history"]);
        let told: Value = serde_json::from_slice(&told.stdout).ok()?;
        let first = told["data"][0][0].clone();
        first.is_object().then_some(first)
    });
    assert_eq!(told["summary"]["data"], title);
    // Only critical ones stay for ever, as dunst is set up when nobody sets it up.
    assert_eq!(told["timeout"]["data"], 0);
    assert_eq!(told["appname"]["data"], "openpista");
    // dunst keeps the text with its marks, in which the body was written as it is.
    let kept = told["body"]["data"].as_str().expect("a text");
    let plain = kept
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    assert_eq!(plain, body, "{kept}");
    assert!(!kept.contains("<b>"), "{kept}");
}

#[test]
fn without_anybody_to_show_it_that_is_said() {
    let mut display = Display::new(200, 100);
    let lack = |display: &Display| {
        let mut abilities = Eyes::of(display).abilities().into_iter();
        let notify = abilities.find(|one| one.tool == NAME).expect("it is known");
        notify.offer.expect_err("nobody shows it")
    };
    display.set("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");
    let said = lack(&display);
    assert!(said.why.contains("no session of D-Bus"), "{said:?}");
    let end = Eyes::of(&display).call(NAME, &json!({ "title": "x" }));
    assert!(matches!(end, End::Unable { .. }), "{end:?}");
    let _bus = bus(&mut display);
    let said = lack(&display);
    assert!(said.mend.contains("dunst"), "{said:?}");
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let display = Display::new(200, 100);
    let mut eyes = Eyes::of(&display);
    for (arguments, expected) in [
        (json!({}), "missing field `title`"),
        (json!({ "title": " " }), "`title` is empty"),
        (
            json!({ "title": "x", "urgency": "dire" }),
            "unknown variant",
        ),
        (json!({ "title": "x".repeat(201) }), "longer than 200"),
        (json!({ "title": "x", "body": "a\0b" }), "NUL"),
    ] {
        match eyes.call(NAME, &arguments) {
            End::Refused { message } => assert!(message.contains(expected), "{message}"),
            other => panic!("{arguments}: {other:?}"),
        }
    }
}
