//! What only the daemon needs: where it listens, its bot, and the machine's time zone.

use crate::secret::Secret;
use openpista_core::cron::Zone;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

/// `[gateway]`: how clients reach the daemon over QUIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// It listens.
    pub enabled: bool,
    /// Where, over UDP.
    pub listen: SocketAddr,
}

impl Default for Gateway {
    fn default() -> Gateway {
        Gateway {
            enabled: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4433)),
        }
    }
}

/// `[metrics]`: what an operator watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Where Prometheus may ask, over TCP; none when it may not.
    pub listen: Option<SocketAddr>,
}

/// `[channels.telegram]`: the bot that people write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telegram {
    /// It runs.
    pub enabled: bool,
    /// Its token from the file. The environment's wins; see [`super::Config::bot_token`].
    pub token: Option<Secret>,
    /// The ids of the people who may use it and let others in.
    pub allowed_users: BTreeSet<u64>,
    /// The server of the Bot API, without a slash at the end.
    pub api_url: String,
}

impl Default for Telegram {
    fn default() -> Telegram {
        Telegram {
            enabled: false,
            token: None,
            allowed_users: BTreeSet::new(),
            api_url: "https://api.telegram.org".to_owned(),
        }
    }
}

/// The time zone that this machine is set to; UTC when it does not say.
pub(super) fn machine_zone() -> Zone {
    let named = std::env::var("TZ").ok();
    let linked = || {
        let target = std::fs::read_link("/etc/localtime").ok()?;
        let target = target.to_str()?.split_once("/zoneinfo/")?.1.to_owned();
        Some(target)
    };
    let written = || std::fs::read_to_string("/etc/timezone").ok();
    let known = |name: String| Zone::parse(name.trim().trim_start_matches(':')).ok();
    named
        .and_then(known)
        .or_else(|| linked().and_then(known))
        .or_else(|| written().and_then(known))
        .unwrap_or_default()
}
