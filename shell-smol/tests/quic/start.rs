//! Starting the gateway: the certificate, the address, who may come in.

use crate::block_on;
use crate::daemon::{Home, OWNER, database, prepare};
use crate::server::{Answer, Server};
use openpista_core::settings::Mode;
use openpista_shell_smol::client::{Client, ClientError};
use openpista_shell_smol::journal::Lookup;
use openpista_shell_smol::secret::Secret;
use openpista_shell_smol::source::quic::{
    CERTIFICATE_FILE, Fingerprint, Gateway, GatewayConfig, GatewayError, KEY_FILE,
};
use smol::LocalExecutor;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;

fn nobody() -> Server {
    Server::start(|_| Answer::text("nobody asks"))
}

fn start_alone(home: &Home, listen: &str) -> Result<Gateway, GatewayError> {
    let config = GatewayConfig::new(listen.parse().unwrap(), home.path().to_owned());
    let lookup = Lookup::open(&database(home.path())).unwrap();
    let server = nobody();
    let executor = Rc::new(LocalExecutor::new());
    let parts = prepare(home.path(), server.base_url(), Mode::Full, &executor);
    let (_driver, handle, events, _settings) = parts;
    Gateway::start(config, handle, events, lookup)
}

#[test]
fn the_certificate_is_made_once_and_its_key_is_ours_alone() {
    let (home, server) = (Home::new(), nobody());
    let daemon = home.start(&server);
    let first = daemon.gateway().fingerprint();
    assert_eq!(Fingerprint::kept_in(home.path()), Ok(first));
    let text = first.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text.parse(), Ok(first));
    let pairs: Vec<&str> = (0..32).map(|n| &text[2 * n..2 * n + 2]).collect();
    assert_eq!(pairs.join(":").to_uppercase().parse(), Ok(first));
    assert!(text[1..].parse::<Fingerprint>().is_err());
    assert!(format!("{}g", &text[1..]).parse::<Fingerprint>().is_err());
    daemon.stop();
    let key = home.path().join(KEY_FILE);
    let mode = || fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let daemon = home.start(&server);
    assert_eq!(mode(), 0o600, "it is taken away from others again");
    assert_eq!(daemon.gateway().fingerprint(), first);
    block_on(async { daemon.connect().await.ping().await.unwrap() });
}

#[test]
fn a_bad_certificate_is_told_with_its_file() {
    let home = Home::new();
    let gateway = start_alone(&home, "127.0.0.1:0").unwrap();
    block_on(gateway.close());
    let told = |file: &str| {
        let error = start_alone(&home, "127.0.0.1:0").unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    };
    fs::write(home.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
    told(CERTIFICATE_FILE);
    fs::remove_file(home.path().join(CERTIFICATE_FILE)).unwrap();
    fs::write(home.path().join(KEY_FILE), "nonsense").unwrap();
    // A key without its certificate was never used: a crash came between the two.
    let gateway = start_alone(&home, "127.0.0.1:0").unwrap();
    block_on(gateway.close());
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(home.path().join(KEY_FILE), other).unwrap();
    told(KEY_FILE);
    fs::remove_file(home.path().join(KEY_FILE)).unwrap();
    told(KEY_FILE);
}

#[test]
fn nobody_listens_to_the_world_without_a_token() {
    let home = Home::new();
    home.tokens().revoke(OWNER).unwrap();
    let error = start_alone(&home, "0.0.0.0:0").unwrap_err();
    assert!(matches!(error, GatewayError::NoTokens(_)), "{error}");
    assert!(error.to_string().contains("token add"), "{error}");
    block_on(start_alone(&home, "127.0.0.1:0").unwrap().close());
    block_on(start_alone(&home, "[::1]:0").unwrap().close());
    home.tokens().add("phone").unwrap();
    block_on(start_alone(&home, "0.0.0.0:0").unwrap().close());
}

#[test]
fn an_address_that_is_taken_is_told() {
    let home = Home::new();
    let gateway = start_alone(&home, "127.0.0.1:0").unwrap();
    let listen = gateway.local_addr().to_string();
    let error = start_alone(&home, &listen).unwrap_err();
    assert!(matches!(error, GatewayError::Bind { .. }), "{error}");
    assert!(error.to_string().contains(&listen), "{error}");
    block_on(gateway.close());
}

#[test]
fn another_certificate_is_not_trusted_and_another_token_not_taken() {
    let (home, server) = (Home::new(), nobody());
    let daemon = home.start(&server);
    let wrong = Fingerprint::of(b"another");
    block_on(async {
        let client = Client::new(wrong, home.token.clone(), "test").unwrap();
        let error = client.connect(daemon.address).await.unwrap_err();
        assert!(
            matches!(error, ClientError::OtherGateway { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(&wrong.to_string()), "{error}");
        for token in ["", "wrong", &"0".repeat(64), &"0".repeat(5_000)] {
            let client = daemon.client_with(&Secret::new(token));
            let error = client.connect(daemon.address).await.unwrap_err();
            assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
        }
    });
}
