//! What a configuration does, and what a wrong one says.

use super::example::{EXAMPLE, Value, filled};
use super::key::{KEYS, Kind, LATER};
use super::*;
use openpista_core::settings::Mode;
use std::ffi::OsString;

fn env(pairs: &'static [(&'static str, &'static str)]) -> Env {
    Env::read(|name| {
        let all = pairs.iter().chain(&[("HOME", "/home/me")]);
        let mut all = all.filter(|(known, _)| *known == name);
        all.next().map(|(_, value)| OsString::from(value))
    })
}

fn load_with(text: &str, env: &Env) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.toml");
    std::fs::write(&file, text).unwrap();
    let locations = Locations {
        config: Some(file),
        data_dir: Some("/data".into()),
    };
    let folder = format!("{}/", dir.path().display());
    Config::load(&locations, env).map_err(|mut error| {
        error.message = error.message.replace(&folder, "");
        error.file = error.file.map(|file| file.file_name().unwrap().into());
        error
    })
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, &env(&[]))
}

fn refusal(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("this was taken:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// The example with each line that is a commented key or section made a real one.
fn uncommented() -> String {
    let (keys, _) = EXAMPLE.split_once("#\n# [[schedule]]\n").unwrap();
    let lines = keys.lines().map(|line| {
        let rest = line.strip_prefix("# ").unwrap_or(line);
        let key = rest.split(" = ").next().unwrap_or("");
        let word = |c: char| c.is_ascii_lowercase() || "_.\"".contains(c);
        match rest.contains(" = ") && key.chars().all(word) {
            true => rest,
            false => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_as_it_stands_changes_nothing() {
    let mut example = load(EXAMPLE).unwrap();
    example.file = None;
    let defaults = Config::defaults("/data".into(), env(&[]));
    assert_eq!(example, defaults);
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let text = uncommented();
    let table: toml::Table = text.parse().unwrap();
    for key in KEYS {
        let (section, name) = key.path.rsplit_once('.').unwrap();
        let mut at = &table;
        for part in section.split('.') {
            at = at[part].as_table().unwrap();
        }
        let Some(value) = at.get(name) else {
            panic!("config.example.toml does not document {}", key.path);
        };
        if let Kind::Modes { names, .. } = key.kind {
            for name in names {
                assert!(value.get(name).is_some(), "{} lacks {name}", key.path);
            }
            assert_eq!(
                value.get("skill.hello").is_some(),
                key.path == "policy.tools"
            );
        }
    }
    // These stand for their neighbours, and for files that are not there.
    let text: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("_file = "))
        .collect();
    let config = load(&text.join("\n")).unwrap();
    let defaults = Config::defaults("/data".into(), env(&[]));
    assert_eq!(config.limits, defaults.limits);
    assert_eq!(config.tools, defaults.tools);
    let sandbox = Sandbox {
        image: None,
        worker: None,
        wasm_host: None,
        docker_host: None,
        ..config.sandbox
    };
    assert_eq!(sandbox, defaults.sandbox);
    assert_eq!(config.policy.mode, defaults.policy.mode);
    assert_eq!(config.agent.provider, defaults.agent.provider);
    assert_eq!(config.policy.channels["cli"], Mode::Ask);
    assert_eq!(config.policy.tools["system.run"], Mode::Ask);
    let home = Path::new("/home/me/.openpistacrab");
    assert_eq!(config.database, home.join("memory.db"));
    assert_eq!(config.workspace, home.join("workspace"));
}

#[test]
fn every_limit_can_be_set() {
    let serde_json::Value::Object(limits) = serde_json::to_value(Limits::default()).unwrap() else {
        panic!("limits are an object");
    };
    for name in limits.keys() {
        let known = |prefix: &str| KEYS.iter().any(|k| k.path == format!("{prefix}.{name}"));
        assert!(known("limits") || known("agent"), "no key sets {name}");
    }
}

#[test]
fn every_number_reaches_its_own_place_and_only_in_range() {
    for key in KEYS {
        let Kind::Whole { range, .. } = &key.kind else {
            continue;
        };
        // Close to the bound that is not the default, and different from it.
        let (section, name) = key.path.split_once('.').unwrap();
        let set = |n: u64| {
            let grow = match key.path {
                "limits.backoff_ms" => format!("backoff_max_ms = {n}\n"),
                "limits.backoff_max_ms" => "backoff_ms = 1\n".to_owned(),
                _ => String::new(),
            };
            load(&format!("[{section}]\n{grow}{name} = {n}"))
        };
        let (low, high) = (set(*range.start()).unwrap(), set(*range.end()).unwrap());
        assert_ne!(low, high, "{} changes nothing", key.path);
        let (limits, tools, sandbox) = (&high.limits, &high.tools, &high.sandbox);
        let shown = format!("{limits:?} {tools:?} {sandbox:?} {:?}", high.agent);
        let field = format!("{name}: {}", range.end());
        assert!(shown.contains(&field), "{field} is not in {shown}");
        let error = set(range.end() + 1).unwrap_err().to_string();
        let bounds = format!("from {} to {}", range.start(), range.end());
        assert!(error.contains(&bounds), "{error}");
        if let Some(below) = range.start().checked_sub(1) {
            assert!(set(below).is_err(), "{} = {below}", key.path);
        }
    }
}

#[test]
fn wrong_files_say_line_key_and_cure() {
    let all = [
        "[agent]\n\nmodle = \"x\"",
        "[agnet]\nmodel = \"x\"",
        "max_tool_rounds = 3",
        "[limits]\nturn_sm = 3",
        "[frobnicate]\nzzz = 3",
        "[agent]\nprovider = 3",
        "[agent]\nprovider = \"opnai\"",
        "[agent]\nmodel = \"\"",
        "[agent]\nbase_url = \"localhost:8080\"",
        "[agent]\nmax_tool_rounds = 0",
        "[agent]\nmax_tool_rounds = \"10\"",
        "[agent]\nmax_tool_rounds = 2.5",
        "[limits]\nturn_ms = -1",
        "[limits]\nturn_ms = 99999999999999999999",
        "agent = 3",
        "[database]\nurl = \"postgres://host/db\"",
        "[policy]\nmode = \"yolo\"",
        "[policy]\nchannels = \"ask\"",
        "[policy.channels]\nclii = \"ask\"",
        "[policy.tools]\nsystem.run = \"no\"",
        "[policy.tools]\n\"system.rum\" = \"ask\"",
        "[gateway]\nlisten = \"4433\"",
        "[gateway]\nenabled = 1",
        "[channels.telegram]\nallowed_users = [12, \"you\"]",
        "[channels.telegram]\nallowed_users = 12",
        "[policy.tools]\n\"skill.A B\" = \"ask\"",
        "[policy.channels]\n\"skill.a\" = \"ask\"",
        "[channels.cli]\nx = 1",
        "[sandbox]\nfallback = \"docker\"",
        "[sandbox]\nimage = \"\"",
        "[sandbox]\ndocker_host = \"tcp://127.0.0.1:2375\"",
        "[sandbox]\nmemory_mib = 1",
        "[sandbox]\nmemory = 512",
        "[agent]\nzone = \"Berlin\"",
        "[[schedule]]\ncron = \"@daily\"",
        "[schedule]\ncron = \"@daily\"",
        "[[schedule]]\nname = \"a\"\ncron = \"61 * * * *\"",
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\nzone = \"Berlin\"",
        "[[schedule]]\nname = \"a\"\ncrno = \"@daily\"",
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\ntext = \"x\"\nchannel = \"telegram\"",
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\ntext = \" \"",
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\nmissed = \"never\"",
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\ntext = \"x\"\nchannel = \"cli:local\"\n\
         [[schedule]]\nname = \"a\"\ncron = \"@daily\"\ntext = \"x\"\nchannel = \"cli:local\"",
        "[limits]\nbackoff_ms = 40000",
        "[policy.channels]\ncli = 3",
        "[policy]\nmode = \"ask\"\ntools = 3",
        "[agent]\nmodel = \"x",
        "[agent]\nmodel = \"x\"\nmodel = \"y\"",
    ];
    let said: Vec<String> = all
        .iter()
        .map(|text| format!("{}\n    -> {}", text.replace('\n', " ⏎ "), refusal(text)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_key_in_the_file_is_never_printed() {
    let placed = env(&[("TOGETHER_API_KEY", "canary2")]);
    let config = load_with("[agent]\napi_key = \"canary\"", &placed).unwrap();
    let secrets: Vec<_> = config.secrets().collect();
    assert_eq!(secrets[0], ("TOGETHER_API_KEY", Secret::new("canary2")));
    assert_eq!(secrets[1], ("agent.api_key", Secret::new("canary")));
    let shown = format!("{config:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(config.agent.api_key, Some(Secret::new("canary")));
    let settings = config.settings("openai", "m", Vec::new());
    assert!(!format!("{settings:?}").contains("canary"));
    let error = refusal("[agent]\napi_key = canary");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn later_sections_are_not_keys_of_this_version() {
    for later in LATER {
        assert!(!KEYS.iter().any(|key| key.path.starts_with(later)));
    }
}

#[test]
fn paths_follow_the_data_directory_the_file_and_the_environment() {
    let none = Locations::default();
    let config = Config::load(&none, &env(&[])).unwrap();
    assert_eq!(config.data_dir, Path::new("/home/me/.openpistacrab"));
    assert_eq!(config.database, config.data_dir.join("memory.db"));

    let moved = env(&[("OPENPISTACRAB_DATA_DIR", "/var/pista")]);
    let config = Config::load(&none, &moved).unwrap();
    assert_eq!(config.workspace, Path::new("/var/pista/workspace"));

    let placed = env(&[("OPENPISTACRAB_WORKSPACE", "~/w")]);
    let text = "[skills]\nworkspace = \"/elsewhere\"\n[database]\nurl = \"sqlite:///db/x.db\"";
    let config = load_with(text, &placed).unwrap();
    assert_eq!(config.workspace, Path::new("/home/me/w"));
    assert_eq!(config.database, Path::new("/db/x.db"));

    let beside = load("[database]\nurl = \"x.db\"").unwrap();
    let folder = beside.file.as_ref().unwrap().parent().unwrap();
    assert_eq!(beside.database, folder.join("x.db"));
}

#[test]
fn a_named_file_must_exist_and_a_home_is_needed_only_for_the_tilde() {
    let locations = Locations {
        config: Some("/no/such/file.toml".into()),
        data_dir: Some("/data".into()),
    };
    let error = Config::load(&locations, &env(&[])).unwrap_err().to_string();
    assert!(
        error.starts_with("/no/such/file.toml: cannot read"),
        "{error}"
    );
    assert!(error.contains("config.example.toml"), "{error}");

    let homeless = Env::default();
    let error = Config::load(&Locations::default(), &homeless).unwrap_err();
    assert!(error.to_string().contains("--data-dir"), "{error}");
    let placed = Locations {
        config: None,
        data_dir: Some("/data".into()),
    };
    Config::load(&placed, &homeless).unwrap();
}

#[test]
fn settings_carry_the_rules_and_the_owner() {
    let text = "[policy]\nmode = \"full\"\n[policy.tools]\nsystem.run = \"read-only\"\n\
                skill.a-b = \"ask\"";
    let settings = load(text).unwrap().settings("openai", "m", Vec::new());
    assert_eq!(settings.policy.mode, Mode::Full);
    assert_eq!(settings.policy.tools["system.run"], Mode::ReadOnly);
    assert_eq!(settings.policy.tools["skill.a-b"], Mode::Ask);
    assert!(settings.owners.contains("cli:local"));
    assert!(settings.system.contains("/data/workspace"));
}

/// The last part of the example, which is commented out as a whole.
#[test]
fn the_example_of_a_schedule_is_one() {
    let (_, example) = EXAMPLE.split_once("#\n# [[schedule]]\n").unwrap();
    let lines = example.lines().map(|line| line.strip_prefix("# ").unwrap());
    let text = format!("[[schedule]]\n{}", lines.collect::<Vec<_>>().join("\n"));
    let config = load(&text).unwrap();
    let settings = config.settings("openai", "m", Vec::new());
    let [job] = settings.schedule.as_slice() else {
        panic!("{settings:?}");
    };
    assert_eq!(
        (job.name.as_str(), job.zone.as_str()),
        ("morning", "Europe/Berlin")
    );
    assert_eq!((job.origin.as_str(), job.peer.as_str()), (OWNER, OWNER));
    assert_eq!(job.session.as_deref(), Some("mornings"));
    for key in schedule::JOB_KEYS {
        assert!(text.contains(&format!("\n{key} = ")), "{key} is not shown");
    }
}

#[test]
fn a_job_takes_the_zone_of_the_agent_wherever_that_stands() {
    let job =
        "[[schedule]]\nname = \"a\"\ncron = \"@daily\"\ntext = \"x\"\nchannel = \"telegram:-5:7\"";
    let config = load(&format!("{job}\n[agent]\nzone = \"asia/tokyo\"")).unwrap();
    assert_eq!(config.schedule[0].zone, "Asia/Tokyo");
    assert_eq!(config.schedule[0].origin, "telegram:-5:7");
    assert_eq!(
        config.schedule[0].missed,
        openpista_core::settings::Missed::Skip
    );
}

#[test]
fn the_bot_token_of_the_environment_wins() {
    let file = "[channels.telegram]\ntoken = \"canary-file\"\nallowed_users = [7, 12]";
    let config = load(file).unwrap();
    assert_eq!(config.bot_token(), Some(&Secret::new("canary-file")));
    assert_eq!(config.telegram.allowed_users, BTreeSet::from([7, 12]));
    let config = load_with(file, &env(&[("TELEGRAM_BOT_TOKEN", "canary-env")])).unwrap();
    assert_eq!(config.bot_token(), Some(&Secret::new("canary-env")));
    let names: Vec<&str> = config.secrets().map(|(name, _)| name).collect();
    assert_eq!(names, ["TELEGRAM_BOT_TOKEN", "channels.telegram.token"]);
    assert!(!format!("{config:?}").contains("canary"));
}

/// The reverse of what is above: the example shows nothing that is no key.
#[test]
fn every_line_of_the_example_that_looks_like_a_key_is_one() {
    let (keys, _) = EXAMPLE.split_once("#\n# [[schedule]]\n").unwrap();
    let mut section = "";
    let mut found = 0;
    for line in keys.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        }
        let name = line
            .strip_prefix("# ")
            .and_then(|line| line.split_once(" = "));
        let Some((name, _)) = name.filter(|(name, _)| !name.contains(' ')) else {
            continue;
        };
        let name = name.trim_matches('"');
        let key = KEYS
            .iter()
            .any(|key| key.path == format!("{section}.{name}"));
        let row = || {
            KEYS.iter()
                .any(|key| key.path == section && key.kind.knows(name))
        };
        assert!(key || row(), "[{section}] has no {name}");
        found += 1;
    }
    assert!(found > 60, "{found}");
}

#[test]
fn every_key_can_be_set_in_the_example() {
    for key in KEYS {
        let value = match &key.kind {
            Kind::Modes { .. } => continue,
            Kind::Switch { .. } => Value::Switch(true),
            Kind::Ids { .. } => Value::Ids(BTreeSet::from([7, 12])),
            _ => Value::Text("a \"b\" \\ \u{7f} ä".to_owned()),
        };
        let text = filled(&BTreeMap::from([(key.path, value.clone())]));
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{}: {e}", key.path));
        let mut at = toml::Value::Table(table);
        for part in key.path.split('.') {
            at = at[part].clone();
        }
        match value {
            Value::Text(text) => assert_eq!(at.as_str(), Some(text.as_str())),
            Value::Switch(on) => assert_eq!(at.as_bool(), Some(on)),
            Value::Ids(ids) => assert_eq!(at.as_array().map(Vec::len), Some(ids.len())),
        }
        // Nothing else has changed: one line for one line, below what says who wrote it.
        let changed = text.lines().rev().zip(EXAMPLE.lines().rev());
        assert_eq!(
            changed.filter(|(now, before)| now != before).count(),
            1,
            "{}",
            key.path
        );
    }
}

#[test]
fn a_secret_can_be_alone_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (config, key) = (dir.path().join("c.toml"), dir.path().join("key"));
    let locations = Locations {
        config: Some(config.clone()),
        data_dir: Some("/data".into()),
    };
    let load = |text: &str, secret: &str| {
        std::fs::write(&config, text).unwrap();
        std::fs::write(&key, secret).unwrap();
        Config::load(&locations, &env(&[])).map_err(|error| error.to_string())
    };
    let text = "[agent]\napi_key_file = \"key\"\n[channels.telegram]\ntoken_file = \"key\"";
    let loaded = load(text, "canary-key\n").unwrap();
    assert_eq!(loaded.agent.api_key, Some(Secret::new("canary-key")));
    assert_eq!(loaded.bot_token(), Some(&Secret::new("canary-key")));
    assert_eq!(loaded.secret_files, [key.clone(), key.clone()]);
    assert_eq!(loaded.secrets().count(), 2);
    for (secret, why) in [
        ("", "holds nothing"),
        ("canary two", "holds characters"),
        ("canary\nlines", "holds characters"),
        (&"canary".repeat(5_000), "holds more than"),
    ] {
        let error = load(text, secret).unwrap_err();
        assert!(error.contains("c.toml:2: agent.api_key_file: "), "{error}");
        assert!(error.contains(why) && !error.contains("canary"), "{error}");
    }
    for both in [
        "api_key = \"x\"\napi_key_file = \"key\"",
        "api_key_file = \"key\"\napi_key = \"x\"",
    ] {
        let error = load(&format!("[agent]\n{both}"), "canary").unwrap_err();
        assert!(error.contains("keep one of them"), "{error}");
    }
    let missing = load("[agent]\napi_key_file = \"none\"", "x").unwrap_err();
    assert!(missing.contains("none cannot be read"), "{missing}");
}
