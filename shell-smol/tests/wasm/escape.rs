//! What a guest tries in the world, and does not get.

use crate::support::{Place, guest_counting, wasi};
use openpista_core::effect::sandbox::SandboxFault;
use openpista_core::effect::tool::Exit;
use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Rights to read, and to write.
const READ: u64 = 1 << 1;
const WRITE: u64 = 1 << 6;

/// What WASI said to it; nought is success.
fn errno(place: &Place, imports: &[(&str, &str)], strings: &str, body: &str) -> u32 {
    let imports: String = imports
        .iter()
        .map(|(name, params)| wasi(name, params))
        .collect();
    let data = format!("{imports} (data (i32.const 16384) \"{strings}\")");
    let ran = place.run(&guest_counting(&data, body)).unwrap();
    assert_eq!(ran.exit, Exit::Code(0), "{ran:?}");
    ran.stdout.text.parse().unwrap()
}

const PATH_OPEN: (&str, &str) = ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32");

/// Opens a path below the workspace, following links.
fn open(place: &Place, path: &str, flags: u32, rights: u64) -> u32 {
    let len = path.len();
    let body = format!(
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const 16384) (i32.const {len})
            (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0)
            (i32.const 20000))"
    );
    errno(place, &[PATH_OPEN], path, &body)
}

/// A workspace with a file and a directory, and a secret beside it.
fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.home().join("secret"), "secret").unwrap();
    std::fs::create_dir(place.home().join("outside")).unwrap();
    std::fs::write(place.home().join("outside/secret"), "secret").unwrap();
    let workspace = place.workspace();
    std::fs::create_dir(workspace.join("dir")).unwrap();
    std::fs::write(workspace.join("file"), "ours").unwrap();
    symlink("file", workspace.join("inside-link")).unwrap();
    symlink("../secret", workspace.join("link")).unwrap();
    symlink(place.home().join("secret"), workspace.join("absolute-link")).unwrap();
    symlink("../outside", workspace.join("dir-link")).unwrap();
    symlink("../../outside", workspace.join("dir/up-link")).unwrap();
    symlink("/proc/self/root", workspace.join("root-link")).unwrap();
    place
}

#[test]
fn paths_out_of_the_workspace_are_not_opened() {
    let place = place();
    // What is inside is: the test would pass on anything else.
    for path in ["file", "./dir/../file", "inside-link", "dir", "."] {
        assert_eq!(open(&place, path, 0, READ), 0, "{path}");
    }
    let absolute = place.home().join("secret");
    for path in [
        "/etc/passwd",
        "/",
        absolute.to_str().unwrap(),
        "..",
        "../secret",
        "dir/../../secret",
        "./../outside/secret",
        "link",
        "absolute-link",
        "dir-link",
        "dir-link/secret",
        "dir/up-link/secret",
        "root-link/etc/passwd",
        "/proc/self/environ",
    ] {
        assert_ne!(open(&place, path, 0, READ), 0, "{path}");
    }
    for fd in [4, 5, -1] {
        let body = format!(
            "(call $path_open (i32.const {fd}) (i32.const 1) (i32.const 16384) (i32.const 1)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 20000))"
        );
        assert_ne!(
            errno(&place, &[PATH_OPEN], ".", &body),
            0,
            "descriptor {fd}"
        );
    }
}

/// Everything below a directory, with what is in it.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            let to = std::fs::read_link(&path).unwrap();
            found.insert(path, to.into_os_string().into_encoded_bytes());
        } else if path.is_dir() {
            found.extend(tree(&path));
            found.insert(path, Vec::new());
        } else if !path.ends_with("main.wasm") {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn the_workspace_cannot_be_changed() {
    let place = place();
    place.install("(module)");
    let before = tree(&place.workspace());
    // Create, directory, exclusive, truncate: 1, 2, 4, 8.
    for (path, flags, rights) in [
        ("new", 1, READ),
        ("new", 5, READ | WRITE),
        ("file", 8, READ),
        ("file", 0, WRITE),
        ("file", 0, READ | WRITE),
        ("inside-link", 0, WRITE),
    ] {
        assert_ne!(
            open(&place, path, flags, rights),
            0,
            "{path} {flags} {rights}"
        );
    }
    // "file" and "new" lie one after the other.
    let (file, new) = (
        "(i32.const 16384) (i32.const 4)",
        "(i32.const 16388) (i32.const 3)",
    );
    for (name, params, arguments) in [
        ("path_create_directory", "i32 i32 i32", new.to_owned()),
        ("path_unlink_file", "i32 i32 i32", file.to_owned()),
        (
            "path_rename",
            "i32 i32 i32 i32 i32 i32",
            format!("{file} (i32.const 3) {new}"),
        ),
    ] {
        let body = format!("(call ${name} (i32.const 3) {arguments})");
        assert_ne!(
            errno(&place, &[(name, params)], "filenew", &body),
            0,
            "{name}"
        );
    }
    let symlink = format!("(call $path_symlink {file} (i32.const 3) {new})");
    let import = ("path_symlink", "i32 i32 i32 i32 i32");
    assert_ne!(errno(&place, &[import], "filenew", &symlink), 0);
    let link = format!("(call $path_link (i32.const 3) (i32.const 0) {file} (i32.const 3) {new})");
    let import = ("path_link", "i32 i32 i32 i32 i32 i32 i32");
    assert_ne!(errno(&place, &[import], "filenew", &link), 0);
    let remove = "(call $path_remove_directory (i32.const 3) (i32.const 16384) (i32.const 3))";
    let import = ("path_remove_directory", "i32 i32 i32");
    assert_ne!(errno(&place, &[import], "dir", remove), 0);
    assert_eq!(tree(&place.workspace()), before);
}

/// It is opened to be read, and then written to, cut, and dated.
#[test]
fn what_is_open_cannot_be_changed_either() {
    let place = place();
    let opened = "(call $path_open (i32.const 3) (i32.const 1) (i32.const 16384) (i32.const 4)
        (i32.const 0) (i64.const 0x1fffffff) (i64.const 0) (i32.const 0) (i32.const 20000))";
    let read_only = opened.replace("(i64.const 0x1fffffff)", "(i64.const 2)");
    assert_ne!(errno(&place, &[PATH_OPEN], "file", opened), 0);
    for (name, params, arguments) in [
        (
            "fd_write",
            "i32 i32 i32 i32",
            "(i32.const 16400) (i32.const 1) (i32.const 20004)",
        ),
        ("fd_filestat_set_size", "i32 i64", "(i64.const 0)"),
        ("fd_allocate", "i32 i64 i64", "(i64.const 0) (i64.const 9)"),
        (
            "fd_filestat_set_times",
            "i32 i64 i64 i32",
            "(i64.const 7) (i64.const 7) (i32.const 5)",
        ),
    ] {
        let body = format!(
            "(block (result i32)
                (if {read_only} (then unreachable))
                (i32.store (i32.const 16400) (i32.const 16384))
                (i32.store (i32.const 16404) (i32.const 4))
                (call ${name} (i32.load (i32.const 20000)) {arguments}))"
        );
        let said = errno(&place, &[PATH_OPEN, (name, params)], "file", &body);
        assert_ne!(said, 0, "{name}");
    }
    assert_eq!(
        std::fs::read_to_string(place.workspace().join("file")).unwrap(),
        "ours"
    );
}

#[test]
fn there_are_no_sockets() {
    let place = place();
    for fd in [0, 1, 3, 4, 100] {
        for (name, params, arguments) in [
            (
                "sock_accept",
                "i32 i32 i32",
                "(i32.const 0) (i32.const 20000)",
            ),
            (
                "sock_send",
                "i32 i32 i32 i32 i32",
                "(i32.const 16400) (i32.const 1) (i32.const 0) (i32.const 20000)",
            ),
            (
                "sock_recv",
                "i32 i32 i32 i32 i32 i32",
                "(i32.const 16400) (i32.const 1) (i32.const 0) (i32.const 20000) (i32.const 20004)",
            ),
            ("sock_shutdown", "i32 i32", "(i32.const 3)"),
        ] {
            let body = format!("(call ${name} (i32.const {fd}) {arguments})");
            assert_ne!(
                errno(&place, &[(name, params)], "", &body),
                0,
                "{name} {fd}"
            );
        }
    }
    // Nor what other runtimes add to preview 1.
    for name in ["sock_open", "sock_connect", "sock_bind", "sock_listen"] {
        let ran = place.run(&guest_counting(&wasi(name, "i32 i32 i32"), "(i32.const 0)"));
        let Err(SandboxFault::Failed { message }) = ran else {
            panic!("{ran:?}");
        };
        assert!(message.contains(name), "{message}");
    }
}

/// To open a FIFO is to wait until somebody writes; a socket or a device is no file either.
#[test]
fn what_is_no_file_is_not_opened() {
    let place = place();
    let fifo = std::process::Command::new("mkfifo")
        .arg(place.workspace().join("fifo"))
        .status()
        .unwrap();
    assert!(fifo.success());
    let _socket = UnixListener::bind(place.workspace().join("socket")).unwrap();
    symlink("fifo", place.workspace().join("fifo-link")).unwrap();
    for path in ["fifo", "fifo-link", "socket"] {
        assert_ne!(open(&place, path, 0, READ), 0, "{path}");
    }
}

#[test]
fn there_is_no_environment_and_one_argument() {
    let place = place();
    let count = |name: &str| {
        let body = format!(
            "(block (result i32)
                (if (call ${name} (i32.const 20000) (i32.const 20004)) (then unreachable))
                (i32.load (i32.const 20000)))"
        );
        errno(&place, &[(name, "i32 i32")], "", &body)
    };
    assert_eq!(count("environ_sizes_get"), 0);
    assert_eq!(count("args_sizes_get"), 1);
}

#[test]
fn standard_input_is_at_its_end() {
    let body = "(block (result i32)
        (i32.store (i32.const 16400) (i32.const 20100))
        (i32.store (i32.const 16404) (i32.const 4))
        (if (call $fd_read (i32.const 0) (i32.const 16400) (i32.const 1) (i32.const 20000))
            (then unreachable))
        (i32.load (i32.const 20000)))";
    let read = errno(&place(), &[("fd_read", "i32 i32 i32 i32")], "", body);
    assert_eq!(read, 0);
}

/// Wherever a guest lets the host write, that must be in its own memory.
#[test]
fn pointers_given_to_the_host_are_judged() {
    let place = place();
    for (asked, happened, count, told) in [
        (-4, 20_000, 1, 20_100),
        (16_384, -4, 1, 20_100),
        (16_384, 20_000, 1, -2),
        (16_384, 20_000, -1, 20_100),
        (16_384, 20_000, 0, 20_100),
        (131_060, 20_000, 1, 20_100),
    ] {
        let body = format!(
            "(call $poll_oneoff (i32.const {asked}) (i32.const {happened}) (i32.const {count})
                                (i32.const {told}))"
        );
        let said = errno(&place, &[("poll_oneoff", "i32 i32 i32 i32")], "", &body);
        assert_ne!(said, 0, "{asked} {happened} {count} {told}");
    }
}
