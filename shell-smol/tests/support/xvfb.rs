//! A display that nobody looks at: the X server `Xvfb`, for the tests and benches of the desktop.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that ends with its holder.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server with one screen. It ends when dropped.
pub(crate) struct Xvfb {
    _server: Running,
    display: String,
}

impl Xvfb {
    /// One of this size, which chooses a number that is free.
    ///
    /// # Panics
    /// When there is no Xvfb.
    pub(crate) fn of(width: u32, height: u32) -> Xvfb {
        let mut server = Command::new("Xvfb");
        // What a program leaves behind stays when the last one is gone.
        server.args(["-displayfd", "1", "-nolisten", "tcp", "-noreset"]);
        server.args(["-screen", "0", &format!("{width}x{height}x24")]);
        server.stdin(Stdio::null()).stderr(Stdio::null());
        let server = server.stdout(Stdio::piped()).spawn();
        let mut server = Running(server.expect("Xvfb: install xvfb"));
        let said = server.0.stdout.take().expect("a pipe");
        let mut number = String::new();
        let read = BufReader::new(said).read_line(&mut number);
        read.expect("the number of the display");
        Xvfb {
            display: format!(":{}", number.trim()),
            _server: server,
        }
    }

    /// What DISPLAY is set to.
    pub(crate) fn display(&self) -> &str {
        &self.display
    }
}
