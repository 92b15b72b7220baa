//! Permission by buttons.

use crate::daemon::{OWNER, Options};
use crate::support::bot_api::{BotApi, Sent};
use crate::support::server::{Answer, Server};
use openpista_core::input::{Decision, Input, Order};
use openpista_core::record::Answer as Said;
use openpista_core::settings::Mode;

const LATE: &str = "answered already or has expired";

/// A model that wants a command run, and then tells what came of it.
fn model(command: &'static str) -> Server {
    Server::start(move |request| match request.last("tool") {
        Some(result) => Answer::text(format!("result: {result}")),
        None => Answer::run(command),
    })
}

fn asking<'a>(dir: &'a std::path::Path, api: &BotApi, model: &'a Server) -> Options<'a> {
    Options {
        model: Some(model),
        mode: Mode::Ask,
        ..Options::new(dir, api)
    }
}

fn question(api: &BotApi) -> Sent {
    let question = api.wait_for_said(OWNER, |text| text.contains("May this run?"));
    let labels: Vec<&str> = question.buttons.iter().map(|(l, _)| l.as_str()).collect();
    assert_eq!(labels, ["Allow once", "Allow for this session", "Deny"]);
    question
}

fn answer_to(api: &BotApi, count: usize) -> String {
    let answers = api.wait_for_calls("answerCallbackQuery", count);
    answers[count - 1].params["text"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_press_answers_once_and_shows_what_it_was() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = model("echo 1 >> ran; echo '<done>'");
    let daemon = asking(dir.path(), &api, &server).start();
    api.write(1, OWNER, "do it");
    let asked = question(&api);
    assert!(asked.text.contains("system.run"), "{asked:?}");
    assert!(
        asked
            .text
            .contains(r#"{"command":"echo 1 >> ran; echo '<done>'"}"#),
        "{asked:?}"
    );
    assert!(asked.text.contains("Why you are asked: "), "{asked:?}");
    // A stranger's press changes nothing.
    api.press(2, 666, &asked, "Allow once");
    assert_eq!(answer_to(&api, 1), "You may not answer this.");
    assert!(!dir.path().join("workspace/ran").exists());
    api.press(3, OWNER, &asked, "Allow once");
    assert_eq!(answer_to(&api, 2), "Allowed once.");
    let after = api.wait_for_message(asked.id, |sent| sent.buttons.len() == 1);
    assert_eq!(after.buttons[0].0, "✅ Allowed once by Ann");
    assert_eq!(after.text, asked.text);
    api.wait_for_said(OWNER, |text| {
        text.contains("<done>") && text.starts_with("result")
    });
    // Late presses, of the old buttons and of what took their place.
    api.press(4, OWNER, &asked, "Deny");
    assert!(answer_to(&api, 3).contains(LATE));
    api.press(5, OWNER, &after, "✅ Allowed once by Ann");
    assert!(answer_to(&api, 4).contains(LATE));
    api.wait_for_offset(6);
    daemon.stop();
    let label = api.said(OWNER)[0].buttons[0].0.clone();
    assert_eq!(
        label, "✅ Allowed once by Ann",
        "a late press changes nothing"
    );
    assert_eq!(
        std::fs::read_to_string(dir.path().join("workspace/ran")).unwrap(),
        "1\n"
    );
}

#[test]
fn no_means_no_and_a_session_is_a_session() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = model("echo ran >> ran");
    let daemon = asking(dir.path(), &api, &server).start();
    api.write(1, OWNER, "first");
    let first = question(&api);
    api.press(2, OWNER, &first, "Deny");
    assert_eq!(answer_to(&api, 1), "Denied.");
    api.wait_for_said(OWNER, |text| text.contains("nothing ran"));
    assert!(!dir.path().join("workspace/ran").exists());
    api.write(3, OWNER, "second");
    let second = api.wait_for_message(first.id + 2, |sent| !sent.buttons.is_empty());
    api.press(4, OWNER, &second, "Allow for this session");
    assert_eq!(answer_to(&api, 2), "Allowed for this session.");
    api.wait_for_said(OWNER, |text| text.contains("exit code: 0"));
    api.write(5, OWNER, "third");
    api.wait_for_calls("sendMessage", 5);
    daemon.stop();
    let ran = std::fs::read_to_string(dir.path().join("workspace/ran")).unwrap();
    assert_eq!(ran, "ran\nran\n", "the third was not asked about");
}

#[test]
fn a_question_survives_a_restart() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = model("echo survived");
    let daemon = asking(dir.path(), &api, &server).start();
    api.write(1, OWNER, "do it");
    let asked = question(&api);
    api.wait_for_offset(2);
    daemon.stop();
    api.press(2, OWNER, &asked, "Allow once");
    let daemon = asking(dir.path(), &api, &server).start();
    assert_eq!(answer_to(&api, 1), "Allowed once.");
    api.wait_for_said(OWNER, |text| {
        text.contains("survived") && text.starts_with("result")
    });
    daemon.stop();
}

#[test]
fn what_is_stopped_can_no_longer_be_allowed() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = model("touch ran");
    let daemon = asking(dir.path(), &api, &server).start();
    api.write(1, OWNER, "do it");
    let asked = question(&api);
    api.write(2, OWNER, "/stop");
    api.wait_for_said(OWNER, |text| text.starts_with("Stopped"));
    // Nobody has to press them to learn that they are of no use.
    api.wait_for_message(asked.id, |sent| sent.buttons.is_empty());
    api.press(3, OWNER, &asked, "Allow once");
    assert!(answer_to(&api, 1).contains(LATE));
    daemon.stop();
    assert!(!dir.path().join("workspace/ran").exists());
}

/// A yes and a stop at the same moment: whoever says yes is told only what the core took.
#[test]
fn an_answer_is_confirmed_only_if_it_counted() {
    let (dir, api) = (tempfile::tempdir().unwrap(), BotApi::start());
    let server = Server::start(|request| match request.last("user") {
        Some(text) => Answer::run(&format!("echo {text} >> ran")),
        None => Answer::text("done"),
    });
    let daemon = asking(dir.path(), &api, &server).start();
    let by = format!("telegram:{OWNER}");
    let ask = |update: i64, word: &str| {
        api.write(update, OWNER, word);
        api.wait_for_said(OWNER, |text| text.contains(&format!("{word} >> ran")));
        let questions = smol::block_on(daemon.handle.questions(&by));
        questions[0].approval
    };
    let decide = |approval, by: &str| {
        let decided = daemon.handle.decide(approval, Decision::Allow, by);
        smol::block_on(decided)
    };
    let approval = ask(1, "stopped");
    let stop = Order::Stop {
        session: by.clone(),
        by: by.clone(),
    };
    smol::block_on(async {
        daemon.handle.send(Input::Order(stop)).await;
        let decided = daemon.handle.decide(approval, Decision::Allow, &by).await;
        assert_eq!(decided, None, "the stop came before it");
    });
    let approval = ask(2, "allowed");
    assert_eq!(decide(approval, "telegram:666"), None, "not theirs");
    assert_eq!(decide(approval, &by), Some(Said::Allowed(by.clone())));
    assert_eq!(decide(approval, &by), None, "it was used up");
    api.wait_for_said(OWNER, |text| text == "done");
    daemon.stop();
    let ran = std::fs::read_to_string(dir.path().join("workspace/ran")).unwrap();
    assert_eq!(ran, "allowed\n");
}
