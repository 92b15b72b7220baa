//! What goes wrong at the server, and what the operator is told.

use crate::daemon::{OWNER, Options};
use crate::support::bot_api::{BotApi, TOKEN};
use crate::support::server::{Answer, Server};
use std::io::Write;
use std::sync::{Mutex, Once};

/// Everything that was logged by the tests of this program.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LOGGING: Once = Once::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() {
    LOGGING.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// The lines that were logged and hold this.
fn logged(what: &str) -> usize {
    let logged = LOGGED.lock().unwrap();
    let text = String::from_utf8_lossy(&logged);
    assert!(!text.contains(TOKEN) && !text.contains("canary"), "{text}");
    text.lines().filter(|line| line.contains(what)).count()
}

/// The waits between polls that failed.
fn waits(api: &BotApi, status: u16) -> Vec<u128> {
    let polls = api.calls("getUpdates");
    let pairs = polls.windows(2).filter(|pair| pair[0].status == status);
    pairs
        .map(|pair| pair[1].at.duration_since(pair[0].at).as_millis())
        .collect()
}

#[test]
fn a_conflict_is_said_once_and_polling_slows_down() {
    log();
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let said = "Conflict: terminated by other getUpdates request of test one";
    api.fail("getUpdates", 4, 409, said);
    api.write(1, OWNER, "! echo after all");
    let daemon = Options::new(dir.path(), &api).start();
    api.wait_for_said(OWNER, |text| text.contains("after all"));
    daemon.stop();
    assert_eq!(logged("of test one"), 1);
    assert_eq!(logged("stop the other program"), 1);
    let waits = waits(&api, 409);
    assert_eq!(waits.len(), 4);
    for (wait, least) in waits.iter().zip([50, 100, 200, 400]) {
        assert!(*wait >= least, "{waits:?}");
    }
}

#[test]
fn a_bad_token_is_said_once_and_never_shown() {
    log();
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options {
        token: "999:AAF-canary_of_another_bot_0123456789",
        ..Options::new(dir.path(), &api)
    }
    .start();
    let tries = api.wait_for_calls("unauthorized", 4);
    let apart = |n: usize| tries[n + 1].at.duration_since(tries[n].at).as_millis();
    assert!(apart(0) >= 50 && apart(1) >= 100 && apart(2) >= 200);
    daemon.stop();
    assert_eq!(logged("does not know the bot's token"), 1);
    // What cannot even be an address does not give it away either.
    let daemon = Options {
        token: "999:AAF canary of a third bot\u{e9}",
        api: "not a url".to_owned(),
        ..Options::new(dir.path(), &api)
    }
    .start();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while logged("does not make a URL") == 0 {
        assert!(std::time::Instant::now() < until, "nothing was said");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    daemon.stop();
}

#[test]
fn the_server_is_left_alone_for_as_long_as_it_asks() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.fail_for(
        "getUpdates",
        1,
        429,
        "Too Many Requests: retry after 1",
        Some(1),
    );
    api.fail_for(
        "sendMessage",
        1,
        429,
        "Too Many Requests: retry after 1",
        Some(1),
    );
    api.write(1, OWNER, "! echo patience");
    let daemon = Options::new(dir.path(), &api).start();
    let said = api.wait_for_said(OWNER, |text| text.contains("patience"));
    daemon.stop();
    assert!(waits(&api, 429)[0] >= 1_000);
    let sends = api.calls("sendMessage");
    assert!(sends[1].at.duration_since(sends[0].at).as_millis() >= 1_000);
    // What was refused was certainly not shown.
    assert!(!said.text.contains("repeated"), "{said:?}");
}

#[test]
fn an_outage_loses_nothing() {
    log();
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options::new(dir.path(), &api).start();
    api.write(
        1,
        OWNER,
        "! while [ ! -e go ]; do sleep 0.05; done; echo first",
    );
    api.wait_for_offset(2);
    api.away(true);
    std::fs::write(dir.path().join("workspace/go"), "").unwrap();
    api.write(2, OWNER, "! echo second");
    std::thread::sleep(std::time::Duration::from_millis(400));
    api.away(false);
    api.wait_for_said(OWNER, |text| text.contains("first"));
    api.wait_for_said(OWNER, |text| text.contains("second"));
    api.wait_for_offset(3);
    daemon.stop();
    let said = api.said(OWNER);
    let certain = said
        .iter()
        .filter(|s| !s.text.contains("(possibly repeated)"));
    assert!(certain.count() <= 2, "{said:?}");
}

#[test]
fn refused_formatting_goes_out_plain() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.fail(
        "sendMessage",
        1,
        400,
        "Bad Request: can't parse entities: unsupported tag",
    );
    let daemon = Options::new(dir.path(), &api).start();
    api.write(1, OWNER, "/help");
    let plain = api.wait_for_said(OWNER, |text| text.contains("`/stop`"));
    daemon.stop();
    let sends = api.calls("sendMessage");
    assert_eq!(sends.len(), 2);
    assert_eq!(sends[0].params["parse_mode"], "HTML");
    assert!(sends[1].params["parse_mode"].is_null());
    assert!(!plain.text.contains("repeated"));
}

#[test]
fn a_chat_that_is_gone_is_given_up() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.fail(
        "sendMessage",
        1,
        403,
        "Forbidden: bot was blocked by the user",
    );
    let daemon = Options::new(dir.path(), &api).start();
    api.write(1, OWNER, "/help");
    api.wait_for_calls("sendMessage", 1);
    api.write(2, OWNER, "! echo back again");
    api.wait_for_said(OWNER, |text| text.contains("back again"));
    daemon.stop();
    assert_eq!(api.said(OWNER).len(), 1);
}

#[test]
fn a_delivery_that_may_have_been_seen_is_marked() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    api.fail("sendMessage", 1, 502, "Bad Gateway");
    let daemon = Options::new(dir.path(), &api).start();
    api.write(1, OWNER, "! echo once");
    let said = api.wait_for_said(OWNER, |text| text.contains("once"));
    assert!(said.text.ends_with("(possibly repeated)"), "{said:?}");
    daemon.stop();
}

#[test]
fn a_flood_of_messages_is_answered_in_order() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let daemon = Options::new(dir.path(), &api).start();
    for update in 0..40 {
        api.write(
            update,
            OWNER,
            &format!("/{}", ["help", "status"][(update % 2) as usize]),
        );
    }
    api.wait_for_offset(40);
    api.wait_for_calls("sendMessage", 40);
    daemon.stop();
    let said = api.said(OWNER);
    for (index, sent) in said.iter().enumerate() {
        assert_eq!(
            index % 2 == 1,
            sent.text.starts_with("Session"),
            "{index} {sent:?}"
        );
    }
}

/// A text that the core takes for one message, and the API only in two.
fn two_pieces(status: u16, description: &str) -> Vec<String> {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|_| Answer::text("😀".repeat(3_900)).whole());
    let daemon = Options {
        model: Some(&server),
        ..Options::new(dir.path(), &api)
    }
    .start();
    api.fail_second("sendMessage", status, description);
    api.write(1, OWNER, "smile");
    api.wait_for_offset(2);
    api.wait_for_said(OWNER, |text| text.chars().count() < 2_000);
    daemon.stop();
    api.said(OWNER).into_iter().map(|sent| sent.text).collect()
}

#[test]
fn what_got_through_of_a_text_in_pieces_is_not_shown_again_when_the_rest_did_not() {
    let said = two_pieces(429, "Too Many Requests: retry after 0");
    let smiles: Vec<usize> = said.iter().map(|text| text.matches('😀').count()).collect();
    assert_eq!(smiles, [2_048, 1_852]);
    assert!(
        !said.iter().any(|text| text.contains("repeated")),
        "{said:?}"
    );
}

#[test]
fn each_piece_of_a_text_that_may_have_been_seen_is_marked() {
    let said = two_pieces(500, "Internal Server Error");
    let marked = |text: &String| text.ends_with("(possibly repeated)");
    let marked: Vec<bool> = said.iter().map(marked).collect();
    assert_eq!(marked, [false, true, true]);
    let smiles = said.iter().skip(1).map(|text| text.matches('😀').count());
    assert_eq!(smiles.sum::<usize>(), 3_900);
}
