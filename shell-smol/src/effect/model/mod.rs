//! Calling a model over HTTP, or the one inside.
