//! Completions and the manual page: made from the table that help is made from, and understood by
//! the programs that read them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

fn program(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_openpistacrab"))
        .args(args)
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that help names.
fn commands() -> Vec<String> {
    let help = program(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().map(|line| line.split_whitespace().next());
    names.map(|name| name.unwrap().to_owned()).collect()
}

/// The options that a help names, each written as `--long`.
fn options(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter(|line| line.starts_with("  "));
    let lines =
        lines.filter_map(|line| line.find("--").filter(|at| *at <= 6).map(|at| &line[at..]));
    let word = |line: &str| line.split([' ', ',']).next().unwrap().to_owned();
    lines.map(word).collect()
}

/// The words of a text that look like long options.
fn dashed(text: &str) -> BTreeSet<String> {
    let part = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !part(c));
    let words = words.filter(|w| w.starts_with("--") && w[2..].starts_with(|c: char| c != '-'));
    words.map(str::to_owned).collect()
}

/// What is known of everything: the options of each command, and those of all.
fn known() -> BTreeSet<String> {
    let mut known = options(&program(&["--help"]));
    for command in commands() {
        known.extend(options(&program(&[&command, "--help"])));
    }
    assert!(known.len() > 15, "{known:?}");
    known
}

#[test]
fn every_option_of_help_is_in_completions_and_manual_and_no_other() {
    let known = known();
    for shell in ["bash", "zsh"] {
        let script = program(&["completions", shell]);
        let own: BTreeSet<String> = dashed(&script)
            .into_iter()
            // What a script says to its own shell.
            .filter(|option| option != "--option")
            .collect();
        assert_eq!(own, known, "{shell}");
    }
    let fish = program(&["completions", "fish"]);
    let long = fish.lines().filter_map(|line| line.split_once(" -l "));
    let long = long.map(|(_, rest)| format!("--{}", rest.split(' ').next().unwrap()));
    assert_eq!(long.collect::<BTreeSet<_>>(), known, "fish");
    let page = program(&["man"]).replace("\\-", "-");
    let tags = page.lines().filter(|line| line.starts_with("\\fB-"));
    let tags: String = tags.collect::<Vec<_>>().join("\n");
    assert_eq!(dashed(&tags.replace("\\fB", " ")), known, "man");
    for command in commands() {
        assert!(
            page.contains(&format!("\n.SS \"{command}")),
            "{command} is not in the page"
        );
        for shell in SHELLS {
            let script = program(&["completions", shell]);
            assert!(script.contains(&command), "{command} is not in {shell}'s");
        }
    }
}

fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null());
    command.stderr(Stdio::null()).status().is_ok()
}

#[test]
fn each_shell_takes_its_script() {
    let dir = tempfile::tempdir().unwrap();
    for shell in SHELLS {
        if !has(shell) {
            eprintln!("{shell} is not on this machine: its script is not checked");
            continue;
        }
        let file = dir.path().join(shell);
        std::fs::write(&file, program(&["completions", shell])).unwrap();
        let output = Command::new(shell).arg("-n").arg(&file).output().unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
        assert!(output.stderr.is_empty(), "{shell}: {output:?}");
    }
}

/// What bash offers for a line whose last word is being typed.
fn offered(folder: &Path, words: &[&str]) -> Vec<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _openpistacrab; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let file = folder.join("completions.bash");
    std::fs::write(&file, program(&["completions", "bash"])).unwrap();
    let mut command = Command::new("bash");
    command.args(["--norc", "-c", script, "bash"]).arg(&file);
    let output = command.arg("openpistacrab").args(words);
    let output = output.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.is_empty() && line != "completions.bash");
    lines.sort();
    lines
}

#[test]
fn bash_completes_commands_options_values_and_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("a folder")).unwrap();
    std::fs::write(dir.path().join("a file.toml"), "").unwrap();
    let offered = |words: &[&str]| offered(dir.path(), words);
    let mut all = commands();
    all.push("help".to_owned());
    all.sort();
    assert_eq!(offered(&[""]), all);
    assert_eq!(offered(&["help", ""]), all);
    assert_eq!(offered(&["se"]), ["sessions"]);
    assert_eq!(offered(&["sessions", "s"]), ["show"]);
    assert_eq!(offered(&["token", ""]), ["add", "list", "revoke"]);
    assert_eq!(offered(&["run", "--y"]), ["--yes"]);
    assert_eq!(offered(&["run", "-e", ""]), [""; 0]);
    assert_eq!(offered(&["run", "-e", "token", "--js"]), ["--json"]);
    assert_eq!(
        offered(&["init", "--provider", "o"]),
        ["ollama", "openai", "openrouter"]
    );
    // As bash splits --provider=op.
    assert_eq!(offered(&["init", "--provider", "=", "opena"]), ["openai"]);
    assert_eq!(offered(&["init", "--provider", "="]).len(), 8);
    assert_eq!(offered(&["--log", "w"]), ["warn"]);
    assert_eq!(offered(&["--log", "warn", "doc"]), ["doctor"]);
    assert_eq!(offered(&["--config", ""]), ["a file.toml", "a folder"]);
    assert_eq!(offered(&["--data-dir", "a"]), ["a folder"]);
    assert_eq!(offered(&["replay", "a f"]), ["a file.toml", "a folder"]);
    assert_eq!(offered(&["completions", ""]), ["bash", "fish", "zsh"]);
    let expected: Vec<String> = options(&program(&["run", "--help"])).into_iter().collect();
    let long = offered(&["run", "--"]);
    assert_eq!(long, expected);
}

#[test]
fn the_manual_page_is_one_that_groff_has_nothing_to_say_about() {
    let page = program(&["man"]);
    assert!(page.contains("\n.SH NAME\nopenpistacrab \\- "), "{page}");
    let odd = page
        .lines()
        .find(|line| line.starts_with('\'') || !line.is_ascii());
    assert_eq!(odd, None);
    if !has("groff") {
        eprintln!("groff is not on this machine: the page is not formatted");
        return;
    }
    let mut groff = Command::new("groff");
    groff.args(["-man", "-ww", "-Tutf8"]).stdin(Stdio::piped());
    groff.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = groff.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
