//! Trying what a guest that broke out would try: with this process's own system calls, not a
//! guest's. Nothing of it does harm where it succeeds.

use openpista_shell_smol::guest::line::Place;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

/// A file that is everywhere, and that everybody may read.
const ELSEWHERE: &str = "/etc/passwd";

/// How much is tried.
const TRIES: usize = 8;

/// What is possible in this thread although it must not be, in words for a person.
pub(super) fn possible(place: &Place) -> Vec<String> {
    let beside = place.workspace.parent().unwrap_or(Path::new("/"));
    let tries: [(&str, bool); TRIES] = [
        (
            "read the workspace's surroundings",
            fs::read_dir(beside).is_ok(),
        ),
        ("read a file of the system", File::open(ELSEWHERE).is_ok()),
        ("read another process", File::open("/proc/1/status").is_ok()),
        ("write to the workspace", writes(&place.workspace)),
        ("write to the cache", writes(&place.cache_dir)),
        ("use the network", uses_network()),
        ("make a socket", UnixDatagram::unbound().is_ok()),
        ("start a program", starts()),
    ];
    let possible = tries.iter().filter(|(_, possible)| *possible);
    possible.map(|(what, _)| (*what).to_owned()).collect()
}

/// What is made, if it can be.
const TRIED: &str = ".openpista-wasm-tried";

fn writes(dir: &Path) -> bool {
    let path = dir.join(TRIED);
    let made = File::create_new(&path).is_ok();
    if made {
        let _ = fs::remove_file(path);
    }
    made
}

fn uses_network() -> bool {
    UdpSocket::bind(("127.0.0.1", 0)).is_ok() || TcpListener::bind(("127.0.0.1", 0)).is_ok()
}

fn starts() -> bool {
    let mut command = Command::new("/proc/self/exe");
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.arg("--version").status().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else it would find nothing wherever it is.
    #[test]
    fn without_walls_all_of_it_is_possible() {
        let home = tempfile::tempdir().unwrap();
        let place = Place {
            workspace: home.path().join("workspace"),
            cache_dir: home.path().join("cache"),
            memory_bytes: 0,
        };
        fs::create_dir(&place.workspace).unwrap();
        fs::create_dir(&place.cache_dir).unwrap();
        let possible = possible(&place);
        assert_eq!(possible.len(), TRIES, "{possible:?}");
        assert_eq!(fs::read_dir(&place.workspace).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&place.cache_dir).unwrap().count(), 0);
    }
}
