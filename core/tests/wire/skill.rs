//! `SKILL.md`: what files in the wild look like, what each mistake says, and properties.

use crate::support::nearly;
use openpista_core::wire::skill::{MAX_BYTES, Mode, SkillFile, is_name};
use proptest::prelude::*;
use std::fmt::Write;

fn read(front: &str) -> Result<SkillFile, String> {
    let text = format!("---\n{front}\n---\nthe body\n");
    SkillFile::parse(text.as_bytes(), "a-b").map_err(|error| error.to_string())
}

/// The description that a front matter comes to, written as `description:` and this.
fn described(rest: &str) -> Result<String, String> {
    read(&format!("name: a-b\ndescription:{rest}")).map(|file| file.description)
}

fn is(rest: &str, description: &str) {
    assert_eq!(described(rest).as_deref(), Ok(description), "{rest}");
}

#[test]
fn a_file_says_name_description_mode_image_and_body() {
    let text = "---\nname: pdf-tools\ndescription: Reads PDFs.\nmode: container\n\
                image: registry.example:5000/pdf@sha256:00ff\n---\n\n# PDFs\n\n---\nmore\n";
    let file = SkillFile::parse(text.as_bytes(), "pdf-tools").unwrap();
    let expected = SkillFile {
        name: "pdf-tools".into(),
        description: "Reads PDFs.".into(),
        mode: Some(Mode::Container),
        image: Some("registry.example:5000/pdf@sha256:00ff".into()),
        body: "\n# PDFs\n\n---\nmore\n".into(),
    };
    assert_eq!(file, expected);
    for mode in Mode::ALL {
        let front = format!("name: a-b\ndescription: x\nmode: {}", mode.name());
        assert_eq!(read(&front).unwrap().mode, Some(mode));
    }
    let plain = SkillFile::parse(b"---\nname: a\ndescription: x\n---", "a").unwrap();
    assert_eq!(
        (plain.mode, plain.image, plain.body.as_str()),
        (None, None, "")
    );
}

#[test]
fn keys_of_the_standard_and_of_others_are_passed_over() {
    let front = r#"
# a comment
license: Apache-2.0 # see LICENSE
compatibility: "needs git: and jq"
"name" : a-b
metadata:
  author: somebody
  version: "1.0"
  nested:
    - description: not this one
allowed-tools:
- Read
- Bash(git add:*)

hooks: {
  "image": ["x",
    {"y": 'z: {'}]
}
argument-hint: [file] [--flag
notes: |
  name: neither this
    nor this

  #nor that
	tabs do no harm here
description: the one
user-invocable: false"#;
    let file = read(front).unwrap();
    assert_eq!(
        (file.name.as_str(), file.description.as_str()),
        ("a-b", "the one")
    );
}

#[test]
fn plain_texts() {
    is(
        " It reads; it writes -- \"both\".",
        "It reads; it writes -- \"both\".",
    );
    is(" Use when: somebody asks", "Use when: somebody asks");
    is(" a#b c # a comment", "a#b c");
    is("   spaces around\t ", "spaces around");
    is(
        " one\n  two\n\n  three\n\n\n  four\n",
        "one two\nthree\n\nfour",
    );
    is(
        "\n\n  # a comment\n  begins below\n  goes on\n# ends",
        "begins below goes on",
    );
    is(
        "\n  When asked: this is no map",
        "When asked: this is no map",
    );
    is(" -dash ?question :colon", "-dash ?question :colon");
    is(" ~", "~");
    is(" 12", "12");
    is(" größe 日本", "größe 日本");
}

#[test]
fn quoted_texts() {
    is(" 'it''s # no: comment' # but this is", "it's # no: comment");
    is(r#" "a\"b\\c\/d""#, "a\"b\\c/d");
    is(r#" "x\ty\nz""#, "x\ty\nz");
    is(r#" "\x41\u00e9\U0001F600\_\L.""#, "Aé😀\u{a0}\u{2028}.");
    is(
        " \"one  \n\n  two\\\n   three\\n \n  four\"",
        "one\ntwothree\n four",
    );
    is(" 'one\n  two\n\n  ''three'''", "one two\n'three'");
    is("\n  \"below: x\"", "below: x");
    is(r#" "kept\ " "#, "kept");
}

#[test]
fn blocks() {
    is(" >\n  one\n  two\n\n  three\n", "one two\nthree");
    is(" |\n  one\n    two\n\n  three", "one\n  two\n\nthree");
    is(
        " >-\n  one\n    * list\n    * more\n  two",
        "one\n  * list\n  * more\ntwo",
    );
    is(" |+ # keep\n\n  one\n\n\n", "one");
    is(" |2-\n    two more", "two more");
    is(" >+1\n one\n  two\n three", "one\n two\nthree");
    is(
        " |\n  # no comment\n  key: value\n# a comment",
        "# no comment\nkey: value",
    );
    is("\n  |\n  a", "a");
    let next = read("description: >\n  some\n  words\nname: a-b").unwrap();
    assert_eq!(next.description, "some words");
}

#[test]
fn each_mistake_names_its_line_and_what_was_expected() {
    let all = [
        "name: a-b",
        "description: x",
        "name: b-a\ndescription: x",
        "name: A_b\ndescription: x",
        "name: 'a\\b'\ndescription: x",
        "name: a-b\ndescription:",
        "name: a-b\ndescription: ''",
        "name: a-b\ndescription: # nothing\nmode: wasm",
        "name: a-b\ndescription: [x, y]",
        "name: a-b\ndescription:\n  - x",
        "name: a-b\ndescription:\n  en: x",
        "name: a-b\ndescription: *anchor",
        "name: a-b\ndescription: @x",
        "name: a-b\ndescription: \"x\n  y\nmode: wasm",
        "name: a-b\ndescription: 'x' y",
        "name: a-b\ndescription: \"\\q\"",
        "name: a-b\ndescription: \"\\ud800\"",
        "name: a-b\ndescription: \"\\u+0ff\"",
        "name: a-b\ndescription: \"\\x9\"",
        "name: a-b\ndescription: >x\n  y",
        "name: a-b\ndescription: |22\n  y",
        "name: a-b\ndescription: |3\n  y",
        "name: a-b\ndescription: |\n\ty",
        "name: a-b\n\tdescription: x",
        "name: a-b\n  description: x\ndescription: y",
        "name: a-b\ndescription: x # y\n  z",
        "name: a-b\ndescription: x\nname: a-b",
        "name: a-b\n\njust words",
        "name: a-b\nkey:value\ndescription: x",
        "name: a-b\n- x",
        "name: a-b\ndescription: x\nmode: docker",
        "name: a-b\ndescription: x\nmode: WASM",
        "name: a-b\ndescription: x\nimage: debian:12",
        "name: a-b\ndescription: x\nmode: wasm\nimage: debian:12",
        "name: a-b\ndescription: x\nmode: container\nimage: debian 12",
    ];
    let mut said = String::new();
    for front in all {
        let shown = front.replace('\n', " ⏎ ").replace('\t', "⇥");
        let error = read(front).expect_err(front);
        let _ = writeln!(said, "{shown}\n    -> {error}");
    }
    insta::assert_snapshot!(said);
}

#[test]
fn what_is_no_front_matter_is_said() {
    let error = |bytes: &[u8]| SkillFile::parse(bytes, "a").unwrap_err().to_string();
    for none in [
        "",
        "# Title\n",
        "\n---\nname: a\n---\n",
        "--- \u{1}\n",
        "----\n",
    ] {
        assert!(
            error(none.as_bytes()).starts_with("line 1: expected `---`"),
            "{none}"
        );
    }
    assert!(error(b"---\nname: a\ndescription: x\n").starts_with("line 3: expected a line"));
    assert!(error(b"---\nname: a\n\xff").starts_with("line 3: this is not UTF-8"));
    let long = vec![b'x'; MAX_BYTES + 1];
    assert!(error(&long).starts_with("line 1: the file is 1048577 bytes long"));
    let words = "x".repeat(1_025);
    let long = format!("---\nname: a\ndescription: {words}\n---\n");
    assert!(error(long.as_bytes()).starts_with("line 3: the description has 1025"));
    let fits = long.replacen("xx", "é", 1);
    SkillFile::parse(fits.as_bytes(), "a").unwrap();
}

#[test]
fn names_are_those_of_the_standard() {
    let longest = "a".repeat(64);
    for name in ["a", "0", "a-b-9", &longest] {
        assert!(is_name(name), "{name}");
    }
    let too_long = "a".repeat(65);
    for name in [
        "", "-a", "a-", "a--b", "A", "a_b", "a.b", "ä", "a b", &too_long,
    ] {
        assert!(!is_name(name), "{name}");
    }
}

#[test]
fn a_mark_and_line_ends_of_windows_change_nothing() {
    let text = "---\nname: a\ndescription: >\n  x\n\n  y\n---\nbody\n\nmore\n";
    let expected = SkillFile::parse(text.as_bytes(), "a").unwrap();
    let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    assert_eq!(SkillFile::parse(windows.as_bytes(), "a").unwrap(), expected);
}

/// Found by fuzzing: what was read had line ends of Windows again.
#[test]
fn a_file_that_was_turned_into_one_of_windows_twice_reads_the_same() {
    let text = "---\nname: a\ndescription: x\n---\nbody\n\nmore\n";
    let expected = SkillFile::parse(text.as_bytes(), "a").unwrap();
    let twice = text.replace('\n', "\r\r\n");
    assert_eq!(SkillFile::parse(twice.as_bytes(), "a").unwrap(), expected);
}

/// The ways to write a text.
#[derive(Clone, Copy, Debug)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// Writes a text after its key, so that it means exactly that text.
fn write(style: Style, text: &str) -> String {
    let lines = text.split('\n');
    match style {
        Style::Plain => {
            let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
            lines.join("\n")
        }
        Style::Single => {
            let lines: Vec<String> = lines.map(|line| line.replace('\'', "''")).collect();
            format!(" '{}'\n", lines.join("\n\n  "))
        }
        Style::Double => {
            let escaped = text.chars().flat_map(|c| match c {
                '"' | '\\' => vec!['\\', c],
                '\n' => vec!['\\', 'n'],
                c => vec![c],
            });
            format!(" \"{}\"\n", escaped.collect::<String>())
        }
        Style::Literal => {
            let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
            format!(" |-\n{}", lines.concat())
        }
        Style::Folded => {
            let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
            format!(" >-\n{}", lines.join("\n"))
        }
    }
}

/// Lines of words, which every style can write.
fn words() -> impl Strategy<Value = String> {
    let word = "[a-zA-Z0-9é日][a-zA-Z0-9é日'\"\\\\,:!&*{}#-]{0,6}";
    let line = prop::collection::vec(word, 1..5).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 1..5).prop_map(|lines| lines.join("\n"))
}

fn style() -> impl Strategy<Value = Style> {
    use Style::*;
    prop::sample::select(vec![Plain, Single, Double, Literal, Folded])
}

const FRAGMENTS: &[&str] = &[
    "---",
    "---\n",
    "\n",
    "\r\n",
    "name:",
    "description:",
    "mode:",
    "image:",
    "metadata:",
    " ",
    "  ",
    "\t",
    "a",
    "wasm",
    "container",
    "'",
    "\"",
    "''",
    "\\",
    "\\n",
    "\\u00e9",
    "\\U0001F600",
    "|",
    ">",
    "|-",
    ">+2",
    "#",
    " # ",
    "-",
    "- x",
    "[",
    "]",
    "{a: b}",
    ":",
    ": ",
    "é",
    "\u{feff}",
    "\u{2028}",
    "x: y",
    "%",
    "?",
];

proptest! {
    #[test]
    fn law_19_what_was_written_is_read(text in words(), style in style(), after in any::<bool>()) {
        let key = write(style, &text);
        let front = match after {
            true => format!("description:{key}name: a-b"),
            false => format!("name: a-b\ndescription:{key}"),
        };
        prop_assert_eq!(read(&front).map(|file| file.description), Ok(text), "{}", front);
    }

    #[test]
    fn law_19_line_ends_of_windows_change_nothing(bytes in nearly(FRAGMENTS)) {
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let text = format!("---\nname: a\n{}", text.replace('\r', ""));
            let windows = text.replace('\n', "\r\n");
            let read = |text: &str| SkillFile::parse(text.as_bytes(), "a");
            prop_assert_eq!(read(&text), read(&windows));
        }
    }

    #[test]
    fn law_19_nothing_panics_and_errors_name_a_line_of_the_file(
        front in nearly(FRAGMENTS),
        bytes in nearly(FRAGMENTS),
    ) {
        let fenced = [b"---\nname: a\ndescription:", &front[..], b"\n---\n", &bytes[..]].concat();
        for bytes in [bytes, fenced] {
            match SkillFile::parse(&bytes, "a") {
                Ok(file) => {
                    prop_assert_eq!(file.name.as_str(), "a");
                    prop_assert!(!file.description.trim().is_empty());
                    let kept = file.description.len() + file.body.len();
                    prop_assert!(kept <= bytes.len() * 3 / 2, "{} of {}", kept, bytes.len());
                }
                Err(error) => {
                    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
                    prop_assert!((1..=lines).contains(&error.line), "{}", error);
                    prop_assert!(error.to_string().chars().count() < 400);
                }
            }
        }
    }
}
