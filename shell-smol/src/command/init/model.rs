//! Which model answers: provider, server, key, model.

use super::ask::Asker;
use super::{Answers, KEY_FILE, Setup, one_of};
use crate::command::Error;
use crate::command::args::Place;
use crate::config::key::fault_of;
use crate::config::{Provider, env};
use crate::effect::model::{Choice, Provider as Chosen, ProviderError, resolve};
use crate::secret::Secret;
use std::fmt::Write;

/// Stands in for a key, to learn what holds with one. It is never sent.
const SOME_KEY: &str = "some-key";

/// The options that must be there when nobody can be asked, and are not.
pub(super) fn lacking(setup: &Setup<'_>) -> Vec<String> {
    let options = setup.options;
    let mut lacking = Vec::new();
    if options.provider.is_none() && !options.yes {
        lacking.push(format!(
            "--provider NAME ({}; or --yes for what is there)",
            Provider::NAMES.join(", ")
        ));
    }
    let name = options.provider.unwrap_or(Provider::Auto.name());
    if name == Provider::Custom.name() && server(setup, name).is_none() {
        lacking.push("--base-url URL".to_owned());
    }
    if let Some(variable) = variable(name)
        && options.api_key.is_none()
        && held(setup, variable).is_none()
        && old_key(setup, name, server(setup, name).as_deref()).is_none()
    {
        lacking.push(format!(
            "--api-key-file FILE ('-' is stdin), or --api-key-env with the key in {variable}"
        ));
    }
    lacking
}

/// Asks which model answers, and how it is reached.
pub(super) fn ask(
    setup: &Setup<'_>,
    mut asker: Option<&mut Asker>,
    answers: &mut Answers,
) -> Result<(), Error> {
    let name = provider(setup, asker.as_deref_mut())?;
    answers.set("agent.provider", &name);
    let server = match server(setup, &name) {
        Some(url) => Some(url),
        None if name == Provider::Custom.name() => asked_server(asker.as_deref_mut())?,
        None => None,
    };
    if let Some(url) = &server {
        check("agent.base_url", "--base-url", url)?;
        answers.set("agent.base_url", url);
    }
    let asks = !matches!(name.as_str(), "auto" | "builtin" | "ollama");
    let key = match asks || setup.options.api_key.is_some() {
        true => key(
            setup,
            asker.as_deref_mut(),
            &name,
            server.as_deref(),
            answers,
        )?,
        false => None,
    };
    if let Some(model) = model(setup, asker, &name, server, key.clone())? {
        check("agent.model", "--model", &model)?;
        answers.set("agent.model", model);
    }
    if let Some(key) = key {
        answers.keep("agent.api_key_file", KEY_FILE, key);
    }
    Ok(())
}

fn provider(setup: &Setup<'_>, asker: Option<&mut Asker>) -> Result<String, Error> {
    if let Some(name) = setup.options.provider {
        return Ok(name.to_owned());
    }
    let old = setup.old.agent.provider.name();
    let Some(asker) = asker else {
        return Ok(old.to_owned());
    };
    let default = match setup.exists {
        true => old.to_owned(),
        // What it would take by itself.
        false => setup
            .old
            .provider()
            .map_or(old.to_owned(), |found| found.name),
    };
    asker.say("Which model answers?");
    for name in Provider::NAMES {
        asker.say(&format!("  {name:<11} {}", about(setup, name)));
    }
    asker.fitting("Provider", &default, |line| one_of(line, &Provider::NAMES))
}

/// A provider in a line.
fn about(setup: &Setup<'_>, name: &str) -> String {
    match name {
        "auto" => "at each start: a key in the environment, else Ollama, else builtin".to_owned(),
        "builtin" => "a few simple rules inside this program; needs nothing".to_owned(),
        "ollama" => "models on this machine".to_owned(),
        "custom" => "any server that speaks OpenAI's chat completions".to_owned(),
        name => {
            let mut about = usual_model(name).unwrap_or_default();
            if let Some(variable) = variable(name) {
                let _ = match held(setup, variable) {
                    Some(held) => write!(about, "; {held} is set"),
                    None => write!(about, "; needs a key"),
                };
            }
            about
        }
    }
}

/// The server that was named, now or, for the same provider, before.
fn server(setup: &Setup<'_>, name: &str) -> Option<String> {
    let old = || match setup.old.agent.provider.name() == name {
        true => setup.old.agent.base_url.clone(),
        false => None,
    };
    setup.options.base_url.clone().or_else(old)
}

fn asked_server(asker: Option<&mut Asker>) -> Result<Option<String>, Error> {
    let Some(asker) = asker else { return Ok(None) };
    let fits = |line: &str| match fault_of("agent.base_url", line) {
        None => Ok(()),
        Some(expected) => Err(expected),
    };
    let question = "Its URL, such as http://127.0.0.1:8080/v1";
    asker.fitting(question, "", fits).map(Some)
}

/// The key, if it is to be kept in a file.
fn key(
    setup: &Setup<'_>,
    asker: Option<&mut Asker>,
    name: &str,
    server: Option<&str>,
    answers: &mut Answers,
) -> Result<Option<Secret>, Error> {
    let wanted = variable(name);
    let variable = wanted.unwrap_or(env::API_KEY);
    let held = held(setup, variable);
    if let Some(place) = &setup.options.api_key {
        if *place == Place::Environment && held.is_none() {
            answers.variables.push(variable);
        }
        return setup.secret(place);
    }
    let old = old_key(setup, name, server);
    let Some(asker) = asker else {
        return Ok(if held.is_some() { None } else { old });
    };
    if let Some(held) = held
        && asker.yes(&format!("{held} is set. Leave the key there?"), true)?
    {
        return Ok(None);
    }
    let otherwise = match (&old, wanted) {
        (Some(_), _) => "the one from before".to_owned(),
        (None, Some(variable)) => format!("I set {variable} myself"),
        (None, None) => "it needs none".to_owned(),
    };
    let typed = asker.hidden(&format!("Key, not shown (Enter: {otherwise})"))?;
    let key = typed.or(old);
    if key.is_none() && wanted.is_some() {
        answers.variables.push(variable);
    }
    Ok(key)
}

/// The key of the file that is to be replaced, if it was for the same server.
fn old_key(setup: &Setup<'_>, name: &str, server: Option<&str>) -> Option<Secret> {
    let old = &setup.old.agent;
    let same = old.provider.name() == name && old.base_url.as_deref() == server;
    old.api_key.clone().filter(|_| same)
}

fn model(
    setup: &Setup<'_>,
    asker: Option<&mut Asker>,
    name: &str,
    server: Option<String>,
    key: Option<Secret>,
) -> Result<Option<String>, Error> {
    if setup.options.model.is_some() {
        return Ok(setup.options.model.clone());
    }
    let old = match setup.old.agent.provider.name() == name {
        true => setup.old.agent.model.clone(),
        false => None,
    };
    let Some(asker) = asker.filter(|_| !matches!(name, "auto" | "builtin")) else {
        return Ok(old);
    };
    let choice = Choice {
        provider: Some(name.to_owned()),
        base_url: server,
        api_key: key,
        model: old.clone(),
    };
    let look_up = |name: &str| setup.env.key(name).map(|key| key.expose().to_owned());
    let usual = match resolve(&choice, &look_up) {
        Ok(found) => Some(found.model),
        // It has a usual one, which can be told without the key.
        Err(ProviderError::MissingKey { .. }) => usual_model(name),
        Err(ProviderError::MissingModel { base_url }) => {
            asker.say(&format!(
                "  {base_url} does not say which models it has: name one."
            ));
            None
        }
        Err(error) => {
            asker.say(&format!("  {}", error.to_string().replace('\n', "\n  ")));
            None
        }
    };
    let usual = usual.unwrap_or_default();
    let typed = asker.line("Model", &usual)?;
    // The usual one may be another one day: it stays the usual one.
    Ok(match typed == usual && old.is_none() {
        true => None,
        false => Some(typed).filter(|typed| !typed.is_empty()),
    })
}

/// The variable that would hold a provider's key, if it wants one.
fn variable(name: &str) -> Option<&'static str> {
    match chosen(name, None)? {
        Err(ProviderError::MissingKey { variable, .. }) => Some(variable),
        _ => None,
    }
}

/// The model that a provider is asked for when none is named.
fn usual_model(name: &str) -> Option<String> {
    let found = chosen(name, Some(Secret::new(SOME_KEY)))?;
    found.ok().map(|found| found.model)
}

/// What would be chosen with this key alone, of the providers that are known without asking.
fn chosen(name: &str, api_key: Option<Secret>) -> Option<Result<Chosen, ProviderError>> {
    if matches!(name, "auto" | "builtin" | "ollama" | "custom") {
        return None;
    }
    let choice = Choice {
        provider: Some(name.to_owned()),
        api_key,
        ..Choice::default()
    };
    Some(resolve(&choice, &|_| None))
}

/// The variable that holds a key for this provider now.
fn held(setup: &Setup<'_>, variable: &'static str) -> Option<&'static str> {
    let names = [env::API_KEY, variable];
    names.into_iter().find(|name| setup.env.key(name).is_some())
}

/// What an option says is what the configuration takes.
fn check(key: &str, option: &str, value: &str) -> Result<(), Error> {
    match fault_of(key, value) {
        None => Ok(()),
        Some(expected) => Err(Error::usage(format!("{option} must be {expected}"))),
    }
}
