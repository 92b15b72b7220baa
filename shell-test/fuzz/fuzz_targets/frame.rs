//! Frames in both directions: where chunks break changes nothing, the bound holds, and what was
//! decoded encodes to something that decodes to the same. The first two bytes choose the bound and
//! where to cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::wire::frame::{
    ClientFrame, Decoder, Frame, FrameError, MAX_FRAME_BYTES, ServerFrame, encode,
};
use std::fmt::Debug;

fn read<F: Frame>(pieces: &[&[u8]], max: usize) -> (Vec<F>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(max);
    let mut frames = Vec::new();
    for piece in pieces {
        let mut piece = *piece;
        loop {
            let next = decoder.next(&mut piece);
            assert!(decoder.buffered() <= max + 4);
            match next {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        assert!(piece.is_empty());
    }
    (frames, decoder.finish())
}

fn check<F: Frame + Debug + PartialEq>(bytes: &[u8], cut: usize, max: usize) {
    let (left, right) = bytes.split_at(cut.min(bytes.len()));
    let whole = read::<F>(&[bytes], max);
    assert_eq!(whole, read(&[left, right], max));
    assert_eq!(whole, read(&bytes.chunks(1).collect::<Vec<_>>(), max));
    if let (_, Err(error)) = &whole {
        assert!(error.to_string().len() < 300);
    }
    for frame in whole.0 {
        let again = encode(&frame).expect("it came in a frame of at most that length");
        assert_eq!(read(&[&again], MAX_FRAME_BYTES), (vec![frame], Ok(())));
    }
}

fuzz_target!(|data: &[u8]| {
    let [max, cut, bytes @ ..] = data else {
        return;
    };
    let (cut, max) = (usize::from(*cut), usize::from(*max));
    check::<ClientFrame>(bytes, cut, max);
    check::<ServerFrame>(bytes, cut, max);
    // The length, which a fuzzer seldom guesses, is put before what it made up.
    let mut framed = u32::try_from(bytes.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    framed.extend_from_slice(bytes);
    check::<ClientFrame>(&framed, cut, max);
    check::<ServerFrame>(&framed, cut, max);
});
