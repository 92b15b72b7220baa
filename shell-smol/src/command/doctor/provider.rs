//! Which provider was chosen and why, and whether its server answers.

use super::{Finding, fault, ok, warn};
use crate::config::{Config, Provider as Named, env};
use crate::effect::model::{Endpoint, Provider};
use crate::secret::Secret;
use std::time::Duration;

const SUBJECT: &str = "provider";

/// How long a server may take to list its models.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many models are named when the configured one is not among them.
const NAMED: usize = 5;

pub(super) fn check(config: &Config) -> Finding {
    let chosen = match config.provider() {
        Ok(chosen) => chosen,
        Err(error) => {
            let cure = "do what it says above, or answer anew: openpistacrab init";
            return fault(SUBJECT, error.to_string(), cure);
        }
    };
    let why = why(config, &chosen);
    match &chosen.endpoint {
        Endpoint::Builtin => ok(
            SUBJECT,
            format!("builtin, {why}: it follows simple rules; openpistacrab init adds a real one"),
        ),
        Endpoint::Http { base_url, key, .. } => {
            let place = format!("{}, {why}: {base_url}", chosen.name);
            judge(&place, &chosen.model, ask(base_url, key.as_ref()))
        }
    }
}

fn why(config: &Config, chosen: &Provider) -> String {
    let Named::Auto = config.agent.provider else {
        return "as agent.provider says".to_owned();
    };
    let key = match (config.env.key(env::API_KEY), &config.agent.api_key) {
        (None, Some(_)) => "agent.api_key",
        _ => config.env.keys_in_order().next().unwrap_or("its key"),
    };
    match chosen.name.as_str() {
        "builtin" => "as there is no key and no Ollama".to_owned(),
        "custom" => "because of agent.base_url".to_owned(),
        "ollama" => "as it answers on its usual port".to_owned(),
        _ => format!("because of {key}"),
    }
}

/// What the server said: the status, and the models that it lists.
type Answer = Result<(u16, Vec<String>), ureq::Error>;

fn judge(place: &str, model: &str, answer: Answer) -> Finding {
    match answer {
        Err(error) => fault(
            SUBJECT,
            format!("{place} cannot be reached: {error}"),
            "check [agent] base_url and the network, and that the server runs",
        ),
        Ok((status @ (401 | 403), _)) => fault(
            SUBJECT,
            format!("{place} refuses the key ({status})"),
            "give the right key for this server: openpistacrab init, or see [agent]",
        ),
        Ok((200..300, models)) if models.is_empty() || models.iter().any(|one| one == model) => {
            ok(SUBJECT, format!("{place} answers, model {model}"))
        }
        Ok((200..300, models)) => {
            let named: Vec<&str> = models.iter().take(NAMED).map(String::as_str).collect();
            let more = if models.len() > NAMED { ", …" } else { "" };
            let named = named.join(", ");
            warn(
                SUBJECT,
                format!("{place} answers, but does not list the model {model}"),
                format!("set [agent] model to one that it has: {named}{more}"),
            )
        }
        Ok((404 | 405, _)) => warn(
            SUBJECT,
            format!("{place} answers, but lists no models"),
            "if calls fail, check [agent] base_url",
        ),
        Ok((status, _)) => warn(
            SUBJECT,
            format!("{place} answers with {status}"),
            "try again later, or look at the server",
        ),
    }
}

fn ask(base_url: &str, key: Option<&Secret>) -> Answer {
    let mut settings = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE));
    // A proxy cannot reach what listens on this machine's loopback interface.
    let local = ["://localhost", "://127.", "://[::1]"];
    if local.iter().any(|host| base_url.contains(host)) {
        settings = settings.proxy(None);
    }
    let agent = ureq::Agent::new_with_config(settings.build());
    let mut request = agent.get(format!("{base_url}/models"));
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {}", key.expose()));
    }
    let mut response = request.call()?;
    let body = response.body_mut().read_to_vec().unwrap_or_default();
    Ok((response.status().as_u16(), names(&body)))
}

/// The ids in a list of models; none when it is not such a list.
fn names(body: &[u8]) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let models = list["data"].as_array().map_or(&[][..], Vec::as_slice);
    let ids = models.iter().filter_map(|model| model["id"].as_str());
    // Gemini and others put a folder before the name.
    ids.map(|id| id.strip_prefix("models/").unwrap_or(id).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn each_answer_has_its_verdict() {
        let models = || vec!["a".to_owned(), "b".to_owned()];
        let verdict = |model: &str, answer| judge("x", model, Ok(answer)).status;
        assert_eq!(verdict("a", (200, models())), Status::Ok);
        assert_eq!(verdict("c", (200, models())), Status::Warn);
        assert_eq!(verdict("c", (200, Vec::new())), Status::Ok);
        assert_eq!(verdict("a", (401, Vec::new())), Status::Fault);
        assert_eq!(verdict("a", (404, Vec::new())), Status::Warn);
        assert_eq!(verdict("a", (503, Vec::new())), Status::Warn);
        let lost = judge("x", "a", Err(ureq::Error::HostNotFound));
        assert_eq!(lost.status, Status::Fault);
    }

    #[test]
    fn models_are_read_from_the_list_and_from_nothing_else() {
        let list = br#"{"data":[{"id":"a"},{"id":"models/b"},{"x":1}]}"#;
        assert_eq!(names(list), ["a", "b"]);
        assert_eq!(names(b"<html>"), [""; 0]);
    }
}
