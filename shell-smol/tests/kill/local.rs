//! A person at a terminal, whose program is killed in the middle of a conversation that uses tools.

use crate::chance::{self, Chance};
use crate::durable::{Process, Remembered, nothing_is_left_running, the_journal_replays};
use crate::support::conversation::{Conversation, NAP};
use crate::support::history;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

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
    durable: Remembered,
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

impl World {
    fn new(seed: u64) -> World {
        World {
            talk: Conversation::begin(),
            seed,
            chance: Chance(seed),
            lives: 0,
            kills: 0,
            messages: 0,
            durable: Remembered::default(),
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
            nothing_is_left_running(&self.talk.home);
        }
        if self.chance.below(2) == 0 {
            self.durable.the_last_of(&self.talk.home);
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

#[test]
fn nothing_is_lost_and_nothing_happens_twice_however_often_it_is_killed() {
    let kills = chance::kills(200);
    let began = Instant::now();
    let mut world = World::new(chance::seed());
    while world.kills < kills {
        world.live();
    }
    world.drain();
    nothing_is_left_running(&world.talk.home);
    let history = world.talk.check();
    world.durable.stayed(&world.talk.home);
    the_journal_replays(&world.talk.home, &["one", "two"], world.seed);
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
