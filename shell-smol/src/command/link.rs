//! What `run` and `repl` talk through: the agent in this process, or the daemon that holds the data
//! directory. A front end cannot tell the one from the other.

use super::Error;
use super::agent::{Agent, Extras};
use super::attached::Attached;
use crate::config::Config;
use crate::driver::Handle;
use crate::effect::deliver::{Event, Fronts};
use crate::journal::{Journal, JournalError};
use crate::source::cli;
use crate::terminal::writer::note;
use async_channel::Receiver;

/// A way to the agent, wherever it is.
pub(super) struct Link {
    home: Home,
    /// For what the front end has to say.
    pub(super) handle: Handle,
    /// What the front end is to show.
    pub(super) events: Receiver<Event>,
}

enum Home {
    Here(Box<Agent>),
    There(Box<Attached>),
}

impl Link {
    /// Opens the journal, or attaches to the daemon that has it open, and says so.
    ///
    /// # Errors
    /// When neither can be done, or the provider is not configured right.
    pub(super) fn open(config: &Config) -> Result<Link, Error> {
        match Journal::open(&config.database) {
            Ok(opened) => {
                let mut fronts = Fronts::new();
                let events = fronts.add(cli::CHANNEL);
                let agent = Agent::start(config, opened, fronts, Extras::default())?;
                Ok(Link {
                    handle: agent.handle.clone(),
                    events,
                    home: Home::Here(Box::new(agent)),
                })
            }
            Err(error @ JournalError::InUse { .. }) => {
                let in_use = Error::failed(error.to_string());
                let (attached, handle, events) = Attached::to(config)?.ok_or(in_use)?;
                note(&format!("attached to the daemon (pid {})", attached.pid()));
                Ok(Link {
                    home: Home::There(Box::new(attached)),
                    handle,
                    events,
                })
            }
            Err(error) => Err(Error::failed(error.to_string())),
        }
    }

    /// The model's name, as people are told of it.
    pub(super) fn model(&self) -> String {
        match &self.home {
            Home::Here(agent) => agent.model(),
            Home::There(attached) => attached.model().unwrap_or("the model").to_owned(),
        }
    }

    /// Lives until the front end has asked to leave and everything is in order.
    ///
    /// # Errors
    /// When the journal fails; the front end is dropped then.
    pub(super) fn live<T>(self, front: impl Future<Output = T>) -> Result<T, Error> {
        match self.home {
            Home::Here(agent) => agent.live(front),
            Home::There(attached) => Ok(attached.live(front)),
        }
    }
}
