//! `start` and what talks to it: the real program, real signals, real connections.

mod support;

use openpista_shell_smol::client::{Client, ClientError};
use openpista_shell_smol::secret::Secret;
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use support::daemon::{CONFIG, Daemon};
use support::program::{Ended, Home, send, wait_for_end_of, wait_for_line};

fn home() -> Home {
    Home::with(CONFIG)
}

fn pid_file(home: &Home) -> std::path::PathBuf {
    home.file("../openpistacrab.pid")
}

#[test]
fn it_says_what_it_does_and_ends_in_order() {
    let home = home();
    let daemon = Daemon::of(&home);
    assert!(daemon.told("gateway").starts_with("127.0.0.1:"));
    assert_eq!(daemon.told("certificate SHA-256").len(), 64);
    assert_eq!(daemon.told("provider"), "builtin (builtin)");
    let pid = daemon.pid().to_string();
    let held = std::fs::read_to_string(pid_file(&home)).unwrap();
    assert_eq!(held.lines().next(), Some(pid.as_str()));
    for (name, mode) in [("gateway-key.pem", 0o600), ("gateway-local", 0o600)] {
        let file = std::fs::metadata(home.file("..").join(name)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, mode, "{name}");
    }
    let ended = daemon.stop();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
    assert!(!pid_file(&home).exists());
}

#[test]
fn a_live_daemon_is_named_and_a_dead_one_never_blocks() {
    let home = home();
    let daemon = Daemon::of(&home);
    let print = daemon.told("certificate SHA-256").to_owned();
    let second = home.run(&["start"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let named = format!("pid {}", daemon.pid());
    assert!(
        second.err.contains(&named) && second.out.is_empty(),
        "{second:?}"
    );
    daemon.send(Signal::KILL);
    assert_eq!(daemon.end().code, None);
    assert!(pid_file(&home).exists(), "nobody took it away");
    let next = Daemon::of(&home);
    assert_eq!(
        next.told("certificate SHA-256"),
        print,
        "the certificate persists"
    );
    assert_eq!(next.stop().code, Some(0));
}

#[test]
fn what_runs_gets_its_grace_and_a_second_signal_waits_for_nothing() {
    let home = home();
    let daemon = Daemon::of(&home);
    let run = home.start(&[
        "run",
        "-e",
        "! echo $$ > pid; sleep 1; echo done > done.txt; echo end",
    ]);
    wait_for_line(&home.file("pid"));
    daemon.send(Signal::TERM);
    let ended = Ended::awaited(run);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "end\n"),
        "{ended:?}"
    );
    assert_eq!(daemon.end().code, Some(0));
    assert_eq!(wait_for_line(&home.file("done.txt")), "done");

    let daemon = Daemon::of(&home);
    let mut run = home.start(&["run", "-e", "! echo $$ > pid2; exec sleep 1000"]);
    let pid = wait_for_line(&home.file("pid2"));
    daemon.send(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    daemon.send(Signal::TERM);
    assert_eq!(daemon.end().code, Some(143));
    wait_for_end_of(&pid);
    run.kill().unwrap();
    run.wait().unwrap();
    let shown = home.run(&["sessions", "show", "cli:local"]);
    assert!(shown.out.contains("exec sleep 1000"), "{shown:?}");
}

#[test]
fn run_attaches_and_works_as_it_does_alone() {
    let home = home();
    let daemon = Daemon::of(&home);
    let attached = format!("attached to the daemon (pid {})\n", daemon.pid());
    let ended = home.run(&["run", "-e", "! printf 'one\\ntwo\\n'"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        (&ended.out, &ended.err),
        (&"one\ntwo\n".to_owned(), &attached)
    );
    let denied = home.run(&["run", "--json", "--session", "s", "-e", "uptime"]);
    let told: Value = serde_json::from_str(&denied.out).unwrap();
    assert_eq!(
        (&told["session"], &told["is_error"]),
        (&"s".into(), &false.into())
    );
    assert!(
        denied.err.contains("denied") && denied.err.contains("--yes"),
        "{denied:?}"
    );
    let allowed = home.run(&["run", "--yes", "-e", "uptime"]);
    assert!(allowed.out.contains("load average"), "{allowed:?}");
    let run = home.start(&["run", "-e", "! echo $$ > pid; exec sleep 1000"]);
    let pid = wait_for_line(&home.file("pid"));
    send(&run, Signal::INT);
    let stopped = Ended::awaited(run);
    assert_eq!(
        (stopped.code, stopped.out.as_str()),
        (Some(130), ""),
        "{stopped:?}"
    );
    wait_for_end_of(&pid);
    assert_eq!(daemon.stop().code, Some(0));
    // Alone it goes on with the same session.
    let alone = home.run(&["run", "-e", "/status"]);
    assert!(
        alone.err.is_empty() && alone.out.contains("cli:local"),
        "{alone:?}"
    );
}

#[test]
fn at_a_terminal_repl_attaches_asks_and_stops() {
    let home = home();
    let daemon = Daemon::of(&home);
    let mut terminal = home.at_terminal(&["repl"]);
    terminal.wait_for(&format!("attached to the daemon (pid {})", daemon.pid()));
    terminal.wait_for("openpista> ");
    terminal.type_in("uptime\r");
    let question = terminal.wait_for("Allow? [y]es once / [s]ession / [N]o");
    assert!(question.contains("command: uptime"), "{question:?}");
    terminal.type_in("s\r");
    let ran = terminal.wait_for("load average");
    assert!(ran.contains("asking builtin"), "{ran:?}");
    terminal.type_in("uptime\r");
    let unasked = terminal.wait_for("load average");
    assert!(!unasked.contains("Allow?"), "{unasked:?}");
    terminal.type_in("! echo $$ > pid; exec sleep 1000\r");
    let pid = wait_for_line(&home.file("pid"));
    terminal.type_in("\u{3}");
    terminal.wait_for("Stopped.");
    wait_for_end_of(&pid);
    terminal.type_in("/quit\r");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(0), "{shown:?}");
    assert_eq!(daemon.stop().code, Some(0));
}

/// Law 3: the message is sent again with its id, and runs once.
#[test]
fn a_daemon_that_dies_and_comes_back_loses_no_message() {
    let home = home();
    let daemon = Daemon::of(&home);
    let run = home.start(&["run", "-e", "! echo $$ >> pids; exec sleep 1000"]);
    wait_for_line(&home.file("pids"));
    daemon.send(Signal::KILL);
    assert_eq!(daemon.end().code, None);
    let daemon = Daemon::of(&home);
    let ended = Ended::awaited(run);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.err.contains("waiting for it to come back"),
        "{ended:?}"
    );
    assert!(
        ended.out.contains("may"),
        "it is said to be in doubt: {ended:?}"
    );
    let pids = std::fs::read_to_string(home.file("pids")).unwrap();
    assert_eq!(pids.lines().count(), 1, "it ran once");
    assert_eq!(daemon.stop().code, Some(0));
}

/// Who waits for a daemon that was killed hears from the next one that it was, and need not wait until
/// the connection has been silent for too long.
#[test]
fn whoever_waits_hears_from_the_next_life_that_the_last_is_over() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = CONFIG.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
    assert_ne!(config, CONFIG);
    let home = Home::with(&config);
    let daemon = Daemon::of(&home);
    let run = home.start(&["run", "-e", "! echo $$ >> pids; exec sleep 1000"]);
    wait_for_line(&home.file("pids"));
    daemon.send(Signal::KILL);
    daemon.end();
    let daemon = Daemon::of(&home);
    let ended = Ended::awaited(run);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.err.contains("lost: reset by peer"), "{ended:?}");
    assert_eq!(daemon.stop().code, Some(0));
}

/// A client of the person at this machine's terminal.
fn local_client(home: &Home, daemon: &Daemon) -> (Client, std::net::SocketAddr) {
    let door = std::fs::read_to_string(home.file("../gateway-local")).unwrap();
    let lines: Vec<&str> = door.lines().collect();
    let pin = daemon.told("certificate SHA-256").parse().unwrap();
    let client = Client::new(pin, Secret::new(lines[2]), "test").unwrap();
    (client, lines[1].parse().unwrap())
}

#[test]
fn what_nobody_was_there_for_waits_and_is_shown_to_whoever_comes() {
    let home = home();
    let daemon = Daemon::of(&home);
    let (client, address) = local_client(&home, &daemon);
    smol::block_on(async {
        let connected = client.connect(address).await.unwrap();
        let mut exchange = connected
            .message("k", "! sleep 0.5; echo late", None)
            .await
            .unwrap();
        exchange.next().await.unwrap();
        connected.close().await;
    });
    let until = Instant::now() + Duration::from_secs(30);
    while !home.run(&["export"]).out.contains("\"absent\"") {
        assert!(Instant::now() < until, "nobody found that nobody was there");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut terminal = home.at_terminal(&["repl"]);
    let shown = terminal.wait_for("late\r");
    assert!(!shown.contains("possibly repeated"), "{shown:?}");
    terminal.type_in("/quit\r");
    terminal.end();
    assert_eq!(daemon.stop().code, Some(0));
    let journal = home.run(&["export"]).out;
    let came = |line: &&str| line.contains(r#""input":{"present":{"origin":"cli:local"}}"#);
    let came = journal.lines().find(came).expect("it is known who came");
    assert!(came.contains("intended"), "{came}");
}

#[test]
fn tokens_open_the_gateway_until_they_are_revoked() {
    let home = home();
    // Without a daemon, and with one.
    let early = home.run(&["token", "add", "early"]);
    assert_eq!((early.code, early.err.as_str()), (Some(0), ""));
    let daemon = Daemon::of(&home);
    let late = home.run(&["token", "add", "late"]);
    assert_eq!(late.out.trim().len(), 64, "{late:?}");
    let again = home.run(&["token", "add", "late"]);
    assert_eq!((again.code, again.out.as_str()), (Some(1), ""), "{again:?}");
    let bad = home.run(&["token", "add", "not a name"]);
    assert_eq!(bad.code, Some(2), "{bad:?}");
    let list = home.run(&["token", "list"]).out;
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(names, ["early", "late", "local"]);
    assert!(!list.contains(late.out.trim()) && !list.contains(early.out.trim()));

    let address = daemon
        .told("gateway")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let pin = daemon.told("certificate SHA-256").parse().unwrap();
    let client = |token: &str| Client::new(pin, Secret::new(token.trim()), "test").unwrap();
    smol::block_on(async {
        let (early, late) = (client(&early.out), client(&late.out));
        for (client, id) in [(&early, "a"), (&late, "b")] {
            let connected = client.connect(address).await.unwrap();
            let mut exchange = connected.message(id, "! echo hi", None).await.unwrap();
            let (content, is_error) = exchange.response().await.unwrap();
            assert!(content.contains("hi") && !is_error, "{content}");
        }
        let live = late.connect(address).await.unwrap();
        let revoked = home.run(&["token", "revoke", "late"]);
        assert_eq!(revoked.code, Some(0), "{revoked:?}");
        let refused = late.connect(address).await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
        let answered = match live.message("c", "! echo hi", None).await {
            Ok(mut exchange) => exchange.response().await,
            Err(error) => Err(error),
        };
        assert!(
            answered.is_err(),
            "a connection outlived its token: {answered:?}"
        );
        early.connect(address).await.expect("still valid");
    });
    assert_eq!(home.run(&["token", "revoke", "nobody"]).code, Some(1));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn people_are_let_in_with_and_without_a_daemon() {
    let home = home();
    let alone = home.run(&["allow", "telegram:1"]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(
        alone.out.starts_with("telegram:1 may write to me now"),
        "{alone:?}"
    );
    let daemon = Daemon::of(&home);
    let attached = home.run(&["allow", "telegram:2"]);
    assert!(
        attached.out.starts_with("telegram:2 may write"),
        "{attached:?}"
    );
    let forbidden = home.run(&["forbid", "telegram:1"]);
    assert!(
        forbidden.out.contains("not write to me any more"),
        "{forbidden:?}"
    );
    assert_eq!(daemon.stop().code, Some(0));
    let journal = home.run(&["export"]).out;
    let steps = |what: &str| journal.matches(&format!("{{\"{what}\":{{\"peer\"")).count();
    assert_eq!((steps("admitted"), steps("expelled")), (2, 1), "{journal}");
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let exposed =
        Home::with("[gateway]\nlisten = \"0.0.0.0:0\"\n[agent]\nprovider = \"builtin\"\n");
    let refused = exposed.run(&["start"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("token add"), "{refused:?}");
    assert_eq!(exposed.run(&["token", "add", "phone"]).code, Some(0));
    let daemon = Daemon::of(&exposed);
    assert_eq!(exposed.run(&["run", "-e", "! echo hi"]).out, "hi\n");
    assert_eq!(daemon.stop().code, Some(0));

    let mute = Home::with(&format!("{CONFIG}[channels.telegram]\nenabled = true\n"));
    let refused = mute.run(&["start"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("TELEGRAM_BOT_TOKEN"), "{refused:?}");
    assert!(!pid_file(&mute).exists());
}

/// It waits for the next full minute, so it runs only when it is asked for.
#[test]
fn a_job_fires_and_its_reply_waits_for_the_person() {
    if std::env::var_os("OPENPISTA_REAL_TIME").is_none() {
        return;
    }
    let job = "[[schedule]]\nname = \"tick\"\ncron = \"* * * * *\"\ntext = \"! echo tick\"\n\
               channel = \"cli:local\"\n";
    let home = Home::with(&format!("{CONFIG}{job}"));
    let daemon = Daemon::of(&home);
    std::thread::sleep(Duration::from_secs(65));
    let next = home.run(&["run", "-e", "! echo now"]);
    assert!(next.err.contains("tick"), "{next:?}");
    assert_eq!(daemon.stop().code, Some(0));
    let journal = home.run(&["export"]).out;
    assert!(journal.contains("job_fired"), "{journal}");
}

/// Where there is a systemd to ask.
#[test]
fn the_unit_is_one() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/openpistacrab.service"
    );
    let runtime = tempfile::tempdir().unwrap();
    for scope in ["--user", "--system"] {
        let mut verify = std::process::Command::new("systemd-analyze");
        verify.env("XDG_RUNTIME_DIR", runtime.path());
        match verify.args(["verify", scope, unit]).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(
                    (output.status.success(), said.as_ref()),
                    (true, ""),
                    "{scope}"
                );
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
        }
    }
}
