//! What needs the inside of the journal: faults of the disk, upgrades, projections.

use super::read::{MessageRow, Reader, Role};
use super::schema::{self, SCHEMA, Schema};
use super::snapshot::Snapshot;
use super::writer::Writer;
use super::{Asked, Fault, JournalError, Lookup, TokenError, TokenRow, Tokens, projection, read};
use openpista_core::Core;
use openpista_core::effect::deliver::{Body, End};
use openpista_core::effect::model::Reply;
use openpista_core::effect::tool::{Clip, Exit, Ran, RunTool};
use openpista_core::effect::{Effect, Op, Outcome, Recovery};
use openpista_core::id::{ApprovalId, Attempt, EffectId, MessageId, Seq, SessionId, TurnId};
use openpista_core::input::Input;
use openpista_core::message::ToolCall;
use openpista_core::record::{Accepted, Answer, Record, TurnEnd, Verdict};
use openpista_core::refusal::Refusal;
use openpista_core::replay::Line;
use openpista_core::time::Time;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BEGAN: u64 = 1_700_000_000_000;
const SESSION: SessionId = SessionId(Seq(1));

struct Dir {
    dir: tempfile::TempDir,
}

impl Dir {
    fn new() -> Dir {
        let dir = tempfile::tempdir().unwrap();
        Dir { dir }
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("memory.db")
    }

    fn writer(&self) -> Writer {
        let path = self.database();
        let conn = schema::open(&path, &SCHEMA, BEGAN).unwrap();
        Writer {
            began_unix_ms: read::began_unix_ms(&conn, &path).unwrap(),
            durable: super::restore::last(&conn, &path).unwrap(),
            conn,
            path,
            poisoned: false,
            commits: Arc::default(),
            last_sync: std::time::Duration::ZERO,
        }
    }
}

fn line(seq: u64, records: Vec<Record>) -> Line {
    Line {
        seq: Seq(seq),
        at: Time::from_ms(seq * 1_000),
        session: records.first().and_then(Record::session),
        input: Input::Wall { unix_ms: 0 },
        records,
    }
}

fn opened() -> Record {
    Record::Opened {
        session: SESSION,
        name: "main".to_owned(),
    }
}

fn accepted(seq: u64, text: &str) -> Record {
    Record::Accepted(Accepted {
        session: SESSION,
        message: MessageId(Seq(seq)),
        origin: "cli:local".to_owned(),
        key: seq.to_string(),
        peer: "cli:local".to_owned(),
        text: text.to_owned(),
        serial: None,
        by_agent: false,
        command: None,
    })
}

fn answered(seq: u64, text: &str, ids: &[&str]) -> Record {
    let call = |id: &&str| ToolCall {
        id: (*id).to_owned(),
        tool: "system.run".to_owned(),
        arguments: "{}".to_owned(),
    };
    Record::Answered {
        session: SESSION,
        effect: effect(seq),
        reply: Reply {
            text: text.to_owned(),
            calls: ids.iter().map(call).collect(),
            ..Reply::default()
        },
    }
}

fn effect(seq: u64) -> EffectId {
    EffectId {
        seq: Seq(seq),
        slot: 0,
    }
}

fn intended(id: EffectId, call: u16) -> Record {
    Record::Intended(Effect {
        id,
        attempt: Attempt::FIRST,
        op: Op::Tool(RunTool {
            session: SESSION,
            turn: TurnId(Seq(1)),
            call,
            tool: "system.run".to_owned(),
            arguments: "{}".to_owned(),
            timeout_ms: 1_000,
        }),
        recovery: Recovery::Doubt,
    })
}

fn ran(id: EffectId, exit: Exit, stdout: &str, stderr: &str) -> Record {
    let clip = |text: &str| Clip {
        text: text.to_owned(),
        cut_chars: 0,
    };
    Record::Settled {
        session: SESSION,
        effect: id,
        outcome: Outcome::Tool(Ok(Ran {
            exit,
            stdout: clip(stdout),
            stderr: clip(stderr),
            took_ms: 1,
            pictures: Vec::new(),
        })),
    }
}

fn ended(end: TurnEnd) -> Record {
    Record::TurnEnded {
        session: SESSION,
        turn: Some(TurnId(Seq(1))),
        end,
        ends: Vec::new(),
    }
}

/// Everything that makes a row, and some that does not.
fn conversation() -> Vec<Line> {
    let judged = |call, verdict| Record::Judged {
        session: SESSION,
        call,
        verdict,
    };
    let reason = || "reason".to_owned();
    let second = EffectId {
        seq: Seq(2),
        slot: 1,
    };
    vec![
        line(1, vec![opened(), accepted(1, "hello")]),
        line(
            2,
            vec![
                answered(1, "", &["a", "b", "c", "d"]),
                judged(0, Verdict::Allow { reason: reason() }),
                intended(effect(2), 0),
                intended(second, 1),
                judged(2, Verdict::Deny { reason: reason() }),
                judged(3, Verdict::Ask { reason: reason() }),
            ],
        ),
        line(3, vec![ran(second, Exit::Code(2), "", "no such file\n")]),
        line(4, vec![ran(effect(2), Exit::Code(0), "Linux\n", "")]),
        line(
            5,
            vec![Record::Decided {
                session: SESSION,
                approval: ApprovalId {
                    seq: Seq(2),
                    slot: 3,
                },
                answer: Answer::Expired,
            }],
        ),
        line(
            6,
            vec![
                answered(5, "done", &[]),
                ended(TurnEnd::Replied("done".to_owned())),
            ],
        ),
        line(7, vec![accepted(7, "again")]),
        line(
            8,
            vec![answered(7, "trying", &["e"]), intended(effect(8), 0)],
        ),
        line(9, vec![ended(TurnEnd::Stopped)]),
        line(10, vec![accepted(10, "more")]),
        line(11, vec![answered(10, "more", &["f"])]),
        // Late: it belongs to the call of step 8, not to the last one that was made.
        line(
            12,
            vec![Record::Doubted {
                session: SESSION,
                effect: effect(8),
            }],
        ),
        line(13, vec![ended(TurnEnd::Failed("No luck.".to_owned()))]),
        line(14, vec![Record::Refreshed { session: SESSION }]),
    ]
}

fn messages(path: &Path) -> Vec<MessageRow> {
    let reader = Reader::open(path).unwrap();
    let mut rows = Vec::new();
    reader
        .messages::<JournalError>(SESSION, |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    rows
}

fn dump(conn: &Connection, table: &str) -> Vec<String> {
    let mut query = conn
        .prepare(&format!("SELECT * FROM {table} ORDER BY 1"))
        .unwrap();
    let columns = query.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        (0..columns)
            .map(|index| row.get_ref(index).map(|value| format!("{value:?}")))
            .collect::<Result<String, _>>()
    };
    query
        .query_map([], row)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn messages_tell_the_conversation_with_its_tool_calls() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    for line in conversation() {
        let _ = writer.commit(&[line]).unwrap();
    }
    let told: Vec<(Role, String, Option<String>)> = messages(&dir.database())
        .into_iter()
        .map(|row| (row.role, row.content, row.call_id))
        .collect();
    let row = |role, content: &str| (role, content.to_owned(), None);
    let result = |id: &str, content: &str| (Role::Tool, content.to_owned(), Some(id.to_owned()));
    let doubt = "[it may or may not have run: the program stopped in the middle of it]";
    assert_eq!(
        told,
        [
            row(Role::User, "hello"),
            row(Role::Assistant, ""),
            result("c", "reason"),
            result("b", "exit code: 2\nstderr:\nno such file\n"),
            result("a", "exit code: 0\nstdout:\nLinux\n"),
            result("d", "[denied: nobody answered in time]"),
            row(Role::Assistant, "done"),
            row(Role::User, "again"),
            row(Role::Assistant, "trying"),
            row(Role::Notice, "Stopped."),
            row(Role::User, "more"),
            row(Role::Assistant, "more"),
            result("e", doubt),
            row(Role::Notice, "No luck."),
            row(Role::Notice, "The context was cleared."),
        ]
    );
    let reader = Reader::open(&dir.database()).unwrap();
    let session = reader.session("main").unwrap();
    assert_eq!(session.messages, 15);
    assert_eq!(session.created_at, BEGAN + 1_000);
    assert_eq!(session.updated_at, BEGAN + 14_000);
    let calls = messages(&dir.database())[8].tool_calls.clone().unwrap();
    assert_eq!(
        calls,
        r#"[{"id":"e","tool":"system.run","arguments":"{}"}]"#
    );
}

/// The core answers a call itself once a person has said yes, in a later step than the reply's.
#[test]
fn a_result_that_came_after_a_yes_names_its_call() {
    let dir = Dir::new();
    let approval = ApprovalId {
        seq: Seq(2),
        slot: 1,
    };
    let lines = [
        line(1, vec![opened(), accepted(1, "remind me")]),
        line(2, vec![answered(1, "", &["call-a", "call-b"])]),
        line(
            3,
            vec![
                Record::Decided {
                    session: SESSION,
                    approval,
                    answer: Answer::Allowed("cli:local".to_owned()),
                },
                Record::Served {
                    session: SESSION,
                    call: 1,
                    content: "job 3.1".to_owned(),
                },
            ],
        ),
    ];
    let _receipt = dir.writer().commit(&lines).unwrap();
    let last = messages(&dir.database()).pop().unwrap();
    assert_eq!((last.role, last.content.as_str()), (Role::Tool, "job 3.1"));
    assert_eq!(last.call_id.as_deref(), Some("call-b"));
}

#[test]
fn projections_can_be_computed_again_from_the_records_alone() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    let _ = writer.commit(&conversation()).unwrap();
    let _ = writer.commit(&asked_over_the_gateway()).unwrap();
    let tables = ["sessions", "messages", "responses"];
    let before = tables.map(|table| dump(&writer.conn, table));
    writer
        .conn
        .execute_batch("DELETE FROM messages; DELETE FROM sessions; DELETE FROM responses;")
        .unwrap();
    let reader = Reader::open(&dir.database()).unwrap();
    reader
        .steps::<JournalError>(None, |step| {
            let records: Vec<Record> = serde_json::from_str(step.records).unwrap();
            let (seq, at) = (Seq(step.seq), Time::from_ms(step.at));
            projection::project(&writer.conn, BEGAN, seq, at, &records).unwrap();
            Ok(())
        })
        .unwrap();
    assert!(before.iter().all(|rows| !rows.is_empty()));
    assert_eq!(before, tables.map(|table| dump(&writer.conn, table)));
}

/// Messages of a client of the gateway: replied to, failed, stopped, refused, waiting, and one
/// that was said to end twice; and one of a channel that never asks.
fn asked_over_the_gateway() -> Vec<Line> {
    let arrived = |seq: u64, origin: &str, key: &str| {
        let Record::Accepted(mut message) = accepted(seq, "hello") else {
            unreachable!()
        };
        (message.origin, message.key) = (origin.to_owned(), key.to_owned());
        Record::Accepted(message)
    };
    let ended = |seq, origin: &str, keys: &[&str], body| Record::Queued {
        session: SESSION,
        origin: origin.to_owned(),
        body,
        ends: keys
            .iter()
            .map(|key| End {
                message: MessageId(Seq(seq)),
                origin: origin.to_owned(),
                key: (*key).to_owned(),
            })
            .collect(),
    };
    let refused = Record::Refused {
        session: Some(SESSION),
        origin: "quic:a".to_owned(),
        key: "refused".to_owned(),
        serial: None,
        refusal: Refusal::Limit("Too many \"things\" wait.".to_owned()),
    };
    let text = |text: &str| text.to_owned();
    let (a, cli) = ("quic:a", "cli:local");
    let steps = [
        vec![arrived(20, a, "replied"), arrived(20, a, "also")],
        vec![arrived(21, a, "failed"), arrived(21, a, "stopped")],
        vec![arrived(22, a, "waiting"), arrived(22, cli, "other")],
        vec![ended(
            20,
            a,
            &["replied", "also"],
            Body::Reply(text("Hé\n1")),
        )],
        vec![ended(21, a, &["failed"], Body::Failure(text("No.")))],
        vec![ended(21, a, &["stopped"], Body::Notice(text("Stopped.")))],
        vec![refused, ended(22, cli, &["other"], Body::Reply(text("x")))],
        vec![ended(20, a, &["replied"], Body::Failure(text("again")))],
    ];
    (20..)
        .zip(steps)
        .map(|(seq, records)| line(seq, records))
        .collect()
}

#[test]
fn a_client_that_asks_again_is_told_what_became_of_its_message() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    let _ = writer.commit(&[line(1, vec![opened()])]).unwrap();
    let _ = writer.commit(&asked_over_the_gateway()).unwrap();
    let token = Tokens::open(&dir.database()).unwrap().add("a").unwrap();
    let lookup = Lookup::open(&dir.database()).unwrap();
    let identity = lookup.identify(token.expose()).unwrap().unwrap();
    let ask = |origin, key| lookup.message(&identity, origin, key).unwrap();
    let over = |content: &str, is_error| {
        let content = content.to_owned();
        Some(Asked::Over { content, is_error })
    };
    assert_eq!(ask("quic:a", "replied"), over("Hé\n1", false));
    assert_eq!(ask("quic:a", "also"), over("Hé\n1", false));
    assert_eq!(ask("quic:a", "failed"), over("No.", true));
    assert_eq!(ask("quic:a", "stopped"), over("Stopped.", false));
    let refused = over("Too many \"things\" wait.", true);
    assert_eq!(ask("quic:a", "refused"), refused);
    assert_eq!(ask("quic:a", "waiting"), Some(Asked::Pending));
    assert_eq!(ask("quic:a", "new"), Some(Asked::New));
    assert_eq!(ask("quic:b", "replied"), Some(Asked::New));
    assert_eq!(ask("cli:local", "other"), over("x", false));
    let tokens = Tokens::open(&dir.database()).unwrap();
    tokens.revoke("a").unwrap();
    assert_eq!(ask("quic:a", "replied"), None, "the token was revoked");
}

#[test]
fn a_database_of_version_1_is_upgraded_to_what_a_new_one_would_be() {
    const FIRST: Schema = Schema {
        newest: include_str!("upgrade/1.sql"),
        upgrades: &[],
    };
    let lines = || [vec![line(1, vec![opened()])], asked_over_the_gateway()].concat();
    let (old, new) = (Dir::new(), Dir::new());
    let conn = schema::open(&old.database(), &FIRST, BEGAN).unwrap();
    for line in lines() {
        let records = serde_json::to_string(&line.records).unwrap();
        conn.execute(
            "INSERT INTO steps (seq, at, input, records) VALUES (?1, ?2, '{}', ?3)",
            rusqlite::params![super::int(line.seq.0), super::int(line.at.as_ms()), records],
        )
        .unwrap();
    }
    let mut writer = new.writer();
    let _ = writer.commit(&lines()).unwrap();
    // Said in two sessions by turns.
    let said = "INSERT INTO sessions VALUES (1, 'main', 5, 9, 3), (2, 'other', 6, 8, 1);
        INSERT INTO messages (session, seq, role, content, created_at) VALUES
        (1, 1, 'user', 'a', 7), (2, 20, 'user', 'x', 8), (1, 21, 'assistant', 'b', 9),
        (1, 21, 'notice', 'c', 9);";
    conn.execute_batch(said).unwrap();
    drop(conn);
    let said = "DELETE FROM messages; DELETE FROM sessions;
        INSERT INTO sessions VALUES (1, 'main', 5), (2, 'other', 6);
        INSERT INTO messages (session, number, seq, role, content, created_at) VALUES
        (1, 1, 1, 'user', 'a', 7), (1, 2, 21, 'assistant', 'b', 9), (1, 3, 21, 'notice', 'c', 9),
        (2, 1, 20, 'user', 'x', 8);";
    writer.conn.execute_batch(said).unwrap();
    let upgraded = schema::open(&old.database(), &SCHEMA, BEGAN).unwrap();
    let columns = "(SELECT m.name || ' ' || i.cid, i.* \
                   FROM sqlite_schema m, pragma_table_info(m.name) i)";
    for table in ["sessions", "messages", "responses", columns] {
        let made = dump(&writer.conn, table);
        assert!(made.len() > 1);
        assert_eq!(dump(&upgraded, table), made, "{table}");
    }
}

#[test]
fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let dir = Dir::new();
    let tokens = Tokens::open(&dir.database()).unwrap();
    let token = tokens.add("laptop").unwrap();
    let text = token.expose();
    assert!(text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()));
    assert_ne!(tokens.add("phone").unwrap(), token);
    assert_eq!(tokens.verify(text), Ok(Some("laptop".to_owned())));
    assert_eq!(tokens.verify(&text.to_uppercase()), Ok(None));
    assert_eq!(tokens.verify(""), Ok(None));
    let taken = TokenError::Exists("laptop".to_owned());
    assert_eq!(tokens.add("laptop"), Err(taken));
    let longest = "n".repeat(64);
    tokens.add(&longest).unwrap();
    for name in ["", "a b", "a:b", "a/b", "ü", "n\n", &"n".repeat(65)] {
        assert_eq!(tokens.add(name), Err(TokenError::BadName), "{name:?}");
    }
    tokens.revoke("laptop").unwrap();
    assert_eq!(tokens.verify(text), Ok(None));
    let unknown = Err(TokenError::Unknown("laptop".to_owned()));
    assert_eq!(tokens.revoke("laptop"), unknown);
    let second = tokens.add("laptop").unwrap();
    assert_eq!(tokens.verify(text), Ok(None));
    assert_eq!(
        tokens.verify(second.expose()),
        Ok(Some("laptop".to_owned()))
    );
    let names: Vec<_> = tokens.list().unwrap().into_iter().collect();
    let valid = |row: &&TokenRow| row.revoked_at.is_none() && row.created_at > BEGAN;
    assert_eq!(names.iter().filter(valid).count(), 3);
    drop(tokens);
    for file in fs::read_dir(dir.dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let shown = [text.as_bytes(), second.expose().as_bytes()];
        let has = |token: &[u8]| bytes.windows(token.len()).any(|part| part == token);
        assert!(!shown.into_iter().any(has));
    }
}

#[test]
fn tokens_are_managed_beside_a_running_daemon() {
    let dir = Dir::new();
    let opened = super::Journal::open(&dir.database()).unwrap();
    let beside = Tokens::open(&dir.database()).unwrap();
    let token = beside.add("laptop").unwrap();
    let lookup = Lookup::open(&dir.database()).unwrap();
    let identity = lookup.identify(token.expose()).unwrap().unwrap();
    assert_eq!(identity.name, "laptop");
    assert_eq!(lookup.stands(&identity), Ok(true));
    beside.revoke("laptop").unwrap();
    assert_eq!(lookup.stands(&identity), Ok(false));
    assert_eq!(lookup.identify(token.expose()), Ok(None));
    assert_eq!(lookup.names(), Ok(Vec::new()));
    let other = beside.add("laptop").unwrap();
    assert_eq!(lookup.stands(&identity), Ok(false), "of the old token");
    assert_ne!(other, token);
    drop(opened);
}

#[test]
fn a_commit_is_all_or_nothing_and_its_failure_ends_all_commits() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    let _ = writer.commit(&[line(1, vec![opened()])]).unwrap();
    let twice = [
        line(2, vec![accepted(2, "one")]),
        line(2, vec![accepted(2, "two")]),
    ];
    let error = writer.commit(&twice).unwrap_err();
    assert!(matches!(error, JournalError::Database { .. }), "{error}");
    assert!(messages(&dir.database()).is_empty());
    let next = [line(2, vec![accepted(2, "two")])];
    assert_eq!(writer.commit(&next), Err(JournalError::Poisoned));
    assert_eq!(writer.commits.load(std::sync::atomic::Ordering::Relaxed), 1);
    drop(writer);
    let mut writer = dir.writer();
    let receipt = writer.commit(&next).unwrap();
    assert_eq!(
        receipt,
        openpista_core::gate::Receipt::durable_through(Seq(2))
    );
}

#[test]
fn a_full_disk_is_told_and_nothing_confirmed_is_lost() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    writer
        .conn
        .pragma_update(None, "max_page_count", 40)
        .unwrap();
    let _ = writer.commit(&[line(1, vec![opened()])]).unwrap();
    let words = "x".repeat(10_000);
    let mut confirmed = 0;
    let error = loop {
        let seq = confirmed + 2;
        match writer.commit(&[line(seq, vec![accepted(seq, &words)])]) {
            Ok(_) => confirmed += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            &error,
            JournalError::Database {
                fault: Fault::Full,
                ..
            }
        ),
        "{error:?}"
    );
    let told = error.to_string();
    assert!(told.contains("memory.db: the disk is full"), "{told}");
    assert!(told.contains("Free some space"), "{told}");
    assert_eq!(told.lines().count(), 2);
    drop(writer);
    assert!(confirmed > 0);
    assert_eq!(messages(&dir.database()).len() as u64, confirmed);
}

#[test]
fn a_snapshot_is_kept_with_the_one_before_it_and_never_runs_ahead() {
    let dir = Dir::new();
    let mut writer = dir.writer();
    let state = Snapshot::of(&Core::new());
    for seq in 1..=3 {
        let _ = writer.commit(&[line(seq, Vec::new())]).unwrap();
        writer.save_snapshot(Seq(seq), &state).unwrap();
    }
    let kept = dump(&writer.conn, "snapshots");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0].contains("Integer(2)") && kept[1].contains("Integer(3)"));
    assert_eq!(
        writer.save_snapshot(Seq(4), &state),
        Err(JournalError::EarlySnapshot(Seq(4)))
    );
}

#[test]
fn an_older_database_is_upgraded_after_a_backup() {
    const NEXT: Schema = Schema {
        newest: SCHEMA.newest,
        upgrades: &[
            SCHEMA.upgrades[0],
            SCHEMA.upgrades[1],
            "ALTER TABLE sessions ADD COLUMN title TEXT",
            "UPDATE sessions SET title = 'two ' || name",
        ],
    };
    let dir = Dir::new();
    let mut writer = dir.writer();
    let _ = writer.commit(&[line(1, vec![opened()])]).unwrap();
    // The rows may still be in the write-ahead log when it is opened again.
    let conn = schema::open(&dir.database(), &NEXT, 1_700_000_123_000).unwrap();
    let title: String = conn
        .query_row("SELECT title FROM sessions", [], |row| row.get(0))
        .unwrap();
    assert_eq!(title, "two main");
    drop((writer, conn));

    let backup = dir.dir.path().join("memory.db.backup-v3-1700000123");
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = schema::open_read_only(&backup, &SCHEMA).unwrap();
    assert_eq!(dump(&kept, "steps").len(), 1);

    let again = schema::open(&dir.database(), &NEXT, 1_700_000_456_000).unwrap();
    drop(again);
    let backups = fs::read_dir(dir.dir.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        let name = name.to_string_lossy();
        name.contains("backup") && !name.ends_with("-wal") && !name.ends_with("-shm")
    });
    assert_eq!(backups.count(), 1);

    let error = schema::open(&dir.database(), &SCHEMA, 0).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has version 5, and this program knows up to 3")
    );
    let error = schema::open_read_only(&dir.database(), &SCHEMA).unwrap_err();
    assert!(matches!(error, JournalError::Newer { .. }), "{error}");
}

#[test]
fn an_upgrade_that_fails_leaves_the_database_as_it_was() {
    const BROKEN: Schema = Schema {
        newest: SCHEMA.newest,
        upgrades: &[
            SCHEMA.upgrades[0],
            SCHEMA.upgrades[1],
            "ALTER TABLE sessions ADD COLUMN title TEXT; SELECT nonsense",
        ],
    };
    let dir = Dir::new();
    let mut writer = dir.writer();
    let _ = writer.commit(&[line(1, vec![opened()])]).unwrap();
    drop(writer);
    let _ = schema::open(&dir.database(), &BROKEN, 0).unwrap_err();
    let mut writer = dir.writer();
    assert_eq!(dump(&writer.conn, "sessions").len(), 1);
    let _ = writer.commit(&[line(2, vec![accepted(2, "on")])]).unwrap();
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = Dir::new();
    let conn = Connection::open(dir.database()).unwrap();
    conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(conn);
    let bytes = fs::read(dir.database()).unwrap();
    let error = schema::open(&dir.database(), &SCHEMA, 0).unwrap_err();
    assert!(matches!(error, JournalError::Foreign(_)), "{error}");
    assert_eq!(fs::read(dir.database()).unwrap(), bytes);

    fs::write(
        dir.database(),
        "not a database, and long enough to tell it by its head".repeat(99),
    )
    .unwrap();
    let error = schema::open(&dir.database(), &SCHEMA, 0).unwrap_err();
    assert!(
        matches!(
            &error,
            JournalError::Database {
                fault: Fault::Damaged,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn commits_are_synced() {
    let dir = Dir::new();
    let conn = dir.writer().conn;
    let asked = |pragma| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    assert_eq!(asked("synchronous"), Ok(2));
    assert_eq!(asked("foreign_keys"), Ok(1));
    let mode: String = conn
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}
