//! A home for the real program: a data directory, a configuration, and nothing of the person's
//! own around it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A directory that is removed at the end of the test, unless that fails.
pub struct Home {
    dir: tempfile::TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; none when a signal killed it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Home {
    /// Everything may run, and the model is at `base_url`.
    pub fn new(base_url: &str) -> Home {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let home = Home { dir };
        let config = format!(
            "[agent]\nprovider = \"custom\"\nmodel = \"test\"\nbase_url = \"{base_url}\"\n\
             [policy]\nmode = \"full\"\n[limits]\ncontext_messages = 60\n"
        );
        std::fs::write(home.path().join("config.toml"), config).expect("the configuration");
        home
    }

    /// The home itself: the working directory of the program.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The database in it.
    pub fn database(&self) -> PathBuf {
        self.data().join("memory.db")
    }

    /// A file in the directory that commands run in.
    pub fn work(&self, name: &str) -> PathBuf {
        self.data().join("workspace").join(name)
    }

    /// The program in this home, without standard input.
    pub fn program(&self) -> Command {
        self.settle(Command::new(env!("CARGO_BIN_EXE_openpistacrab")))
    }

    /// Makes `command`, which is to run the program, do so in this home.
    pub fn settle(&self, mut command: Command) -> Command {
        command.env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).current_dir(self.path());
        command.env("OPENPISTACRAB_CONFIG", self.path().join("config.toml"));
        command.env("OPENPISTACRAB_DATA_DIR", self.data());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.program().args(args).output().expect("the program"))
    }

    /// The processes that run in this home, by their command lines. On systems without `/proc`
    /// there seem to be none.
    pub fn processes(&self) -> Vec<String> {
        let home = self.path().canonicalize().expect("the home");
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter(|entry| {
                // It fails for a process that is gone or a zombie.
                std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&home))
            })
            .map(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                format!("{}: {line}", entry.file_name().display())
            })
            .collect()
    }

    /// Leaves the directory for a person to look at, and says where it is.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.path().to_owned()
    }
}

impl Ended {
    /// Reads what a program left.
    pub fn of(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
