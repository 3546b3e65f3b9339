//! Holders at random: who has the char device, who lets it go, and who tries to have it.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::super::act::{Act, Hold};

const WAYS: &[Hold] = &[
    Hold::Open,
    Hold::Open,
    Hold::Dup,
    Hold::Mapping,
    Hold::Fork,
    Hold::Exec,
    Hold::InFlight,
    Hold::Slot,
];

/// An act of a case about holders.
pub(super) fn act(rng: &mut impl Rng) -> Act {
    match rng.random_range(0..20) {
        0..7 => Act::Hold { how: *WAYS.choose(rng).unwrap_or(&Hold::Open) },
        7..11 => Act::Release { which: 0 },
        11..15 => Act::Release { which: rng.random_range(1..5) },
        15..18 => Act::Probe,
        18 => Act::Storm { threads: rng.random_range(2..=4), rounds: rng.random_range(1..=20) },
        _ => Act::Delete,
    }
}
