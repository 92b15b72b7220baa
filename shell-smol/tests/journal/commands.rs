//! `export`, `replay` and `sessions`, as functions that print.

use crate::bench::{Bench, Dir};
use openpista_core::replay::{Header, Line};
use openpista_shell_smol::command::{export, replay, sessions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn conversations(dir: &Dir) -> Bench {
    let mut bench = Bench::booted(&dir.database());
    bench.say("one", "canary-question");
    bench.say("two", "! canary-command");
    bench.say("one", "! canary-again");
    bench
}

fn exported(dir: &Dir, session: Option<&str>, redact: bool) -> String {
    let options = export::Options {
        database: dir.database(),
        session: session.map(str::to_owned),
        redact,
    };
    let mut out = Vec::new();
    let code = export::run(&options, &mut out).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    String::from_utf8(out).unwrap()
}

fn file(dir: &Dir, text: &str) -> PathBuf {
    let path = dir.path().join("export.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

fn replayed(file: &Path, fold: bool) -> (ExitCode, String) {
    let options = replay::Options {
        file: file.to_owned(),
        fold,
    };
    let mut out = Vec::new();
    let code = replay::run(&options, &mut out).unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn refused(file: &Path, fold: bool) -> String {
    let options = replay::Options {
        file: file.to_owned(),
        fold,
    };
    replay::run(&options, &mut Vec::new())
        .unwrap_err()
        .to_string()
}

fn lines(export: &str) -> (Header, Vec<Line>) {
    let (header, lines) = export.split_once('\n').unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (serde_json::from_str(header).unwrap(), lines.collect())
}

#[test]
fn the_whole_journal_replays() {
    let dir = Dir::new();
    let bench = conversations(&dir);
    let text = exported(&dir, None, false);
    let (header, steps) = lines(&text);
    assert_eq!((header.session, header.redacted), (None, false));
    assert_eq!(steps.len() as u64, bench.core.state().seq().0);
    let (code, told) = replayed(&file(&dir, &text), false);
    assert_eq!(code, ExitCode::SUCCESS, "{told}");
    let records: usize = steps.iter().map(|line| line.records.len()).sum();
    assert_eq!(
        told,
        format!("{} steps, {records} records: no difference\n", steps.len())
    );
}

#[test]
fn folding_an_export_gives_the_live_state() {
    let dir = Dir::new();
    let bench = conversations(&dir);
    let (code, told) = replayed(&file(&dir, &exported(&dir, None, false)), true);
    assert_eq!(code, ExitCode::SUCCESS);
    let bytes = bench.core.snapshot().len().to_string();
    let told = told.lines().next().unwrap().replace(',', "");
    assert!(
        told.ends_with(&format!("folded to a state of {bytes} bytes")),
        "{told}"
    );
}

#[test]
fn each_session_replays_alone_at_its_positions() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    for name in ["one", "two"] {
        let text = exported(&dir, Some(name), false);
        let (header, steps) = lines(&text);
        assert_eq!(header.session.as_deref(), Some(name));
        let sessions: Vec<_> = steps.iter().filter_map(|line| line.session).collect();
        assert!(!sessions.is_empty() && sessions.iter().all(|s| *s == sessions[0]));
        assert!(
            steps.iter().any(|line| line.session.is_none()),
            "the boot is in it"
        );
        let (code, told) = replayed(&file(&dir, &text), false);
        assert_eq!(code, ExitCode::SUCCESS, "{told}");
    }
}

#[test]
fn an_altered_record_is_found_there() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    let text = exported(&dir, None, false);
    let (_, steps) = lines(&text);
    let asked = |line: &Line| {
        let of = |record| serde_json::to_string(record).unwrap().contains("\"asked\"");
        line.records
            .iter()
            .position(of)
            .map(|index| (line.seq, index))
    };
    let (seq, index) = steps.iter().find_map(asked).unwrap();
    let altered = text.replacen(r#""round":1"#, r#""round":77"#, 1);
    let (code, told) = replayed(&file(&dir, &altered), false);
    assert_eq!(code, ExitCode::FAILURE);
    let head = format!("step {seq}, record {index} (from 0) differs:\n");
    assert!(told.starts_with(&head), "{told}");
    assert!(
        told.contains("-     \"round\": 77") && told.contains("+     \"round\": 1"),
        "{told}"
    );
}

#[test]
fn a_record_that_is_left_out_is_found() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    let text = exported(&dir, None, false);
    let (_, steps) = lines(&text);
    let last = serde_json::to_string(&steps[1]).unwrap();
    let mut shorter = steps[1].clone();
    let index = shorter.records.len() - 1;
    shorter.records.pop();
    let altered = text.replace(&last, &serde_json::to_string(&shorter).unwrap());
    assert_ne!(altered, text);
    let (code, told) = replayed(&file(&dir, &altered), false);
    assert_eq!(code, ExitCode::FAILURE);
    let head = format!("step {}, record {index} (from 0) differs:\n", steps[1].seq);
    assert!(told.starts_with(&head), "{told}");
    assert!(told.contains("- no record\n"), "{told}");
}

#[test]
fn a_redacted_export_says_nothing_and_still_folds() {
    let dir = Dir::new();
    let bench = conversations(&dir);
    let whole = exported(&dir, None, false);
    for canary in [
        "question",
        "command",
        "again",
        "reply",
        "arguments",
        "system",
    ] {
        assert!(whole.contains(&format!("canary-{canary}")), "{canary}");
    }
    let text = exported(&dir, None, true);
    assert!(!text.contains("canary"), "{text}");
    assert!(!text.contains("\"key-"), "{text}");
    let (header, steps) = lines(&text);
    assert!(header.redacted);
    assert_eq!(steps.len() as u64, bench.core.state().seq().0);

    let file = file(&dir, &text);
    assert!(refused(&file, false).contains("--fold"));
    let (code, told) = replayed(&file, true);
    assert_eq!(code, ExitCode::SUCCESS);
    let head = format!("{} steps, ", steps.len());
    assert!(told.starts_with(&head), "{told}");
    assert!(told.contains("           3  accepted\n"), "{told}");
}

#[test]
fn what_is_no_export_is_refused_by_its_line() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    let text = exported(&dir, None, false);
    let said = |text: &str| refused(&file(&dir, text), false);
    assert!(said("").contains("it is empty"));
    assert!(said("hello\n").contains("its first line is no header"));
    let other = text.replacen("openpista-journal", "other", 1);
    assert!(said(&other).contains("its format is \"other\""));
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert!(said(&newer).contains("version 2, and this program knows up to 1"));
    let cut = &text[..text.len() - 10];
    let number = text.lines().count();
    assert!(said(cut).contains(&format!("line {number} is not a step")));
    let (header, steps) = text.split_once('\n').unwrap();
    let twice = format!("{header}\n{steps}{steps}");
    assert!(said(&twice).contains("does not follow"), "{}", said(&twice));
    assert!(refused(Path::new("/nonexistent"), true).contains("cannot read"));
}

/// Like `head`: takes some bytes and closes.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    let options = export::Options {
        database: dir.database(),
        session: None,
        redact: false,
    };
    let code = export::run(&options, &mut Closing(100)).unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    let file = file(
        &dir,
        &exported(&dir, None, false).replacen("canary", "other", 1),
    );
    let options = replay::Options { file, fold: false };
    let code = replay::run(&options, &mut Closing(5)).unwrap();
    assert_eq!(code, ExitCode::FAILURE, "the exit code still tells");
}

fn listed(dir: &Dir, show: Option<&str>, terminal: bool) -> Result<String, String> {
    let options = sessions::Options {
        database: dir.database(),
        show: show.map(str::to_owned),
        terminal,
    };
    let mut out = Vec::new();
    let result = sessions::run(&options, &mut out).map_err(|error| error.to_string());
    result.map(|_| String::from_utf8(out).unwrap())
}

#[test]
fn sessions_are_listed_for_people_and_for_programs() {
    let dir = Dir::new();
    assert_eq!(listed(&dir, None, false).unwrap(), "");
    assert!(
        listed(&dir, None, true)
            .unwrap()
            .starts_with("No sessions yet")
    );
    let _bench = conversations(&dir);
    let rows = listed(&dir, None, false).unwrap();
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    let told: Vec<_> = rows.iter().map(|row| (row.len(), row[0], row[1])).collect();
    assert_eq!(told, [(3, "one", "6"), (3, "two", "4")]);
    let table = listed(&dir, None, true).unwrap();
    assert!(
        table.starts_with("SESSION  MESSAGES  LAST ACTIVITY\none             6  "),
        "{table}"
    );
}

#[test]
fn a_session_is_shown_with_its_tool_calls() {
    let dir = Dir::new();
    let _bench = conversations(&dir);
    let told = listed(&dir, Some("two"), false).unwrap();
    let without_times: Vec<&str> = told
        .lines()
        .map(|line| line.split_once("Z] ").map_or(line, |(_, rest)| rest))
        .collect();
    let arguments = r#"{"command":"canary-arguments"}"#;
    assert_eq!(
        without_times,
        [
            "you",
            "! canary-command",
            "",
            "model",
            &format!("> system.run {arguments} (call-1)"),
            "",
            "tool, call call-1",
            "exit code: 0",
            "stdout:",
            &format!("ran {arguments}"),
            "",
            "model",
            "canary-reply",
        ]
    );
}

#[test]
fn a_session_that_is_not_there_is_named_with_the_nearest() {
    let dir = Dir::new();
    let nothing = "there is no session \"tow\"; `openpistacrab sessions` lists them";
    assert_eq!(listed(&dir, Some("tow"), false).unwrap_err(), nothing);
    let _bench = conversations(&dir);
    let near = "there is no session \"twoo\"; did you mean \"two\"?";
    assert_eq!(listed(&dir, Some("twoo"), false).unwrap_err(), near);
    let options = export::Options {
        database: dir.database(),
        session: Some("zzz".to_owned()),
        redact: false,
    };
    let told = export::run(&options, &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert_eq!(told, nothing.replace("tow", "zzz"));
}
