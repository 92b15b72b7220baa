//! What was used lately.

/// Values by their keys, no more of them than there is room for: the one that was not used for
/// longest goes first.
#[derive(Debug)]
pub struct Recent<K, V> {
    most: usize,
    /// The one that was used last at the end.
    kept: Vec<(K, V)>,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// Room for so many.
    pub fn new(most: usize) -> Recent<K, V> {
        let kept = Vec::new();
        Recent { most, kept }
    }

    /// The value of this key.
    pub fn get(&mut self, key: &K) -> Option<V> {
        let at = self.kept.iter().position(|(kept, _)| kept == key)?;
        let found = self.kept.remove(at);
        let value = found.1.clone();
        self.kept.push(found);
        Some(value)
    }

    /// Keeps a value, in the place of another with this key.
    pub fn keep(&mut self, key: K, value: V) {
        self.kept.retain(|(kept, _)| *kept != key);
        if self.kept.len() >= self.most {
            self.kept.remove(0);
        }
        self.kept.push((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_not_used_for_longest_goes() {
        let mut recent = Recent::new(3);
        for key in 0..3 {
            recent.keep(key, "old");
        }
        assert_eq!(recent.get(&0), Some("old"));
        recent.keep(99, "new");
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&0), Some("old"));
        recent.keep(0, "newer");
        assert_eq!(recent.get(&0), Some("newer"));
        assert_eq!(recent.kept.len(), 3);
    }
}
