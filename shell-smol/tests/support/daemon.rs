//! A daemon that runs, in a home of its own.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "it is a module of several test programs, and each uses a part of it"
)]

use super::program::{Ended, Home, send};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

/// What a test's configuration needs: a port that is free, and a model that costs nothing.
pub const CONFIG: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\n[agent]\nprovider = \"builtin\"\n";

/// A daemon that is ready. Killed when dropped.
pub struct Daemon {
    child: Child,
    /// What it said of itself, one line each.
    pub said: Vec<String>,
    rest: BufReader<std::process::ChildStdout>,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub fn of(home: &Home) -> Daemon {
        Daemon::ready(home.start(&["start"]))
    }

    /// The same, by a command of one's own, with standard output through a pipe.
    pub fn by(mut command: Command) -> Daemon {
        Daemon::ready(command.spawn().expect("the program"))
    }

    fn ready(mut child: Child) -> Daemon {
        let rest = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut daemon = Daemon {
            child,
            said: Vec::new(),
            rest,
        };
        while !daemon.is_ready() {
            let mut line = String::new();
            if daemon.rest.read_line(&mut line).expect("UTF-8") == 0 {
                panic!("it did not start: {:?}", daemon.end());
            }
            daemon.said.push(line.trim_end().to_owned());
        }
        daemon
    }

    fn is_ready(&self) -> bool {
        let last = self.said.last();
        last.is_some_and(|line| line.starts_with("ready"))
    }

    /// What stands behind `name: ` in what it said.
    pub fn told(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        let line = self.said.iter().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("nothing about {name} in {:?}", self.said))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.rest.read_to_string(&mut out).expect("UTF-8");
        // It may have a file instead.
        if let Some(stderr) = self.child.stderr.as_mut() {
            stderr.read_to_string(&mut err).expect("UTF-8");
        }
        let code = self.child.wait().expect("our child").code();
        Ended { code, out, err }
    }

    /// Ends it in order.
    pub fn stop(self) -> Ended {
        self.send(Signal::TERM);
        self.end()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
