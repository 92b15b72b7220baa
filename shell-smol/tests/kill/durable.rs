//! What must hold of the data on disk, whatever happened to the processes that wrote it.

use crate::chance::Chance;
use crate::support::history;
use crate::support::program::Home;
use openpista_core::id::Seq;
use openpista_core::replay::Line;
use serde_json::Value;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

/// A process that is killed and waited for, whatever becomes of the test.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command dies with the program, and so does what it started.
pub(crate) fn nothing_is_left_running(home: &Home) {
    let began = Instant::now();
    loop {
        let left = home.processes();
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

/// Steps that were read back right after a kill.
#[derive(Default)]
pub(crate) struct Remembered(Vec<(i64, String)>);

impl Remembered {
    /// Keeps the last step that is in the journal now.
    pub(crate) fn the_last_of(&mut self, home: &Home) {
        if !home.database().exists() {
            return;
        }
        let conn = history::open(&home.database());
        let last =
            "SELECT seq, at || session || input || records FROM steps ORDER BY seq DESC LIMIT 1";
        // Before its first commit there is no table, or no step in it.
        if let Ok(step) = conn.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?))) {
            self.0.push(step);
        }
    }

    /// No step that was once in the journal has changed or gone, and SQLite finds no fault.
    pub(crate) fn stayed(&self, home: &Home) {
        let conn = history::open(&home.database());
        for (seq, step) in &self.0 {
            let sql = "SELECT at || session || input || records FROM steps WHERE seq = ?1";
            let now: Option<String> = conn.query_row(sql, [seq], |row| row.get(0)).ok();
            assert_eq!(now.as_ref(), Some(step), "step {seq}");
        }
        let sound: String = conn
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a check");
        assert_eq!(sound, "ok");
    }
}

/// Law 8 in production, and what `replay` says of a journal with one record altered.
pub(crate) fn the_journal_replays(home: &Home, sessions: &[&str], seed: u64) {
    let file = home.path().join("export.jsonl");
    let replay = |text: &str| {
        fs::write(&file, text).expect("the export");
        home.run(&["replay", "export.jsonl"])
    };
    let whole = std::iter::once(vec!["export"]);
    let single = sessions
        .iter()
        .map(|name| vec!["export", "--session", name]);
    for arguments in whole.chain(single) {
        let export = home.run(&arguments);
        assert_eq!(export.code, Some(0), "{}", export.err);
        let ended = replay(&export.out);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains("no difference"), "{ended:?}");
    }
    let export = home.run(&["export"]).out;
    let mut chance = Chance(seed);
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
