//! The worker's command line.

use crate::source::quic::Fingerprint;
use lexopt::{Arg, Parser, ValueExt};
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What `--help` prints.
pub(super) const HELP: &str = "\
openpista-worker runs one task and reports to openpistacrab how it ended. The daemon starts it in a
container; by hand it is of little use.

  openpista-worker --gateway ADDRESS --fingerprint SHA256 --token FILE [OPTIONS] -- COMMAND [ARGUMENT…]

  --gateway ADDRESS      where the gateway listens, for example 172.18.0.1:4434
  --fingerprint SHA256   by which its certificate is known
  --token FILE           the file with the token of the task
  --timeout-ms N         end the task after so long (default 300000)
  --output-chars N       keep so many characters of each stream (default 10000)

It exits with 0 once the report is heard, and with 3 when the task is over without it.";

/// What it was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A task.
    Work(Arguments),
    /// To explain itself.
    Help,
    /// To say which version it is.
    Version,
}

/// A task, and whom to report to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) gateway: SocketAddr,
    pub(super) fingerprint: Fingerprint,
    /// The token's file.
    pub(super) token: PathBuf,
    pub(super) timeout_ms: u64,
    /// How many characters of each stream are kept.
    pub(super) output_chars: usize,
    /// The program and its arguments.
    pub(super) command: Vec<String>,
}

/// Reads the command line, without the program's own name.
pub(super) fn parse(args: Vec<OsString>) -> Result<Asked, String> {
    let mut parser = Parser::from_args(args);
    let (mut gateway, mut fingerprint, mut token) = (None, None, None);
    let (mut timeout_ms, mut output_chars) = (300_000, 10_000);
    let mut command = Vec::new();
    let wrong = |error: lexopt::Error| error.to_string();
    while let Some(arg) = parser.next().map_err(wrong)? {
        match arg {
            Arg::Long("gateway") => gateway = Some(read(&mut parser)?),
            Arg::Long("fingerprint") => fingerprint = Some(read(&mut parser)?),
            Arg::Long("token") => token = Some(PathBuf::from(parser.value().map_err(wrong)?)),
            Arg::Long("timeout-ms") => timeout_ms = read(&mut parser)?,
            Arg::Long("output-chars") => output_chars = read(&mut parser)?,
            Arg::Long("help") | Arg::Short('h') => return Ok(Asked::Help),
            Arg::Long("version") => return Ok(Asked::Version),
            // What follows is the command's own, options included.
            Arg::Value(program) => {
                let rest = parser.raw_args().map_err(wrong)?;
                for word in std::iter::once(program).chain(rest) {
                    command.push(word.string().map_err(wrong)?);
                }
            }
            other => return Err(other.unexpected().to_string()),
        }
    }
    let missing = |name: &str| format!("--{name} is missing");
    if command.is_empty() {
        return Err("the command is missing".to_owned());
    }
    Ok(Asked::Work(Arguments {
        gateway: gateway.ok_or_else(|| missing("gateway"))?,
        fingerprint: fingerprint.ok_or_else(|| missing("fingerprint"))?,
        token: token.ok_or_else(|| missing("token"))?,
        timeout_ms,
        output_chars,
        command,
    }))
}

fn read<T: FromStr<Err: Display>>(parser: &mut Parser) -> Result<T, String> {
    let value = parser.value().and_then(ValueExt::string);
    let value = value.map_err(|error| error.to_string())?;
    value.parse().map_err(|error| format!("{value:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Asked, String> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn whom() -> String {
        let pin = "ab".repeat(32);
        format!("--gateway 10.0.0.1:4434 --fingerprint {pin} --token /t")
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let parsed = parse_line(&format!("{} --timeout-ms 5 -- sh -c --token", whom()));
        let Ok(Asked::Work(arguments)) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(arguments.command, ["sh", "-c", "--token"]);
        assert_eq!(arguments.timeout_ms, 5);
        assert_eq!(arguments.token, PathBuf::from("/t"));
        let odd = parse_line(&format!("{} -- --token x", whom()));
        assert!(matches!(odd, Ok(Asked::Work(a)) if a.command == ["--token", "x"]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("--gateway nowhere", "nowhere"),
            ("--fingerprint 12", "64 hexadecimal digits"),
            ("--fly", "--fly"),
            ("-- true", "--gateway is missing"),
            ("--token /t", "the command is missing"),
        ] {
            let error = parse_line(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert_eq!(parse_line("--help"), Ok(Asked::Help));
    }
}
