//! The first bytes of a connection to the gateway, of somebody whom nobody knows yet: what they come
//! to does not depend on where chunks break, only a well-formed `auth` of at most the bound asks for
//! a token to be looked up, and whoever is turned away is told why in a frame that can be sent, and
//! is not told their token. The first byte chooses where to cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::wire::frame::{
    ClientFrame, Decoder, FrameError, Role, ServerFrame, Token, encode,
};

// By its file: with the whole shell a build would take as long as all the rest of CI.
#[path = "../../../shell-smol/src/source/quic/greeting.rs"]
mod greeting;

use greeting::{Greeting, STRANGER_FRAME_BYTES};

/// The most that somebody is told, in bytes.
const WORDS_BYTES: usize = 400;

/// What these pieces come to; none while more is waited for.
fn greet<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Greeting> {
    let mut decoder = Decoder::<ClientFrame>::new(STRANGER_FRAME_BYTES);
    let broken = |error: FrameError| Some(Greeting::TurnedAway(error.to_string()));
    for mut piece in pieces {
        match decoder.next(&mut piece) {
            Ok(Some(frame)) => return Some(Greeting::of(Some(frame))),
            Ok(None) => assert!(piece.is_empty()),
            Err(error) => return broken(error),
        }
        assert!(decoder.buffered() <= STRANGER_FRAME_BYTES + 4);
    }
    match decoder.buffered() {
        0 => None,
        _ => decoder.finish().err().and_then(broken),
    }
}

fn check(bytes: &[u8], cut: usize) {
    let (left, right) = bytes.split_at(cut.min(bytes.len()));
    let whole = greet([bytes].into_iter());
    assert_eq!(whole, greet([left, right].into_iter()));
    assert_eq!(whole, greet(bytes.chunks(1)));
    match whole {
        Some(Greeting::Client {
            token: Token(token),
            name,
        }) => {
            assert!(token.len() <= STRANGER_FRAME_BYTES);
            // It says who somebody is, and nothing else does.
            let auth = ClientFrame::Auth {
                token: Token(token.clone()),
                client: name.clone(),
                role: None,
            };
            assert_eq!(
                Greeting::of(Some(auth.clone())),
                Greeting::Client {
                    token: Token(token.clone()),
                    name,
                }
            );
            let shown = format!("{:?} {auth:?}", Token(token));
            assert_eq!(shown.matches("Token(…)").count(), 2);
        }
        Some(Greeting::Worker {
            token: Token(token),
        }) => {
            assert!(token.len() <= STRANGER_FRAME_BYTES);
            // Known by its token alone, whatever it calls itself.
            let auth = ClientFrame::Auth {
                token: Token(token.clone()),
                client: String::new(),
                role: Some(Role::Worker),
            };
            let again = Greeting::of(Some(auth));
            assert_eq!(format!("{again:?}"), "Worker { token: Token(…) }");
            assert_eq!(
                again,
                Greeting::Worker {
                    token: Token(token)
                }
            );
        }
        Some(Greeting::TurnedAway(message)) => {
            assert!(
                !message.is_empty() && message.len() <= WORDS_BYTES,
                "{message}"
            );
            encode(&ServerFrame::AuthError { message }).expect("it is short");
        }
        None => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let [cut, bytes @ ..] = data else {
        return;
    };
    check(bytes, usize::from(*cut));
    // The length, which a fuzzer seldom guesses, is put before what it made up.
    let length = u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes();
    check(&[&length, bytes].concat(), usize::from(*cut));
});
