//! Server-sent events: where chunks break changes nothing, and the bound holds. The first two
//! bytes choose the bound and where to cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::wire::sse::{Decoder, Event, TooLong};

fn read(pieces: &[&[u8]], max_event_bytes: usize) -> (Vec<Event>, Result<Option<Event>, TooLong>) {
    let mut decoder = Decoder::new(max_event_bytes);
    let mut events = Vec::new();
    for piece in pieces {
        let mut piece = *piece;
        loop {
            let next = decoder.next(&mut piece);
            assert!(decoder.buffered() <= max_event_bytes);
            match next {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
        assert!(piece.is_empty());
    }
    (events, Ok(decoder.finish()))
}

fuzz_target!(|data: &[u8]| {
    let [max, cut, bytes @ ..] = data else {
        return;
    };
    let max = usize::from(*max);
    let (left, right) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let whole = read(&[bytes], max);
    assert_eq!(whole, read(&[left, right], max));
    assert_eq!(whole, read(&bytes.chunks(1).collect::<Vec<_>>(), max));
    // What was decoded can be written so that it decodes to the same.
    for event in whole.0 {
        let data = event.data.replace('\n', "\ndata: ");
        let body = format!("event: {}\ndata: {data}\n\n", event.name);
        assert_eq!(read(&[body.as_bytes()], 10_000).0, [event]);
    }
});
