//! The worker: a program of its own that runs one task where it can harm nothing, shows what it
//! prints, and reports how it ended, over the gateway.
//!
//! Everything it needs it is told by its command line, and its token by a file, so it works on
//! while the daemon is away; what the task prints is kept meanwhile, within a bound. It reports
//! until it is heard, or until it is told that the task is over without it; the core counts one
//! report, however often it comes. Nothing that the task started outlives it.
//!
//! Its errors go to standard error, in words for a person, and never name the token.

mod arguments;
pub mod program;
mod report;
mod task;
#[cfg(target_os = "linux")]
mod walls;

use self::arguments::{Arguments, Asked};
use self::report::{Reporter, Verdict};
use self::task::Piece;
use crate::client::Client;
use crate::command::keep_private;
use crate::effect::tool::guard;
use crate::secret::{Secret, Secrets};
use futures_lite::future::{or, pending};
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// The program's file name.
pub const PROGRAM: &str = "openpista-worker";
/// What it exits with when its report was heard too late, or its token is no task's.
const NOBODYS: u8 = 3;
/// A gateway that is silent for so long is gone.
const IDLE: Duration = Duration::from_secs(4);
/// How many pieces of output may wait to be shown.
const PIECES: usize = 64;

/// The program: runs the task that its command line names, and reports.
pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|first| first == guard::SUBCOMMAND) {
        #[cfg(target_os = "linux")]
        if let Err(why) = walls::close() {
            say(&why);
            return ExitCode::FAILURE;
        }
        return guard::main(args.drain(2..));
    }
    // The task is of the same user: it must not look into our memory, nor take our socket.
    keep_private();
    let arguments = match arguments::parse(args.into_iter().skip(1).collect()) {
        Ok(Asked::Work(arguments)) => arguments,
        Ok(Asked::Help) => {
            println!("{}", arguments::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            println!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            say(&format!("{message}; see `{PROGRAM} --help`"));
            return ExitCode::from(2);
        }
    };
    match work(&arguments) {
        Ok(Verdict::Heard) => ExitCode::SUCCESS,
        Ok(Verdict::Nobodys) => ExitCode::from(NOBODYS),
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

fn say(message: &str) {
    eprintln!("{PROGRAM}: {message}");
}

fn work(arguments: &Arguments) -> Result<Verdict, String> {
    let file = &arguments.token;
    let token = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the token in {}: {error}", file.display()))?;
    let token = Secret::new(&token);
    let secrets = Secrets::new([("the token of a task", token.clone())]);
    let client = Client::new(arguments.fingerprint, token, PROGRAM)
        .map_err(|error| error.to_string())?
        .with_patience(IDLE);
    let (shown, pieces) = async_channel::bounded(PIECES);
    let (finished, done) = async_channel::bounded(1);
    let working = async {
        // What nobody has the time to look at is lost here, and kept in the report.
        let show = |piece: Piece| drop(shown.try_send(piece));
        let ran = task::run(arguments, &secrets, &show).await;
        let _ = finished.send(ran).await;
        pending().await
    };
    let reporter = Reporter::new(&client, arguments, &secrets, pieces, done);
    // The reporter first: once it has its verdict nothing is left to do, and what still runs ends
    // with us.
    Ok(smol::block_on(or(reporter.run(), working)))
}
