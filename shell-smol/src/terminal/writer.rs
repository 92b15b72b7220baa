//! Writing to the standard streams.
//!
//! What must not be lost is written on a thread of its own and flushed, so that a reader who does
//! not read holds up nothing else. What may be lost is written at once, and a stream that is gone
//! harms nothing.

use std::io::{self, Write};

/// Writes to standard output and flushes.
///
/// # Errors
/// What the system said, for example that the reader is gone.
pub async fn to_stdout(text: String) -> io::Result<()> {
    let write = move || {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    };
    blocking::unblock(write).await
}

/// Writes a line to standard error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
