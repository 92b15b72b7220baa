//! What is packed is whole: a crate holds what it is compiled with, and what the Debian package takes
//! from the tree is there. Both would else be noticed by whoever makes a release, or installs one.

#[path = "support/workspace.rs"]
mod workspace;

use std::path::{Component, Path, PathBuf};
use workspace::{cargo, root};

/// What a source file, named from its package's folder, takes in when it is compiled, named likewise.
/// A path out of the package begins with `..`.
fn included(file: &Path, text: &str) -> Vec<PathBuf> {
    let beside = file.parent().unwrap();
    let mentions = ["include_str!(\"", "include_bytes!(\""]
        .iter()
        .flat_map(|call| text.split(call).skip(1));
    mentions
        .map(|rest| normal(&beside.join(rest.split('"').next().unwrap())))
        .collect()
}

fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if out.file_name().is_some() => _ = out.pop(),
            part => out.push(part),
        }
    }
    out
}

#[test]
fn a_crate_holds_what_it_is_compiled_with() {
    let mut seen = 0;
    for (package, folder) in [
        ("openpista-core", "core"),
        ("openpista-shell-smol", "shell-smol"),
    ] {
        let list = cargo(&["package", "--list", "--allow-dirty", "--package", package]);
        let packed: Vec<&Path> = list.lines().map(Path::new).collect();
        for file in packed
            .iter()
            .filter(|file| file.extension() == Some("rs".as_ref()))
        {
            let text = std::fs::read_to_string(root().join(folder).join(file)).unwrap();
            for wanted in included(file, &text) {
                seen += 1;
                assert!(
                    packed.contains(&wanted.as_path()),
                    "{folder}/{} takes in {}, which is not packed: link to it from {folder}/, and \
                     name the link in `include` of {folder}/Cargo.toml",
                    file.display(),
                    wanted.display()
                );
            }
        }
        for licence in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            assert!(packed.contains(&Path::new(licence)), "{package}: {licence}");
        }
    }
    assert!(seen > 0, "the database's schema at least is taken in");
}

/// The first command of the README is `cargo run` without a program's name.
#[test]
fn cargo_run_runs_the_daemon() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let of = |package: &serde_json::Value| package["default_run"].as_str().map(str::to_owned);
    let runs: Vec<String> = packages.iter().filter_map(of).collect();
    assert_eq!(runs, ["openpistacrab"]);
}

#[test]
fn what_the_debian_package_takes_from_the_tree_is_there() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let shell = packages.find(|package| package["name"] == "openpista-shell-smol");
    let deb = &shell.unwrap()["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap().iter();
    let sources = assets.map(|asset| asset[0].as_str().unwrap());
    // The others are what packaging/dist builds, and fails without.
    let own: Vec<&str> = sources.filter(|path| path.starts_with("../")).collect();
    assert!(own.len() > 3, "{own:?}");
    for path in own.into_iter().chain(deb["license-file"].as_str()) {
        let there = root().join("shell-smol").join(path);
        assert!(
            there.is_file(),
            "{path} in shell-smol/Cargo.toml is not there"
        );
    }
}

#[test]
fn paths_out_of_a_package_are_told_apart() {
    let file = Path::new("src/journal/schema.rs");
    let found = |path: &str| included(file, &format!("x(include_str!(\"{path}\"));"));
    assert_eq!(
        found("upgrade/2.sql"),
        [Path::new("src/journal/upgrade/2.sql")]
    );
    assert_eq!(found("../../schema.sql"), [Path::new("schema.sql")]);
    assert_eq!(found("../../../schema.sql"), [Path::new("../schema.sql")]);
}
