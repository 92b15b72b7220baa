//! A picture on its way to a chat.

use crate::rig::{Display, pattern, pixels};
use crate::support::bot_api::{BotApi, Call, TOKEN};
use crate::support::daemon::{CONFIG, Daemon};
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
