//! `doctor`: checks everything that the program stands on, and says what to do about each fault.
//!
//! It changes nothing: what does not exist yet is not made, only whether it could be.

mod desktop;
mod guard;
mod provider;
mod reach;
mod sandboxes;
mod skills;
mod summary;

use super::Error;
use crate::config::{Config, Env, Locations};
use crate::journal::{JournalError, LOCK_FILE_NAME, Reader};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::Access;
use std::fs::{File, TryLockError};
use std::io::{IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Below this much free space, in bytes, the journal cannot be trusted to be written.
const FAULT_BYTES: u64 = 10_000_000;
/// Below this much free space, in bytes, it is time to make room.
const WARN_BYTES: u64 = 200_000_000;

/// What is said of a lock that somebody holds.
const HELD: &str = "held by process";

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    /// Not wanted, or not there and nobody needs it.
    Off,
    Warn,
    Fault,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    status: Status,
    subject: &'static str,
    /// What was found.
    text: String,
    /// What to do about it, in one line; nothing when all is well.
    mend: String,
}

fn ok(subject: &'static str, text: impl Into<String>) -> Finding {
    finding(Status::Ok, subject, text, "")
}

fn off(subject: &'static str, text: impl Into<String>) -> Finding {
    finding(Status::Off, subject, text, "")
}

fn warn(subject: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Finding {
    finding(Status::Warn, subject, text, mend)
}

fn fault(subject: &'static str, text: impl Into<String>, mend: impl Into<String>) -> Finding {
    finding(Status::Fault, subject, text, mend)
}

fn finding(
    status: Status,
    subject: &'static str,
    text: impl Into<String>,
    mend: impl Into<String>,
) -> Finding {
    Finding {
        status,
        subject,
        text: text.into(),
        mend: mend.into(),
    }
}

/// Checks everything and prints a line for each check, then what works and how to mend what does
/// not. Exit status 1 when there is a fault.
pub fn run(locations: &Locations, env: &Env) -> Result<ExitCode, Error> {
    let color = std::io::stdout().is_terminal() && !super::no_color();
    let mut found = Vec::new();
    check(locations, env, &mut |finding| {
        super::print(&line(&finding, color))?;
        found.push(finding);
        Ok(())
    })?;
    super::print(&summary::of(&found))?;
    let sound = found.iter().all(|one| one.status != Status::Fault);
    Ok(ExitCode::from(u8::from(!sound)))
}

fn line(finding: &Finding, color: bool) -> String {
    let (word, code) = match finding.status {
        Status::Ok => ("ok", 32),
        Status::Off => ("off", 2),
        Status::Warn => ("warn", 33),
        Status::Fault => ("fault", 31),
    };
    let subject = finding.subject;
    let text = finding.text.replace('\n', &format!("\n{:22}", ""));
    match color {
        true => format!("\x1b[{code}m{word:<5}\x1b[0m  {subject:<13}  {text}\n"),
        false => format!("{word:<5}  {subject:<13}  {text}\n"),
    }
}

type Report<'a> = &'a mut dyn FnMut(Finding) -> Result<(), Error>;

fn check(locations: &Locations, env: &Env, report: Report<'_>) -> Result<(), Error> {
    match Config::load(locations, env) {
        Err(error) => report(fault(
            "configuration",
            error.to_string(),
            "correct it there, or write a new one (a copy is kept): openpistacrab init",
        ))?,
        Ok(config) => {
            report(configuration(&config))?;
            report(provider::check(&config))?;
            report(folder("data dir", &config.data_dir))?;
            report(workspace(&config))?;
            report(guard::check())?;
            report(skills::check(&config))?;
            report(sandboxes::docker(&config))?;
            report(sandboxes::workers(&config))?;
            report(sandboxes::confinement(&config))?;
            report(sandboxes::guests(&config))?;
            report(desktop::check(&config))?;
            report(database(&config.database))?;
            report(disk(&config.database))?;
            let lock = lock(&config.database);
            let runs = lock.text.starts_with(HELD);
            report(lock)?;
            report(reach::gateway(&config, runs))?;
            report(reach::telegram(&config))?;
        }
    }
    report(bash())
}

fn configuration(config: &Config) -> Finding {
    let subject = "configuration";
    let Some(file) = &config.file else {
        let place = config.data_dir.join("config.toml");
        return ok(
            subject,
            format!("defaults; there is no {}", place.display()),
        );
    };
    let shown = file.display();
    let held = [&config.agent.api_key, &config.telegram.token];
    let held = held.into_iter().flatten().count();
    let own = (held > config.secret_files.len()).then_some(file);
    let mut secret = config.secret_files.iter().chain(own);
    match secret.find(|path| others_may_read(path)) {
        None => ok(subject, format!("{shown}")),
        Some(open) => {
            let open = open.display();
            warn(
                subject,
                format!("{shown}; {open} holds a secret, and others may read it"),
                format!("chmod 600 {open}"),
            )
        }
    }
}

/// A folder that is there and writable, or could be made.
fn folder(subject: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    let there = nearest_existing(path);
    if !there.is_dir() {
        let there = there.display();
        return fault(
            subject,
            format!("{there} is not a folder"),
            "move it, or configure another",
        );
    }
    if let Err(error) = rustix::fs::access(&there, Access::WRITE_OK | Access::EXEC_OK) {
        let there = there.display();
        return fault(
            subject,
            format!("{there} cannot be written: {error}"),
            "change its owner or mode, or configure another",
        );
    }
    match there == path {
        true => ok(subject, format!("{shown}")),
        false => ok(subject, format!("{shown}, will be made when it is needed")),
    }
}

fn workspace(config: &Config) -> Finding {
    let subject = "workspace";
    match super::sandbox::exposed(config) {
        Some(why) => fault(
            subject,
            format!("{why}\nuntil then nothing runs in a sandbox"),
            "set `workspace` under [skills] to a folder without the data directory",
        ),
        None => folder(subject, &config.workspace),
    }
}

fn database(path: &Path) -> Finding {
    let subject = "database";
    let shown = path.display();
    if !path.exists() {
        let found = folder(subject, path.parent().unwrap_or(path));
        return match found.status {
            Status::Ok => ok(subject, format!("{shown}, will be made when it is needed")),
            _ => found,
        };
    }
    match Reader::open(path) {
        Ok(_) => {}
        Err(JournalError::Older(_)) => {
            let text = format!("{shown} is of an older version: the next start upgrades it");
            return ok(subject, text);
        }
        Err(error) => {
            let cure = "do what it says above, or name another file in [database] url";
            return fault(subject, error.to_string(), cure);
        }
    }
    match quick_check(path) {
        Err(error) => fault(
            subject,
            format!("{shown} cannot be checked: {error}"),
            "try again, or restore a backup",
        ),
        Ok(said) if said != "ok" => fault(
            subject,
            format!("{shown} is damaged: {said}"),
            "stop using it, and restore a backup",
        ),
        Ok(_) if rustix::fs::access(path, Access::WRITE_OK).is_err() => fault(
            subject,
            format!("{shown} cannot be written"),
            "change its owner or mode",
        ),
        Ok(_) if others_may_read(path) => warn(
            subject,
            format!("{shown} holds conversations, and others may read it"),
            format!("chmod 600 {shown}"),
        ),
        Ok(_) => ok(subject, format!("{shown}, intact")),
    }
}

/// SQLite's own word on the file: `ok`, or the first thing that is wrong.
fn quick_check(path: &Path) -> rusqlite::Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
}

fn disk(database: &Path) -> Finding {
    let subject = "disk";
    let there = nearest_existing(database);
    let shown = there.display();
    match rustix::fs::statvfs(&there) {
        Err(error) => warn(
            subject,
            format!("cannot tell the free space of {shown}: {error}"),
            "see that there is room",
        ),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MB free at {shown}", free / 1_000_000);
            match free {
                0..FAULT_BYTES => fault(subject, text, "make room"),
                FAULT_BYTES..WARN_BYTES => warn(subject, text, "make room soon"),
                _ => ok(subject, text),
            }
        }
    }
}

/// Who works with the database. The lock is the kernel's, so asking for it tells.
fn lock(database: &Path) -> Finding {
    let subject = "lock";
    let folder = database.parent().unwrap_or(Path::new("/"));
    let Ok(mut file) = File::open(folder.join(LOCK_FILE_NAME)) else {
        return ok(subject, "free: nothing is running");
    };
    match file.try_lock_shared() {
        Ok(()) => ok(subject, "free: nothing is running"),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Without a name it is still held.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim().replace('\n', ", ");
            ok(
                subject,
                format!("{HELD} {holder}: a second one would be refused"),
            )
        }
        Err(TryLockError::Error(error)) => warn(
            subject,
            format!("cannot be asked for: {error}"),
            "see that the data directory is on a file system with locks",
        ),
    }
}

fn bash() -> Finding {
    let subject = "bash";
    let mut command = Command::new("bash");
    command
        .args(["-c", "echo $BASH_VERSION"])
        .stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            ok(subject, version.trim())
        }
        Ok(output) => fault(
            subject,
            format!("bash does not work: {}", output.status),
            "install it anew",
        ),
        Err(error) => fault(
            subject,
            format!("bash cannot be started: {error}"),
            "install it, or put it on the PATH",
        ),
    }
}

/// The path itself, or the nearest folder above it that exists.
fn nearest_existing(path: &Path) -> PathBuf {
    let mut above = path.ancestors();
    let found = above.find(|path| path.symlink_metadata().is_ok());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn others_may_read(path: &Path) -> bool {
    let mode = path.metadata().map(|found| found.permissions().mode());
    mode.is_ok_and(|mode| mode & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_is_asked_for() {
        let finding = fault("disk", "full", "make room");
        assert_eq!(line(&finding, false), "fault  disk           full\n");
        assert!(line(&finding, true).starts_with("\x1b[31mfault\x1b[0m"));
    }

    #[test]
    fn a_folder_that_could_be_made_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let found = folder("workspace", &dir.path().join("a/b"));
        assert_eq!(found.status, Status::Ok, "{found:?}");
        assert!(!dir.path().join("a").exists());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let found = folder("workspace", &dir.path().join("file/b"));
        assert_eq!(found.status, Status::Fault, "{found:?}");
    }

    #[test]
    fn the_lock_names_its_holder_while_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("memory.db");
        assert!(lock(&database).text.contains("free"));
        let held = crate::journal::Lock::take(dir.path()).unwrap();
        let found = lock(&database);
        let process = format!("held by process {}", std::process::id());
        assert!(found.text.contains(&process), "{found:?}");
        drop(held);
        assert!(lock(&database).text.contains("free"));
    }

    #[test]
    fn a_damaged_database_is_a_fault_and_an_open_one_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.db");
        std::fs::write(
            &path,
            "this is no database, and it is long enough to say so".repeat(40),
        )
        .unwrap();
        assert_eq!(database(&path).status, Status::Fault);
        std::fs::remove_file(&path).unwrap();
        drop(crate::journal::Journal::open(&path).unwrap());
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o644);
        assert_eq!(database(&path).status, Status::Warn);
        mode(0o600);
        assert_eq!(database(&path).status, Status::Ok);
    }
}
