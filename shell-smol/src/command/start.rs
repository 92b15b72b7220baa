//! `start`: the daemon. The gateway, the enabled channels and the schedule in one process.
//!
//! It holds the data directory by a lock, says what it does, and serves until it is told to end.
//! The first signal ends it in order: no new messages, a while for what runs, a last commit. The
//! second ends it at once; what is durable stays so.

use super::agent::{Agent, Extras};
use super::{Error, print, sandbox};
use crate::config::Config;
use crate::driver::{Handle, Leave};
use crate::effect::deliver::{Event, Fronts};
use crate::journal::{Journal, Lookup, TokenError, Tokens};
use crate::metrics::{METRICS_PATH, Metrics};
use crate::secret::Secret;
use crate::source::quic::local::{self, Door};
use crate::source::quic::{self, Gateway, GatewayConfig};
use crate::source::telegram::{self, Pace, Telegram, TelegramConfig};
use crate::source::{cli, signal};
use async_channel::Receiver;
use async_io::Timer;
use futures_lite::{FutureExt, future};
use smol::net::TcpListener;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The front end that hears only of the end.
const SELF: &str = "start";
/// How long a channel may take to show what it was handed, once all else has ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves until it is told to end.
///
/// # Errors
/// When another process holds the data directory, or something that is configured cannot be had,
/// or the journal fails.
pub fn run(config: &Config) -> Result<ExitCode, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed(error.to_string());
    let opened = Journal::open(&config.database).map_err(|error| failed(&error))?;
    let watch = signal::Watch::new().map_err(|error| {
        Error::failed(format!("cannot watch for signals: {error}; start again"))
    })?;
    let mut fronts = Fronts::new();
    let over = fronts.add(SELF);
    let mut extras = Extras {
        daemon: true,
        ..Extras::default()
    };
    let ours = match config.gateway.enabled {
        true => Some(Ours::prepare(config, &mut fronts, &mut extras)?),
        false => None,
    };
    let bot = match config.telegram.enabled {
        true => Some(Bot::prepare(config, &mut fronts, &mut extras)?),
        false => None,
    };
    let agent = Agent::start(config, opened, fronts, extras)?;
    let mut said = String::new();
    let gateway = match ours {
        Some(ours) => Some(ours.listen(config, &agent, &mut said)?),
        None => None,
    };
    let telegram = match bot {
        Some(bot) => Some(bot.listen(&agent, &mut said)?),
        None => None,
    };
    if let Some(listen) = config.metrics.listen {
        watched(listen, &agent, &mut said)?;
    }
    said.push_str(&format!(
        "provider: {} ({})\n",
        agent.provider(),
        agent.model()
    ));
    said.push_str(&format!("schedule: {}\n", jobs(agent.jobs())));
    said.push_str(&format!("ready (pid {})\n", std::process::id()));
    print(&said)?;
    let front = Front {
        handle: agent.handle.clone(),
        over,
        signals: agent.signals(watch),
        gateway,
        telegram,
        grace: Duration::from_millis(config.agent.shutdown_grace_ms),
        data_dir: config.data_dir_of_journal(),
    };
    agent.sweep();
    let lived = agent.live(front.serve());
    Door::close(&config.data_dir_of_journal());
    lived.map(|()| ExitCode::SUCCESS)
}

/// Lets whoever reaches that address read the metrics.
fn watched(listen: SocketAddr, agent: &Agent, said: &mut String) -> Result<(), Error> {
    let bound = smol::block_on(TcpListener::bind(listen));
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|error| {
        Error::failed(format!(
            "cannot listen on {listen} for [metrics] listen: {error}; choose another address"
        ))
    })?;
    agent.show_metrics(listener);
    said.push_str(&format!("metrics: http://{address}{METRICS_PATH}\n"));
    if !address.ip().is_loopback() {
        tracing::warn!("metrics: {address} is open to other machines, and asks for no token");
    }
    Ok(())
}

fn jobs(count: usize) -> String {
    match count {
        0 => "no jobs in the configuration".to_owned(),
        1 => "1 job in the configuration".to_owned(),
        count => format!("{count} jobs in the configuration"),
    }
}

/// The gateway, before the loop is there.
struct Ours {
    events: Receiver<Event>,
    token: Secret,
    config: GatewayConfig,
    /// What is said of workers.
    workers: String,
}

impl Ours {
    /// Makes the token of this user's own programs, and finds out who may speak.
    fn prepare(config: &Config, fronts: &mut Fronts, extras: &mut Extras) -> Result<Ours, Error> {
        let failed = |error: TokenError| Error::failed(error.to_string());
        let data_dir = config.data_dir_of_journal();
        let tokens = Tokens::open(&config.database).map_err(|error| failed(error.into()))?;
        let token = local::token(&data_dir, &tokens).map_err(failed)?;
        let rows = tokens.list().map_err(|error| failed(error.into()))?;
        let valid = rows.into_iter().filter(|row| row.revoked_at.is_none());
        let names: Vec<String> = valid.map(|row| row.name).collect();
        extras
            .owners
            .extend(names.iter().map(|name| quic::origin_of(name)));
        extras
            .secrets
            .push(("the local token".to_owned(), token.clone()));
        let events = fronts.add(quic::CHANNEL);
        fronts.also(cli::CHANNEL, quic::CHANNEL);
        let mut gateway = GatewayConfig::new(config.gateway.listen, data_dir);
        gateway.owners.extend(names);
        gateway.output_chars = config.tools.output_chars;
        let workers = Ours::workers(config, &gateway, extras)?;
        Ok(Ours {
            events,
            token,
            config: gateway,
            workers,
        })
    }

    /// Sees to it that there are workers, if there can be, and says so.
    fn workers(
        config: &Config,
        gateway: &GatewayConfig,
        extras: &mut Extras,
    ) -> Result<String, Error> {
        match sandbox::worker(config, &gateway.annex) {
            Ok(worker) => {
                let said = worker.program.display().to_string();
                extras.worker = Some(worker);
                Ok(said)
            }
            // Somebody counts on the one that they named.
            Err(why) if config.sandbox.docker && config.sandbox.worker.is_some() => {
                Err(Error::usage(why))
            }
            Err(why) => Ok(format!("none, {why}")),
        }
    }

    fn listen(self, config: &Config, agent: &Agent, said: &mut String) -> Result<Gateway, Error> {
        let lookup = Lookup::open(&config.database).map_err(|e| Error::failed(e.to_string()))?;
        let data_dir = self.config.data_dir.clone();
        let mut gateway = self.config;
        gateway.model = Some((agent.provider().to_owned(), agent.model()));
        let gateway = Gateway::start(gateway, agent.handle.clone(), self.events, lookup)
            .map_err(|error| Error::failed(error.to_string()))?;
        let address = gateway.local_addr();
        Door::open(&data_dir, address, self.token).map_err(|error| {
            Error::failed(format!(
                "cannot write {}: {error}; let this user write there",
                data_dir.join(local::FILE_NAME).display()
            ))
        })?;
        said.push_str(&format!("gateway: {address} (QUIC over UDP)\n"));
        said.push_str(&format!("certificate SHA-256: {}\n", gateway.fingerprint()));
        said.push_str(&format!("workers: {}\n", self.workers));
        Ok(gateway)
    }
}

/// The Telegram bot, before the loop is there.
struct Bot {
    events: Receiver<Event>,
    config: TelegramConfig,
}

impl Bot {
    fn prepare(config: &Config, fronts: &mut Fronts, extras: &mut Extras) -> Result<Bot, Error> {
        let Some(token) = config.bot_token() else {
            return Err(Error::usage(
                "[channels.telegram] is enabled, but there is no token: set TELEGRAM_BOT_TOKEN to \
                 what @BotFather gave you",
            ));
        };
        let users = &config.telegram.allowed_users;
        extras
            .owners
            .extend(users.iter().map(|id| telegram::peer(*id)));
        let longest = (telegram::CHANNEL.to_owned(), telegram::MESSAGE_CHARS);
        extras.channel_chars.extend([longest]);
        Ok(Bot {
            events: fronts.add(telegram::CHANNEL),
            config: TelegramConfig {
                token: token.clone(),
                api_url: Some(config.telegram.api_url.clone()),
                files_dir: config.received_files(),
                pace: Pace::default(),
                metrics: Metrics::default(),
            },
        })
    }

    fn listen(mut self, agent: &Agent, said: &mut String) -> Result<Telegram, Error> {
        self.config.metrics = agent.metrics.clone();
        said.push_str("telegram: on\n");
        Telegram::start(self.config, agent.handle.clone(), self.events)
            .map_err(|error| Error::failed(format!("cannot start a thread: {error}; start again")))
    }
}

/// Waits for a signal.
struct Front {
    handle: Handle,
    over: Receiver<Event>,
    signals: Receiver<signal::Ending>,
    gateway: Option<Gateway>,
    telegram: Option<Telegram>,
    grace: Duration,
    data_dir: PathBuf,
}

impl Front {
    async fn serve(self) {
        if self.signal_or_end().await.is_some() {
            tracing::info!(
                "stopping: what runs has {:?}; a second signal ends it",
                self.grace
            );
            if let Some(gateway) = &self.gateway {
                gateway.drain();
            }
            if let Some(telegram) = &self.telegram {
                telegram.stop();
            }
            self.handle.leave(Leave::Within(self.grace));
            if let Some(second) = self.signal_or_end().await {
                std::process::exit(second.exit_code().into());
            }
        }
        Door::close(&self.data_dir);
        if let Some(gateway) = self.gateway {
            gateway.close().await;
        }
        if let Some(telegram) = self.telegram {
            let shown = blocking::unblock(move || telegram.join());
            let late = async {
                Timer::after(FAREWELL).await;
            };
            shown.or(late).await;
        }
    }

    /// The next signal; none when the loop has ended.
    async fn signal_or_end(&self) -> Option<signal::Ending> {
        let (over, signals) = (&self.over, &self.signals);
        let ended = async {
            // What it is told is for those who show it.
            while over.recv().await.is_ok() {}
            None
        };
        let signal = async {
            match signals.recv().await {
                Ok(signal) => Some(signal),
                Err(_) => future::pending().await,
            }
        };
        signal.or(ended).await
    }
}
