//! `token add | list | revoke`: who may use the gateway. A running daemon looks at every use.

use super::args::TokenOptions;
use super::{Error, print};
use crate::clock::utc;
use crate::config::Config;
use crate::journal::{TokenError, TokenRow, Tokens};
use std::fmt::Write;
use std::process::ExitCode;

/// Does what was asked for.
///
/// # Errors
/// When the name does not fit, or the database cannot be read or written.
pub fn run(config: &Config, options: &TokenOptions) -> Result<ExitCode, Error> {
    let failed = |error: TokenError| match error {
        TokenError::BadName => Error::usage(error.to_string()),
        error => Error::failed(error.to_string()),
    };
    let tokens = Tokens::open(&config.database).map_err(|error| failed(error.into()))?;
    match options {
        TokenOptions::Add(name) => {
            let token = tokens.add(name).map_err(failed)?;
            print(&format!("{}\n", token.expose()))
        }
        TokenOptions::Revoke(name) => {
            tokens.revoke(name).map_err(failed)?;
            print(&format!("{name} has no access any more\n"))
        }
        TokenOptions::List => {
            let rows = tokens.list().map_err(|error| failed(error.into()))?;
            print(&table(&rows))
        }
    }
}

/// One line a token: name, since when, whether it is valid.
fn table(rows: &[TokenRow]) -> String {
    let mut out = String::new();
    for row in rows {
        let until = match row.revoked_at {
            Some(at) => format!("revoked {}", utc(at)),
            None => "valid".to_owned(),
        };
        let _ = writeln!(out, "{}\t{}\t{until}", row.name, utc(row.created_at));
    }
    out
}
