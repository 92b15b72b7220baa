//! Showing things to the person at the terminal.
