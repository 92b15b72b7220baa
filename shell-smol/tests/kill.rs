//! Durability: the real program is killed with SIGKILL at random moments of a conversation that
//! uses tools, and started again on the same data, over and over.
//!
//! The person is this test, the model is a server of its own, and each command appends a word of
//! its own to a file. Afterwards the journal, the file and everything that was shown must tell the
//! same story: every accepted message came to one visible end, no command ran twice, and what may
//! have run is said to be in doubt.
//!
//! `OPENPISTA_KILLS` says how many times (200 by default), `OPENPISTA_SEED` chooses the moments.

mod support;

use openpista_core::id::Seq;
use openpista_core::replay::Line;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::conversation::{Conversation, NAP};
use support::history;

/// Moments, drawn from a seed.
struct Chance(u64);

impl Chance {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A time up to `ms` milliseconds.
    fn up_to_ms(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.below(ms * 1_000 + 1))
    }
}

/// When a life is to end: at what, and how long after.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// At the start: while it restores and recovers.
    Start,
    /// When a request reaches the model.
    Request,
    /// When a command has appended its word.
    Command,
    /// When something was shown to the person.
    Word,
    /// When a command runs that would not end in time.
    Nap,
    /// Not at all.
    Never,
}

/// One conversation over many lives of the program.
struct World {
    talk: Conversation,
    seed: u64,
    chance: Chance,
    lives: u64,
    kills: u64,
    messages: u64,
    /// Steps that were read back right after a kill.
    durable: Vec<(i64, String)>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, life) = (self.seed, self.lives);
            let home = self.talk.home.keep();
            eprintln!(
                "in life {life} of OPENPISTA_SEED={seed}; see {}",
                home.display()
            );
        }
    }
}

/// A process that is killed and waited for, whatever becomes of the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    fn new(seed: u64) -> World {
        World {
            talk: Conversation::begin(),
            seed,
            chance: Chance(seed),
            lives: 0,
            kills: 0,
            messages: 0,
            durable: Vec::new(),
        }
    }

    fn message(&mut self, moment: Moment) -> String {
        self.messages += 1;
        let number = self.messages;
        match moment {
            Moment::Nap => format!("m{number} {NAP}"),
            _ => format!("m{number} rounds {}", self.chance.below(4)),
        }
    }

    /// One life of the program, to its kill or its own end.
    fn live(&mut self) {
        let moment = match self.chance.below(40) {
            0..=8 => Moment::Start,
            9..=18 => Moment::Request,
            19..=28 => Moment::Command,
            29..=36 => Moment::Word,
            37 => Moment::Nap,
            _ => Moment::Never,
        };
        let repl = !matches!(moment, Moment::Never) && self.chance.below(3) > 0;
        let session = ["one", "two"][self.chance.below(2) as usize];
        self.lives += 1;
        let said = self.talk.home.path().join("said");
        let out = File::create(&said).expect("a file for what is said");
        let mut program = self.talk.home.program(&[]);
        let err = out.try_clone().expect("one file for both");
        program.stdout(append(&said)).stderr(append(&said));
        drop((out, err));
        let mut process = if repl {
            program
                .args(["repl", "--session", session])
                .stdin(Stdio::piped());
            let lines: Vec<String> = (0..4).map(|_| self.message(moment)).collect();
            let mut process = Process(program.spawn().expect("the program"));
            // It stays open, so the program has no reason to end.
            let stdin = process.0.stdin.as_mut().expect("a pipe");
            // A program that ended at once is found out below.
            let _ = stdin.write_all((lines.join("\n") + "\n").as_bytes());
            process
        } else {
            let text = self.message(moment);
            program.args(["run", "--session", session, "-e", &text]);
            Process(program.spawn().expect("the program"))
        };
        let ended = self.await_moment(moment, &mut process.0, &said);
        if ended.is_none() {
            process.0.kill().expect("the kill");
            process.0.wait().expect("the end");
            self.kills += 1;
        }
        let told = String::from_utf8(fs::read(&said).expect("what was said")).expect("text");
        let bad = ["openpistacrab:", "error:", "panicked", "WARN", "ERROR"];
        let bad = bad.iter().find(|sign| told.contains(**sign));
        assert_eq!(bad, None, "life {} ({moment:?}) said:\n{told}", self.lives);
        let as_it_should = ended.is_none_or(|code| !repl && code == Some(0));
        assert!(
            as_it_should,
            "{moment:?} {repl} ended by itself with {ended:?}:\n{told}"
        );
        self.talk.saw(&told);
        if matches!(moment, Moment::Nap) {
            self.nothing_is_left_running();
        }
        if self.chance.below(2) == 0 {
            self.remember();
        }
    }

    /// Waits for the moment, or the program's own end: then its exit code.
    fn await_moment(
        &mut self,
        moment: Moment,
        child: &mut Child,
        said: &Path,
    ) -> Option<Option<i32>> {
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let (ledger, naps) = (self.talk.home.file("ledger"), self.talk.home.file("naps"));
        let nth = 1 + self.chance.below(4);
        let began = Instant::now();
        let requests = self.talk.server.count() as u64;
        let (commands, napped) = (length(&ledger), length(&naps));
        let wait = self.chance.up_to_ms(match moment {
            Moment::Start => 150,
            _ => 4,
        });
        loop {
            let come = match moment {
                Moment::Start => true,
                Moment::Request => self.talk.server.count() as u64 >= requests + nth,
                // A word has seven to ten bytes.
                Moment::Command => length(&ledger) >= commands + nth * 10 - 9,
                Moment::Word => length(said) > 0,
                Moment::Nap => length(&naps) > napped,
                Moment::Never => false,
            };
            if come {
                break;
            }
            if let Some(status) = child.try_wait().expect("its status") {
                return Some(status.code());
            }
            // Whatever it waits for may not come in this life.
            let patience = match moment {
                Moment::Nap | Moment::Never => Duration::from_secs(60),
                _ => Duration::from_millis(500),
            };
            if began.elapsed() > patience {
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        std::thread::sleep(wait);
        child
            .try_wait()
            .expect("its status")
            .map(|status| status.code())
    }

    /// A command dies with the program, and so does what it started.
    fn nothing_is_left_running(&self) {
        let began = Instant::now();
        loop {
            let left = self.talk.home.processes();
            if left.is_empty() {
                return;
            }
            // The commands themselves would take longer.
            assert!(
                began.elapsed() < Duration::from_secs(15),
                "left running: {left:#?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Keeps the last step that is in the journal now.
    fn remember(&mut self) {
        if !self.talk.home.database().exists() {
            return;
        }
        let conn = history::open(&self.talk.home.database());
        let last =
            "SELECT seq, at || session || input || records FROM steps ORDER BY seq DESC LIMIT 1";
        // Before its first commit there is no table, or no step in it.
        if let Ok(step) = conn.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?))) {
            self.durable.push(step);
        }
    }

    /// Lives that nobody disturbs: all that was begun comes to its end.
    fn drain(&mut self) {
        for session in ["one", "two"] {
            let text = self.message(Moment::Never);
            let ended = self.talk.run(session, &text);
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
    }
}

fn append(path: &Path) -> File {
    File::options()
        .append(true)
        .open(path)
        .expect("the file that was just made")
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is to be a whole number, not {text:?}")),
    )
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice_however_often_it_is_killed() {
    let kills = number_from_env("OPENPISTA_KILLS").unwrap_or(200);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_secs());
    let began = Instant::now();
    let mut world = World::new(number_from_env("OPENPISTA_SEED").unwrap_or(now));
    while world.kills < kills {
        world.live();
    }
    world.drain();
    world.nothing_is_left_running();
    let history = world.talk.check();
    what_was_durable_stayed(&world);
    the_journal_replays(&world);
    let doubted = history
        .effects()
        .values()
        .filter(|life| life.is_doubted())
        .count();
    println!(
        "{} kills in {} lives, {} messages sent, {} accepted, {} commands, {} of them in doubt, {} s \
         (OPENPISTA_SEED={})",
        world.kills,
        world.lives,
        world.messages,
        history.accepted().count(),
        history
            .effects()
            .values()
            .filter(|life| life.tool().is_some())
            .count(),
        doubted,
        began.elapsed().as_secs(),
        world.seed,
    );
}

/// No step that was once in the journal has changed or gone, and SQLite finds no fault.
fn what_was_durable_stayed(world: &World) {
    let conn = history::open(&world.talk.home.database());
    for (seq, step) in &world.durable {
        let sql = "SELECT at || session || input || records FROM steps WHERE seq = ?1";
        let now: Option<String> = conn.query_row(sql, [seq], |row| row.get(0)).ok();
        assert_eq!(now.as_ref(), Some(step), "step {seq}");
    }
    let sound: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("a check");
    assert_eq!(sound, "ok");
}

/// Law 8 in production, and what `replay` says of a journal with one record altered.
fn the_journal_replays(world: &World) {
    let home = &world.talk.home;
    let file = home.path().join("export.jsonl");
    let replay = |text: &str| {
        fs::write(&file, text).expect("the export");
        home.run(&["replay", "export.jsonl"])
    };
    for session in [
        &["export"][..],
        &["export", "--session", "one"],
        &["export", "--session", "two"],
    ] {
        let export = home.run(session);
        assert_eq!(export.code, Some(0), "{}", export.err);
        let ended = replay(&export.out);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("no difference"), "{ended:?}");
    }
    let export = home.run(&["export"]).out;
    let mut chance = Chance(world.seed);
    for _ in 0..5 {
        let (altered, seq, index) = altered(&export, &mut chance);
        let ended = replay(&altered);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let place = format!("step {seq}, record {index} ");
        assert!(ended.out.contains(&place), "{place:?} is not in {ended:?}");
    }
}

/// The export with one record of one step altered: where that is.
fn altered(export: &str, chance: &mut Chance) -> (String, Seq, usize) {
    let mut lines: Vec<String> = export.lines().map(str::to_owned).collect();
    let at = 1 + chance.below(lines.len() as u64 - 1) as usize;
    let line: Line = serde_json::from_str(&lines[at]).expect("a step");
    let index = chance.below(line.records.len() as u64) as usize;
    let mut step: Value = serde_json::from_str(&lines[at]).expect("a step");
    let record = step["records"][index].as_object_mut().expect("a record");
    let (_, facts) = record.iter_mut().next().expect("its kind");
    alter(facts);
    lines[at] = step.to_string();
    (lines.join("\n") + "\n", line.seq, index)
}

/// Changes the first number in a value, and leaves its shape.
fn alter(value: &mut Value) -> bool {
    match value {
        Value::Number(number) => {
            *value = Value::from(number.as_u64().unwrap_or(0) + 1);
            true
        }
        Value::Array(values) => values.iter_mut().any(alter),
        Value::Object(values) => values.values_mut().any(alter),
        _ => false,
    }
}

/// Restoring folds what came after the latest snapshot: it is bounded however short lives are.
#[test]
fn short_lives_come_to_a_snapshot_together() {
    let mut talk = Conversation::begin();
    let mut steps = 0;
    for message in 1.. {
        let ended = talk.run("one", &format!("m{message} rounds 3"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let conn = history::open(&talk.home.database());
        let number = |sql| conn.query_row::<i64, _, _>(sql, [], |row| row.get(0));
        let saved = number("SELECT coalesce(max(seq), 0) FROM snapshots").expect("snapshots");
        steps = number("SELECT max(seq) FROM steps").expect("steps");
        if saved > 0 || steps > 1_000 {
            assert!(saved > 0, "no snapshot after {steps} steps");
            break;
        }
    }
    assert!(
        steps > 100,
        "a snapshot that early costs more than it saves"
    );
    talk.check();
}
