//! A picture on its way to a chat.

use crate::rig::{Display, pattern, pixels};
use crate::support::bot_api::{BotApi, Call, TOKEN};
use crate::support::daemon::{CONFIG, Daemon};
use crate::support::program::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::read_to_string;
use std::path::Path;
use std::process::Stdio;

const OWNER: i64 = 42;

/// A daemon with a bot, on this display.
fn start(display: &Display, api: &BotApi) -> Daemon {
    let data = display.dir.path().join(".openpistacrab");
    std::fs::create_dir_all(&data).expect("a directory");
    let config = format!(
        "{CONFIG}[policy]\nmode = \"full\"\n[channels.telegram]\nenabled = true\n\
         token = \"{TOKEN}\"\napi_url = \"{}\"\nallowed_users = [{OWNER}]\n",
        api.url()
    );
    std::fs::write(data.join("config.toml"), config).expect("a file");
    let mut command = display.command(env!("CARGO_BIN_EXE_openpistacrab"));
    command
        .arg("start")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    Daemon::by(command)
}

/// The file that came with a call, as a file again.
fn file(dir: &Path, call: &Call, field: &str) -> std::path::PathBuf {
    let sent = &call.params[field];
    let bytes: Vec<u8> = sent["bytes"]
        .as_str()
        .unwrap_or_else(|| panic!("no file: {:?}", call.params))
        .chars()
        .map(|c| u8::try_from(c).expect("a byte each"))
        .collect();
    let path = dir.join(sent["name"].as_str().expect("a name"));
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn a_chat_sees_the_picture_or_gets_it_as_a_file() {
    let display = Display::new(400, 300);
    let shown = pattern(display.dir.path(), 400, 300);
    display.show(&shown);
    let api = BotApi::start();
    let daemon = start(&display, &api);
    api.write(1, OWNER, "screen.capture {}");
    let photos = api.wait_for_calls("sendPhoto", 1);
    assert_eq!(photos[0].params["chat_id"], OWNER);
    assert!(pixels(&file(display.dir.path(), &photos[0], "photo"), None) == pixels(&shown, None));
    let kept = display.dir.path().join(".openpistacrab/workspace/files/42");
    assert!(kept.is_dir(), "in the folder where the chat's files go");
    api.wait_for_said(OWNER, |text| text.contains("400 × 300 pixels"));
    api.fail("sendPhoto", 1, 400, "Bad Request: PHOTO_INVALID_DIMENSIONS");
    api.write(2, OWNER, "screen.capture {}");
    let files = api.wait_for_calls("sendDocument", 1);
    assert!(pixels(&file(display.dir.path(), &files[0], "document"), None) == pixels(&shown, None));
    assert_eq!(api.count("sendPhoto"), 2);
    daemon.stop();
}

/// The companions of a daemon that are not dead yet.
fn companions(daemon: u32) -> Vec<i32> {
    let each = std::fs::read_dir("/proc").expect("this is Linux").flatten();
    let pids = each.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_one = |pid: &i32| {
        let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (name, rest) = stat.rsplit_once(") ").unwrap_or_default();
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next(), fields.next());
        // The system cuts names.
        name.contains("openpista-deskt")
            && state != Some("Z")
            && parent.is_some_and(|parent| parent == daemon.to_string())
    };
    pids.filter(is_one).collect()
}

#[test]
fn a_companion_is_kept_and_one_that_died_is_replaced() {
    let display = Display::new(300, 200);
    let api = BotApi::start();
    let daemon = start(&display, &api);
    assert_eq!(companions(daemon.pid()), [0; 0], "none is needed yet");
    let look = |update: i64| {
        api.write(update, OWNER, "screen.capture {}");
        let count = usize::try_from(update).expect("a small number");
        api.wait_for_calls("sendPhoto", count);
        companions(daemon.pid())
    };
    let first = look(1);
    assert_eq!(first.len(), 1);
    assert_eq!(look(2), first, "it is kept");
    let pid = Pid::from_raw(first[0]).expect("a process");
    kill_process(pid, Signal::KILL).expect("it is ours");
    wait_until("its end", || {
        companions(daemon.pid()).is_empty().then_some(())
    });
    let second = look(3);
    assert!(second.len() == 1 && second != first, "{second:?}");
    daemon.stop();
    let there = Path::new("/proc").join(second[0].to_string());
    wait_until("its end with the daemon's", || {
        (!there.join("exe").exists()).then_some(())
    });
}
