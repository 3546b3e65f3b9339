//! The name of a cache entry is a hash of everything its content depends on; forgetting one input
//! serves stale files, so a key is built from a plain ordered list that a reader can check.

use sha2::{Digest, Sha256};

/// An ordered list of the inputs of a cache entry. Equal lists, and only those, are equal keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Key {
    parts: Vec<String>,
}

impl Key {
    /// A key of these parts, in this order. Put a format version first and raise it when the builder
    /// changes what it writes.
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Key {
        Key { parts: parts.into_iter().map(Into::into).collect() }
    }

    /// Adds one part at the end.
    pub fn push(&mut self, part: impl Into<String>) {
        self.parts.push(part.into());
    }

    /// The parts, in order.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// 32 hex digits (128 bits) of the SHA-256 over the length-prefixed parts: short enough for a
    /// directory name, long enough that no collision happens by chance.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for part in &self.parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().take(16).map(|b| format!("{b:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_boundary_between_parts_changes_the_hash() {
        assert_ne!(Key::new(["ab", "c"]).hash(), Key::new(["a", "bc"]).hash());
        assert_ne!(Key::new(["a", ""]).hash(), Key::new(["a"]).hash());
        assert_eq!(Key::new(["a", "b"]).hash(), Key::new(["a", "b"]).hash());
        assert_eq!(Key::new(["a"]).hash().len(), 32);
    }
}
