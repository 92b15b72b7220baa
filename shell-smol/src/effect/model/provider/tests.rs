//! Every way to choose a provider, without asking any server.

use super::*;

/// The provider's name, its model, its base URL, and its key.
type Found = (String, String, String, Option<String>);

struct Given<'a> {
    config: [Option<&'a str>; 4],
    env: Vec<(&'a str, &'a str)>,
    /// The first model of whatever server is asked.
    served: Option<&'a str>,
}

fn given<'a>(env: &[(&'a str, &'a str)]) -> Given<'a> {
    Given {
        config: [None; 4],
        env: env.to_vec(),
        served: None,
    }
}

impl<'a> Given<'a> {
    fn provider(mut self, name: &'a str) -> Given<'a> {
        self.config[0] = Some(name);
        self
    }

    fn model(mut self, name: &'a str) -> Given<'a> {
        self.config[1] = Some(name);
        self
    }

    fn base_url(mut self, url: &'a str) -> Given<'a> {
        self.config[2] = Some(url);
        self
    }

    fn key(mut self, key: &'a str) -> Given<'a> {
        self.config[3] = Some(key);
        self
    }

    fn served(mut self, model: &'a str) -> Given<'a> {
        self.served = Some(model);
        self
    }

    fn resolve(&self) -> Result<Found, ProviderError> {
        let [provider, model, base_url, key] = self.config;
        let choice = Choice {
            provider: provider.map(str::to_owned),
            model: model.map(str::to_owned),
            base_url: base_url.map(str::to_owned),
            api_key: key.map(Secret::new),
        };
        let env = |name: &str| {
            let found = self.env.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let ask = |_: &str, _: Option<&Secret>, _| self.served.map(str::to_owned);
        let resolver = Resolver {
            choice: &choice,
            env: &env,
            ask: &ask,
        };
        let Provider {
            name,
            model,
            endpoint,
        } = resolver.resolve()?;
        Ok(match endpoint {
            Endpoint::Builtin => (name, model, String::new(), None),
            Endpoint::Http { base_url, key, .. } => {
                let key = key.map(|key| key.expose().to_owned());
                (name, model, base_url, key)
            }
        })
    }
}

#[test]
fn every_choice_finds_its_provider() {
    const OPENAI: &str = "https://api.openai.com/v1";
    const LOCAL: &str = "http://127.0.0.1:8080/v1";
    const OLLAMA_URL: &str = "http://127.0.0.1:11434/v1";
    let own = ("OPENPISTACRAB_API_KEY", "own");
    let openai = ("OPENAI_API_KEY", "sk-o");
    let router = ("OPENROUTER_API_KEY", "sk-r");
    let table = [
        // What `auto` finds, from the first to the last.
        (
            given(&[]).base_url(LOCAL).model("m"),
            ("custom", "m", LOCAL, None),
        ),
        (
            given(&[own, openai]).base_url(LOCAL).served("first"),
            ("custom", "first", LOCAL, Some("own")),
        ),
        // The key of a provider goes to that provider alone.
        (
            given(&[openai]).base_url(LOCAL).model("m"),
            ("custom", "m", LOCAL, None),
        ),
        (
            given(&[openai, own]),
            ("openai", "gpt-5.2", OPENAI, Some("own")),
        ),
        (
            given(&[]).key("file"),
            ("openai", "gpt-5.2", OPENAI, Some("file")),
        ),
        (
            given(&[own]).key("file"),
            ("openai", "gpt-5.2", OPENAI, Some("own")),
        ),
        (
            given(&[openai]).model("m"),
            ("openai", "m", OPENAI, Some("sk-o")),
        ),
        (
            given(&[("ANTHROPIC_API_KEY", " sk-a\n"), router]),
            (
                "anthropic",
                "claude-sonnet-5",
                "https://api.anthropic.com/v1",
                Some("sk-a"),
            ),
        ),
        (
            given(&[router]).served("llama"),
            (
                "openrouter",
                "openrouter/auto",
                "https://openrouter.ai/api/v1",
                Some("sk-r"),
            ),
        ),
        (
            given(&[]).served("llama"),
            ("ollama", "llama", OLLAMA_URL, None),
        ),
        (
            given(&[]).served("llama").model("m"),
            ("ollama", "m", OLLAMA_URL, None),
        ),
        (
            given(&[("OPENAI_API_KEY", " ")]),
            ("builtin", "builtin", "", None),
        ),
        (
            given(&[]).provider("auto"),
            ("builtin", "builtin", "", None),
        ),
        // What is chosen by name.
        (
            given(&[openai]).provider("builtin"),
            ("builtin", "builtin", "", None),
        ),
        (
            given(&[openai]).provider("openai").base_url(LOCAL),
            ("openai", "gpt-5.2", LOCAL, Some("sk-o")),
        ),
        (
            given(&[]).provider("openai").base_url(LOCAL),
            ("openai", "gpt-5.2", LOCAL, None),
        ),
        (
            given(&[openai, ("TOGETHER_API_KEY", "t")])
                .provider("together")
                .model("m"),
            ("together", "m", "https://api.together.xyz/v1", Some("t")),
        ),
        (
            given(&[openai]).provider("ollama").served("llama"),
            ("ollama", "llama", OLLAMA_URL, None),
        ),
        (
            given(&[])
                .provider("custom")
                .base_url(" http://[::1]:1/ ")
                .model("m"),
            ("custom", "m", "http://[::1]:1", None),
        ),
    ];
    for (number, (given, (name, model, base_url, key))) in table.iter().enumerate() {
        let key = key.map(str::to_owned);
        let expected = ((*name).into(), (*model).into(), (*base_url).into(), key);
        assert_eq!(given.resolve(), Ok(expected), "row {number}");
    }
}

#[test]
fn a_choice_that_cannot_be_told_says_why() {
    let table = [
        (
            given(&[]).provider("opnai"),
            "there is no provider `opnai`; did you mean `openai`?\nset `provider` in [agent] to \
             one of: auto, builtin, custom, openai, anthropic, together, openrouter, ollama",
        ),
        (
            given(&[]).provider("anthropic"),
            "the provider `anthropic` needs a key: set ANTHROPIC_API_KEY or \
             OPENPISTACRAB_API_KEY in the environment, or `api_key` in [agent]",
        ),
        (
            given(&[]).provider("custom"),
            "the provider `custom` needs `base_url` in [agent], for example \
             \"http://127.0.0.1:8080/v1\"",
        ),
        (
            given(&[]).base_url("http://127.0.0.1:1/v1/"),
            "no model is named, and http://127.0.0.1:1/v1 did not say which it has: set `model` \
             in [agent]",
        ),
        (
            given(&[]).base_url("localhost:8080").model("m"),
            "`base_url` in [agent] cannot be used: it must begin with http:// or https://",
        ),
        (
            given(&[]).base_url("http://me:hunter2@host/v1").model("m"),
            "`base_url` in [agent] cannot be used: it must not hold a name or password: use \
             api_key",
        ),
        (
            given(&[]).base_url("no url").model("m"),
            "`base_url` in [agent] cannot be used: it is not a URL",
        ),
    ];
    for (given, expected) in table {
        let error = given.resolve().expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }
}
