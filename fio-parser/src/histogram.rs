//! The JSON+ latency histogram, the only form of fio's latencies that can be merged.
//!
//! fio keeps 64 linear buckets per octave and prints each non-empty one under the midpoint of its
//! range. Buckets are the same in every job and every version, so merging is adding counts, and
//! percentiles recomputed from the sum equal those fio would have printed for one grouped job.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::latency::PercentileMap;
use crate::percentile::Percentile;
use crate::units::Nanos;

/// Counts of latencies by bucket midpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Histogram {
    bins: BTreeMap<Nanos, u64>,
}

/// One non-empty bucket with its running total, as a row of fio's `fio_jsonplus_clat2csv`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HistogramRow {
    /// Midpoint of the bucket.
    pub latency: Nanos,
    /// Latencies in this bucket.
    pub count: u64,
    /// Latencies in this and all lower buckets.
    pub cumulative: u64,
    /// `cumulative` as a share of all, in percent.
    pub percent: f64,
}

impl Histogram {
    /// Adds `count` latencies to the bucket of this midpoint. Counts saturate.
    pub fn add(&mut self, midpoint: Nanos, count: u64) {
        if count > 0 {
            let bin = self.bins.entry(midpoint).or_default();
            *bin = bin.saturating_add(count);
        }
    }

    /// Adds all counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (&midpoint, &count) in &other.bins {
            self.add(midpoint, count);
        }
    }

    /// Non-empty buckets in ascending order.
    pub fn bins(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        self.bins.iter().map(|(&midpoint, &count)| (midpoint, count))
    }

    /// Number of latencies.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.bins.values().fold(0, |sum, &count| sum.saturating_add(count))
    }

    /// True without any latency.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bins.is_empty()
    }

    /// The midpoint of the bucket in which this percentile lies; `None` when empty.
    #[must_use]
    pub fn percentile(&self, percentile: Percentile) -> Option<Nanos> {
        let total = self.samples();
        let mut cumulative = 0_u64;
        self.bins().find_map(|(midpoint, count)| {
            cumulative = cumulative.saturating_add(count);
            reaches(cumulative, total, percentile).then_some(midpoint)
        })
    }

    /// Several percentiles at once; empty when the histogram is.
    #[must_use]
    pub fn percentiles(&self, wanted: impl IntoIterator<Item = Percentile>) -> PercentileMap {
        wanted
            .into_iter()
            .filter_map(|percentile| Some((percentile, self.percentile(percentile)?)))
            .collect()
    }

    /// The buckets with running totals.
    #[must_use]
    pub fn rows(&self) -> Vec<HistogramRow> {
        let total = self.samples();
        let mut cumulative = 0_u64;
        self.bins()
            .map(|(latency, count)| {
                cumulative = cumulative.saturating_add(count);
                let percent = 100.0 * cumulative as f64 / total as f64;
                HistogramRow { latency, count, cumulative, percent }
            })
            .collect()
    }
}

impl FromIterator<(Nanos, u64)> for Histogram {
    fn from_iter<I: IntoIterator<Item = (Nanos, u64)>>(bins: I) -> Self {
        let mut histogram = Self::default();
        for (midpoint, count) in bins {
            histogram.add(midpoint, count);
        }
        histogram
    }
}

/// Whether `cumulative >= percent / 100 * total`, without rounding.
///
/// fio computes this in `long double` from the binary double nearest to the percentile, and the double
/// of 99.9 is a little more than 99.9: with 1000 samples it wants the 1000th, not the 999th. So the
/// double is taken apart and compared as integers, which agrees with fio where `f64` would not.
fn reaches(cumulative: u64, total: u64, percentile: Percentile) -> bool {
    const MANTISSA_BITS: u32 = 52;
    const EXPONENT_BIAS: u32 = 1023;
    let bits = percentile.percent().to_bits();
    let mantissa = u128::from(bits & ((1 << MANTISSA_BITS) - 1)) | (1 << MANTISSA_BITS);
    // percent = mantissa * 2^-shift; from 1e-6 to 100 that is a shift of 72 down to 46.
    let exponent = (bits >> MANTISSA_BITS) as u32;
    let shift = EXPONENT_BIAS + MANTISSA_BITS - exponent;
    let left = u128::from(cumulative) * 100;
    let right = mantissa * u128::from(total);
    // What does not fit 128 bits after the shift is above any 117-bit right-hand side.
    left.leading_zeros() < shift || (left << shift) >= right
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn histogram(bins: &[(u64, u64)]) -> Histogram {
        bins.iter().map(|&(midpoint, count)| (Nanos(midpoint), count)).collect()
    }

    #[test]
    fn empty_has_no_percentile() {
        assert_eq!(Histogram::default().percentile(Percentile::P50), None);
        assert!(Histogram::default().rows().is_empty());
    }

    #[rstest]
    #[case::on_the_boundary("50", 10)]
    #[case::just_above("50.000001", 20)]
    #[case::low("0.000001", 10)]
    #[case::last("100", 30)]
    fn percentile_of_small_counts(#[case] percentile: &str, #[case] expected: u64) {
        let bins = histogram(&[(10, 5), (20, 4), (30, 1)]);
        assert_eq!(bins.percentile(percentile.parse().unwrap()), Some(Nanos(expected)));
    }

    #[test]
    fn p99_9_of_a_thousand_is_the_last_as_in_fio() {
        let bins = histogram(&[(10, 999), (20, 1)]);
        assert_eq!(bins.percentile(Percentile::P99_9), Some(Nanos(20)));
        assert_eq!(bins.percentile(Percentile::P99), Some(Nanos(10)));
    }

    #[test]
    fn rows_accumulate() {
        let rows = histogram(&[(10, 1), (30, 3)]).rows();
        assert_eq!(rows[0].percent, 25.0);
        assert_eq!((rows[1].cumulative, rows[1].percent), (4, 100.0));
    }

    #[test]
    fn huge_counts_neither_wrap_nor_panic() {
        let mut bins = histogram(&[(1, u64::MAX), (2, u64::MAX)]);
        bins.merge(&bins.clone());
        assert_eq!(bins.samples(), u64::MAX);
        assert_eq!(bins.percentile(Percentile::P50), Some(Nanos(1)));
    }

    fn any_histogram() -> impl Strategy<Value = Histogram> {
        prop::collection::btree_map(0_u64..1 << 34, 1_u64..1 << 20, 1..40)
            .prop_map(|bins| bins.into_iter().map(|(key, count)| (Nanos(key), count)).collect())
    }

    proptest! {
        #[test]
        fn merging_is_commutative_and_keeps_every_sample(a in any_histogram(), b in any_histogram()) {
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.merge(&b);
            ba.merge(&a);
            prop_assert_eq!(&ab, &ba);
            prop_assert_eq!(ab.samples(), a.samples() + b.samples());
        }

        /// The definition by sorting all samples: the value at rank ceil(p/100 * n).
        #[test]
        fn whole_percentiles_agree_with_sorting(bins in prop::collection::btree_map(0_u64..1000, 1_u64..30, 1..20), percent in 1_u32..=100) {
            let sorted: Vec<u64> = bins.iter().flat_map(|(&key, &count)| (0..count).map(move |_| key)).collect();
            let rank = (sorted.len() * percent as usize).div_ceil(100);
            let bins: Histogram = bins.into_iter().map(|(key, count)| (Nanos(key), count)).collect();
            let percentile = Percentile::from_millionths(percent * 1_000_000).unwrap();
            prop_assert_eq!(bins.percentile(percentile), Some(Nanos(sorted[rank - 1])));
        }
    }
}
