//! Server-sent events, by the rules of the WHATWG HTML standard.
//!
//! It owns the cutting of a byte stream into events: line ends (CR, LF, CRLF, also one that is
//! split over chunks), the byte order mark, comments, fields, data over several lines. It never
//! looks into the data. `id` and `retry` are for clients that reconnect, and are passed over.
//!
//! Law 19: where chunks break changes nothing, no bytes panic, and no more is kept than one event
//! of the greatest length. Comments are not kept at all.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the `event` field named; empty when there was none, which means `message`.
    pub name: String,
    /// The `data` fields, joined by line feeds. Bytes that are not UTF-8 are U+FFFD.
    pub data: String,
}

/// An event that is longer than was allowed for. The decoder is of no use after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The bound, in bytes.
    pub max_event_bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = self.max_event_bytes;
        write!(f, "the server sent an event longer than {max} bytes")
    }
}

impl core::error::Error for TooLong {}

/// Cuts bytes into events.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    /// The line so far; of a comment, its colon only.
    line: Vec<u8>,
    /// The data lines so far, each with a line feed.
    data: Vec<u8>,
    name: Vec<u8>,
    /// The last byte was a CR: an LF now belongs to it.
    after_cr: bool,
    /// No line has ended yet, so a byte order mark may stand here.
    at_start: bool,
    too_long: bool,
}

impl Decoder {
    /// A decoder that holds at most `max_event_bytes` of one event.
    pub fn new(max_event_bytes: usize) -> Decoder {
        Decoder {
            max_event_bytes,
            line: Vec::new(),
            data: Vec::new(),
            name: Vec::new(),
            after_cr: false,
            at_start: true,
            too_long: false,
        }
    }

    /// Takes bytes off the front of `input` until an event is whole. `None`: all were taken, and
    /// the next event needs more.
    ///
    /// # Errors
    /// The event is longer than was allowed for; so is every further answer.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, TooLong> {
        if self.too_long {
            return Err(self.overflow());
        }
        while let Some(&first) = input.first() {
            if core::mem::take(&mut self.after_cr) && first == b'\n' {
                *input = &input[1..];
                continue;
            }
            let end = input.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
            self.extend_line(piece)?;
            *input = rest;
            if let Some((&line_end, rest)) = rest.split_first() {
                *input = rest;
                self.after_cr = line_end == b'\r';
                if let Some(event) = self.end_line() {
                    return Ok(Some(event));
                }
            }
        }
        Ok(None)
    }

    /// The event that the end of the stream cut off, if any. The standard drops it; but servers
    /// exist that forget the empty line after their last event, so the caller decides.
    pub fn finish(mut self) -> Option<Event> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.dispatch()
    }

    /// How many bytes are held: never more than the bound.
    pub fn buffered(&self) -> usize {
        self.line.len() + self.data.len() + self.name.len()
    }

    fn overflow(&self) -> TooLong {
        TooLong {
            max_event_bytes: self.max_event_bytes,
        }
    }

    fn extend_line(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let comment = self.line.first().or(piece.first()) == Some(&b':');
        let piece = match comment {
            true if self.line.is_empty() => &piece[..1],
            true => &[],
            false => piece,
        };
        // One byte is kept free for the line feed that a data line adds.
        if self.buffered() + piece.len() >= self.max_event_bytes && !piece.is_empty() {
            self.too_long = true;
            return Err(self.overflow());
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = core::mem::take(&mut self.line);
        let start = core::mem::replace(&mut self.at_start, false);
        let line = match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if start => rest,
            _ => &line[..],
        };
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.name = value.to_vec(),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = core::mem::take(&mut self.name);
        let mut data = core::mem::take(&mut self.data);
        data.pop()?;
        Some(Event {
            name: String::from_utf8_lossy(&name).into_owned(),
            data: String::from_utf8_lossy(&data).into_owned(),
        })
    }
}
