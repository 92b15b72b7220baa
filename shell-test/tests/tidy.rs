//! The rules of the house, held against the whole tree.
//!
//! Each rule is a function over source text, so that the table test at the end can show each one
//! going red. Rules look at tokens: comments, texts and what is under `#[cfg(test)]` do not count
//! unless a rule says so.

#[path = "support/workspace.rs"]
mod workspace;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::fmt::Write;
use std::path::Path;
use workspace::{cargo, root};

/// The most lines of a file, tests and tables aside.
const FILE_LINES: usize = 500;
/// The most lines of a function.
const FUNCTION_LINES: usize = 70;
/// A constant of this many lines or more is a table.
const TABLE_LINES: usize = 10;

/// What a machine may import from the core.
const VOCABULARY: [&str; 16] = [
    "cron", "depth", "digest", "effect", "hint", "id", "input", "limit", "message", "record",
    "refusal", "say", "settings", "skill", "time", "timer",
];

/// What the core may depend on: crates that are pure and know no operating system.
const PURE: [&str; 6] = [
    "serde",
    "serde_json",
    "sha2",
    "saffron",
    "chrono",
    "chrono-tz",
];

/// One source file.
struct Source {
    /// From the root of the tree, with `/`.
    path: String,
    text: String,
}

/// A broken rule.
#[derive(Debug)]
struct Broken {
    line: usize,
    what: String,
}

fn broken(line: usize, what: impl Into<String>) -> Broken {
    Broken {
        line,
        what: what.into(),
    }
}

impl Source {
    /// Files in which only tests live.
    fn is_test(&self) -> bool {
        let path = Path::new(&self.path);
        self.path.contains("/tests/") || path.file_stem().is_some_and(|stem| stem == "tests")
    }

    fn is_under(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    fn tokens(&self) -> Vec<TokenTree> {
        let tokens: Result<TokenStream, _> = self.text.parse();
        let tokens = tokens.unwrap_or_else(|error| panic!("{}: {error}", self.path));
        tokens.into_iter().collect()
    }

    /// The tokens without the items that only tests see.
    fn shipped(&self) -> Vec<TokenTree> {
        without_tests(self.tokens(), &mut Vec::new())
    }
}

// Walking tokens.

fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == c)
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// Calls `see` with every list of tokens, the outermost first, and each group's inside.
fn each_list(tokens: &[TokenTree], see: &mut dyn FnMut(&[TokenTree])) {
    see(tokens);
    for token in tokens {
        if let TokenTree::Group(group) = token {
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            each_list(&inside, see);
        }
    }
}

/// Takes out each item that an attribute keeps for tests, and notes its lines.
fn without_tests(tokens: Vec<TokenTree>, cut: &mut Vec<(usize, usize)>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = is_punct(Some(&token), '#')
            .then(|| group(tokens.peek(), Delimiter::Bracket))
            .flatten();
        if !attribute.is_some_and(is_for_tests) {
            kept.push(match token {
                TokenTree::Group(group) => {
                    let inside = without_tests(group.stream().into_iter().collect(), cut);
                    let mut smaller = Group::new(group.delimiter(), inside.into_iter().collect());
                    smaller.set_span(group.span());
                    TokenTree::Group(smaller)
                }
                token => token,
            });
            continue;
        }
        let first = line_of(&token);
        tokens.next();
        let last = tokens.find(|token| {
            is_punct(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some()
        });
        let last = last.map_or(first, |token| token.span().end().line);
        cut.push((first, last));
    }
    kept
}

/// `[test]`, `[cfg(test)]`, `[cfg(all(test, …))]`, but not `[cfg(not(test))]`.
fn is_for_tests(attribute: &Group) -> bool {
    let text = attribute.stream().to_string();
    let words = || text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let says = |word| words().any(|w| w == word);
    text == "test" || (words().next() == Some("cfg") && says("test") && !says("not"))
}

/// Each `ROOT::NAME` in the tokens, as root, name, line. `ROOT::{A, B::C}` gives A and B.
fn paths(tokens: &[TokenTree]) -> Vec<(String, String, usize)> {
    let mut found = Vec::new();
    each_list(tokens, &mut |list| {
        for (at, token) in list.iter().enumerate() {
            let TokenTree::Ident(root) = token else {
                continue;
            };
            let follows = is_punct(list.get(at + 1), ':') && is_punct(list.get(at + 2), ':');
            let inside = at >= 3
                && is_punct(list.get(at - 1), ':')
                && matches!(list[at - 3], TokenTree::Ident(_));
            if !follows || inside {
                continue;
            }
            let names: Vec<TokenTree> = match list.get(at + 3) {
                Some(TokenTree::Group(names)) => heads(names),
                name => name.cloned().into_iter().collect(),
            };
            for name in names {
                let line = line_of(&name);
                found.push((root.to_string(), name.to_string(), line));
            }
        }
    });
    found
}

/// The first token of each part between commas.
fn heads(names: &Group) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = names.stream().into_iter().collect();
    let parts = tokens.split(|token| is_punct(Some(token), ','));
    parts.filter_map(|part| part.first().cloned()).collect()
}

// The rules.

fn machine_imports(source: &Source) -> Vec<Broken> {
    let path = source.path.strip_prefix("core/src/machine/");
    let Some(path) = path.filter(|path| *path != "mod.rs") else {
        return Vec::new();
    };
    // In `machine/a.rs`, `super` is where the other machines are; in `machine/a/b.rs` it is `a`.
    let depth = path.matches('/').count();
    let strangers = paths(&source.shipped()).into_iter();
    let strangers = strangers.filter(|(root, name, _)| match root.as_str() {
        "crate" => !VOCABULARY.contains(&name.as_str()),
        "super" => depth == 0 || name == "super",
        _ => false,
    });
    let tell = |(root, name, line): (String, String, usize)| {
        broken(
            line,
            format!(
                "a machine imports {root}::{name}; it may import {} alone: let step.rs pass it in",
                VOCABULARY.join(", ")
            ),
        )
    };
    strangers.map(tell).collect()
}

fn shell_imports(source: &Source) -> Vec<Broken> {
    let strangers: &[&str] = match source.path.split('/').next() {
        Some("core") => &["openpista_shell_smol", "openpista_shell_test"],
        Some("shell-smol") => &["openpista_shell_test"],
        Some("shell-test") => &["openpista_shell_smol"],
        _ => &[],
    };
    let mut found = Vec::new();
    each_list(&source.tokens(), &mut |list| {
        for token in list {
            if strangers.iter().any(|name| is_ident(Some(token), name)) {
                let what = format!("imports {token}; shells import the core, never each other");
                found.push(broken(line_of(token), what));
            }
        }
    });
    found
}

fn core_without_std(source: &Source) -> Vec<Broken> {
    if !source.is_under("core/src/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    if source.path == "core/src/lib.rs" && !source.text.contains("\n#![no_std]\n") {
        found.push(broken(
            1,
            "the core is not #![no_std]: put that after the module doc",
        ));
    }
    each_list(&source.shipped(), &mut |list| {
        for (at, token) in list.iter().enumerate() {
            let named =
                is_punct(list.get(at + 1), ':') || is_ident(list.get(at.wrapping_sub(1)), "crate");
            if is_ident(Some(token), "std") && named {
                let what = "the core uses std: take core, alloc, or an argument instead";
                found.push(broken(line_of(token), what));
            }
        }
    });
    found
}

fn core_in_order(source: &Source) -> Vec<Broken> {
    if !source.is_under("core/src/") {
        return Vec::new();
    }
    let unordered = [
        "HashMap",
        "HashSet",
        "IndexMap",
        "IndexSet",
        "hash_map",
        "hash_set",
        "RandomState",
    ];
    let mut found = Vec::new();
    each_list(&source.shipped(), &mut |list| {
        for token in list {
            if unordered.iter().any(|name| is_ident(Some(token), name)) {
                let what = format!("{token} has no order of its own: take BTreeMap or BTreeSet");
                found.push(broken(line_of(token), what));
            }
        }
    });
    found
}

fn short_files(source: &Source) -> Vec<Broken> {
    if source.is_test() {
        return Vec::new();
    }
    let mut aside = Vec::new();
    let shipped = without_tests(source.tokens(), &mut aside);
    each_list(&shipped, &mut |list| aside.extend(tables(list)));
    let aside: usize = aside.iter().map(|(first, last)| last - first + 1).sum();
    let lines = source.text.lines().count().saturating_sub(aside);
    match lines > FILE_LINES {
        true => vec![broken(
            1,
            format!(
                "{lines} lines, tests and tables aside, but {FILE_LINES} is the ceiling: split it by what its parts own"
            ),
        )],
        false => Vec::new(),
    }
}

/// The lines of long constants.
fn tables(list: &[TokenTree]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, token) in list.iter().enumerate() {
        let starts = is_ident(Some(token), "const") || is_ident(Some(token), "static");
        // Neither `*const T`, `&'static T` nor `<const N: usize>`.
        let before = list.get(at.wrapping_sub(1));
        let other = "*'<,".chars().any(|c| is_punct(before, c));
        if !starts || other || !is_punct(list.get(at + 2), ':') {
            continue;
        }
        let end = list[at..].iter().find(|token| is_punct(Some(token), ';'));
        let last = end.map_or(0, |token| token.span().end().line);
        if last >= line_of(token) + TABLE_LINES {
            found.push((line_of(token), last));
        }
    }
    found
}

fn short_functions(source: &Source) -> Vec<Broken> {
    if source.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    each_list(&source.shipped(), &mut |list| {
        for (at, token) in list.iter().enumerate() {
            let Some(TokenTree::Ident(name)) = list.get(at + 1) else {
                continue;
            };
            if !is_ident(Some(token), "fn") {
                continue;
            }
            let end = list[at..].iter().find(|token| {
                is_punct(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some()
            });
            let last = end.map_or(0, |token| token.span().end().line);
            let lines = (last + 1).saturating_sub(line_of(token));
            if lines > FUNCTION_LINES {
                let what = format!(
                    "fn {name} has {lines} lines, but {FUNCTION_LINES} is the ceiling: name its parts"
                );
                found.push(broken(line_of(token), what));
            }
        }
    });
    found
}

/// Tests count too: one that is left out proves nothing.
fn nothing_undone(source: &Source) -> Vec<Broken> {
    let mut found = Vec::new();
    each_list(&source.tokens(), &mut |list| {
        for (at, token) in list.iter().enumerate() {
            let next = list.get(at + 1);
            let undone = ["todo", "unimplemented"];
            if undone.iter().any(|name| is_ident(Some(token), name)) && is_punct(next, '!') {
                found.push(broken(
                    line_of(token),
                    format!("{token}! is left: do it, or leave it out"),
                ));
            }
            let attribute = is_punct(Some(token), '#').then(|| group(next, Delimiter::Bracket));
            let ignored = |attribute: &Group| {
                is_ident(attribute.stream().into_iter().next().as_ref(), "ignore")
            };
            if attribute.flatten().is_some_and(ignored) {
                found.push(broken(
                    line_of(token),
                    "an ignored test proves nothing: make it run",
                ));
            }
        }
    });
    found
}

/// A module that several test programs share may say, with a reason, that each uses a part of it.
fn no_blanket_allow(source: &Source) -> Vec<Broken> {
    let blanket = [
        "warnings",
        "unused",
        "dead_code",
        "missing_docs",
        "clippy::all",
    ];
    let mut found = Vec::new();
    each_list(&source.tokens(), &mut |list| {
        for (at, token) in list.iter().enumerate() {
            let inner = is_punct(list.get(at + 1), '!');
            let attribute = group(list.get(at + 1 + usize::from(inner)), Delimiter::Bracket);
            let (true, Some(attribute)) = (is_punct(Some(token), '#'), attribute) else {
                continue;
            };
            let text: String = attribute.stream().to_string().split_whitespace().collect();
            let Some(allowed) = text.strip_prefix("allow(") else {
                continue;
            };
            let mut lints = allowed.trim_end_matches(')').split(',');
            let shared = source.is_test() && allowed.contains("reason=");
            if !shared && (inner || lints.any(|lint| blanket.contains(&lint))) {
                let what =
                    "a blanket allow: mend what the lint says, or expect one lint on one item";
                found.push(broken(line_of(token), what));
            }
        }
    });
    found
}

// The tree.

/// Every Rust file of the three packages, the fuzz targets included.
fn tree() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for package in ["core", "shell-smol", "shell-test"] {
        collect(&root, &root.join(package), &mut found);
    }
    assert!(
        found.len() > 40,
        "only {} files in {}",
        found.len(),
        root.display()
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") {
            let relative = path.strip_prefix(root).unwrap();
            found.push(Source {
                path: relative.to_string_lossy().replace('\\', "/"),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

fn hold(rule: fn(&Source) -> Vec<Broken>) {
    let mut out = String::new();
    for source in tree() {
        for Broken { line, what } in rule(&source) {
            let _ = writeln!(out, "{}:{line}: {what}", source.path);
        }
    }
    assert!(out.is_empty(), "\n{out}");
}

#[test]
fn machines_import_the_vocabulary_and_never_each_other() {
    hold(machine_imports);
}

#[test]
fn shells_import_the_core_and_never_each_other() {
    hold(shell_imports);
}

#[test]
fn the_core_uses_no_std() {
    hold(core_without_std);
}

#[test]
fn the_core_has_ordered_collections_only() {
    hold(core_in_order);
}

#[test]
fn files_keep_to_their_ceiling() {
    hold(short_files);
}

#[test]
fn functions_keep_to_their_ceiling() {
    hold(short_functions);
}

#[test]
fn nothing_is_left_undone_or_ignored() {
    hold(nothing_undone);
}

#[test]
fn no_lint_is_allowed_wholesale() {
    hold(no_blanket_allow);
}

/// What is wrong with the core's dependencies, as `cargo metadata` tells of them.
fn impure(metadata: &serde_json::Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().unwrap().iter();
    let mut core = packages.filter(|package| package["name"] == "openpista-core");
    let dependencies = core.next().unwrap()["dependencies"].as_array().unwrap();
    let mut found = Vec::new();
    for dependency in dependencies.iter().filter(|one| one["kind"] != "dev") {
        let name = dependency["name"].as_str().unwrap();
        if !PURE.contains(&name) {
            let pure = PURE.join(", ");
            found.push(format!(
                "core/Cargo.toml: {name} is none of {pure}: keep it out of the core"
            ));
        }
        if dependency["uses_default_features"] == true {
            found.push(format!(
                "core/Cargo.toml: {name} has its default features: turn them off"
            ));
        }
    }
    found
}

/// Its `std` feature is empty, and the crate never links std.
const EMPTY_STD: &str = "siphasher ";

/// The packages that have a `std` feature on, of lines such as `serde v1.0.0 [alloc,std]`.
fn with_std(tree: &str) -> Vec<String> {
    let std_on = |line: &&str| {
        let features = line
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        features.is_some_and(|(features, _)| features.split(',').any(|f| f == "std"))
    };
    let lines = tree.lines().filter(|line| !line.starts_with(EMPTY_STD));
    lines.filter(std_on).map(str::to_owned).collect()
}

#[test]
fn the_core_depends_on_pure_crates_without_std() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let found = impure(&serde_json::from_str(&metadata).unwrap());
    assert!(found.is_empty(), "\n{}", found.join("\n"));

    let of_core = ["tree", "-p", "openpista-core", "-e", "normal,no-proc-macro"];
    let format = ["--prefix", "none", "--format", "{p} [{f}]"];
    let tree = cargo(&[&of_core[..], &format[..]].concat());
    assert!(tree.contains("serde_json"), "{tree}");
    let found = with_std(&tree);
    assert!(
        found.is_empty(),
        "std is on in the core's tree:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_display_is_for_its_companion_alone() {
    let tree = |more: &[&str]| {
        let shell = ["tree", "-p", "openpista-shell-smol", "-e", "normal"];
        cargo(&[&shell[..], &["--prefix", "none"], more].concat())
    };
    let (usual, desktop) = (tree(&[]), tree(&["--features", "desktop"]));
    for package in ["enigo", "jpeg-encoder", "png", "x11rb", "xcap", "zbus"] {
        let is_in = |tree: &str| {
            tree.lines()
                .any(|line| line.starts_with(&format!("{package} v")))
        };
        assert!(is_in(&desktop), "{package} is not what it needs");
        assert!(!is_in(&usual), "{package} is in a build without it");
    }
}

// The rules themselves.

type Rule = fn(&Source) -> Vec<Broken>;

/// A rule, where, a text that breaks it at this line, and a text that keeps it.
const EXAMPLES: &[(Rule, &str, &str, usize, &str)] = &[
    (
        machine_imports,
        "core/src/machine/turn.rs",
        "use crate::id::Seq;\nuse crate::machine::router::Router;",
        2,
        "use crate::{effect::Effect, id::Seq};\nmod own;\nuse own::Thing;",
    ),
    (
        machine_imports,
        "core/src/machine/turn.rs",
        "use crate::{\n    id::Seq,\n    state::State,\n};",
        3,
        "#[cfg(test)]\nmod tests { use crate::state::State; use super::*; }",
    ),
    (
        machine_imports,
        "core/src/machine/turn.rs",
        "fn f() {\n    super::intent::g();\n}",
        2,
        "/// See [`super::intent`].\nfn f() {}",
    ),
    (
        machine_imports,
        "core/src/machine/turn/transcript.rs",
        "use super::super::intent::Intents;",
        1,
        "use super::Turn;",
    ),
    (
        shell_imports,
        "shell-smol/tests/x.rs",
        "\nuse openpista_shell_test::world;",
        2,
        "use openpista_core::step::Core;",
    ),
    (
        shell_imports,
        "shell-test/src/x.rs",
        "fn f() { openpista_shell_smol::command::main(); }",
        1,
        "// openpista_shell_smol\nfn f() -> &'static str { \"openpista_shell_smol\" }",
    ),
    (
        core_without_std,
        "core/src/lib.rs",
        "//! Doc.\nextern crate alloc;",
        1,
        "//! Doc.\n#![no_std]\n#[cfg(test)]\nextern crate std;",
    ),
    (
        core_without_std,
        "core/src/id.rs",
        "fn f() {\n    let _ = std::time::Instant::now();\n}",
        2,
        "fn std() {}\n#[cfg(test)]\nmod tests { use std::string::String; }",
    ),
    (
        core_in_order,
        "core/src/id.rs",
        "use hashbrown::HashMap;",
        1,
        "use alloc::collections::BTreeMap; // not a HashMap",
    ),
    (
        nothing_undone,
        "shell-smol/src/x.rs",
        "fn f() {\n    todo!()\n}",
        2,
        "fn todo() { let unimplemented = 3; }",
    ),
    (
        nothing_undone,
        "core/tests/x.rs",
        "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
        2,
        "#[test]\nfn ignore() {}",
    ),
    (
        no_blanket_allow,
        "shell-smol/src/x.rs",
        "#![allow(clippy::type_complexity)]",
        1,
        "#![no_std]\n#[expect(clippy::type_complexity)]\nfn f() {}",
    ),
    (
        no_blanket_allow,
        "shell-smol/tests/support/x.rs",
        "#![allow(dead_code)]",
        1,
        "#![allow(dead_code, reason = \"shared\")]",
    ),
    (
        no_blanket_allow,
        "shell-smol/src/x.rs",
        "\n#[allow(dead_code)]\nfn f() {}",
        2,
        "#[allow(clippy::too_many_arguments)]\nfn f() {}",
    ),
];

fn judge(rule: Rule, path: &str, text: &str) -> Vec<Broken> {
    rule(&Source {
        path: path.to_owned(),
        text: text.to_owned(),
    })
}

#[test]
fn each_rule_goes_red_on_a_bad_example_and_not_on_a_good_one() {
    for (rule, path, bad, line, good) in EXAMPLES {
        let found = judge(*rule, path, bad);
        assert_eq!(found.len(), 1, "{path}:\n{bad}\n{found:?}");
        assert_eq!(found[0].line, *line, "{found:?}");
        let found = judge(*rule, path, good);
        assert!(found.is_empty(), "{path}:\n{good}\n{found:?}");
    }
}

#[test]
fn ceilings_count_what_is_neither_test_nor_table() {
    let path = "shell-smol/src/x.rs";
    let body = |lines: usize| "    f();\n".repeat(lines);
    let function = |lines: usize| format!("fn f() {{\n{}}}\n", body(lines - 2));
    assert_eq!(
        judge(short_functions, path, &function(FUNCTION_LINES)).len(),
        0
    );
    assert_eq!(
        judge(short_functions, path, &function(FUNCTION_LINES + 1)).len(),
        1
    );
    let inside = format!("impl X {{\n{}}}\n", function(FUNCTION_LINES + 1));
    assert_eq!(judge(short_functions, path, &inside)[0].line, 2);
    let test = format!("#[cfg(test)]\nmod tests {{\n{inside}}}\n");
    assert_eq!(judge(short_functions, path, &test).len(), 0);
    assert_eq!(
        judge(short_functions, "shell-smol/tests/x.rs", &inside).len(),
        0
    );

    let file = "fn f() {}\n".repeat(FILE_LINES);
    assert_eq!(judge(short_files, path, &file).len(), 0);
    assert_eq!(judge(short_files, path, &format!("{file}\n")).len(), 1);
    let aside = format!("const T: [u8; 1000] = [\n{}];\n", "    0,\n".repeat(1_000));
    assert_eq!(
        judge(short_files, path, &format!("{file}{aside}{test}")).len(),
        0
    );
    for line in [
        "const N: u8 = 1;",
        "struct S<const N: usize>;",
        "type T = &'static str;",
    ] {
        let longer = format!("{line}\n{file}");
        assert_eq!(judge(short_files, path, &longer).len(), 1, "{line}");
    }
}

#[test]
fn impure_dependencies_and_std_features_are_found() {
    let dependency = |name: &str, kind: Option<&str>, default: bool| serde_json::json!({"name": name, "kind": kind, "uses_default_features": default});
    let of_core = |dependencies: &[serde_json::Value]| serde_json::json!({"packages": [{"name": "openpista-core", "dependencies": dependencies}]});
    let good = [
        dependency("serde", None, false),
        dependency("proptest", Some("dev"), true),
    ];
    assert!(impure(&of_core(&good)).is_empty());
    assert_eq!(
        impure(&of_core(&[dependency("rand", None, false)])).len(),
        1
    );
    assert_eq!(
        impure(&of_core(&[dependency("serde", None, true)])).len(),
        1
    );
    assert_eq!(
        impure(&of_core(&[dependency("cc", Some("build"), false)])).len(),
        1
    );

    let tree = "serde v1.0.0 [alloc,std]\nmemchr v2.0.0 []\nstd-like v1.0.0 [stdio] (*)";
    assert_eq!(with_std(tree), ["serde v1.0.0 [alloc,std]"]);
}
