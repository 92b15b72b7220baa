//! What the daemon costs as a whole: the real program in a process of its own, over real QUIC,
//! against a model server on loopback that answers at once. `cargo bench --bench quic` measures
//! everything; names of parts behind `--` measure those alone.
//!
//! `OPENPISTA_ABUSE` is the number of bad peers of a crowd (10,000), `OPENPISTA_TURNS` the number
//! of turns of a long life (20,000). This program also runs itself: as the crowd, and as a bare
//! QUIC echo.

#[path = "../tests/support/bot_api.rs"]
mod bot_api;
#[path = "../tests/support/crowd.rs"]
mod crowd;
#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/disk.rs"]
mod disk;
#[path = "support/echo.rs"]
mod echo;
#[path = "support/model.rs"]
mod model;
#[path = "../tests/support/program.rs"]
mod program;
mod support;

use bot_api::BotApi;
use daemon::{Daemon, home, turn};
use disk::Disk;
use model::Model;
use smol::{Timer, block_on};
use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use support::{Samples, head, ms, row};

const TEXT: &str = "what do you think of this?";
const TOOL: &str = "! true";
/// Sessions at once, where many are.
const SESSIONS: usize = 50;
/// Between two turns, so that none shares a commit with the next.
const PAUSE: Duration = Duration::from_millis(5);

type Part = (&'static str, fn());

const PARTS: [Part; 8] = [
    ("start", starting),
    ("rest", at_rest),
    ("turn", turns),
    ("sync", syncs),
    ("ping", pings),
    ("many", many),
    ("growth", growth),
    ("abuse", abuse),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["crowd", address, dir, count] => {
            let address = address.parse().expect("an address");
            let count = count.parse().expect("a number");
            return crowd::throng(address, Path::new(dir), &crowd::kinds(), count);
        }
        ["echo"] => return echo::serve(),
        _ => {}
    }
    // On the disk that is built on, not in a memory of `/tmp`.
    let _ = tempfile::env::override_temp_dir(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let asked: Vec<&&str> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    head("quic");
    support::sync_costs();
    for (name, part) in PARTS {
        if asked.is_empty() || asked.contains(&&name) {
            machine(name);
            part();
        }
    }
    machine("end");
}

/// A number from the environment.
fn number(name: &str, usual: usize) -> usize {
    let told = std::env::var(name).ok();
    told.map_or(usual, |told| told.parse().expect("a number"))
}

/// A line of the table about something that is to be so.
fn check(what: &str, measured: &str, target: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    row(what, measured, &format!("{target}: {verdict}"));
}

/// How the machine is at this moment.
fn machine(part: &str) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let sync = Disk::new().samples(50).median();
    println!("{part}: load {load}, one sync of the disk {}", ms(sync));
}

fn mb(kb: u64) -> String {
    format!("{:.1} MiB", kb as f64 / 1024.0)
}

/// From the start of the process to its word that it listens, with a small journal.
fn starting() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let first = Daemon::of(&home);
    row("cold start, the first ever", &ms(first.started), "");
    block_on(async {
        let connected = first.connect().await;
        for _ in 0..20 {
            turn(&connected, TEXT, None).await;
        }
    });
    drop(first);
    let took = (0..31).map(|_| Daemon::of(&home).started).collect();
    let took = Samples::new(took);
    let met = took.median() <= Duration::from_millis(20);
    check("cold start to listening", &took.text(), "p50 ≤ 20 ms", met);
}

/// Memory of a daemon with both channels on, at rest.
fn at_rest() {
    let (model, bot) = (Model::start(), BotApi::start());
    let telegram = format!(
        "[channels.telegram]\nenabled = true\ntoken = \"{}\"\napi_url = \"{}\"\n\
         allowed_users = [1]\n",
        bot_api::TOKEN,
        bot.url()
    );
    let home = home(&model.base_url(), &telegram);
    let daemon = Daemon::of(&home);
    bot.wait_for_calls("getUpdates", 1);
    std::thread::sleep(Duration::from_secs(2));
    let (all, own) = daemon.resident_kb();
    let text = format!("{} ({} its own)", mb(all), mb(own));
    check(
        "idle, QUIC and Telegram on",
        &text,
        "≤ 15 MiB",
        all <= 15 * 1024,
    );
    block_on(async {
        let connected = daemon.connect().await;
        turn(&connected, TEXT, None).await;
        bot.write(1, 1, "hello");
        bot.wait_for_said(1, |text| text.contains("here is what I found"));
        turn(&connected, TOOL, None).await;
    });
    std::thread::sleep(Duration::from_secs(1));
    let (all, own) = daemon.resident_kb();
    let text = format!("{} ({} its own)", mb(all), mb(own));
    row("  after a turn over each and a tool", &text, "");
}

/// What a turn of somebody who is alone costs: time above the model's and the command's own, time
/// on a core, and the wait for `accepted` beside a sync of the disk.
fn turns() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let daemon = Daemon::of(&home);
    let mut disk = Disk::new();
    let connected = block_on(daemon.connect());
    let (mut accepted, mut synced, mut pinged) = (Vec::new(), Vec::new(), Vec::new());
    for (name, text, count, target) in [("reply", TEXT, 500, 3), ("tool", TOOL, 150, 8)] {
        let command = Samples::of(100, || {
            let status = Command::new("bash").args(["-c", "true"]).status();
            assert!(status.is_ok_and(|status| status.success()));
        });
        block_on(turn(&connected, text, None));
        let mut took = Vec::new();
        for _ in 0..count {
            let (told, whole) = block_on(turn(&connected, text, None));
            std::thread::sleep(PAUSE);
            took.push(whole);
            if text == TEXT {
                accepted.push(told);
                synced.push(disk.sync());
                std::thread::sleep(PAUSE);
                let began = Instant::now();
                block_on(connected.ping()).expect("a pong");
                pinged.push(began.elapsed());
            }
        }
        let model = model.bare();
        let others = match text {
            TOOL => model * 2 + command.median(),
            _ => model,
        };
        let took = Samples::new(took);
        let above = took.median().saturating_sub(others);
        let text = format!("{} of {}", ms(above), took.text());
        let met = above <= Duration::from_millis(target);
        let what = format!("{name} turn over QUIC, above others' own");
        check(&what, &text, &format!("p50 ≤ {target} ms"), met);
        row("  the model's and the command's own", &ms(others), "");
    }
    let (accepted, synced) = (Samples::new(accepted), Samples::new(synced));
    let ratio = accepted.median().as_secs_f64() / synced.median().as_secs_f64();
    let text = format!("{ratio:.2} × ({})", accepted.text());
    check(
        "message to `accepted`, of one sync",
        &text,
        "≤ 1.5 ×",
        ratio <= 1.5,
    );
    row("  one sync, in between", &synced.text(), "");
    row("  one ping, in between", &Samples::new(pinged).text(), "");
    let before = daemon.cpu();
    for _ in 0..1_000 {
        block_on(turn(&connected, TEXT, None));
    }
    let cpu = (daemon.cpu() - before) / 1_000;
    let met = cpu <= Duration::from_millis(1);
    check("time on a core of a reply turn", &ms(cpu), "≤ 1 ms", met);
}

/// Syncs of the disk, as strace sees them.
fn syncs() {
    for (name, text, target) in [("reply", TEXT, 3.0), ("tool", TOOL, 5.0)] {
        let what = format!("syncs of a {name} turn over QUIC");
        let target_text = format!("≤ {target}");
        match syncs_of(text, 100) {
            Some(count) => check(
                &what,
                &format!("{count:.2}"),
                &target_text,
                count <= target + 0.05,
            ),
            None => row(&what, "not counted: no strace", &target_text),
        }
    }
}

fn syncs_of(text: &str, turns: usize) -> Option<f64> {
    Command::new("strace").arg("-V").output().ok()?;
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let trace = home.path().join("trace");
    let file = trace.to_str().expect("UTF-8");
    let strace = ["strace", "-f", "-e", "trace=fsync,fdatasync", "-o", file];
    let daemon = Daemon::under(&home, &strace);
    let count = || {
        let trace = fs::read_to_string(&trace).unwrap_or_default();
        // A call that another thread interrupts has two lines; the second has no parenthesis.
        trace.lines().filter(|line| line.contains("sync(")).count()
    };
    let connected = block_on(daemon.connect());
    block_on(turn(&connected, text, None));
    std::thread::sleep(Duration::from_millis(500));
    let before = count();
    for _ in 0..turns {
        block_on(turn(&connected, text, None));
        std::thread::sleep(PAUSE);
    }
    std::thread::sleep(Duration::from_millis(500));
    Some((count() - before) as f64 / turns as f64)
}

/// A ping beside quinn's own bare echo, by turns.
fn pings() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let daemon = Daemon::of(&home);
    let echo = echo::Echo::start();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    block_on(async {
        let connected = daemon.connect().await;
        let echo = echo.connect().await;
        for round in 0..2_100 {
            let began = Instant::now();
            connected.ping().await.expect("a pong");
            let pinged = began.elapsed();
            let began = Instant::now();
            echo.echo().await;
            // The first ones are for warmth.
            if round >= 100 {
                ours.push(pinged);
                bare.push(began.elapsed());
            }
        }
    });
    let (ours, bare) = (Samples::new(ours), Samples::new(bare));
    let ratio = ours.median().as_secs_f64() / bare.median().as_secs_f64();
    let text = format!("{ratio:.2} × ({})", ours.text());
    check("ping, of quinn's bare echo", &text, "≤ 2 ×", ratio <= 2.0);
    row("  the bare echo", &bare.text(), "");
}

/// Many sessions at once, and what a long life leaves in memory.
fn many() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let daemon = Daemon::of(&home);
    std::thread::sleep(Duration::from_secs(1));
    let (idle, _) = daemon.resident_kb();
    let turns = number("OPENPISTA_TURNS", 20_000);
    let connected = block_on(daemon.connect());
    let (began, cpu) = (Instant::now(), daemon.cpu());
    let executor = smol::LocalExecutor::new();
    let talks: Vec<_> = (0..SESSIONS)
        .map(|session| {
            let connected = &connected;
            executor.spawn(async move {
                let name = format!("s{session}");
                for _ in 0..turns / SESSIONS {
                    turn(connected, TEXT, Some(&name)).await;
                }
            })
        })
        .collect();
    block_on(executor.run(async {
        for talk in talks {
            talk.await;
        }
    }));
    let rate = turns as f64 / began.elapsed().as_secs_f64();
    let what = format!("turns/s over {SESSIONS} sessions, {turns} turns");
    let text = format!(
        "{rate:.0}/s, {} of a core each",
        ms((daemon.cpu() - cpu) / turns as u32)
    );
    check(&what, &text, "≥ 1,500/s", rate >= 1_500.0);
    std::thread::sleep(Duration::from_secs(2));
    let (after, own) = daemon.resident_kb();
    let ratio = after as f64 / idle as f64;
    let text = format!("{ratio:.2} × ({}, {} its own)", mb(after), mb(own));
    check(
        &format!("memory after {turns} turns, of idle"),
        &text,
        "≤ 2 ×",
        ratio <= 2.0,
    );
    row("  idle", &mb(idle), "");
}

/// The tenth turn of new sessions beside those after the thousandth of an old one, by turns.
fn growth() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let daemon = Daemon::of(&home);
    let (mut tenth, mut late) = (Vec::new(), Vec::new());
    let (mut small, mut large) = (Duration::ZERO, Duration::ZERO);
    block_on(async {
        let connected = daemon.connect().await;
        for _ in 0..990 {
            turn(&connected, TEXT, Some("old")).await;
        }
        for round in 0..40 {
            let young = format!("young-{round}");
            for _ in 0..9 {
                turn(&connected, TEXT, Some(&young)).await;
            }
            Timer::after(PAUSE).await;
            tenth.push(turn(&connected, TEXT, Some(&young)).await.1);
            if round == 39 {
                small = model.bare();
                row(
                    "  a tenth request",
                    &format!("{} bytes", model.last_bytes()),
                    "",
                );
            }
            Timer::after(PAUSE).await;
            late.push(turn(&connected, TEXT, Some("old")).await.1);
        }
        large = model.bare();
        row(
            "  a thousandth request",
            &format!("{} bytes", model.last_bytes()),
            "",
        );
    });
    let (tenth, late) = (Samples::new(tenth), Samples::new(late));
    let ratio = late.median().as_secs_f64() / tenth.median().as_secs_f64();
    let own = late.median().saturating_sub(large).as_secs_f64()
        / tenth.median().saturating_sub(small).as_secs_f64();
    let text = format!("{own:.2} × above the model's, {ratio:.2} × in all");
    check(
        "turn 1,000 of a session, of turn 10",
        &text,
        "≤ 1.2 ×",
        own <= 1.2,
    );
    row("  turn 10", &tenth.text(), "");
    row("  turn 1,000", &late.text(), "");
}

/// A ping while a crowd of bad peers throngs, and what the crowds leave in memory.
fn abuse() {
    let model = Model::start();
    let home = home(&model.base_url(), "");
    let daemon = Daemon::of(&home);
    let count = number("OPENPISTA_ABUSE", 10_000).to_string();
    let connected = block_on(daemon.connect());
    let ping = || {
        std::thread::sleep(Duration::from_millis(1));
        Samples::one(|| block_on(connected.ping()).expect("a pong"))
    };
    // The first turn of all sets up the way to the model.
    block_on(turn(&connected, TEXT, None));
    let before = Samples::new((0..3_000).map(|_| ping()).collect());
    row("ping before", &before.text(), "");
    row("memory before", &mb(daemon.resident_kb().0), "");
    let mut left = Vec::new();
    for crowd_number in 1..=2 {
        let (began, cpu) = (Instant::now(), daemon.cpu());
        let mut crowd = crowd_of(&daemon, &home, &count);
        let mut took = Vec::new();
        let mut most = 0;
        while crowd.try_wait().expect("our child").is_none() {
            took.push(ping());
            most = most.max(daemon.resident_kb().0);
        }
        let wall = began.elapsed();
        let cpu = (daemon.cpu() - cpu).as_secs_f64() / wall.as_secs_f64();
        let took = Samples::new(took);
        let ratio = took.at(0.99).as_secs_f64() / before.at(0.99).as_secs_f64();
        let text = format!("{ratio:.1} × ({}, max {})", took.text(), ms(took.at(1.0)));
        let what = format!("p99 of a ping beside {count} bad peers");
        check(&what, &text, "≤ 5 ×", ratio <= 5.0);
        let text = format!(
            "{:.1} s, {:.0} % of a core",
            wall.as_secs_f64(),
            cpu * 100.0
        );
        row(&format!("  crowd {crowd_number}"), &text, "");
        // The last ones are given up after a while.
        std::thread::sleep(Duration::from_secs(6));
        left.push(daemon.resident_kb().0);
        let text = format!("{}, at most {}", mb(daemon.resident_kb().0), mb(most));
        row("  memory after it", &text, "");
        block_on(turn(&connected, TEXT, None));
    }
    let grown = left[1] as f64 / left[0] as f64;
    let met = grown <= 1.05;
    check(
        "memory after the second, of after the first",
        &format!("{grown:.2} ×"),
        "flat",
        met,
    );
}

fn crowd_of(daemon: &Daemon, home: &program::Home, count: &str) -> Child {
    Command::new(std::env::current_exe().expect("ourselves"))
        .arg("crowd")
        .arg(daemon.address.to_string())
        .arg(home.data())
        .arg(count)
        .spawn()
        .expect("ourselves")
}
