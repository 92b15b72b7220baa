//! What must go on working: journals of every format that was released (law 21), and the plans
//! that once failed, shrunk.
//!
//! `OPENPISTA_WRITE_FIXTURES=1` writes the journal of the present format anew. Once a version is
//! released its journal is never written again; a new format gets a new file.

use openpista_core::replay::{Line, Replay};
use openpista_shell_test::exhaustive::{crashed, script};
use openpista_shell_test::fault::Cut;
use openpista_shell_test::law;
use openpista_shell_test::plan::Plan;
use openpista_shell_test::world;
use std::path::PathBuf;

fn fixtures(ending: &str) -> Vec<(PathBuf, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let entries = std::fs::read_dir(folder).expect("the folder of fixtures");
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a fixture that can be read");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn law_21_every_released_format_restores_and_replays() {
    if std::env::var_os("OPENPISTA_WRITE_FIXTURES").is_some() {
        let story = world::run(&crashed(&script(), &[(30, Cut::BeforeReport)]));
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/format-1.journal.jsonl"
        );
        std::fs::write(path, law::export(&story.journal())).expect("a fixture is written");
    }
    let journals = fixtures(".journal.jsonl");
    assert!(
        !journals.is_empty(),
        "there is no journal of a released format"
    );
    for (path, text) in journals {
        let folded = law::import(&text);
        let folded = folded.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let mut replay = Replay::new();
        for line in text.lines().skip(1) {
            let line: Line = serde_json::from_str(line).expect("a line of a journal");
            let followed = replay.follow(&line);
            followed.unwrap_or_else(|found| panic!("{}: {found:?}", path.display()));
        }
        assert_eq!(
            replay.core().snapshot(),
            folded.snapshot(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_once_failed_keeps_every_law() {
    let plans = fixtures(".plan.jsonl");
    assert!(!plans.is_empty(), "there is no shrunk plan");
    for (path, text) in plans {
        let plan = Plan::from_jsonl(&text).expect("a plan that can be read");
        let story = world::run(&plan);
        if let Some(broken) = law::check(&story).first() {
            panic!("{}: {}", path.display(), broken.report(&story));
        }
    }
}
