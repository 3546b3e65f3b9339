//! How long requests took, as counts in buckets of fixed number: an average hides exactly the requests
//! that people complain about.
//!
//! Own code, for the crates there are (hdrhistogram and its like) record through `&mut`, or through locks
//! and channels, and grow; here one thread records with plain stores into memory that is there from the
//! start, while any other reads. Buckets are log-linear: each power of two is cut into 8 equal parts, so a
//! duration is known to 12.5 %, from a nanosecond to 18 minutes, in 10 KiB per queue.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::target::Op;

/// Each power of two has 2 to the power of this many buckets.
const SUB_BITS: u32 = 3;
/// From here on, 2^40 ns or 18 minutes, everything is in the last bucket.
const BITS_MAX: u32 = 40;
/// The numbers below 2^SUB_BITS have a bucket each; then come the parts of each power of two.
const BUCKETS: usize = ((BITS_MAX - SUB_BITS + 1) as usize) << SUB_BITS;

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpClass {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes.
    Flush,
    /// Everything else: discard, write zeroes, the zoned operations.
    Other,
}

impl OpClass {
    /// All of them, in the order in which a [`LatencySnapshot`] has them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Flush, Self::Other];

    /// As it is called in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Other => "other",
        }
    }
}

impl From<Op> for OpClass {
    fn from(op: Op) -> Self {
        match op {
            Op::Read => Self::Read,
            Op::Write => Self::Write,
            Op::Flush => Self::Flush,
            _ => Self::Other,
        }
    }
}

/// The durations of one class of requests.
#[derive(Debug)]
struct Durations {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

/// The histograms of one queue. One thread records, any may look; a reader may see one request's effect on
/// a bucket and not yet on the sum.
#[derive(Debug)]
pub struct LatencyHistogram {
    classes: [Durations; OpClass::ALL.len()],
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        let durations = || Durations {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        };
        Self { classes: std::array::from_fn(|_| durations()) }
    }
}

/// In which bucket a duration is.
const fn index_of(duration_ns: u64) -> usize {
    let below = 1 << SUB_BITS;
    if duration_ns < below {
        return duration_ns as usize;
    }
    let power = u64::BITS - 1 - duration_ns.leading_zeros();
    if power >= BITS_MAX {
        return BUCKETS - 1;
    }
    let part = (duration_ns >> (power - SUB_BITS)) & (below - 1);
    (((power - SUB_BITS + 1) as usize) << SUB_BITS) + part as usize
}

/// The longest duration that is in a bucket. The last one's is a fiction: it has no end.
const fn last_ns_of(index: usize) -> u64 {
    let below = 1 << SUB_BITS;
    if index < below {
        return index as u64;
    }
    let power = (index >> SUB_BITS) as u32 + SUB_BITS - 1;
    let part = (index & (below - 1)) as u64;
    let width = 1 << (power - SUB_BITS);
    (1 << power) + (part + 1) * width - 1
}

impl LatencyHistogram {
    /// Counts a request that took that long. For the one thread that serves the queue.
    pub fn record(&self, op: OpClass, duration_ns: u64) {
        let class = &self.classes[op as usize];
        // A single writer needs no atomic read-modify-write.
        let add = |counter: &AtomicU64, more: u64| {
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        add(&class.buckets[index_of(duration_ns)], 1);
        add(&class.sum_ns, duration_ns);
        if duration_ns > class.max_ns.load(Ordering::Relaxed) {
            class.max_ns.store(duration_ns, Ordering::Relaxed);
        }
    }

    /// Everything at this moment.
    pub fn snapshot(&self) -> LatencySnapshot {
        let [read, write, flush, other] = &self.classes;
        LatencySnapshot {
            read: read.snapshot(),
            write: write.snapshot(),
            flush: flush.snapshot(),
            other: other.snapshot(),
        }
    }
}

impl Durations {
    fn snapshot(&self) -> DurationsSnapshot {
        let counted = |(index, bucket): (usize, &AtomicU64)| {
            let count = bucket.load(Ordering::Relaxed);
            (count > 0).then(|| Bucket { le_ns: last_ns_of(index), count })
        };
        DurationsSnapshot {
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
            max_ns: self.max_ns.load(Ordering::Relaxed),
            buckets: self.buckets.iter().enumerate().filter_map(counted).collect(),
        }
    }
}

/// The latencies of one queue, or of several together, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// Of reads.
    pub read: DurationsSnapshot,
    /// Of writes.
    pub write: DurationsSnapshot,
    /// Of flushes.
    pub flush: DurationsSnapshot,
    /// Of everything else.
    pub other: DurationsSnapshot,
}

impl LatencySnapshot {
    /// The durations of one class.
    pub fn class(&self, op: OpClass) -> &DurationsSnapshot {
        match op {
            OpClass::Read => &self.read,
            OpClass::Write => &self.write,
            OpClass::Flush => &self.flush,
            OpClass::Other => &self.other,
        }
    }

    /// The queues' requests as if one queue had served them.
    pub fn total<'a>(queues: impl IntoIterator<Item = &'a Self>) -> Self {
        queues.into_iter().fold(Self::default(), |mut total, queue| {
            total.read.add(&queue.read);
            total.write.add(&queue.write);
            total.flush.add(&queue.flush);
            total.other.add(&queue.other);
            total
        })
    }

    /// What came after `earlier`, a snapshot of the same queues.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            read: self.read.since(&earlier.read),
            write: self.write.since(&earlier.write),
            flush: self.flush.since(&earlier.flush),
            other: self.other.since(&earlier.other),
        }
    }
}

/// Requests that took at most `le_ns`, and longer than the bucket before holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The longest duration in the bucket, in nanoseconds.
    pub le_ns: u64,
    /// How many requests.
    pub count: u64,
}

/// The durations of one class of requests at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DurationsSnapshot {
    /// All durations together, in nanoseconds.
    pub sum_ns: u64,
    /// The longest, in nanoseconds.
    pub max_ns: u64,
    /// The buckets that hold something, ascending.
    pub buckets: Vec<Bucket>,
}

impl DurationsSnapshot {
    /// How many requests there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// The average in nanoseconds; none without requests.
    pub fn mean_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count())
    }

    /// The duration that a share of the requests, 0 to 1, did not exceed, as the bucket's end (12.5 % above
    /// the truth at most); none without requests.
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let wanted = ((share.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|bucket| {
            seen += bucket.count;
            seen >= wanted
        })?;
        Some(bucket.le_ns.min(self.max_ns))
    }

    /// How many requests took no longer than `le_ns`, exact where that is one less than a power of two.
    pub fn count_up_to(&self, le_ns: u64) -> u64 {
        let within = self.buckets.iter().take_while(|bucket| bucket.le_ns <= le_ns);
        within.map(|bucket| bucket.count).sum()
    }

    fn add(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        for bucket in &other.buckets {
            match self.buckets.binary_search_by_key(&bucket.le_ns, |own| own.le_ns) {
                Ok(at) => self.buckets[at].count += bucket.count,
                Err(at) => self.buckets.insert(at, *bucket),
            }
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        let before = |le_ns: u64| {
            let at = earlier.buckets.binary_search_by_key(&le_ns, |bucket| bucket.le_ns);
            at.map_or(0, |at| earlier.buckets[at].count)
        };
        let newer = self.buckets.iter().filter_map(|bucket| {
            let count = bucket.count.saturating_sub(before(bucket.le_ns));
            (count > 0).then_some(Bucket { count, ..*bucket })
        });
        let buckets: Vec<Bucket> = newer.collect();
        // The longest of an interval is not recorded; its bucket's end is as near as can be told.
        let longest = buckets.last().map_or(0, |bucket| bucket.le_ns);
        let sum_ns = self.sum_ns.saturating_sub(earlier.sum_ns);
        Self { sum_ns, max_ns: longest.min(self.max_ns), buckets }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_duration_is_in_the_bucket_that_says_so(duration_ns in 0_u64..1 << BITS_MAX) {
            let index = index_of(duration_ns);
            prop_assert!(duration_ns <= last_ns_of(index));
            prop_assert!(index == 0 || duration_ns > last_ns_of(index - 1));
            // Known to one part in eight.
            prop_assert!(last_ns_of(index) - duration_ns <= duration_ns / 8);
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_list_up_to_a_bucket(
            mut durations in prop::collection::vec(0_u64..10_000_000_000, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let histogram = LatencyHistogram::default();
            durations.iter().for_each(|&ns| histogram.record(OpClass::Read, ns));
            let seen = histogram.snapshot().read;
            durations.sort_unstable();
            let rank = ((share * durations.len() as f64).ceil() as usize).max(1);
            let exact = durations[rank - 1];
            let told = seen.quantile_ns(share).unwrap();
            prop_assert!(told >= exact && told - exact <= exact / 8, "{told} for {exact}");
            prop_assert_eq!(seen.count(), durations.len() as u64);
            prop_assert_eq!(seen.sum_ns, durations.iter().sum::<u64>());
            prop_assert_eq!(Some(&seen.max_ns), durations.last());
        }

        #[test]
        fn a_difference_and_a_sum_undo_each_other(
            first in prop::collection::vec(0_u64..1 << 30, 0..50),
            second in prop::collection::vec(0_u64..1 << 30, 0..50),
        ) {
            let (all, later) = (LatencyHistogram::default(), LatencyHistogram::default());
            first.iter().for_each(|&ns| all.record(OpClass::Write, ns));
            let before = all.snapshot();
            second.iter().for_each(|&ns| {
                all.record(OpClass::Write, ns);
                later.record(OpClass::Write, ns);
            });
            let after = all.snapshot();
            let between = after.since(&before);
            prop_assert_eq!(&between.write.buckets, &later.snapshot().write.buckets);
            prop_assert_eq!(between.write.sum_ns, later.snapshot().write.sum_ns);
            prop_assert_eq!(LatencySnapshot::total([&before, &later.snapshot()]), after);
        }
    }

    #[test]
    fn what_is_longer_than_all_is_in_the_last_bucket() {
        let histogram = LatencyHistogram::default();
        histogram.record(OpClass::Other, u64::MAX);
        histogram.record(OpClass::Other, 1 << BITS_MAX);
        let other = histogram.snapshot().other;
        assert_eq!(other.buckets, [Bucket { le_ns: (1 << BITS_MAX) - 1, count: 2 }]);
        assert_eq!(other.max_ns, u64::MAX);
        assert_eq!(index_of((1 << BITS_MAX) - 1), BUCKETS - 1);
    }

    #[test]
    fn without_requests_there_is_nothing_to_tell() {
        let none = LatencyHistogram::default().snapshot();
        assert_eq!(none, LatencySnapshot::default());
        assert_eq!((none.read.quantile_ns(0.5), none.read.mean_ns()), (None, None));
    }

    #[test]
    fn powers_of_two_are_ends_of_buckets() {
        let histogram = LatencyHistogram::default();
        for ns in [1023, 1024, 1025, 2047, 2048] {
            histogram.record(OpClass::Read, ns);
        }
        let read = histogram.snapshot().read;
        assert_eq!([1023, 2047, 4095].map(|le_ns| read.count_up_to(le_ns)), [1, 4, 5]);
    }

    #[test]
    fn operations_have_classes() {
        let classes = [Op::Read, Op::Write, Op::Flush, Op::Discard].map(OpClass::from);
        assert_eq!(classes, OpClass::ALL);
    }
}
