//! `allow PEER`, `forbid PEER`: lets somebody in, or shuts them out again, as the person at this
//! machine's terminal could by typing it.

use super::args::AdmitOptions;
use super::link::Link;
use super::{Error, print};
use crate::config::Config;
use crate::driver::Leave;
use crate::effect::deliver::Event;
use crate::source::cli::Cli;
use async_channel::Receiver;
use openpista_core::hint::Hint;
use std::process::ExitCode;

/// Says it to the agent, and prints the answer.
///
/// # Errors
/// When the agent cannot be started or reached, or gives no answer.
pub fn run(config: &Config, options: &AdmitOptions) -> Result<ExitCode, Error> {
    let link = Link::open(config)?;
    let mut cli = Cli::new(link.handle.clone(), None);
    let events = link.events.clone();
    let command = match options.let_in {
        true => "/allow",
        false => "/forbid",
    };
    let text = format!("{command} {}", options.peer);
    let told = link.live(async move {
        let key = cli.say(text).await;
        let told = answer(&key, &events).await;
        cli.handle().leave(Leave::WhenIdle);
        while events.recv().await.is_ok() {}
        told
    })?;
    match told {
        Some(text) => print(&format!("{text}\n")),
        None => Err(Error::failed("no answer came; try again")),
    }
}

/// Waits for the answer. What else comes is left for a front end that shows it.
async fn answer(key: &str, events: &Receiver<Event>) -> Option<String> {
    loop {
        match events.recv().await.ok()? {
            Event::Hint(Hint::Tell { key: of, text, .. }) if of == key => return Some(text),
            Event::Hint(Hint::Refuse {
                key: of, refusal, ..
            }) if of == key => return Some(refusal.to_string()),
            Event::Deliver(showing) if showing.delivery.ends.iter().any(|end| end.key == key) => {
                return showing.delivery.body.text().map(str::to_owned);
            }
            Event::Hint(_) | Event::Deliver(_) => {}
        }
    }
}
