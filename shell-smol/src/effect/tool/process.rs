//! The daemon's side of a guarded command: starting it, hearing how it ends, ending it.

use super::guard::{GRACE, HOLD, KILLING, NAME, Report, SUBCOMMAND, kill_session};
use crate::alarm::Alarm;
use async_io::Async;
use async_process::unix::CommandExt;
use async_process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use futures_lite::future::or;
use openpista_core::effect::tool::Exit;
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

/// How long the guard may take to end everything, with some time for itself.
pub(crate) const ENDING: Duration = GRACE.saturating_add(KILLING).saturating_add(KILLING);

/// What to start.
pub(crate) struct Launch<'a> {
    /// Our own program.
    pub(crate) guard: &'a Path,
    /// What the guard is to start.
    pub(crate) what: What<'a>,
    /// Where it runs: else where we are, which it may not be allowed to look at.
    pub(crate) dir: Option<&'a Path>,
}

/// What a guard is to start.
pub(crate) enum What<'a> {
    /// A program with these arguments, which reads nothing and gets our environment but for these
    /// variables.
    Program(&'a Path, &'a [&'a str], &'a [OsString]),
    /// What this file says of a [`Hold`](super::hold::Hold). The guard's own environment is empty:
    /// what the program gets must not bend the guard.
    Held(&'a Path),
}

/// How the command itself ended.
#[derive(Debug)]
pub(crate) enum End {
    /// So.
    Exit(Exit),
    /// It never started; the guard says why.
    NotStarted(String),
}

/// A command under a guard. Dropping it ends the command.
pub(crate) struct Process {
    guard: Child,
    control: Async<UnixStream>,
    inbox: Vec<u8>,
    group: Option<Pid>,
    kept: Option<String>,
    exceeded: Option<String>,
}

impl Process {
    /// Starts a guard that starts the command, which prints into the streams.
    pub(super) fn start(launch: &Launch<'_>) -> io::Result<(Process, ChildStdout, ChildStderr)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(launch.guard);
        command
            .arg0(NAME)
            .arg(SUBCOMMAND)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(dir) = launch.dir {
            command.current_dir(dir);
        }
        match launch.what {
            What::Program(program, args, hidden) => {
                command.arg(program).args(args);
                for name in hidden {
                    command.env_remove(name);
                }
            }
            What::Held(file) => {
                command.arg(HOLD).arg(file).env_clear();
            }
        }
        let mut guard = command.spawn()?;
        let closed = || io::Error::other("the guard came up without its pipes");
        let stdout = guard.stdout.take().ok_or_else(closed)?;
        let stderr = guard.stderr.take().ok_or_else(closed)?;
        let process = Process {
            guard,
            control: Async::new(ours)?,
            inbox: Vec::new(),
            group: None,
            kept: None,
            exceeded: None,
        };
        Ok((process, stdout, stderr))
    }

    /// Waits for the command's own end. May be dropped and called again.
    pub(crate) async fn ended(&mut self) -> End {
        while let Some(report) = self.report().await {
            match report {
                Report::Started(group) => self.group = Some(group),
                Report::Kept(how) => self.kept = Some(how),
                Report::Failed(why) => return End::NotStarted(why),
                Report::Exited(code) => return End::Exit(Exit::Code(code)),
                Report::Killed(signal) => return End::Exit(Exit::Signal(signal)),
                Report::Exceeded(limit) => self.exceeded = Some(limit),
            }
        }
        let status = self.guard.status().await;
        self.kill();
        match status {
            Ok(status) if self.group.is_none() && status.signal().is_none() => {
                End::NotStarted(format!(
                    "its guard ended at once ({status}): restart openpistacrab, or install it again"
                ))
            }
            Ok(status) => {
                let killed = Signal::KILL.as_raw();
                End::Exit(Exit::Signal(status.signal().unwrap_or(killed)))
            }
            Err(error) => End::NotStarted(error.to_string()),
        }
    }

    /// How what is held is kept, as the guard tells it.
    pub(super) fn kept(&self) -> Option<String> {
        self.kept.clone()
    }

    /// The limit that the command went over before its end.
    pub(super) fn exceeded(&self) -> Option<String> {
        self.exceeded.clone()
    }

    /// Asks the guard to end whatever is left.
    pub(crate) fn end(&self) {
        // Fails only when the guard is gone already.
        let _ = self.control.get_ref().shutdown(Shutdown::Write);
    }

    /// Waits until the guard has ended everything, and itself; kills what it could not.
    pub(crate) async fn gone(&mut self) {
        let late = async {
            Alarm::after(ENDING).await;
            None
        };
        if or(async { self.guard.status().await.ok() }, late)
            .await
            .is_none()
        {
            self.kill();
        }
    }

    /// The last resort, without the guard's help.
    fn kill(&mut self) {
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        kill_session(self.guard.id());
        let _ = self.guard.kill();
    }

    /// The guard's next report; none once it is gone.
    async fn report(&mut self) -> Option<Report> {
        loop {
            if let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.inbox.drain(..=end).collect();
                return Report::parse(String::from_utf8_lossy(&line[..end]).as_ref());
            }
            let mut buffer = [0; 512];
            let read = self.control.read_with(|mut io| io.read(&mut buffer)).await;
            match read {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.inbox.extend_from_slice(&buffer[..count]),
            }
        }
    }
}
