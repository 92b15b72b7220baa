//! What a provider's server sends for a reply of the pretended model, cut at random places, and
//! the reading of it.

use crate::fault::ModelTrouble;
use crate::seed::Rng;
use openpista_core::effect::model::{ModelFault, Reply};

/// A response: status and body, in pieces.
pub fn response(
    reply: &Reply,
    trouble: Option<ModelTrouble>,
    luck: &mut Rng,
) -> (u16, Vec<Vec<u8>>) {
    let (status, body) = match trouble {
        Some(ModelTrouble::RateLimited) => (429, String::new()),
        Some(ModelTrouble::Server) => (500, String::new()),
        Some(ModelTrouble::Rejected) => (401, String::new()),
        Some(ModelTrouble::Empty) => (200, String::new()),
        Some(ModelTrouble::Garbled) => (200, "<html>".into()),
        _ => (200, serde_json::to_string(reply).unwrap_or_default()),
    };
    (status, cut(body.as_bytes(), luck))
}

/// What the pieces say.
pub fn read(status: u16, chunks: &[Vec<u8>]) -> Result<Reply, ModelFault> {
    let body = chunks.concat();
    let message = String::from_utf8_lossy(&body).into_owned();
    match status {
        200 if body.is_empty() => Err(ModelFault::Empty),
        200 => serde_json::from_slice(&body).map_err(|_| ModelFault::Garbled { message }),
        429 => Err(ModelFault::RateLimited {
            retry_after_ms: Some(2_000),
            message,
        }),
        400..500 => Err(ModelFault::Rejected { status, message }),
        _ => Err(ModelFault::Server { status, message }),
    }
}

fn cut(body: &[u8], luck: &mut Rng) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let at = luck.between(1, 60).min(rest.len() as u64) as usize;
        chunks.push(rest[..at].to_vec());
        rest = &rest[at..];
    }
    chunks
}
