//! Skills in the workspace of the real program: what the model is told, how changes reach it, and
//! what a broken one says.

mod support;

use std::sync::mpsc::{Receiver, channel};
use support::daemon::Daemon;
use support::program::Home;
use support::server::{Answer, Server};

/// A server that answers everything, and what it was told as system prompt each time.
fn listener() -> (Server, Receiver<String>) {
    let (sender, told) = channel();
    let server = Server::start(move |request| {
        let messages = request.messages();
        if let Some(system) = messages.first().and_then(|first| first["content"].as_str()) {
            let _ = sender.send(system.to_owned());
        }
        Answer::text("heard")
    });
    (server, told)
}

fn config(server: &Server) -> String {
    let base_url = server.base_url();
    format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{base_url}\"\n[gateway]\n\
         listen = \"127.0.0.1:0\"\n"
    )
}

fn write(home: &Home, path: &str, text: &str) {
    let path = home.file(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("our own");
    std::fs::write(path, text).expect("our own");
}

fn skill(home: &Home, name: &str, body: &str) {
    let text = format!("---\nname: {name}\ndescription: About {name}.\n---\n{body}\n");
    write(home, &format!("skills/{name}/SKILL.md"), &text);
}

#[test]
fn the_first_prompt_has_them_and_a_broken_one_is_named() {
    let (server, told) = listener();
    let home = Home::with(&config(&server));
    skill(&home, "tides", "Ask the harbour.");
    skill(&home, "greet", "Say hello.");
    write(&home, "skills/greet/run.sh", "echo hello");
    write(
        &home,
        "skills/bad/SKILL.md",
        "---\nname: bad\nmode: wasm\n---\n",
    );
    let ended = home.run(&["run", "-e", "what do you know?"]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "heard\n"),
        "{ended:?}"
    );
    let complaint = "skills/bad/SKILL.md:1: `description` is missing";
    assert!(ended.err.contains(complaint), "{ended:?}");
    let system = told.recv().expect("a prompt");
    assert!(
        system.contains("## tides\n\nAbout tides.\n\nAsk the harbour."),
        "{system}"
    );
    assert!(
        system.contains("Its program is the tool `skill.greet`."),
        "{system}"
    );
    assert!(!system.contains("bad"), "{system}");
    let offered = server.requests()[0].json()["tools"].to_string();
    assert!(offered.contains("skill_greet"), "{offered}");

    let doctor = home.run(&["doctor"]);
    assert!(
        doctor
            .out
            .contains("skills         2: greet, tides; left out"),
        "{doctor:?}"
    );
    assert!(doctor.out.contains(complaint), "{doctor:?}");
}

#[test]
fn a_running_daemon_learns_what_changes() {
    let (server, told) = listener();
    let home = Home::with(&config(&server));
    skill(&home, "tides", "first words");
    let daemon = Daemon::of(&home);
    // It looks every few seconds: ask until it knows.
    let ask_until = |knows: &dyn Fn(&str) -> bool| {
        for _ in 0..200 {
            let ended = home.run(&["run", "-e", "and now?"]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            if knows(&told.recv().expect("a prompt")) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        panic!("it never learned");
    };
    let first = home.run(&["run", "-e", "what do you know?"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(
        told.recv().expect("a prompt").contains("first words"),
        "from the first prompt on"
    );
    skill(&home, "tides", "second words");
    skill(&home, "waves", "more words");
    ask_until(&|system| system.contains("second words") && system.contains("more words"));
    std::fs::remove_dir_all(home.file("skills")).expect("our own");
    ask_until(&|system| !system.contains("# Skills"));
    drop(daemon);
}

#[test]
fn what_the_budget_leaves_out_can_be_read() {
    let server = Server::start(|request| match request.last("tool") {
        None => {
            let name = request.tool_name("skill.read");
            Answer::calls([(name.as_str(), r#"{"name":"tides"}"#)])
        }
        Some(result) => Answer::text(format!("It says: {result}")),
    });
    let home = Home::with(&format!("{}[limits]\nskills_bytes = 0\n", config(&server)));
    skill(&home, "tides", "Ask the harbour.");
    let ended = home.run(&["run", "-e", "when is high tide?"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "It says: Ask the harbour.\n");
}
