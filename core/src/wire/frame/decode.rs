//! Bytes become frames.

use super::{Frame, FrameError, MAX_FRAME_BYTES, PREFIX_BYTES};
use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::marker::PhantomData;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How much of a name that a peer made up is repeated to it.
const NAME_CHARS: usize = 32;

/// Cuts bytes into frames.
#[derive(Clone, Debug)]
pub struct Decoder<F> {
    max_frame_bytes: usize,
    /// The length prefix and the JSON, as far as they came.
    held: Vec<u8>,
    broken: Option<FrameError>,
    frames: PhantomData<fn() -> F>,
}

impl<F: Frame> Decoder<F> {
    /// A decoder that takes frames of at most `max_frame_bytes`, and never more than
    /// [`MAX_FRAME_BYTES`]. Allow a peer that has not said who it is little: parsing a frame can
    /// take some dozen times its length.
    pub fn new(max_frame_bytes: usize) -> Decoder<F> {
        Decoder {
            max_frame_bytes: max_frame_bytes.min(MAX_FRAME_BYTES),
            held: Vec::new(),
            broken: None,
            frames: PhantomData,
        }
    }

    /// Takes bytes off the front of `input` until a frame is whole. `None`: all were taken, and
    /// the next frame needs more.
    ///
    /// # Errors
    /// What the peer did wrong. The place of the next frame is not trusted after that, so every
    /// further answer is the same error.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<F>, FrameError> {
        match &self.broken {
            Some(error) => Err(error.clone()),
            None => self.advance(input).inspect_err(|error| {
                self.held = Vec::new();
                self.broken = Some(error.clone());
            }),
        }
    }

    /// The peer will send no more.
    ///
    /// # Errors
    /// It stopped in the middle of a frame.
    pub fn finish(self) -> Result<(), FrameError> {
        match self.broken {
            Some(error) => Err(error),
            None if self.held.is_empty() => Ok(()),
            None => Err(FrameError::CutOff),
        }
    }

    /// How many bytes are held: never more than the bound and the length prefix.
    pub fn buffered(&self) -> usize {
        self.held.len()
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<F>, FrameError> {
        if !self.fill(input, PREFIX_BYTES) {
            return Ok(None);
        }
        let prefix = self.held.first_chunk().copied().unwrap_or_default();
        let announced = u32::from_be_bytes(prefix);
        let length = announced as usize;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > self.max_frame_bytes {
            return Err(FrameError::TooLong {
                announced,
                max_frame_bytes: self.max_frame_bytes,
            });
        }
        if !self.fill(input, PREFIX_BYTES + length) {
            return Ok(None);
        }
        let frame = parse(&self.held[PREFIX_BYTES..])?;
        self.held.clear();
        Ok(Some(frame))
    }

    /// Moves bytes over until `target` are held.
    fn fill(&mut self, input: &mut &[u8], target: usize) -> bool {
        let missing = target.saturating_sub(self.held.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }
}

/// The part of a frame that says what it is. Reading it keeps nothing of the rest.
#[derive(Deserialize)]
struct Head {
    r#type: String,
}

fn parse<F: Frame>(bytes: &[u8]) -> Result<F, FrameError> {
    let json = core::str::from_utf8(bytes).map_err(|_| FrameError::NotUtf8)?;
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| FrameError::NotJson {
        message: error.to_string(),
    })?;
    // Serde would read a list as the fields in their order.
    let head = match json.trim_start().starts_with('{') {
        true => serde_json::from_str::<Head>(json).map_err(|_| FrameError::Untyped)?,
        false => return Err(FrameError::Untyped),
    };
    let Some(known) = F::TYPES.iter().find(|name| **name == head.r#type) else {
        let name = head.r#type.chars().take(NAME_CHARS).collect();
        return Err(FrameError::UnknownType { name });
    };
    serde_json::from_str(json).map_err(|error| {
        // Serde's other messages repeat what is in the field, which may be a secret.
        let message = error.to_string();
        let missing = message.starts_with("missing field");
        FrameError::BadField {
            name: known,
            message: match missing {
                true => message,
                false => "a field has the wrong type or value".to_owned(),
            },
        }
    })
}
