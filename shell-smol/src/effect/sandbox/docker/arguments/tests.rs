//! What a call may ask for, and how it is told what it may not.

use super::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

/// A workspace with a skill, and beside it what must not be reached.
fn config() -> (tempfile::TempDir, DockerConfig) {
    let dir = tempfile::tempdir().unwrap();
    let workspace = dir.path().join("workspace");
    fs::create_dir_all(workspace.join("skill/inner")).unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    for file in [
        "workspace/skill/run.sh",
        "workspace/skill/main.py",
        "outside/run.sh",
    ] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    symlink("../outside", workspace.join("out")).unwrap();
    symlink("/etc", workspace.join("etc")).unwrap();
    symlink("skill/inner", workspace.join("in")).unwrap();
    symlink("../../outside/run.sh", workspace.join("skill/link.sh")).unwrap();
    let config = DockerConfig {
        workspace,
        default_image: Some("busybox".into()),
        ..DockerConfig::default()
    };
    (dir, config)
}

fn parse(arguments: &Value) -> Result<Arguments, String> {
    let (_dir, config) = config();
    read(Arguments::parse(&arguments.to_string(), &config))
}

fn read(arguments: Result<Arguments, SandboxFault>) -> Result<Arguments, String> {
    arguments.map_err(|fault| match fault {
        SandboxFault::Arguments { message } => message,
        other => panic!("{other:?}"),
    })
}

#[test]
fn what_is_left_out_is_what_the_operator_set() {
    let arguments = parse(&json!({ "command": "id", "image": null })).unwrap();
    let expected = Arguments {
        command: vec!["sh".into(), "-c".into(), "id".into()],
        image: "busybox".into(),
        timeout_ms: None,
        cpus: 1.0,
        memory_bytes: 512 << 20,
        pids: 256,
        env: Vec::new(),
        working_dir: "/workspace".into(),
    };
    assert_eq!(arguments, expected);
}

#[test]
fn everything_can_be_asked_for() {
    let arguments = parse(&json!({
        "command": ["ls", "-l", ""], "image": "host:5000/a/b@sha256:00", "timeout_ms": 5,
        "cpus": 0.5, "memory_mb": 64, "pids": 8, "env": { "A_1": "x=y" }, "working_dir": "in"
    }));
    let expected = Arguments {
        command: vec!["ls".into(), "-l".into(), String::new()],
        image: "host:5000/a/b@sha256:00".into(),
        timeout_ms: Some(5),
        cpus: 0.5,
        memory_bytes: 64 << 20,
        pids: 8,
        env: vec!["A_1=x=y".into()],
        working_dir: "/workspace/skill/inner".into(),
    };
    assert_eq!(arguments, Ok(expected));
}

#[test]
fn wrong_arguments_are_named() {
    let table = [
        (
            json!(["id"]),
            "the arguments must be a JSON object, not an array",
        ),
        (json!({}), "`command` is missing"),
        (
            json!({ "command": 7 }),
            "`command` must be a string or an array",
        ),
        (json!({ "command": " " }), "`command` is empty"),
        (json!({ "command": [] }), "`command` is empty"),
        (
            json!({ "command": ["id", 7] }),
            "`command` must be an array of strings: there is a number",
        ),
        (
            json!({ "command": "a\0b" }),
            "`command` has a NUL character",
        ),
        (
            json!({ "command": "x".repeat(200_000) }),
            "`command` is 200000 bytes long",
        ),
        (
            json!({ "command": "id", "user": "root" }),
            "there is no argument `user`",
        ),
        (
            json!({ "command": "id", "privileged": true }),
            "there is no argument `privileged`",
        ),
        (
            json!({ "command": "id", "timeout_ms": 0 }),
            "`timeout_ms` must be a whole number from 1",
        ),
        (
            json!({ "command": "id", "cpus": 1.5 }),
            "`cpus` must be a number from 0.01 to 1",
        ),
        (
            json!({ "command": "id", "memory_mb": 513 }),
            "`memory_mb` must be a whole number from 16 to 512",
        ),
        (
            json!({ "command": "id", "pids": 0 }),
            "`pids` must be a whole number from 4 to 256",
        ),
        (
            json!({ "command": "id", "env": [] }),
            "`env` must be an object",
        ),
        (
            json!({ "command": "id", "env": { "A=B": "" } }),
            "`env`: \"A=B\" is no name",
        ),
        (
            json!({ "command": "id", "env": { "A": 1 } }),
            "`env`: A must be a string, not a number",
        ),
        (
            json!({ "command": "id", "env": { "OPENPISTA_X": "" } }),
            "`env`: OPENPISTA_X is ours",
        ),
    ];
    for (arguments, expected) in table {
        let message = parse(&arguments).unwrap_err();
        assert!(message.starts_with(expected), "{arguments}: {message}");
    }
    let (_dir, config) = config();
    let config = DockerConfig {
        default_image: None,
        ..config
    };
    let message = read(Arguments::parse(r#"{"command":"id"}"#, &config)).unwrap_err();
    assert!(message.starts_with("`image` is missing"), "{message}");
    let message = read(Arguments::parse("{", &config)).unwrap_err();
    assert!(
        message.starts_with("the arguments are not JSON"),
        "{message}"
    );
}

/// A name is put into a path of Docker's API.
#[test]
fn an_image_is_a_name_and_nothing_else() {
    for image in [
        "",
        "../containers/x",
        "a/../b",
        "/a",
        "a//b",
        "a?force=1",
        "a#b",
        "a b",
        "a%2f",
    ] {
        let message = parse(&json!({ "command": "id", "image": image })).unwrap_err();
        assert!(
            message.contains("is no name of an image"),
            "{image}: {message}"
        );
    }
}

#[test]
fn a_working_directory_does_not_lead_out() {
    for dir in [
        "/workspace",
        "/workspace/",
        "",
        ".",
        "skill",
        "./skill/inner",
        "/workspace/in",
    ] {
        let arguments = parse(&json!({ "command": "id", "working_dir": dir })).unwrap();
        assert!(
            arguments.working_dir.starts_with("/workspace"),
            "{dir}: {arguments:?}"
        );
    }
    assert_eq!(
        parse(&json!({ "command": "id", "working_dir": "/tmp/" }))
            .unwrap()
            .working_dir,
        "/tmp"
    );
    let table = [
        ("..", "leads out of the workspace"),
        ("skill/../../outside", "leads out of the workspace"),
        ("/workspace/../etc", "leads out of the workspace"),
        ("out", "leads out of the workspace"),
        ("/workspace/etc", "leads out of the workspace"),
        ("/etc", "is neither /tmp nor in /workspace"),
        ("/proc/self/fd/8", "is neither /tmp nor in /workspace"),
        ("/workspacex", "is neither /tmp nor in /workspace"),
        ("nowhere", "in the workspace: No such file"),
        ("skill/run.sh", "is no directory"),
    ];
    for (dir, expected) in table {
        let message = parse(&json!({ "command": "id", "working_dir": dir })).unwrap_err();
        assert!(message.contains(expected), "{dir}: {message}");
    }
}

#[test]
fn a_skill_is_a_file_of_the_workspace() {
    let (_dir, config) = config();
    let skill = |folder, entry, image, text: &str| {
        read(Arguments::of_skill((folder, entry), image, text, &config))
    };
    let arguments = skill("skill", "run.sh", None, r#"{"a":1}"#).unwrap();
    assert_eq!(arguments.working_dir, "/workspace/skill");
    assert_eq!(arguments.image, "busybox");
    assert_eq!(arguments.env, [r#"OPENPISTA_ARGUMENTS={"a":1}"#]);
    assert_eq!(
        skill("skill", "main.py", Some("python:3"), "{}")
            .unwrap()
            .image,
        "python:3"
    );
    let table = [
        ("../outside", "run.sh", "{}", "leads out of the workspace"),
        ("out", "run.sh", "{}", "leads out of the workspace"),
        ("skill", "link.sh", "{}", "leads out of the workspace"),
        (
            "skill",
            "../../outside/run.sh",
            "{}",
            "leads out of the workspace",
        ),
        ("nowhere", "run.sh", "{}", "No such file"),
        ("skill", "inner", "{}", "has no file inner in skill"),
    ];
    for (folder, entry, text, expected) in table {
        let message = skill(folder, entry, None, text).unwrap_err();
        assert!(message.contains(expected), "{folder}/{entry}: {message}");
    }
    let long = "x".repeat(200_000);
    assert!(
        skill("skill", "run.sh", None, &long)
            .unwrap_err()
            .contains("200000 bytes")
    );
}

/// What the model is told of the arguments is what is read.
#[test]
fn the_schema_names_every_argument() {
    let (_dir, config) = config();
    let schema = schema(&config);
    for name in schema["properties"].as_object().unwrap().keys() {
        assert!(FIELDS.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(
        schema["properties"].as_object().unwrap().len(),
        FIELDS.matches('`').count() / 2
    );
}
