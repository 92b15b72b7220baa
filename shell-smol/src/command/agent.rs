//! The agent in this process: the journal, the model, the tools and the loop, joined for one front
//! end. What `run` and `repl` share.

use super::Error;
use crate::config::Config;
use crate::driver::{Driver, Handle};
use crate::effect::Hands;
use crate::effect::deliver::{Event, Fronts};
use crate::effect::model::Models;
use crate::effect::tool::Tools;
use crate::journal::Journal;
use crate::source::cli;
use async_channel::Receiver;
use futures_lite::future;
use openpista_core::settings::Settings;
use smol::LocalExecutor;
use std::rc::Rc;

/// All that a life needs, before it begins.
pub(super) struct Agent {
    executor: Rc<LocalExecutor<'static>>,
    driver: Driver,
    settings: Settings,
    /// For what the front end has to say.
    pub(super) handle: Handle,
    /// What the front end is to show.
    pub(super) events: Receiver<Event>,
}

impl Agent {
    /// The model's name, as people are told of it.
    pub(super) fn model(&self) -> String {
        self.settings.model.to_string()
    }

    /// Lives until the front end has asked to leave and everything is in order.
    ///
    /// # Errors
    /// When the journal fails; the front end is dropped then.
    pub(super) fn live<T>(self, front: impl Future<Output = T>) -> Result<T, Error> {
        let driver = self.driver.run(self.settings);
        let both = future::try_zip(driver, async { Ok(front.await) });
        let ended = smol::block_on(self.executor.run(both));
        ended
            .map(|((), told)| told)
            .map_err(|error| Error::failed(error.to_string()))
    }
}
