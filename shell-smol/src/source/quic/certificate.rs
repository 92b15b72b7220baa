//! The gateway's certificate: made once, for `localhost`, and kept in the data directory, so that
//! a client that pinned its fingerprint knows the gateway again.

use super::GatewayError;
use openpista_core::digest;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::hmac;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

/// The certificate's file name in the data directory.
pub const CERTIFICATE_FILE: &str = "gateway-cert.pem";
/// The file name of its private key, which only this user may read.
pub const KEY_FILE: &str = "gateway-key.pem";

/// Whom the certificate is for. Clients that pin it need none of these names.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The SHA-256 of a certificate, by which clients know it. Written as 64 hexadecimal digits; read
/// also with colons between them, as other programs write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }

    /// Of the certificate that the gateway keeps in this data directory.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn kept_in(data_dir: &Path) -> Result<Fingerprint, GatewayError> {
        read_certificate(&data_dir.join(CERTIFICATE_FILE)).map(|der| Fingerprint::of(&der))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        digest::Digest(self.0).fmt(f)
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, BadFingerprint> {
        let digits: Vec<u32> = text
            .trim()
            .chars()
            .filter(|c| *c != ':')
            .map(|c| c.to_digit(16).ok_or(BadFingerprint))
            .collect::<Result<_, _>>()?;
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(BadFingerprint);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8);
        }
        Ok(Fingerprint(bytes))
    }
}

/// Text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFingerprint;

impl fmt::Display for BadFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fingerprint has 64 hexadecimal digits, as the daemon prints it at its start")
    }
}

impl std::error::Error for BadFingerprint {}

/// A certificate and its key.
pub(super) struct Certificate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// What a gateway knows its earlier lives by: the connections that they had are told at once that
/// they are over (RFC 9000, section 10.3), where they would else wait until they time out.
pub(super) struct Memory {
    /// Makes the tokens by which a client knows that it is us who say so.
    pub(super) resets: hmac::Key,
    /// Tells identifiers of ours from noise.
    pub(super) identifiers: u64,
}

impl Certificate {
    /// Made of the private key, so that nobody else can say so.
    pub(super) fn memory(&self) -> Memory {
        let made = |label: &str| -> [u8; 32] {
            let digest = Sha256::new_with_prefix(label);
            digest.chain_update(self.key.secret_der()).finalize().into()
        };
        let [a, b, c, d, e, f, g, h, ..] = made("openpista connection identifiers");
        Memory {
            resets: hmac::Key::new(hmac::HMAC_SHA256, &made("openpista stateless resets")),
            identifiers: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        }
    }
}

/// Reads the pair, or makes it if there is none yet.
pub(super) fn keep(data_dir: &Path) -> Result<Certificate, GatewayError> {
    let (certificate, key) = (data_dir.join(CERTIFICATE_FILE), data_dir.join(KEY_FILE));
    // The certificate is written last, so where there is one there was a key.
    if !certificate.exists() {
        make(&certificate, &key)?;
    }
    only_ours(&key)?;
    let unreadable = |error: &dyn fmt::Display| GatewayError::Certificate {
        path: key.clone(),
        cause: error.to_string(),
    };
    Ok(Certificate {
        certificate: read_certificate(&certificate)?,
        key: PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&error))?,
    })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, GatewayError> {
    CertificateDer::from_pem_file(path).map_err(|error| GatewayError::Certificate {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}

fn make(certificate: &Path, key: &Path) -> Result<(), GatewayError> {
    let failed = |path: &Path, error: &dyn fmt::Display| GatewayError::Certificate {
        path: path.to_owned(),
        cause: error.to_string(),
    };
    let names = NAMES.map(String::from).to_vec();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(names).map_err(|error| failed(certificate, &error))?;
    write(key, &signing_key.serialize_pem(), 0o600).map_err(|error| failed(key, &error))?;
    write(certificate, &cert.pem(), 0o644).map_err(|error| failed(certificate, &error))
}

/// Writes a file so that it is there whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Takes the key away from other users, if they can read it.
fn only_ours(key: &Path) -> Result<(), GatewayError> {
    let failed = |error: io::Error| GatewayError::Certificate {
        path: key.to_owned(),
        cause: error.to_string(),
    };
    let mode = fs::metadata(key).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!("others could read {}: its mode is now 0600", key.display());
        fs::set_permissions(key, Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}
