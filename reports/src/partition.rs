//! One part of a run that several hosts share: which cells, a scenario on a kernel, are whose. Each host decides by
//! itself, from the names alone, so nobody has to be asked and nothing is left out or done twice.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hash::fnv1a;

/// Parts that a run is cut into at most; each boots every kernel that it has a cell of.
const PARTS_MAX: u32 = 256;

/// Part `index` of `count`, written `hash:2/5`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Partition {
    /// From 1 to `count`.
    pub index: NonZeroU32,
    /// How many parts there are.
    pub count: NonZeroU32,
}

/// Why a text names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Another form.
    #[error("a part is written hash:2/5, the second of five")]
    Form,
    /// More parts than there may be, or a part beyond the last.
    #[error("part {index} of {count}: parts are counted from 1, and there are at most {PARTS_MAX}")]
    Range {
        /// As it was written.
        index: u32,
        /// As it was written.
        count: u32,
    },
}

impl Partition {
    /// Part `index` of `count`.
    ///
    /// # Errors
    /// [`PartitionError::Range`].
    pub fn new(index: u32, count: u32) -> Result<Self, PartitionError> {
        let out = PartitionError::Range { index, count };
        match (NonZeroU32::new(index), NonZeroU32::new(count)) {
            (Some(index), Some(count)) if index <= count && count.get() <= PARTS_MAX => {
                Ok(Self { index, count })
            }
            _ => Err(out),
        }
    }

    /// Whether the cell of `scenario` on `kernel`, as it was typed, is in this part.
    #[must_use]
    pub fn has(self, kernel: &str, scenario: &str) -> bool {
        let number = hash(kernel, scenario) % u64::from(self.count.get());
        number + 1 == u64::from(self.index.get())
    }
}

/// FNV-1a over both names, with its upper half folded in: small counts look at the lower bits only. The parts of a
/// run may be made by different builds of this program, so this is an interface.
fn hash(kernel: &str, scenario: &str) -> u64 {
    let hash = fnv1a(kernel.bytes().chain([0]).chain(scenario.bytes()));
    hash ^ (hash >> 32)
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.strip_prefix("hash:").and_then(|rest| rest.split_once('/'));
        let (index, count) = numbers.ok_or(PartitionError::Form)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| PartitionError::Form);
        Self::new(number(index)?, number(count)?)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hash:{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let part: Partition = "hash:2/5".parse().unwrap();
        assert_eq!(
            (part.index.get(), part.count.get(), part.to_string()),
            (2, 5, "hash:2/5".into())
        );
        for text in ["2/5", "hash:2", "hash:a/5", "hash:2/", "count:2/5", "hash:-1/5", ""] {
            assert_eq!(text.parse::<Partition>(), Err(PartitionError::Form), "{text}");
        }
        for text in ["hash:0/5", "hash:6/5", "hash:1/0", "hash:1/257"] {
            let error = text.parse::<Partition>().unwrap_err();
            assert!(matches!(error, PartitionError::Range { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn each_cell_is_in_exactly_one_part_and_no_part_is_empty() {
        let cells: Vec<_> = ["6.12", "7.3"]
            .into_iter()
            .flat_map(|k| (0..250).map(move |n| (k, format!("a/b-{n}"))))
            .collect();
        for count in [1, 2, 5, 16] {
            let parts: Vec<_> =
                (1..=count).map(|index| Partition::new(index, count).unwrap()).collect();
            for (kernel, id) in &cells {
                assert_eq!(parts.iter().filter(|part| part.has(kernel, id)).count(), 1);
            }
            let least =
                parts.iter().map(|p| cells.iter().filter(|(k, id)| p.has(k, id)).count()).min();
            assert!(least.unwrap() * count as usize * 2 > cells.len(), "{count} parts: {least:?}");
        }
    }

    #[test]
    fn the_parts_of_another_build_are_these() {
        let first = Partition::new(1, 5).unwrap();
        let mine: Vec<_> = (0..10).filter(|n| first.has("7.3", &format!("a/b-{n}"))).collect();
        assert_eq!(mine, PINNED);
    }

    /// Changing the hash would let hosts with different builds leave cells out.
    const PINNED: [i32; 3] = [0, 1, 8];
}
