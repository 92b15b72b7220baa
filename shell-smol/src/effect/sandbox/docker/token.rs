//! A task's token: made here, put into its container, and forgotten.
//!
//! It lies in a volume of that container alone, which is removed with it. The root file system is
//! read-only, so Docker takes no upload anywhere else; and a file on the host would be left behind
//! by a crash. It belongs to root and the container's group, mode 0440: the task can read it, and
//! cannot change what we later read back of it.

use super::create::GROUP;
use super::daemon::{ANSWER, Daemon, Trouble};
use crate::secret::Secret;
use bollard::Docker as Client;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_lite::{StreamExt, stream};
use openpista_core::digest::Digest;
use sha2::{Digest as _, Sha256};

/// The directory of the volume.
pub(super) const DIR: &str = "/run/openpista";

/// Where a task finds its token.
pub const TOKEN_FILE: &str = "/run/openpista/token";

/// The size of an archive's block, in bytes.
const BLOCK: usize = 512;

/// The largest archive that is read back, in bytes: a header, a token, and an end.
const ARCHIVE_BYTES: usize = 16 * 1024;

/// 256 bits of the operating system's randomness, in hexadecimal; none if it gives none.
pub(super) fn draw() -> Option<Secret> {
    let mut bytes = [0; 32];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).ok()?;
    Some(Secret::new(&Digest(bytes).to_string()))
}

/// What is kept of a token: SHA-256 of its text.
pub fn digest(token: &str) -> Digest {
    Digest(Sha256::digest(token.as_bytes()).into())
}

/// Puts a token into a container that was not started yet.
pub(super) async fn put(
    daemon: &Daemon,
    client: &Client,
    container: &str,
    token: &Secret,
) -> Result<(), Trouble> {
    let options = UploadToContainerOptionsBuilder::default().path(DIR).build();
    // As a stream, since the client writes other bodies to its trace.
    let body = bollard::body_stream(stream::once(archive(token.expose()).into()));
    let uploaded = client.upload_to_container(container, Some(options), body);
    daemon.ask(ANSWER, uploaded).await
}

/// Reads a container's token, to keep it out of what is shown; none where there is none.
pub(super) async fn read(daemon: &Daemon, client: &Client, container: &str) -> Option<Secret> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(TOKEN_FILE)
        .build();
    let mut parts = client.download_from_container(container, Some(options));
    let archive = async {
        let mut archive = Vec::new();
        while let Some(part) = parts.next().await {
            archive.extend_from_slice(&part?);
            if archive.len() > ARCHIVE_BYTES {
                break;
            }
        }
        Ok(archive)
    };
    let archive = daemon.ask(ANSWER, archive).await.ok()?;
    let text = archive.get(BLOCK..BLOCK + 64)?;
    std::str::from_utf8(text).ok().map(Secret::new)
}

/// A tar archive with one file, `token`.
fn archive(token: &str) -> Vec<u8> {
    let mut header = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, "token");
    put(100, "0000440\0");
    put(108, "0000000\0");
    put(116, &format!("{GROUP:07o}\0"));
    put(124, &format!("{:011o}\0", token.len()));
    put(136, "00000000000\0");
    // The sum is made with blanks in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(token.as_bytes());
    // To the end of the block, and two blocks of nothing for the end.
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (draw().unwrap(), draw().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(
            digest("abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn other_programs_read_the_archive() {
        let mut tar = Command::new("tar")
            .args(["--numeric-owner", "-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = tar.stdin.take().unwrap();
        stdin.write_all(&archive("0123456789")).unwrap();
        drop(stdin);
        let output = tar.wait_with_output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(listed.starts_with("-r--r----- 0/65534"), "{listed}");
        assert!(
            listed.contains(" 10 ") && listed.ends_with(" token\n"),
            "{listed}"
        );
    }
}
