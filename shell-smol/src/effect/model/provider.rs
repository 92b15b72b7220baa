//! Which model is asked: the presets, and how the configuration and the environment choose.
//!
//! Nothing here speaks to a model. The one thing that may leave the machine is the question which
//! models a server has, when the operator named a server but no model. A key goes only to the
//! server that it was meant for: `OPENAI_API_KEY` is never sent to a `base_url` unless the
//! provider `openai` was chosen by name.

use crate::secret::Secret;
use std::fmt;
use std::time::Duration;
use ureq::http::Uri;

/// What the operator configured in `[agent]`; anything may be left out.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The name of a preset; none means `auto`.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// Where the provider's API is.
    pub base_url: Option<String>,
    /// The key from the configuration file.
    pub api_key: Option<Secret>,
}

/// One model of one provider, ready to be called.
#[derive(Clone, Debug)]
pub struct Provider {
    /// The preset's name, for messages to people.
    pub name: String,
    /// The model's name as the provider knows it.
    pub model: String,
    /// Where it is.
    pub endpoint: Endpoint,
}

impl Provider {
    /// The rule-following model inside this program.
    pub fn builtin() -> Provider {
        Provider {
            name: BUILTIN.to_owned(),
            model: BUILTIN.to_owned(),
            endpoint: Endpoint::Builtin,
        }
    }
}

/// Where a model is.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Inside this program.
    Builtin,
    /// Behind an OpenAI-compatible API.
    Http {
        /// The part of the address before `/chat/completions`, without a slash at its end.
        base_url: String,
        /// Sent as a bearer token.
        key: Option<Secret>,
        /// Further headers, as name and value.
        headers: Vec<(String, String)>,
    },
}

/// A provider that people choose by name.
struct Preset {
    name: &'static str,
    base_url: &'static str,
    key: Option<&'static str>,
    model: Option<&'static str>,
}

/// In the order in which `auto` looks for their keys.
const PRESETS: [Preset; 5] = [
    Preset {
        name: "openai",
        base_url: "https://api.openai.com/v1",
        key: Some("OPENAI_API_KEY"),
        model: Some("gpt-5.2"),
    },
    Preset {
        name: "anthropic",
        base_url: "https://api.anthropic.com/v1",
        key: Some("ANTHROPIC_API_KEY"),
        model: Some("claude-sonnet-5"),
    },
    Preset {
        name: "together",
        base_url: "https://api.together.xyz/v1",
        key: Some("TOGETHER_API_KEY"),
        model: Some("openai/gpt-oss-120b"),
    },
    Preset {
        name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        key: Some("OPENROUTER_API_KEY"),
        model: Some("openrouter/auto"),
    },
    Preset {
        name: OLLAMA,
        base_url: "http://127.0.0.1:11434/v1",
        key: None,
        model: None,
    },
];

const AUTO: &str = "auto";
const BUILTIN: &str = "builtin";
const CUSTOM: &str = "custom";
const OLLAMA: &str = "ollama";

/// The key that goes before every other.
const OVERALL_KEY: &str = "OPENPISTACRAB_API_KEY";

/// How long `auto` waits for an Ollama on this machine.
const LOCAL_PATIENCE: Duration = Duration::from_millis(100);

/// How long a server that was named may take to say which models it has.
const NAMED_PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server at this base URL, with this key, for the first of its models that can chat.
type Ask<'a> = &'a dyn Fn(&str, Option<&Secret>, Duration) -> Option<String>;

/// Chooses the provider: by name, or for `auto` the first of a `base_url`, a key in the
/// environment, an Ollama that answers on its usual port, and the one inside this program. `env`
/// looks up a variable of the environment.
pub fn resolve(
    choice: &Choice,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Provider, ProviderError> {
    Resolver {
        choice,
        env,
        ask: &super::http::first_model,
    }
    .resolve()
}

struct Resolver<'a> {
    choice: &'a Choice,
    env: &'a dyn Fn(&str) -> Option<String>,
    ask: Ask<'a>,
}

impl Resolver<'_> {
    fn resolve(&self) -> Result<Provider, ProviderError> {
        match self.choice.provider.as_deref().unwrap_or(AUTO) {
            AUTO => self.auto(),
            BUILTIN => Ok(Provider::builtin()),
            CUSTOM => self.custom(),
            name => match PRESETS.iter().find(|preset| preset.name == name) {
                Some(preset) => self.preset(preset),
                None => Err(ProviderError::Unknown {
                    name: name.to_owned(),
                }),
            },
        }
    }

    fn auto(&self) -> Result<Provider, ProviderError> {
        if self.choice.base_url.is_some() {
            return self.custom();
        }
        if self.own_key().is_some() {
            return self.preset(&PRESETS[0]);
        }
        for preset in &PRESETS {
            if preset.key.and_then(|name| self.variable(name)).is_some() {
                return self.preset(preset);
            }
        }
        let ollama = PRESETS.iter().find(|preset| preset.name == OLLAMA);
        let found = ollama.and_then(|preset| {
            let first = (self.ask)(preset.base_url, None, LOCAL_PATIENCE)?;
            Some((preset, first))
        });
        match found {
            Some((preset, first)) => {
                let model = self.choice.model.clone().unwrap_or(first);
                http(preset.name, model, preset.base_url, None)
            }
            None => Ok(Provider::builtin()),
        }
    }

    fn preset(&self, preset: &Preset) -> Result<Provider, ProviderError> {
        let base_url = self.choice.base_url.as_deref().unwrap_or(preset.base_url);
        let key = self.own_key().or_else(|| self.secret(preset.key?));
        if let Some(variable) = preset.key
            && key.is_none()
            // A server on this machine or in this house rarely wants a key.
            && !base_url.trim().starts_with("http://")
        {
            return Err(ProviderError::MissingKey {
                provider: preset.name,
                variable,
            });
        }
        self.server(preset.name, preset.model, base_url, key)
    }

    fn custom(&self) -> Result<Provider, ProviderError> {
        let base_url = self.choice.base_url.as_deref();
        let base_url = base_url.ok_or(ProviderError::MissingBaseUrl)?;
        self.server(CUSTOM, None, base_url, self.own_key())
    }

    fn server(
        &self,
        name: &str,
        default: Option<&str>,
        base_url: &str,
        key: Option<Secret>,
    ) -> Result<Provider, ProviderError> {
        let base_url = checked(base_url)?;
        let model = self.choice.model.clone().or(default.map(str::to_owned));
        let model = match model {
            Some(model) => model,
            None => (self.ask)(&base_url, key.as_ref(), NAMED_PATIENCE).ok_or_else(|| {
                ProviderError::MissingModel {
                    base_url: base_url.clone(),
                }
            })?,
        };
        http(name, model, &base_url, key)
    }

    /// The key that was meant for whatever provider is chosen.
    fn own_key(&self) -> Option<Secret> {
        self.secret(OVERALL_KEY)
            .or_else(|| self.choice.api_key.clone())
    }

    fn secret(&self, variable: &str) -> Option<Secret> {
        self.variable(variable).map(|value| Secret::new(&value))
    }

    /// A variable of the environment that says something.
    fn variable(&self, name: &str) -> Option<String> {
        let value = (self.env)(name)?.trim().to_owned();
        (!value.is_empty()).then_some(value)
    }
}

fn http(
    name: &str,
    model: String,
    base_url: &str,
    key: Option<Secret>,
) -> Result<Provider, ProviderError> {
    Ok(Provider {
        name: name.to_owned(),
        model,
        endpoint: Endpoint::Http {
            base_url: checked(base_url)?,
            key,
            headers: Vec::new(),
        },
    })
}

/// A base URL that requests can be sent to, without what people leave at its end.
pub(super) fn checked(given: &str) -> Result<String, ProviderError> {
    let bad = |why| ProviderError::BadBaseUrl { why };
    let url = given.trim().trim_end_matches('/');
    let url = url.strip_suffix("/chat/completions").unwrap_or(url);
    let url = url.trim_end_matches('/');
    let uri: Uri = url.parse().map_err(|_| bad("it is not a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("it must begin with http:// or https://"));
    }
    let authority = uri.authority().ok_or(bad("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("it must not hold a name or password: use api_key"));
    }
    if uri.query().is_some() {
        return Err(bad("it must not hold a query"));
    }
    Ok(url.to_owned())
}

/// Why no provider could be chosen: the cause and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// There is no provider of that name.
    Unknown {
        /// The name.
        name: String,
    },
    /// The chosen provider wants a key.
    MissingKey {
        /// The provider.
        provider: &'static str,
        /// The variable that would hold the key.
        variable: &'static str,
    },
    /// `custom` was chosen without saying where it is.
    MissingBaseUrl,
    /// The base URL cannot be used. It is not shown: it may hold a password.
    BadBaseUrl {
        /// What is wrong with it.
        why: &'static str,
    },
    /// No model was named, and the server did not say which it has.
    MissingModel {
        /// The server.
        base_url: String,
    },
    /// The key cannot be sent in a header.
    BadKey,
    /// A header cannot be sent.
    BadHeader {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderError::Unknown { name } => {
                let known = || {
                    let presets = PRESETS.iter().map(|preset| preset.name);
                    [AUTO, BUILTIN, CUSTOM].into_iter().chain(presets)
                };
                write!(f, "there is no provider `{name}`")?;
                let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
                if let Some(nearest) = known().min_by_key(distance).filter(|k| distance(k) <= 2) {
                    write!(f, "; did you mean `{nearest}`?")?;
                }
                let all = known().collect::<Vec<_>>().join(", ");
                write!(f, "\nset `provider` in [agent] to one of: {all}")
            }
            ProviderError::MissingKey { provider, variable } => write!(
                f,
                "the provider `{provider}` needs a key: set {variable} or {OVERALL_KEY} in the \
                 environment, or `api_key` in [agent]"
            ),
            ProviderError::MissingBaseUrl => f.write_str(
                "the provider `custom` needs `base_url` in [agent], for example \
                 \"http://127.0.0.1:8080/v1\"",
            ),
            ProviderError::BadBaseUrl { why } => {
                write!(f, "`base_url` in [agent] cannot be used: {why}")
            }
            ProviderError::MissingModel { base_url } => write!(
                f,
                "no model is named, and {base_url} did not say which it has: \
                 set `model` in [agent]"
            ),
            ProviderError::BadKey => f.write_str(
                "the API key holds characters that no key has (a line break, perhaps): copy it anew",
            ),
            ProviderError::BadHeader { name } => {
                write!(f, "the header `{name}` cannot be sent: check its name and value")
            }
        }
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests;
