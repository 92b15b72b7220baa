//! Randomness of our own: a seed means the same world on every machine and in every version.
//!
//! Two kinds of draw: a stream ([`Rng::new`]) for making a plan, and a draw by key ([`Rng::keyed`])
//! for what happens while it runs. A keyed draw depends on its key alone, so that leaving one
//! thing out of a plan does not change the luck of all the others, and shrinking can work.

/// A SplitMix64 stream.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng(mix(seed ^ 0x6f70_656e_7069_7374))
    }

    /// The stream that belongs to a key within a seed.
    pub fn keyed(seed: u64, key: &[u64]) -> Rng {
        let folded = key
            .iter()
            .fold(mix(seed), |state, part| mix(state ^ mix(*part)));
        Rng(folded)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of the choices, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A short name for a long text, where nobody is out to fool us.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let fold =
        |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| {
        fold(hash, u64::from_le_bytes(*word))
    });
    mix(rest
        .iter()
        .fold(hash, |hash, byte| fold(hash, u64::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_forever() {
        let mut rng = Rng::new(1);
        let drawn = [rng.bits(), rng.bits(), rng.bits()];
        assert_eq!(
            drawn, DRAWN,
            "old seeds in bug reports would mean other worlds"
        );
        assert_ne!(Rng::keyed(1, &[1, 2]).bits(), Rng::keyed(1, &[2, 1]).bits());
    }

    const DRAWN: [u64; 3] = [
        2_829_091_209_721_523_096,
        9_729_821_655_087_721_831,
        4_912_479_681_238_947_833,
    ];
}
