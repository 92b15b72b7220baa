//! Streamed replies: where chunks break changes nothing, the bound holds, and ids are unique. The
//! first two bytes choose the bound and where to cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openpista_core::effect::Chunk;
use openpista_core::effect::model::{ModelFault, Reply};
use openpista_core::message::Prompt;
use openpista_core::wire::openai::ReplyStream;
use std::collections::BTreeSet;

fn read(pieces: &[&[u8]], max_bytes: usize) -> Result<(String, Reply), ModelFault> {
    let prompt = Prompt {
        model: "m".into(),
        system: "".into(),
        tools: [].into(),
        messages: Vec::new(),
        shown: 0,
    };
    let mut stream = ReplyStream::new(&prompt, max_bytes);
    let mut shown = String::new();
    for piece in pieces {
        for chunk in stream.push(piece)? {
            match chunk {
                Chunk::Text(text) => shown.push_str(&text),
                Chunk::Output(_) => unreachable!("a model has no output"),
            }
        }
    }
    stream.finish().map(|reply| (shown, reply))
}

fuzz_target!(|data: &[u8]| {
    let [max, cut, bytes @ ..] = data else {
        return;
    };
    let max = usize::from(*max) * 4;
    let (left, right) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let whole = read(&[bytes], max);
    assert_eq!(whole, read(&[left, right], max));
    assert_eq!(whole, read(&bytes.chunks(1).collect::<Vec<_>>(), max));
    let Ok((shown, reply)) = whole else {
        return;
    };
    assert!(reply.text.starts_with(&shown));
    let arguments: usize = reply.calls.iter().map(|c| c.arguments.len()).sum();
    // An empty argument that became `{}` is beyond the budget, but a call costs more than that.
    assert!(reply.text.len() + arguments <= max);
    let ids: BTreeSet<&str> = reply.calls.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(ids.len(), reply.calls.len());
    assert!(!ids.contains(""));
});
