//! A rule: when something goes wrong, and what.

use std::ops::RangeInclusive;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

use crate::uapi::{Op, SECTOR_BYTES};

/// The longest delay: a rule must not look like a hang to whoever waits for a stop.
pub const DELAY_MAX: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request takes longer, and so do all behind it in its queue: its thread sleeps.
    Delay(Duration),
    /// The request fails with this errno, and the target does not see it.
    Error(i32),
    /// Fewer bytes, a multiple of 512, are done of a longer read or write. A read is then asked for the
    /// rest by the kernel where it copies, and believed whole where it does not. A short write is always
    /// believed whole: the rest of it is lost.
    Short(u32),
    /// One byte of what is read or written is inverted.
    Flip,
    /// One byte of the metadata of what is read or written is inverted, where it has some.
    FlipMetadata,
    /// The request is done and never answered.
    Never,
    /// The request is done, and answered only after the next one, or before the queue waits.
    Reorder,
    /// The process is killed before the request is done.
    Die,
}

impl Fault {
    /// Whether it happens before the target sees the request.
    pub(super) fn is_before(&self, op: Op) -> bool {
        match self {
            Self::Delay(_) | Self::Error(_) | Self::Flip | Self::FlipMetadata | Self::Die => true,
            Self::Short(_) => op == Op::Write,
            Self::Never | Self::Reorder => false,
        }
    }

    /// Whether it happens to the answer.
    pub(super) fn is_after(&self, op: Op) -> bool {
        !self.is_before(op)
    }

    /// Whether it can happen to such a request.
    fn concerns(&self, op: Op, len_bytes: u64) -> bool {
        match self {
            Self::Flip => matches!(op, Op::Read | Op::Write | Op::ZoneAppend),
            Self::FlipMetadata => matches!(op, Op::Read | Op::Write),
            Self::Short(bytes) => {
                matches!(op, Op::Read | Op::Write) && len_bytes > u64::from(*bytes)
            }
            _ => true,
        }
    }
}

/// When something goes wrong, and what. Without conditions: always.
#[derive(Debug)]
pub struct FaultRule {
    pub(super) fault: Fault,
    /// Empty for all.
    pub(super) ops: Vec<Op>,
    pub(super) sectors: Option<RangeInclusive<u64>>,
    pub(super) probability: f64,
    pub(super) seed: u64,
    pub(super) after: u64,
    pub(super) times: u64,
    /// Requests that matched.
    seen: AtomicU64,
    /// How often it struck.
    struck: AtomicU64,
}

impl FaultRule {
    /// That fault for each request.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            ops: Vec::new(),
            sectors: None,
            probability: 1.0,
            seed: 0,
            after: 0,
            times: u64::MAX,
            seen: AtomicU64::new(0),
            struck: AtomicU64::new(0),
        }
    }

    /// Only for this operation, and for others that were named before.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Only for requests that touch one of these sectors of 512 bytes. A flush touches none.
    #[must_use]
    pub fn sectors(mut self, sectors: RangeInclusive<u64>) -> Self {
        self.sectors = Some(sectors);
        self
    }

    /// Only for this part of the requests, 0 to 1.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Which part of the requests, and which byte is flipped, follow from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Not for the first so many requests that match.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// At most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// What goes wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// How often it did.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// Whether it is about such a request.
    pub(super) fn matches(&self, op: Op, offset: u64, len: u64) -> bool {
        let touches = self.sectors.as_ref().is_none_or(|sectors| {
            let end = offset.saturating_add(len).div_ceil(SECTOR_BYTES);
            len > 0 && *sectors.start() < end && offset / SECTOR_BYTES <= *sectors.end()
        });
        touches && (self.ops.is_empty() || self.ops.contains(&op)) && self.fault.concerns(op, len)
    }

    /// For a request that matches: a random number if it is struck. `number` is the rule's place in the
    /// list, so that two rules with the same seed are not the same dice.
    pub(super) fn draw(&self, number: u64) -> Option<u64> {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let dice = scramble(scramble(self.seed ^ scramble(number)).wrapping_add(seen));
        // 53 bits, as many as the fraction of a double has.
        let chance = (dice >> 11) as f64 / (1_u64 << 53) as f64;
        if seen < self.after || chance >= self.probability {
            return None;
        }
        let strike = |struck| (struck < self.times).then(|| struck + 1);
        self.struck.fetch_update(Ordering::Relaxed, Ordering::Relaxed, strike).ok()?;
        Some(scramble(dice))
    }
}

impl Clone for FaultRule {
    /// The same rule, which has seen no request.
    fn clone(&self) -> Self {
        Self {
            fault: self.fault,
            ops: self.ops.clone(),
            sectors: self.sectors.clone(),
            seen: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            ..*self
        }
    }
}

/// splitmix64: every bit of the input reaches every bit of the output.
fn scramble(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sectors_are_touched_from_the_first_to_the_last() {
        let rule: FaultRule = "sectors=10-12,flip".parse().unwrap();
        for (first, sectors, touched) in
            [(9, 1, false), (9, 2, true), (12, 1, true), (13, 1, false), (0, 100, true)]
        {
            assert_eq!(rule.matches(Op::Read, first * 512, sectors * 512), touched, "{first}");
        }
        assert!(!rule.matches(Op::Discard, 10 * 512, 512), "nothing there to flip");
        let never: FaultRule = "sectors=0-12,never".parse().unwrap();
        assert!(!never.matches(Op::Flush, 0, 0), "a flush has no sector");
    }

    #[test]
    fn after_and_times_count_the_requests_that_match() {
        let rule: FaultRule = "after=2,times=3,never".parse().unwrap();
        let drawn: Vec<bool> = (0..8).map(|_| rule.draw(0).is_some()).collect();
        assert_eq!(drawn, [false, false, true, true, true, false, false, false]);
        assert_eq!(rule.struck(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_same_seed_strikes_the_same_requests(seed: u64, percent in 5_u32..95) {
            let probability = f64::from(percent) / 100.0;
            let draw = |number| {
                let rule = FaultRule::new(Fault::Flip).seed(seed).probability(probability);
                (0..4000).map(|_| rule.draw(number)).collect::<Vec<_>>()
            };
            let drawn = draw(0);
            prop_assert_eq!(&drawn, &draw(0));
            prop_assert_ne!(&drawn, &draw(1), "another rule has other dice");
            let struck = drawn.iter().flatten().count() as f64 / 4000.0;
            prop_assert!((struck - probability).abs() < 0.05, "{struck} instead of {probability}");
        }
    }
}

/// `RUSTFLAGS="--cfg loom" cargo test -p ublk --lib loom_tests`
#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    #[test]
    fn queues_together_strike_no_more_often_than_the_rule_says() {
        loom::model(|| {
            let rule = Arc::new(FaultRule::new(Fault::Never).times(1));
            let other = {
                let rule = Arc::clone(&rule);
                thread::spawn(move || rule.draw(0).is_some())
            };
            let here = rule.draw(0).is_some();
            assert!(here != other.join().unwrap(), "once, by one of both");
            assert_eq!(rule.struck(), 1);
        });
    }
}
