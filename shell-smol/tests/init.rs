//! `init`: from options alone and at a terminal, and what it leaves behind.

mod support;

use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use support::bot_api::{BotApi, TOKEN};
use support::program::{Ended, Home, send, wait_until};
use support::server::{Answer, Server};

const KEY: &str = "sk-canary-key-0123456789";

fn model() -> Server {
    Server::start(|request| match request.path.as_str() {
        "/v1/models" => Answer::body("{\"data\":[{\"id\":\"small\"}]}"),
        _ => Answer::text("hello from the model"),
    })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

fn config(home: &Home) -> String {
    fs::read_to_string(home.data().join("config.toml")).expect("a configuration")
}

/// The files in the data directory, the workspace aside.
fn files(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.data()).expect("our own").flatten();
    let names = entries.map(|entry| entry.file_name().into_string().expect("UTF-8"));
    let mut names: Vec<String> = names.filter(|name| name != "workspace").collect();
    names.sort();
    names
}

fn assert_sound(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        !ended.out.contains("canary") && !ended.err.contains("canary"),
        "{ended:?}"
    );
}

#[test]
fn from_options_it_writes_what_doctor_accepts_and_a_turn_runs_with() {
    let server = model();
    let home = Home::new();
    let url = server.base_url();
    let workspace = home.path().join("my work");
    let options = [
        "init",
        "--provider",
        "custom",
        "--base-url",
        &url,
        "--model",
        "small",
        "--api-key-file",
        "-",
        "--policy",
        "full",
        "--workspace",
        "my work",
    ];
    let ended = home.run_with(&options, &format!("{KEY}\n"));
    assert_sound(&ended);
    assert_eq!(files(&home), ["api-key", "config.toml"]);
    let key = home.data().join("api-key");
    assert_eq!(fs::read_to_string(&key).unwrap(), format!("{KEY}\n"));
    assert_eq!(
        (mode(&key), mode(&home.data().join("config.toml"))),
        (0o600, 0o600)
    );

    let text = config(&home);
    assert!(!text.contains("canary"), "{text}");
    for line in [
        "provider = \"custom\"",
        "model = \"small\"",
        "api_key_file = \"api-key\"",
        "mode = \"full\"",
        &format!("workspace = {workspace:?}"),
        // What was not asked for explains itself.
        "# max_tool_rounds = 10",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    let doctor = home.run(&["doctor"]);
    assert_sound(&doctor);
    assert!(
        doctor.out.contains("What works:\n  run, repl"),
        "{doctor:?}"
    );
    let turn = home.run(&["run", "-e", "hi"]);
    assert_sound(&turn);
    assert_eq!(turn.out, "hello from the model\n");
    let bearer = ("authorization".to_owned(), format!("Bearer {KEY}"));
    assert!(server.requests().last().unwrap().headers.contains(&bearer));

    // Others can read it now: doctor says so, and how to mend it.
    fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let doctor = home.run(&["doctor"]);
    assert!(
        doctor.out.contains(&format!("chmod 600 {}", key.display())),
        "{doctor:?}"
    );
    // It is gone: the line that names it is named.
    fs::remove_file(&key).unwrap();
    let doctor = home.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.out.contains("agent.api_key_file: "), "{doctor:?}");
}

#[test]
fn when_nobody_can_be_asked_it_names_the_options_and_writes_nothing() {
    let home = Home::new();
    let key = home.path().join("bad");
    fs::write(&key, "two words\n").unwrap();
    for (options, named) in [
        (&["init"][..], "--provider NAME (auto, builtin, openai"),
        (&["init", "--provider", "openai"], "--api-key-file FILE"),
        (&["init", "--provider", "openai", "--yes"], "OPENAI_API_KEY"),
        (&["init", "--provider", "custom"], "--base-url URL"),
        (&["init", "--provider", "opnai"], "takes one of auto"),
        (&["init", "--yes", "--owner", "5"], "--telegram-token-file"),
        (&["init", "--yes", "--owner", "me"], "takes a number"),
        (
            &["init", "--yes", "--api-key-file", "bad"],
            "bad holds characters",
        ),
        (
            &["init", "--yes", "--api-key-file", "none"],
            "none cannot be read",
        ),
        (
            &["init", "--yes", "--base-url", "localhost"],
            "--base-url must be a URL",
        ),
        (
            &["init", "--yes", "--api-key-file", "-", "--api-key-env"],
            "not both",
        ),
        (
            &[
                "init",
                "--yes",
                "--api-key-file",
                "-",
                "--telegram-token-file",
                "-",
            ],
            "only one",
        ),
    ] {
        let ended = home.run(options);
        assert_eq!(ended.code, Some(2), "{options:?}: {ended:?}");
        assert!(ended.err.contains(named), "{options:?}: {ended:?}");
        assert!(ended.err.lines().count() <= 3, "{ended:?}");
    }
    assert_eq!(files(&home), [""; 0]);
    let ended = home.run(&["init", "--yes"]);
    assert_sound(&ended);
    assert!(config(&home).contains("\nprovider = \"auto\"\n"));
}

#[test]
fn what_is_there_is_replaced_only_on_demand_and_kept() {
    let home = Home::with("[agent]\nmodel = \"mine\"\n");
    let refused = home.run(&["init", "--provider", "builtin"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--force"), "{refused:?}");
    assert_eq!(config(&home), "[agent]\nmodel = \"mine\"\n");

    let mut terminal = home.at_terminal(&["init"]);
    terminal.wait_for("Replace it, and keep a copy? [y/N]: ");
    terminal.type_in("\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert!(shown.contains("Nothing was changed."), "{shown:?}");
    assert_eq!(files(&home), ["config.toml"]);

    let forced = home.run(&["init", "--provider", "builtin", "--force"]);
    assert_sound(&forced);
    let files = files(&home);
    let copy = files
        .iter()
        .find(|name| name.starts_with("config.toml.bak-"));
    let copy = home.data().join(copy.expect("a copy"));
    assert!(
        forced.out.contains(&format!("{}", copy.display())),
        "{forced:?}"
    );
    assert_eq!(
        fs::read_to_string(&copy).unwrap(),
        "[agent]\nmodel = \"mine\"\n"
    );
    assert!(config(&home).contains("\nprovider = \"builtin\"\n"));
}

#[test]
fn a_key_that_stays_in_the_environment_is_not_written() {
    let home = Home::new();
    let mut command = home.program(&["init", "--provider", "together"]);
    let output = command.env("TOGETHER_API_KEY", KEY).output().unwrap();
    let ended = Ended::of(output);
    assert_sound(&ended);
    assert_eq!(files(&home), ["config.toml"]);
    assert!(
        !config(&home).contains("canary") && !ended.out.contains("Set "),
        "{ended:?}"
    );
    let unset = home.run(&["init", "--provider", "together", "--api-key-env", "--force"]);
    assert!(
        unset
            .out
            .contains("Set TOGETHER_API_KEY in the environment"),
        "{unset:?}"
    );
}

#[test]
fn at_a_terminal_it_asks_checks_and_pairs() {
    let (server, bot) = (model(), BotApi::start());
    bot.behave(true, false);
    let home = Home::new();
    let api = bot.url();
    let mut terminal = home.at_terminal(&["init", "--telegram-api-url", &api, "--systemd"]);
    terminal.wait_for("Provider [");
    terminal.type_in("costum\r");
    terminal.wait_for("did you mean custom?");
    terminal.type_in("custom\r");
    terminal.wait_for("Its URL");
    terminal.type_in(&format!("{}\r", server.base_url()));
    terminal.wait_for("Key, not shown");
    terminal.type_in(&format!("{KEY}\r"));
    // The server was asked which models it has.
    terminal.wait_for("Model [small]");
    terminal.type_in("\r");
    terminal.wait_for("Token, not shown");
    terminal.type_in("1:canary-wrong\r");
    terminal.wait_for("does not know this token");
    terminal.wait_for("Token, not shown");
    terminal.type_in(&format!("{TOKEN}\r"));
    terminal.wait_for("It is @crab_bot.");
    terminal.wait_for("Whom does it obey?");
    bot.write(10, 66, "let me in");
    terminal.wait_for("Ann (id 66) wrote to it. Is that you? [y/N]");
    terminal.type_in("\r");
    terminal.wait_for("goes on waiting");
    bot.write(11, 42, "it is me");
    bot.write(12, 42, "what time is it?");
    terminal.wait_for("Ann (id 42) wrote to it. Is that you? [y/N]");
    terminal.type_in("y\r");
    terminal.wait_for("Policy [ask]");
    terminal.type_in("\r");
    terminal.wait_for("Workspace [");
    terminal.type_in("\r");
    terminal.wait_for("What openpistacrab doctor says now:");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert!(
        shown.contains("@crab_bot, which obeys 1 person"),
        "{shown:?}"
    );
    assert!(
        shown.contains("Nothing is to be mended") || shown.contains("No fault"),
        "{shown:?}"
    );

    let text = config(&home);
    assert!(text.contains("\nallowed_users = [42]\n"), "{text}");
    assert!(
        text.contains("\ntoken_file = \"telegram-token\"\n"),
        "{text}"
    );
    assert!(text.contains(&format!("\napi_url = \"{api}\"\n")), "{text}");
    assert!(
        !text.contains("\nmodel ="),
        "the usual one stays the usual one: {text}"
    );
    let token = fs::read_to_string(home.data().join("telegram-token")).unwrap();
    assert_eq!(token.trim(), TOKEN);
    // A stranger's message waits before the greeting: both are still there for the daemon.
    assert_eq!(bot.offset(), 0);
    assert!(
        home.path()
            .join(".config/systemd/user/openpistacrab.service")
            .exists()
    );
}

#[test]
fn only_the_greeting_is_taken_from_the_daemon() {
    let bot = BotApi::start();
    bot.behave(true, false);
    let home = Home::new();
    let mut command_line = vec![
        "init",
        "--provider",
        "builtin",
        "--telegram-token-file",
        "token",
    ];
    fs::write(home.path().join("token"), TOKEN).unwrap();
    let api = bot.url();
    command_line.extend(["--telegram-api-url", &api]);
    let mut terminal = home.at_terminal(&command_line);
    terminal.wait_for("Whom does it obey?");
    bot.write(20, 42, "hello");
    terminal.wait_for("Is that you? [y/N]");
    bot.write(21, 42, "what time is it?");
    terminal.type_in("y\r");
    terminal.wait_for("Policy [");
    assert_eq!(bot.offset(), 21, "the greeting, and nothing after it");
    terminal.type_in("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown:?}");
    assert!(shown.contains("nothing was written"), "{shown:?}");
    assert_eq!(files(&home), [""; 0]);
}

#[test]
fn a_signal_while_something_is_waited_for_leaves_with_a_word_on_what_was_done() {
    let bot = BotApi::start();
    let home = Home::new();
    fs::write(home.path().join("token"), TOKEN).unwrap();
    let api = bot.url();
    let mut terminal = home.at_terminal(&[
        "init",
        "--provider",
        "builtin",
        "--telegram-token-file",
        "token",
        "--telegram-api-url",
        &api,
    ]);
    terminal.wait_for("Whom does it obey?");
    let process = i32::try_from(terminal.id()).ok().and_then(Pid::from_raw);
    rustix::process::kill_process(process.unwrap(), Signal::INT).unwrap();
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown:?}");
    let said = shown
        .lines()
        .filter(|line| line.contains("openpistacrab: "));
    assert_eq!(
        said.collect::<Vec<_>>(),
        ["openpistacrab: left; nothing was written"]
    );
    assert_eq!(files(&home), [""; 0]);

    // Systemd takes its time.
    let path = with_systemctl(&home, "touch called; exec sleep 5 > /dev/null 2>&1");
    let mut command = home.program(&["init", "--yes", "--enable"]);
    command.env("PATH", path);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let called = home.path().join("called");
    wait_until("systemctl", || called.exists().then_some(()));
    send(&child, Signal::INT);
    let ended = Ended::awaited(child);
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert_eq!(
        ended.err,
        "openpistacrab: left; everything is written: openpistacrab doctor says what works\n"
    );
    assert_eq!(files(&home), ["config.toml"]);
}

#[test]
fn what_is_typed_as_a_key_is_not_shown_and_the_terminal_comes_back() {
    let home = Home::new();
    let mut terminal = home.at_terminal(&["init", "--provider", "openai"]);
    terminal.wait_for("Key, not shown (Enter: I set OPENAI_API_KEY myself): ");
    terminal.type_in(KEY);
    terminal.type_in("\r");
    let shown = terminal.wait_for("Model [gpt-");
    assert!(!shown.contains("canary"), "{shown:?}");
    terminal.type_in("\r");
    terminal.wait_for("Token, not shown");
    terminal.type_in("\u{3}");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(130), "{shown:?}");
    assert!(shown.contains("nothing was written"), "{shown:?}");
    assert_eq!(files(&home), [""; 0]);

    let mut shell = home.terminal_of(
        "sh",
        &[
            "-c",
            "\"$0\" init --provider openai; stty -a",
            env!("CARGO_BIN_EXE_openpistacrab"),
        ],
    );
    shell.wait_for("Key, not shown");
    shell.type_in("\u{3}");
    let (_, shown) = shell.end();
    for mode in [" echo ", " icanon ", " isig ", " iexten "] {
        assert!(
            shown.replace(['\r', '\n'], " ").contains(mode),
            "{mode} is off: {shown:?}"
        );
    }
}

#[test]
fn a_token_that_is_refused_stops_it_and_a_server_that_is_away_does_not() {
    let bot = BotApi::start();
    let home = Home::new();
    fs::write(home.path().join("token"), "7:canary-wrong").unwrap();
    let init = |api: &str| {
        home.run(&[
            "init",
            "--provider",
            "builtin",
            "--telegram-token-file",
            "token",
            "--owner",
            "42",
            "--telegram-api-url",
            api,
        ])
    };
    let refused = init(&bot.url());
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.err.contains("does not know this token"),
        "{refused:?}"
    );
    assert_eq!(files(&home), [""; 0]);
    let away = init("http://127.0.0.1:9");
    assert_sound(&away);
    assert!(away.err.contains("unchecked"), "{away:?}");
    assert_eq!(files(&home), ["config.toml", "telegram-token"]);
}

/// A PATH on which `systemctl` is this script, which is run in the home.
fn with_systemctl(home: &Home, script: &str) -> OsString {
    let folder = home.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let fake = folder.join("systemctl");
    fs::write(&fake, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&fake, PermissionsExt::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder].into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap()
}

#[test]
fn systemd_starts_this_program_with_this_configuration() {
    let home = Home::new();
    let log = home.path().join("called");
    let path = with_systemctl(&home, "echo \"$@\" >> called");
    let run = |options: &[&str]| {
        let words = [
            &["--data-dir", "my data", "init", "--yes", "--force"][..],
            options,
        ];
        let mut command = home.program(&words.concat());
        Ended::of(command.env("PATH", &path).output().unwrap())
    };
    let told = run(&["--systemd"]);
    assert_sound(&told);
    assert!(
        told.out
            .contains("systemctl --user enable --now openpistacrab"),
        "{told:?}"
    );
    assert!(told.out.contains("loginctl enable-linger"), "{told:?}");
    assert!(!log.exists(), "it was called without being asked for");
    let unit = home
        .path()
        .join(".config/systemd/user/openpistacrab.service");
    let text = fs::read_to_string(unit).unwrap();
    let program = fs::canonicalize(env!("CARGO_BIN_EXE_openpistacrab")).unwrap();
    let home_dir = fs::canonicalize(home.path()).unwrap();
    let line = format!(
        "ExecStart=/bin/sh -lc \"exec {} --data-dir '{}/my data' start\"",
        program.display(),
        home_dir.display()
    );
    assert!(
        text.lines().any(|found| found == line),
        "{line} is not in\n{text}"
    );
    let began = run(&["--enable"]);
    assert_sound(&began);
    let called = fs::read_to_string(&log).unwrap();
    assert_eq!(
        called,
        "--user daemon-reload\n--user enable --now openpistacrab\n"
    );
}
