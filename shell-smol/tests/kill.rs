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
use openpista_core::record::Record;
use openpista_core::replay::Line;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use support::history::{self, History};
use support::home::{Ended, Home};
use support::server::{Answer, Request, Server};

/// What the model's script knows: the words that were reported to the model as in doubt, and what
/// went wrong on its side.
#[derive(Default)]
struct Model {
    doubts: BTreeSet<String>,
    faults: Vec<String>,
}

/// How a command that is cut off by a kill in any case begins.
const NAP: &str = "nap";

/// The model: commands for as many rounds as the first unanswered message asks for, then a reply
/// that names the messages that it answers.
fn answer(model: &Mutex<Model>, database: &Path, request: &Request) -> Answer {
    let messages = request.messages();
    let is_reply = |m: &Value| m["role"] == "assistant" && m["tool_calls"].is_null();
    let from = messages.iter().rposition(is_reply).map_or(0, |at| at + 1);
    let text = |m: &Value| m["content"].as_str().unwrap_or_default().to_owned();
    let open = &messages[from..];
    let said: Vec<String> = open
        .iter()
        .filter(|m| m["role"] == "user")
        .map(text)
        .collect();
    let rounds = open.iter().filter(|m| m["role"] == "assistant").count();
    watch(&mut lock(model), database, &messages, &said);

    let number = request.number;
    std::thread::sleep(Duration::from_millis((number % 4 * 8) as u64));
    let last_said = open.iter().rposition(|m| m["role"] == "user").unwrap_or(0);
    let fresh = open[last_said..].iter().all(|m| m["role"] != "assistant");
    if fresh && said.last().is_some_and(|text| text.ends_with(NAP)) {
        let nap = format!("setsid sleep 25 & echo id-{number}-0 >> naps; sleep 25");
        return Answer::run(&nap);
    }
    let asked = said.first().and_then(|text| text.rsplit(' ').next());
    if rounds < asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(0) {
        let calls = (0..1 + number % 2).map(|call| command(number, call));
        let calls: Vec<String> = calls.collect();
        return Answer::calls(
            calls
                .iter()
                .map(|arguments| ("system.run", arguments.as_str())),
        );
    }
    let named: Vec<&str> = said
        .iter()
        .filter_map(|text| text.split(' ').next())
        .collect();
    Answer::text(format!("reply-{number} to {}.", named.join(" ")))
}

/// The arguments of a command that appends a word that no other command has.
fn command(number: usize, call: usize) -> String {
    let append = format!("echo id-{number}-{call} >> ledger");
    let command = match number % 3 {
        0 => append,
        1 => format!("sleep 0.02; {append}"),
        _ => format!("{append}; sleep 0.02"),
    };
    serde_json::json!({ "command": command }).to_string()
}

/// Looks at a request from outside: law 4 for what it was made of, and what it says is in doubt.
fn watch(model: &mut Model, database: &Path, messages: &[Value], said: &[String]) {
    let conn = history::open(database);
    for text in said {
        let sql = "SELECT count(*) FROM messages WHERE role = 'user' AND content = ?1";
        let durable: i64 = conn
            .query_row(sql, [text], |row| row.get(0))
            .expect("messages");
        if durable == 0 {
            let fault = format!("the model was sent {text:?} before it was in the journal");
            model.faults.push(fault);
        }
    }
    let mut calls = BTreeMap::new();
    for message in messages {
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            calls.insert(call["id"].as_str(), call["function"]["arguments"].as_str());
        }
        let in_doubt = message["content"]
            .as_str()
            .is_some_and(|text| text.starts_with("in doubt"));
        if message["role"] == "tool" && in_doubt {
            let arguments = calls
                .get(&message["tool_call_id"].as_str())
                .copied()
                .flatten();
            model.doubts.extend(arguments.and_then(word));
        }
    }
}

/// The word that a command appends.
fn word(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once("echo ")?;
    rest.split(' ').next().map(str::to_owned)
}

fn lock(model: &Mutex<Model>) -> std::sync::MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    home: Home,
    server: Server,
    model: Arc<Mutex<Model>>,
    seed: u64,
    chance: Chance,
    lives: u64,
    kills: u64,
    messages: u64,
    /// Every line that a person saw, in order.
    shown: Vec<String>,
    /// Steps that were read back right after a kill.
    durable: Vec<(i64, String)>,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, life) = (self.seed, self.lives);
            let home = self.home.keep();
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
        let model = Arc::new(Mutex::new(Model::default()));
        let script = Arc::clone(&model);
        let database = Arc::new(Mutex::new(std::path::PathBuf::new()));
        let known = Arc::clone(&database);
        let server = Server::start(move |request| {
            let database = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            answer(&script, &database, request)
        });
        let home = Home::new(&server.base_url());
        *database.lock().unwrap_or_else(PoisonError::into_inner) = home.database();
        World {
            home,
            server,
            model,
            seed,
            chance: Chance(seed),
            lives: 0,
            kills: 0,
            messages: 0,
            shown: Vec::new(),
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
        let said = self.home.path().join("said");
        let out = File::create(&said).expect("a file for what is said");
        let mut program = self.home.program();
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
        self.shown.extend(told.lines().map(str::to_owned));
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
        let (ledger, naps) = (self.home.work("ledger"), self.home.work("naps"));
        let nth = 1 + self.chance.below(4);
        let began = Instant::now();
        let requests = self.server.count() as u64;
        let (commands, napped) = (length(&ledger), length(&naps));
        let wait = self.chance.up_to_ms(match moment {
            Moment::Start => 150,
            _ => 4,
        });
        loop {
            let come = match moment {
                Moment::Start => true,
                Moment::Request => self.server.count() as u64 >= requests + nth,
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
            let left = self.home.processes();
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
        if !self.home.database().exists() {
            return;
        }
        let conn = history::open(&self.home.database());
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
            let ended = self.home.run(&["run", "--session", session, "-e", &text]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            let Ended { out, err, .. } = ended;
            self.shown
                .extend(out.lines().chain(err.lines()).map(str::to_owned));
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
    let history = History::read(&world.home.database());
    assert_eq!(lock(&world.model).faults, [""; 0]);
    assert_eq!(history.faults(), [""; 0]);
    commands_ran_once_or_are_in_doubt(&world, &history);
    every_end_was_seen(&world, &history);
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

/// Laws 4 and 5 from outside: what the commands left behind.
fn commands_ran_once_or_are_in_doubt(world: &World, history: &History) {
    let read = |name| fs::read_to_string(world.home.work(name)).unwrap_or_default();
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for word in (read("ledger") + &read("naps")).lines() {
        *left.entry(word.to_owned()).or_default() += 1;
    }
    let effects = history.effects();
    let told = &lock(&world.model).doubts;
    for (id, life) in &effects {
        let Some(word) = life.tool().and_then(|run| word(&run.arguments)) else {
            continue;
        };
        let times = left.remove(&word).unwrap_or(0);
        if life.is_doubted() {
            assert!(
                times <= 1,
                "{word} of effect {id}, in doubt, ran {times} times"
            );
            assert!(
                told.contains(&word),
                "the model was not told that {word} is in doubt"
            );
            let said = |line: &&String| line.contains("may have run") && line.contains(&word);
            let said = world.shown.iter().find(said);
            assert!(
                said.is_some(),
                "the person was not told that {word} is in doubt"
            );
        } else {
            assert_eq!(
                times, 1,
                "{word} of effect {id}, which ended as {:?}",
                life.ends
            );
        }
    }
    assert!(left.is_empty(), "these ran without an intent: {left:?}");
}

/// Laws 1 and 2 from outside: each end was seen, and again only where it says so.
fn every_end_was_seen(world: &World, history: &History) {
    const REPEATED: &str = "(possibly repeated)";
    let marked = |at: usize| {
        let before = at.checked_sub(1).map_or("", |before| &world.shown[before]);
        let heading = before.ends_with(&format!("{REPEATED}:"));
        heading || world.shown[at].contains(REPEATED)
    };
    let queued: BTreeSet<&str> = history.queued().collect();
    for text in &queued {
        let lines = world.shown.iter().enumerate();
        let seen: Vec<usize> = lines
            .filter(|(_, line)| line.contains(text))
            .map(|(at, _)| at)
            .collect();
        assert!(!seen.is_empty(), "never shown: {text:?}");
        let unmarked: Vec<&usize> = seen.iter().skip(1).filter(|&&at| !marked(at)).collect();
        assert!(
            unmarked.is_empty(),
            "shown again without a word: {text:?} at {unmarked:?} of {seen:?}"
        );
    }
    for line in world.shown.iter().filter(|line| line.contains("reply-")) {
        let known = queued.iter().any(|text| line.contains(text));
        assert!(known, "shown, and not in the journal: {line:?}");
    }
    let names: BTreeMap<_, _> = history.accepted().map(|a| (a.message, &a.text)).collect();
    for (seq, record) in history.records() {
        let Record::Queued { body, ends, .. } = record else {
            continue;
        };
        let reply = body.text().unwrap_or_default();
        for end in ends {
            let name = names[&end.message].split(' ').next().unwrap_or_default();
            let named = reply.split([' ', '.']).any(|word| word == name);
            assert!(named, "step {seq}: {reply:?} is to end {name}");
        }
    }
}

/// No step that was once in the journal has changed or gone, and SQLite finds no fault.
fn what_was_durable_stayed(world: &World) {
    let conn = history::open(&world.home.database());
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
    let home = &world.home;
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
