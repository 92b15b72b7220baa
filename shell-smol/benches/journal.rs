//! What the journal costs: restoring, committing, and room on the disk. `cargo bench --bench
//! journal`.
//!
//! The first run writes a journal of a million records, as a daemon would have: real steps of the
//! core, a hundred sessions whose steps share commits, a snapshot as often as the driver saves
//! one. It is kept beside the build.

#[path = "support/settings.rs"]
mod settings;
mod support;

use futures_lite::future::block_on;
use openpista_core::Core;
use openpista_core::effect::deliver::Delivered;
use openpista_core::effect::model::Reply;
use openpista_core::effect::tool::{Clip, Exit, Ran};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::gate::{Gate, Opened as Passed};
use openpista_core::input::{Arrival, Boot, Input};
use openpista_core::message::{Message, Prompt, ToolCall, ToolSpec};
use openpista_core::replay::Line;
use openpista_core::time::Time;
use openpista_shell_smol::driver::SNAPSHOT_STEPS;
use openpista_shell_smol::journal::{Journal, Opened};
use rusqlite::Connection;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::{Samples, head, ms, row, scratch};

const RECORDS: usize = 1_000_000;
const SESSIONS: usize = 100;

/// A daemon without a loop, whose world answers at once.
struct Daemon {
    journal: Journal,
    core: Core,
    gate: Gate,
    now: Time,
    keys: u64,
    records: usize,
    /// Since the last snapshot; none when none is to be saved.
    unsaved_steps: Option<u64>,
}

impl Daemon {
    fn boot(database: &Path, snapshots: bool) -> Daemon {
        let Opened { journal, core, .. } = Journal::open(database).expect("a journal");
        let mut daemon = Daemon {
            journal,
            core,
            gate: Gate::new(),
            now: Time::ZERO,
            keys: 0,
            records: 0,
            unsaved_steps: snapshots.then_some(0),
        };
        daemon.run(vec![Input::Boot(Box::new(Boot {
            settings: settings::settings(vec![tool()]),
            unix_ms: 1_700_000_000_000,
        }))]);
        daemon
    }

    /// One message in each of so many sessions, side by side, and all that follows from them. A
    /// text that begins with `!` makes the model call a tool first.
    fn say(&mut self, sessions: usize, text: &str) {
        let arrivals = (0..sessions).map(|session| {
            self.keys += 1;
            Input::Arrive(Arrival {
                origin: format!("cli:session-{session}"),
                key: format!("1879f3a2b4c5d6e7-1a2b-{}", self.keys),
                peer: "cli:local".into(),
                session: None,
                text: text.into(),
                serial: None,
            })
        });
        let arrivals = arrivals.collect();
        self.run(arrivals);
    }

    fn run(&mut self, mut inputs: Vec<Input>) {
        while !inputs.is_empty() {
            inputs = self.step(inputs);
        }
    }

    /// Steps the inputs and commits them together. Returns what comes of the effects.
    fn step(&mut self, inputs: Vec<Input>) -> Vec<Input> {
        let mut lines = Vec::new();
        for input in inputs {
            self.now = self.now.after_ms(3);
            let step = self.core.step(self.now, input.clone());
            self.records += step.records.len();
            if !step.records.is_empty() {
                lines.push(Line {
                    seq: step.seq,
                    at: step.at,
                    session: step.session,
                    input,
                    records: step.records.clone(),
                });
            }
            self.gate.hold(step);
        }
        let steps = lines.len() as u64;
        let receipt = block_on(self.journal.commit(lines)).expect("a disk that works");
        let passed = self.gate.open(receipt);
        if let Some(unsaved) = &mut self.unsaved_steps {
            *unsaved += steps;
            if *unsaved >= SNAPSHOT_STEPS {
                *unsaved = 0;
                let saved = self.journal.save_snapshot(&self.core);
                block_on(saved).expect("a snapshot");
            }
        }
        passed.into_iter().filter_map(performed).collect()
    }
}

fn performed(passed: Passed) -> Option<Input> {
    let Passed::Effect(cleared) = passed else {
        return None;
    };
    let (effect, prompt) = cleared.into_parts();
    Some(Input::Finish {
        effect: effect.id,
        attempt: effect.attempt,
        outcome: outcome(&effect, prompt.as_ref()),
    })
}

/// What the world answers.
fn outcome(effect: &Effect, prompt: Option<&Prompt>) -> Outcome {
    let last = prompt.and_then(|prompt| prompt.messages.last());
    let wants = last.is_some_and(
        |last| matches!(&last.message, Message::User { text } if text.starts_with('!')),
    );
    let call = ToolCall {
        id: "call_5f2a9c".into(),
        tool: "system.run".into(),
        arguments: r#"{"command":"ls -l /var/log"}"#.into(),
    };
    match &effect.op {
        Op::Model(_) => Outcome::Model(Ok(Reply {
            text: "All of it is done, and here is what I found. ".repeat(4),
            calls: wants.then_some(call).into_iter().collect(),
            ..Reply::default()
        })),
        Op::Tool(_) => Outcome::Tool(Ok(Ran {
            exit: Exit::Code(0),
            stdout: Clip {
                text: "-rw-r--r-- 1 root root 31337 Nov 22 15:04 messages\n".repeat(8),
                cut_chars: 0,
            },
            stderr: Clip::default(),
            took_ms: 3,
            pictures: Vec::new(),
        })),
        Op::Deliver(_) => Outcome::Deliver(Ok(Delivered)),
        Op::Sandbox(_) | Op::Cancel(_) => unreachable!("only tools and words are used here"),
    }
}

/// A tool that no shell performs.
fn tool() -> ToolSpec {
    ToolSpec {
        name: "system.run".into(),
        description: "runs a command".into(),
        parameters: r#"{"type":"object"}"#.into(),
        recovery: Recovery::Doubt,
        read_only: false,
        timeout_ms: 30_000,
        sandbox: None,
    }
}

fn main() {
    head("journal");
    support::sync_costs();
    restore();
    commits();
    room();
}

/// The database of a million records, which the first run makes.
fn million() -> PathBuf {
    // On the disk that is built on, not in a memory of `/tmp`.
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-journal");
    let (database, whole) = (dir.join("memory.db"), dir.join("whole"));
    if whole.exists() && is_readable(&database) {
        return database;
    }
    let _ = fs::remove_dir_all(&dir);
    let began = Instant::now();
    let mut daemon = Daemon::boot(&database, true);
    while daemon.records < RECORDS {
        daemon.say(SESSIONS, "what do you think of this?");
        daemon.say(SESSIONS, "! ls -l /var/log");
    }
    // The worst moment to stop at: the next snapshot is about to be due.
    while daemon.unsaved_steps < Some(SNAPSHOT_STEPS - 10) {
        daemon.say(1, "and of this?");
    }
    row(
        &format!("(made a journal of {} records)", daemon.records),
        &format!("{:.0} s", began.elapsed().as_secs_f64()),
        "",
    );
    drop(daemon);
    File::create(whole).expect("a file");
    database
}

/// Its latest snapshot is one that this core reads: else the journal would be restored without it,
/// and something else measured.
fn is_readable(database: &Path) -> bool {
    let latest = Connection::open(database).and_then(|conn| {
        let latest = "SELECT state FROM snapshots ORDER BY seq DESC LIMIT 1";
        conn.query_row(latest, [], |row| row.get::<_, Vec<u8>>(0))
    });
    let read = latest.is_ok_and(|state| Core::restore(Some(&state), []).is_ok());
    read && Journal::open(database).is_ok()
}

fn restore() {
    let database = million();
    let (bytes, steps, state) = facts(&database);
    let open = || drop(Journal::open(&database).expect("it restores"));
    let cold = |_| {
        forget(&database);
        let began = Instant::now();
        open();
        began.elapsed()
    };
    let cold = Samples::new((0..5).map(cold).collect());
    let warm = Samples::of(10, open);
    let size = format!(
        "{steps} steps, {} MB, snapshot {} KiB",
        bytes >> 20,
        state >> 10
    );
    row("a journal of 1,000,000 records", &size, "");
    row(
        "  restored from its latest snapshot",
        &ms(warm.median()),
        "≤ 1,000 ms",
    );
    row(
        "  the same, nothing of it in memory",
        &ms(cold.median()),
        "",
    );
    row(
        "  its next snapshot, for which the loop waits",
        &snapshot(&database),
        "",
    );
    row(
        "  restored without a snapshot",
        &ms(without_snapshot(&database)),
        "",
    );
}

/// What the driver's loop waits for when a snapshot is due.
fn snapshot(database: &Path) -> String {
    let Opened { journal, core, .. } = Journal::open(database).expect("it restores");
    let began = Instant::now();
    let saving = journal.save_snapshot(&core);
    let made = began.elapsed();
    let saved = Samples::one(|| block_on(saving).expect("a snapshot"));
    drop(journal);
    // The journal stays as it was: the next run restores with the same tail.
    let conn = Connection::open(database).expect("a database");
    conn.execute_batch("DELETE FROM snapshots WHERE seq = (SELECT max(seq) FROM steps)")
        .expect("a snapshot less");
    format!("made in {}, saved in {}", ms(made), ms(saved))
}

fn without_snapshot(database: &Path) -> Duration {
    let conn = Connection::open(database).expect("a database");
    conn.execute_batch("CREATE TABLE aside AS SELECT * FROM snapshots; DELETE FROM snapshots")
        .expect("snapshots put aside");
    drop(conn);
    let began = Instant::now();
    let opened = Journal::open(database);
    let took = began.elapsed();
    drop(opened.expect("it restores"));
    let conn = Connection::open(database).expect("a database");
    conn.execute_batch("INSERT INTO snapshots SELECT * FROM aside; DROP TABLE aside")
        .expect("snapshots put back");
    took
}

/// The size of the file, how many steps it has, and the size of the latest snapshot.
fn facts(database: &Path) -> (u64, i64, i64) {
    let conn = Connection::open(database).expect("a database");
    let ask = |sql| conn.query_row(sql, [], |row| row.get(0)).expect("a number");
    let bytes = fs::metadata(database).expect("a file").len();
    let state = "SELECT length(state) FROM snapshots ORDER BY seq DESC LIMIT 1";
    (bytes, ask("SELECT max(seq) FROM steps"), ask(state))
}

/// Drops what the system holds of a file in memory, where it can be told to.
fn forget(path: &Path) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, fadvise};
        let file = File::open(path).expect("a file");
        file.sync_all().expect("a disk that works");
        fadvise(&file, 0, None, Advice::DontNeed).expect("a file of the disk's");
    }
}

/// How many commits and steps the disk takes in a second, by how many sessions share them.
fn commits() {
    for (sessions, turns) in [(1, 300), (10, 100), (100, 30)] {
        let dir = scratch();
        let mut daemon = Daemon::boot(&dir.path().join("memory.db"), false);
        daemon.say(sessions, "hello");
        let (commits, records) = (daemon.journal.commits(), daemon.records);
        let steps = daemon.core.state().seq().0;
        let began = Instant::now();
        (0..turns).for_each(|_| daemon.say(sessions, "what do you think of this?"));
        let each = |count: u64| count as f64 / began.elapsed().as_secs_f64();
        row(
            &format!("commits, synchronous=FULL, {sessions} sessions share them"),
            &format!(
                "{:.0}/s, {:.0} steps/s, {:.0} records/s",
                each(daemon.journal.commits() - commits),
                each(daemon.core.state().seq().0 - steps),
                each((daemon.records - records) as u64)
            ),
            "",
        );
    }
}

/// What a turn takes of the disk.
fn room() {
    for (name, text) in [
        ("text", "what do you think of this?"),
        ("tool", "! ls -l /var/log"),
    ] {
        let size = |turns| {
            let dir = scratch();
            let database = dir.path().join("memory.db");
            let mut daemon = Daemon::boot(&database, false);
            (0..turns).for_each(|_| daemon.say(SESSIONS, text));
            drop(daemon);
            fs::metadata(database).expect("a file").len()
        };
        let turns = 50;
        let each = (size(turns + 10) - size(10)) / (turns * SESSIONS) as u64;
        row(
            &format!("room on the disk of a {name} turn"),
            &format!("{each} bytes"),
            "",
        );
    }
}
