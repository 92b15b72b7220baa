//! Workspaces as people have them, right and wrong.

use super::*;
use crate::config::Fallback;
use openpista_core::effect::Recovery;
use openpista_core::effect::sandbox::{Engine, Program, Sandboxed};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

struct Place {
    dir: tempfile::TempDir,
    skills: Skills,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("w");
        fs::create_dir(&workspace).unwrap();
        let skills = Skills {
            received: workspace.join("files"),
            workspace,
            limits: Limits::default(),
            sandbox: Sandbox::default(),
        };
        Place { dir, skills }
    }

    /// Writes a file, and the folders that it lies in.
    fn write(&self, path: &str, text: &str) -> &Place {
        let path = self.skills.workspace.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Writes a `SKILL.md` with these lines beside name and description.
    fn skill(&self, folder: &str, more: &str) -> &Place {
        let name = folder.rsplit('/').next().unwrap();
        let text = format!("---\nname: {name}\ndescription: Does {name}.\n{more}---\nHow to.\n");
        self.write(&format!("{folder}/{FILE_NAME}"), &text)
    }

    fn read(&self) -> Found {
        self.skills.read(&self.skills.look())
    }

    fn names(&self) -> Vec<String> {
        let found = self.read();
        assert_eq!(found.broken, []);
        found.skills.into_iter().map(|skill| skill.name).collect()
    }

    /// The complaints, without the place they are in.
    fn complaints(&self) -> Vec<String> {
        let place = format!("{}/", self.skills.workspace.display());
        let broken = self.read().broken.into_iter();
        broken
            .map(|one| one.to_string().replace(&place, ""))
            .collect()
    }

    /// The one skill's tool.
    fn tool(&self) -> openpista_core::message::ToolSpec {
        let found = self.read();
        assert_eq!(found.broken, []);
        found.skills[0].tool.clone().expect("a program")
    }
}

#[test]
fn skills_are_found_wherever_they_lie() {
    let place = Place::new();
    place
        .skill("b", "")
        .skill("a/deep/er/c", "")
        .skill("b/inner/d", "");
    place
        .write("b/notes.md", "no skill")
        .write("e/skill.md", "no skill either");
    for skipped in [
        ".git/x",
        "target/x",
        "a/node_modules/x",
        "files/x",
        "1/2/3/4/5/6/7/8/x",
    ] {
        place.skill(skipped, "");
    }
    place.skill("a/files/f", "").skill("1/2/3/4/5/6/7/g", "");
    assert_eq!(place.names(), ["g", "c", "f", "b", "d"]);
    let found = place.read();
    let b = found.skills.iter().find(|skill| skill.name == "b").unwrap();
    assert_eq!(
        (&*b.body, b.description.as_str(), &b.tool),
        ("How to.\n", "Does b.", &None)
    );
}

#[test]
fn the_workspace_itself_may_be_a_skill_and_may_be_missing() {
    let place = Place::new();
    place
        .write(FILE_NAME, "---\nname: w\ndescription: x\n---\n")
        .write("run.sh", "");
    assert_eq!(place.names(), ["w"]);
    fs::remove_dir_all(&place.skills.workspace).unwrap();
    assert_eq!(place.read(), Found::default());
}

#[test]
fn a_broken_one_is_named_with_file_and_line_and_skips_only_itself() {
    let place = Place::new();
    place.skill("good", "");
    place.write("bad/SKILL.md", "---\nname: bad\ndescription: [x]\n---\n");
    place.skill("a/twice", "").skill("b/twice", "");
    place
        .skill("guest", "mode: wasm\n")
        .write("guest/run.sh", "");
    place
        .skill("script", "mode: subprocess\n")
        .write("script/main.wasm", "");
    place
        .skill("boxed", "mode: container\n")
        .write("boxed/run.sh", "");
    place.skill("read", "").write("read/run.sh", "");
    place
        .skill("schema", "")
        .write("schema/run.sh", "")
        .write("schema/parameters.json", "{\n{");
    place
        .skill("list", "")
        .write("list/run.sh", "")
        .write("list/parameters.json", "[1]");
    let complaints = place.complaints();
    insta::assert_snapshot!(complaints.join("\n"));
    let names: Vec<String> = place.read().skills.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["twice", "good"]);
}

#[test]
fn links_lead_nowhere_out_of_the_workspace() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir_all(outside.join("s")).unwrap();
    fs::write(
        outside.join("s/SKILL.md"),
        "---\nname: s\ndescription: secret\n---\n",
    )
    .unwrap();
    fs::write(outside.join("run.sh"), "").unwrap();
    let workspace = &place.skills.workspace;
    place
        .skill("real", "")
        .skill("linked", "")
        .write("common/run.sh", "");
    symlink("../common/run.sh", workspace.join("linked/run.sh")).unwrap();
    symlink("real", workspace.join("again")).unwrap();
    symlink("..", workspace.join("real/up")).unwrap();
    assert_eq!(place.names(), ["linked", "real"]);
    symlink(outside.join("s"), workspace.join("s")).unwrap();
    fs::create_dir(workspace.join("t")).unwrap();
    symlink(outside.join("s/SKILL.md"), workspace.join("t/SKILL.md")).unwrap();
    place.skill("u", "");
    symlink(outside.join("run.sh"), workspace.join("u/run.sh")).unwrap();
    place.skill("v", "").write("v/run.sh", "");
    symlink("/dev/zero", workspace.join("v/parameters.json")).unwrap();
    insta::assert_snapshot!(place.complaints().join("\n"));
}

#[test]
fn nothing_that_blocks_or_never_ends_is_read() {
    let place = Place::new();
    fs::create_dir(place.skills.workspace.join("a")).unwrap();
    let pipe = place.skills.workspace.join("a/SKILL.md");
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    place.write("b/SKILL.md", &"x".repeat(MAX_BYTES + 1));
    fs::create_dir_all(place.skills.workspace.join("c/SKILL.md")).unwrap();
    let complaints = place.complaints().join("\n");
    assert!(
        complaints.contains("a/SKILL.md: this is not a file"),
        "{complaints}"
    );
    assert!(
        complaints.contains("b/SKILL.md: the file is too long"),
        "{complaints}"
    );
    assert!(
        complaints.contains("c/SKILL.md: this is not a file"),
        "{complaints}"
    );
}

#[test]
fn bounds_refuse_aloud() {
    let mut place = Place::new();
    place.skills.limits.skills = 1;
    place.skills.limits.skill_bytes = 100;
    place.skill("a", "").skill("b", "");
    let long = format!("---\nname: c\ndescription: x\n---\n{}", "x".repeat(101));
    place.write("c/SKILL.md", &long);
    let complaints = place.complaints().join("\n");
    assert!(
        complaints.contains("b/SKILL.md: there are 1 skills already"),
        "{complaints}"
    );
    assert!(
        complaints.contains("c/SKILL.md: the text is 101 bytes"),
        "{complaints}"
    );
}

fn sandboxed(tool: &openpista_core::message::ToolSpec) -> (Engine, Option<Engine>, String) {
    let Some(Sandboxed {
        engine,
        otherwise,
        program: Program::Skill { entry, image, .. },
    }) = &tool.sandbox
    else {
        panic!("{tool:?}");
    };
    let image = image
        .as_ref()
        .map_or(String::new(), |image| format!(" in {image}"));
    (*engine, *otherwise, format!("{entry}{image}"))
}

#[test]
fn a_program_becomes_a_tool() {
    let place = Place::new();
    place.skill("x/hello", "").write("x/hello/main.py", "");
    let tool = place.tool();
    assert_eq!(
        (tool.name.as_str(), tool.description.as_str()),
        ("skill.hello", "Does hello.")
    );
    assert_eq!((tool.recovery, tool.read_only), (Recovery::Doubt, true));
    assert_eq!(tool.timeout_ms, 60_000);
    assert!(
        tool.parameters.contains("\"additionalProperties\":true"),
        "{tool:?}"
    );
    let Some(Sandboxed { program, .. }) = &tool.sandbox else {
        panic!("{tool:?}");
    };
    let expected = Program::Skill {
        name: "hello".into(),
        folder: "x/hello".into(),
        entry: "main.py".into(),
        image: None,
    };
    assert_eq!(program, &expected);
    let schema = "{\n \"type\": \"object\",\n \"required\": [\"who\"]}\n";
    place.write("x/hello/parameters.json", schema);
    assert_eq!(
        place.tool().parameters,
        r#"{"required":["who"],"type":"object"}"#
    );
}

#[test]
fn the_mode_or_the_file_says_what_it_runs_in() {
    let mut place = Place::new();
    let found = |place: &Place| sandboxed(&place.tool());
    place
        .skill("a", "")
        .write("a/main.py", "")
        .write("a/run.sh", "");
    assert_eq!(found(&place), (Engine::Subprocess, None, "run.sh".into()));
    place.write("a/main.wasm", "");
    assert_eq!(found(&place), (Engine::Wasm, None, "main.wasm".into()));
    let guest = place.tool();
    assert_eq!((guest.recovery, guest.read_only), (Recovery::Repeat, true));
    assert_eq!(guest.timeout_ms, 30_000);
    place.skill("a", "mode: subprocess\n");
    assert_eq!(found(&place), (Engine::Subprocess, None, "run.sh".into()));
    place.skill("a", "mode: container\nimage: own:1\n");
    let own = (
        Engine::Docker,
        Some(Engine::Subprocess),
        "run.sh in own:1".into(),
    );
    assert_eq!(found(&place), own);
    assert_eq!(place.tool().recovery, Recovery::Probe);
    place.skills.sandbox.image = Some("usual".into());
    place.skills.sandbox.fallback = Fallback::Refuse;
    assert_eq!(
        found(&place),
        (Engine::Docker, None, "run.sh in own:1".into())
    );
    place.skill("a", "mode: container\n");
    assert_eq!(
        found(&place),
        (Engine::Docker, None, "run.sh in usual".into())
    );
}

#[test]
fn what_may_run_unconfined_may_change_things() {
    let mut place = Place::new();
    place.skills.sandbox.unconfined = true;
    place.skill("a", "").write("a/run.sh", "");
    assert!(!place.tool().read_only);
    place.skill("a", "mode: container\nimage: x\n");
    assert!(!place.tool().read_only, "it may come to run as a process");
    place.skills.sandbox.fallback = Fallback::Refuse;
    assert!(place.tool().read_only);
    place.write("a/main.wasm", "").skill("a", "mode: wasm\n");
    assert!(place.tool().read_only);
}

#[test]
fn a_look_tells_every_change_and_nothing_else() {
    let place = Place::new();
    place
        .skill("a", "")
        .write("a/run.sh", "1")
        .write("other.txt", "1");
    let mut last = place.skills.look();
    let mut changed = |expected: bool, what: &str| {
        // The kernel's clock for files ticks some hundred times a second.
        std::thread::sleep(Duration::from_millis(20));
        let now = place.skills.look();
        assert_eq!(now != last, expected, "{what}");
        last = now;
    };
    changed(false, "nothing");
    place.write("other.txt", "2").write("b/notes.md", "");
    changed(false, "other files");
    place.skill("a", "");
    changed(true, "written again");
    place.write("a/run.sh", "2");
    changed(true, "its program");
    place.write("a/parameters.json", "{}");
    changed(true, "its parameters");
    fs::rename(
        place.skills.workspace.join("a"),
        place.skills.workspace.join("c"),
    )
    .unwrap();
    changed(true, "moved");
    fs::remove_dir_all(place.skills.workspace.join("c")).unwrap();
    changed(true, "removed");
    changed(false, "nothing again");
}
