//! Skills in the workspace of the real program: what the model is told, how changes reach it, and
//! what a broken one says.

mod support;

use rustix::process::Signal;
use std::sync::mpsc::{Receiver, channel};
use support::daemon::Daemon;
use support::program::{Home, wait_until};
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

/// A guest that never answers.
const RUNAWAY: &str = r#"(module
    (memory (export "memory") 2)
    (func (export "alloc") (param i32) (result i32) i32.const 65536)
    (func (export "run") (param i32 i32) (result i64) (loop (br 0)) unreachable))"#;

/// How much of a processor's time a process has used, in hundredths of a second.
fn used(pid: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let user = after_name.split(' ').nth(11);
    user.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

#[test]
fn a_runaway_guest_ends_with_the_daemon_also_when_that_is_killed() {
    let server = Server::start(|request| match request.last("tool") {
        None => Answer::calls([(request.tool_name("skill.runaway").as_str(), "{}")]),
        Some(result) => Answer::text(result),
    });
    let home = Home::with(&config(&server));
    skill(&home, "runaway", "It runs.");
    let wasm = wat::parse_str(RUNAWAY).expect("a module");
    std::fs::write(home.file("skills/runaway/main.wasm"), wasm).expect("our own");
    let host = || {
        let mut processes = home.processes().into_iter();
        let line = processes.find(|line| line.contains("openpista-wasm"))?;
        line.split(':').next().map(str::to_owned)
    };
    let daemon = Daemon::of(&home);
    let mut client = home.start(&["run", "--yes", "-e", "run away"]);
    // More than it takes to start and to compile.
    wait_until("a runaway", || {
        host().filter(|pid| used(pid) > 100).map(drop)
    });
    daemon.send(Signal::KILL);
    wait_until("the end of the host", || host().is_none().then_some(()));
    let _ = client.kill();
    let _ = client.wait();
}

#[test]
fn a_workspace_with_the_data_directory_in_it_is_shown_to_no_sandbox() {
    let server = Server::start(|request| {
        let messages = request.messages();
        let results = messages.iter().filter(|message| message["role"] == "tool");
        let results: Vec<&str> = results.filter_map(|it| it["content"].as_str()).collect();
        if !results.is_empty() {
            return Answer::text(results.join("\n"));
        }
        let names = ["skill.script", "skill.guest", "container.run"];
        let names = names.map(|name| request.tool_name(name));
        let arguments = [
            "{}",
            "{}",
            r#"{"command":"cat .openpistacrab/config.toml"}"#,
        ];
        Answer::calls(names.iter().map(String::as_str).zip(arguments))
    });
    let home = Home::new();
    let link = home.path().join("link");
    std::os::unix::fs::symlink(home.path(), &link).expect("our own");
    let text = format!("{}[skills]\nworkspace = {link:?}\n", config(&server));
    std::fs::write(home.data().join("config.toml"), text).expect("our own");
    for (name, entry) in [("script", "run.sh"), ("guest", "main.wasm")] {
        let folder = home.path().join("skills").join(name);
        std::fs::create_dir_all(&folder).expect("our own");
        let text = format!("---\nname: {name}\ndescription: A {name}.\n---\n");
        std::fs::write(folder.join("SKILL.md"), text).expect("our own");
        std::fs::write(folder.join(entry), "(module)").expect("our own");
    }
    let ended = home.run(&["run", "--yes", "-e", "show it"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let refused = ended.out.matches("choose another workspace").count();
    assert_eq!(refused, 3, "{ended:?}");
    assert!(!ended.out.contains("base_url"), "{ended:?}");
    let ended = home.run(&["doctor"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let fault = |line: &str| line.starts_with("fault  workspace") && line.contains("is in the");
    assert!(ended.out.lines().any(fault), "{ended:?}");
}
