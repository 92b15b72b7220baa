//! The one loop: inputs, steps, commit, gate, effects.
