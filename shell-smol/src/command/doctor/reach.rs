//! How the daemon is reached: whether it can listen, and whether its bot is known.

use super::{Finding, Status, fault, finding, off, ok, warn};
use crate::config::Config;
use crate::source::telegram::pairing::{Pairing, PairingError};
use crate::terminal::clean::neutralise;
use std::net::UdpSocket;

/// Can the daemon listen where it is to? While one runs, nobody else can.
pub(super) fn gateway(config: &Config, runs: bool) -> Finding {
    let subject = "gateway";
    let listen = config.gateway.listen;
    if !config.gateway.enabled {
        return off(subject, "switched off by [gateway] enabled");
    }
    let reach = match listen.ip().is_loopback() {
        true => "this machine",
        false => "other machines, too,",
    };
    let text = format!("{listen} (UDP), for programs of {reach} that have a token");
    if runs {
        return ok(subject, text);
    }
    match UdpSocket::bind(listen) {
        Ok(_) => ok(subject, text),
        Err(error) => fault(
            subject,
            format!("{listen} (UDP) cannot be had: {error}"),
            "end the program that has it, or name another port in [gateway] listen",
        ),
    }
}

/// Does the server know the bot, and does the bot obey somebody?
pub(super) fn telegram(config: &Config) -> Finding {
    let subject = "telegram";
    if !config.telegram.enabled {
        return off(subject, "no bot; openpistacrab init adds one");
    }
    let Some(token) = config.bot_token() else {
        return fault(
            subject,
            "it is enabled, but there is no token",
            "set TELEGRAM_BOT_TOKEN to what @BotFather gave you, or: openpistacrab init",
        );
    };
    let name = Pairing::new(token, &config.telegram.api_url).name();
    match (name, config.telegram.allowed_users.len()) {
        (Err(error), _) => {
            let (status, cure) = match &error {
                PairingError::Refused => {
                    (Status::Fault, "give the right token: openpistacrab init")
                }
                // It may be away for a while; the daemon tries again.
                _ => (
                    Status::Warn,
                    "check the network and [channels.telegram] api_url",
                ),
            };
            finding(status, subject, error.to_string(), cure)
        }
        (Ok(name), 0) => warn(
            subject,
            format!(
                "@{} obeys nobody whom the configuration names",
                neutralise(&name)
            ),
            "write to it, it tells you your id; then: openpistacrab allow telegram:ID",
        ),
        (Ok(name), people) => {
            let noun = if people == 1 { "person" } else { "people" };
            let name = neutralise(&name);
            ok(subject, format!("@{name}, which obeys {people} {noun}"))
        }
    }
}
