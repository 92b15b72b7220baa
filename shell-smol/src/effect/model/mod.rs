//! Calling a model: one behind an OpenAI-compatible API, or the one inside this program.
//!
//! Both speak the same JSON through the same codec, [`openpista_core::wire::openai`]. A call is
//! made once: whether it is made again is the core's to say. Every error becomes an outcome, and
//! none tells the key, even when a provider echoes it.

mod builtin;
mod http;
mod picture;
mod provider;

pub use provider::{Choice, Endpoint, Provider, ProviderError, resolve};

use crate::effect::Stop;
use crate::secret::Secrets;
use futures_lite::future;
use openpista_core::effect::model::{CallModel, ModelFault, Reply};
use openpista_core::effect::{Chunk, Outcome};
use openpista_core::message::Prompt;
use openpista_core::wire::openai::{self, ReplyStream};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a reply that has begun may pause.
const IDLE: Duration = Duration::from_secs(60);

/// Longer than any call, and within what every clock can add.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// One provider, ready for any number of calls at once.
#[derive(Debug)]
pub struct Models {
    provider: Provider,
    max_reply_bytes: usize,
    client: Option<http::Client>,
    secrets: Secrets,
}

impl Models {
    /// Prepares a provider. Nothing is sent. The words and arguments of a reply are kept up to
    /// `max_reply_bytes`.
    pub fn new(provider: Provider, max_reply_bytes: usize) -> Result<Models, ProviderError> {
        let mut secrets = Secrets::default();
        let client = match &provider.endpoint {
            Endpoint::Builtin => None,
            Endpoint::Http {
                base_url,
                key,
                headers,
            } => {
                let named = key.clone().map(|key| ("the API key", key));
                secrets = Secrets::new(named);
                Some(http::Client::new(base_url, key.as_ref(), headers, IDLE)?)
            }
        };
        Ok(Models {
            provider,
            max_reply_bytes,
            client,
            secrets,
        })
    }

    /// With another limit to how long a reply that has begun may pause.
    pub fn with_idle(mut self, idle: Duration) -> Models {
        if let Some(client) = &mut self.client {
            client.set_idle(idle.min(LONGEST));
        }
        self
    }

    /// The provider that is asked.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// Asks the model, once. `progress` gets the words as they come. When `stop` is requested the
    /// call ends at once as [`ModelFault::Cancelled`].
    pub async fn call(
        &self,
        call: &CallModel,
        prompt: &Prompt,
        stop: Stop,
        progress: impl Fn(Chunk) + Send + 'static,
    ) -> Outcome {
        let stopped = async {
            stop.requested().await;
            Err(ModelFault::Cancelled)
        };
        let timeout = Duration::from_millis(call.timeout_ms).min(LONGEST);
        let result = future::or(stopped, self.ask(prompt, timeout, progress)).await;
        Outcome::Model(result.map_err(|fault| self.redacted(fault)))
    }

    async fn ask(
        &self,
        prompt: &Prompt,
        timeout: Duration,
        progress: impl Fn(Chunk) + Send,
    ) -> Result<Reply, ModelFault> {
        match &self.client {
            Some(client) => {
                let images = picture::load(prompt).await;
                let images = images
                    .iter()
                    .map(|(path, url)| (path.as_str(), url.as_str()));
                let request = openai::encode_request(prompt, &images.collect(), true);
                let limit = self.max_reply_bytes;
                client.ask(request, prompt, limit, timeout, progress).await
            }
            None => {
                let mut stream = ReplyStream::new(prompt, self.max_reply_bytes);
                let request = openai::encode_request(prompt, &BTreeMap::new(), true);
                let chunks = stream.push(&builtin::answer(&request))?;
                chunks.into_iter().for_each(progress);
                stream.finish()
            }
        }
    }

    /// The fault without the key, should the provider have echoed it.
    fn redacted(&self, mut fault: ModelFault) -> ModelFault {
        match &mut fault {
            ModelFault::RateLimited { message, .. }
            | ModelFault::Server { message, .. }
            | ModelFault::Network { message }
            | ModelFault::Garbled { message }
            | ModelFault::Rejected { message, .. } => {
                *message = self.secrets.redact(message).into_owned();
            }
            ModelFault::TimedOut | ModelFault::Empty | ModelFault::Cancelled => {}
        }
        fault
    }
}
