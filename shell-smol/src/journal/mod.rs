//! The journal in SQLite, on a thread of its own.
