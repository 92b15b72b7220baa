//! The program as a person runs it: in a home of its own, through pipes or at a terminal.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{DirEntry, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a run of the program may take that is certain to end.
const RUN: Duration = Duration::from_secs(180);
/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home directory with our data directory in it, gone when dropped.
pub struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// Without a configuration.
    pub fn new() -> Home {
        let dir = tempfile::tempdir().expect("a directory of our own");
        std::fs::create_dir_all(dir.path().join(".openpistacrab/workspace")).expect("our own");
        Home { dir }
    }

    /// With this configuration file.
    pub fn with(config: &str) -> Home {
        let home = Home::new();
        let path = home.dir.path().join(".openpistacrab/config.toml");
        std::fs::write(path, config).expect("our own directory");
        home
    }

    /// The home itself, which the program is started in.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join(".openpistacrab")
    }

    /// The database in it.
    pub fn database(&self) -> PathBuf {
        self.data().join("memory.db")
    }

    /// Leaves everything for a person to look at, and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.path().to_owned()
    }

    /// The processes that run in this home, by their command lines. On systems without `/proc`
    /// there seem to be none.
    pub fn processes(&self) -> Vec<String> {
        let home = self.path().canonicalize().expect("our own");
        // It cannot be read of a process that is gone or a zombie.
        let at_home = |entry: &DirEntry| {
            let cwd = std::fs::read_link(entry.path().join("cwd"));
            cwd.is_ok_and(|cwd| cwd.starts_with(&home))
        };
        let line = |entry: DirEntry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            format!("{}: {line}", entry.file_name().display())
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter(at_home).map(line).collect()
    }

    /// A file where commands run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(".openpistacrab/workspace").join(name)
    }

    /// The program, with nothing of ours in its environment.
    pub fn program(&self, args: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_openpistacrab"), args)
    }

    /// Any program, in the same environment.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().stdin(Stdio::null()).args(args);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).current_dir(self.path());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::awaited(self.start(args))
    }

    /// Runs it to its end with this on standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.start(args);
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).expect("a reader");
        drop(stdin);
        Ended::awaited(child)
    }

    /// Starts it with pipes.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = self.program(args);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program")
    }

    /// Starts it at a terminal of its own.
    pub fn at_terminal(&self, args: &[&str]) -> Terminal {
        self.terminal_of(env!("CARGO_BIN_EXE_openpistacrab"), args)
    }

    /// Starts any program so.
    pub fn terminal_of(&self, program: &str, args: &[&str]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("ours");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let name = name.to_str().expect("a path");
        let side = || {
            let mut options = OpenOptions::new();
            Stdio::from(options.read(true).write(true).open(name).expect("ours"))
        };
        let mut command = self.command(program, args);
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        command.stdin(side()).stdout(side()).stderr(side());
        let child = command.spawn().expect("the program");
        Terminal::new(child, File::from(master))
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Waits for the end of a program that is certain to end.
    ///
    /// # Panics
    /// When it does not.
    pub fn awaited(child: Child) -> Ended {
        let pid = Pid::from_child(&child);
        let (sender, ended) = channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        match ended.recv_timeout(RUN) {
            Ok(output) => Ended::of(output.expect("our child")),
            Err(_) => {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                panic!("the program did not end within {RUN:?}");
            }
        }
    }

    pub fn of(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// The program at a terminal.
pub struct Terminal {
    child: Child,
    master: File,
    screen: Receiver<String>,
    shown: String,
}

impl Terminal {
    fn new(child: Child, master: File) -> Terminal {
        let (sender, screen) = channel();
        let mut reader = master.try_clone().expect("a descriptor");
        // Ends when the program is gone: the terminal then reads as an error.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = reader.read(&mut buffer)
                && read > 0
            {
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Terminal {
            child,
            master,
            screen,
            shown: String::new(),
        }
    }

    /// The program's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types something.
    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a reader");
    }

    /// Waits until `text` was shown after what was waited for before. Gives what came until then.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(more) => self.shown.push_str(&more),
                Err(error) => panic!("{text:?} never came ({error}) after {:?}", self.shown),
            }
        }
    }

    /// Waits for its end. Gives what was shown since the last wait.
    pub fn end(mut self) -> (ExitStatus, String) {
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(more) => self.shown.push_str(&more),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it never ended after {:?}", self.shown),
            }
        }
        (self.child.wait().expect("our child"), self.shown)
    }
}

/// Sends a signal to a child.
pub fn send(child: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(child), signal).expect("our child");
}

/// Waits until the file has a whole line in it, and gives that.
pub fn wait_for_line(path: &Path) -> String {
    wait_until("a file to be written", || {
        let text = std::fs::read_to_string(path).ok()?;
        text.strip_suffix('\n').map(str::to_owned)
    })
}

/// Waits until a process is gone.
pub fn wait_for_end_of(pid: &str) {
    let pid = pid.parse().ok().and_then(Pid::from_raw).expect("a pid");
    wait_until("a process to end", || {
        let gone = rustix::process::test_kill_process(pid).is_err();
        gone.then_some(())
    });
}

/// Waits until it is there, which is certain to come.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
