//! A conversation between a person, which is the test, and a model, which is a server of its own;
//! each command that the model wants run appends a word of its own to a file. It may go on over
//! many lives of the program, however they end. Afterwards the journal, the file and everything
//! that was shown must tell the same story.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use super::history::{self, History};
use super::program::{Ended, Home};
use super::server::{Answer, Request, Server, text_chunk};
use openpista_core::record::Record;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// A person, a model, and a home for the program between them.
pub struct Conversation {
    /// Where the program lives.
    pub home: Home,
    /// Where the model does.
    pub server: Server,
    /// Every line that the person saw, in order.
    pub shown: Vec<String>,
    model: Arc<Mutex<Model>>,
}

impl Conversation {
    /// Begins one. The text of a message is to be a name, a space, and for how many rounds
    /// commands are to run, or [`NAP`].
    pub fn begin() -> Conversation {
        let model = Arc::new(Mutex::new(Model::default()));
        let database = Arc::new(OnceLock::<PathBuf>::new());
        let (script, known) = (Arc::clone(&model), Arc::clone(&database));
        let server = Server::start(move |request| answer(&script, known.wait(), request));
        let home = Home::with(&configuration(&server));
        let _ = database.set(home.database());
        Conversation {
            home,
            server,
            shown: Vec::new(),
            model,
        }
    }

    /// Says something with `run`, and sees what it shows.
    pub fn run(&mut self, session: &str, text: &str) -> Ended {
        let ended = self.home.run(&["run", "--session", session, "-e", text]);
        self.saw(&ended.out);
        self.saw(&ended.err);
        ended
    }

    /// The person saw this.
    pub fn saw(&mut self, text: &str) {
        self.shown.extend(text.lines().map(str::to_owned));
    }

    /// Checks what is left once all has come to rest.
    ///
    /// # Panics
    /// When a law is broken.
    pub fn check(&self) -> History {
        let history = History::read(&self.home.database());
        assert_eq!(lock(&self.model).faults, [""; 0]);
        assert_eq!(history.faults(), [""; 0]);
        commands_ran_once_or_are_in_doubt(self, &history);
        every_end_was_seen(self, &history);
        history
    }
}

/// Everything may run, and however often a call of the model fails or is cut off, it is tried again
/// soon.
fn configuration(server: &Server) -> String {
    let base_url = server.base_url();
    format!(
        "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{base_url}\"\n\
         [policy]\nmode = \"full\"\n\
         [limits]\ncontext_messages = 60\nmodel_attempts = 100\nbackoff_ms = 20\n"
    )
}

/// What the model's script knows: the words that were reported to the model as in doubt, and what
/// went wrong on its side.
#[derive(Debug, Default)]
pub struct Model {
    /// The words that the model was told are in doubt.
    pub doubts: BTreeSet<String>,
    /// What went wrong on its side.
    pub faults: Vec<String>,
}

/// What a message asks for that wants a command which takes too long to be waited for.
pub const NAP: &str = "nap";

/// The model: commands for as many rounds as the first unanswered message asks for, then a reply
/// that names the messages that it answers. Now and then it fails.
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
    match number % 16 {
        5 => return Answer::error(500, "not now"),
        11 => return Answer::events([text_chunk("half a reply").as_str()]).then_break(),
        _ => {}
    }
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
pub fn command(number: usize, call: usize) -> String {
    let append = format!("echo id-{number}-{call} >> ledger");
    let command = match number % 3 {
        0 => append,
        1 => format!("sleep 0.02; {append}"),
        _ => format!("{append}; sleep 0.02"),
    };
    serde_json::json!({ "command": command }).to_string()
}

/// Looks at a request from outside: law 4 for what it was made of, and what it says is in doubt.
pub fn watch(model: &mut Model, database: &Path, messages: &[Value], said: &[String]) {
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
pub fn word(arguments: &str) -> Option<String> {
    let (_, rest) = arguments.split_once("echo ")?;
    rest.split(' ').next().map(str::to_owned)
}

fn lock(model: &Mutex<Model>) -> MutexGuard<'_, Model> {
    model.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Laws 4 and 5 from outside: what the commands left behind.
fn commands_ran_once_or_are_in_doubt(talk: &Conversation, history: &History) {
    let read = |name| fs::read_to_string(talk.home.file(name)).unwrap_or_default();
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for word in (read("ledger") + &read("naps")).lines() {
        *left.entry(word.to_owned()).or_default() += 1;
    }
    let effects = history.effects();
    let told = &lock(&talk.model).doubts;
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
            let said = talk.shown.iter().find(said);
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
fn every_end_was_seen(talk: &Conversation, history: &History) {
    const REPEATED: &str = "(possibly repeated)";
    let marked = |at: usize| {
        let before = at.checked_sub(1).map_or("", |before| &talk.shown[before]);
        let heading = before.ends_with(&format!("{REPEATED}:"));
        heading || talk.shown[at].contains(REPEATED)
    };
    let queued: BTreeSet<&str> = history.queued().collect();
    for text in &queued {
        let lines = talk.shown.iter().enumerate();
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
    for line in talk.shown.iter().filter(|line| line.contains("reply-")) {
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
