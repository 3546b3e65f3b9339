//! The few statistics that numbers with noise need: medians, quartiles, and an interval that says how
//! far a median can be trusted.
//!
//! Noise of a shared machine is neither Gaussian nor symmetric, so nothing here assumes it: the interval
//! is a percentile bootstrap. It is seeded by a generator whose stream is fixed for ever, so that whoever
//! has the samples and the seed has the interval.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Share of the resampled medians that an interval holds.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Enough for two digits of the interval's ends, few enough not to be noticed.
const RESAMPLES: usize = 2000;

/// Where the true median lies, as far as the samples can tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Confidence, as 0.95.
    pub confidence: f64,
}

/// The median; of an even number the mean of the two in the middle. NaN of none.
pub(crate) fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// The value below which this share of the samples lies, interpolated. NaN of none.
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, share)
}

fn quantile_of_sorted(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (position.floor() as usize, position.ceil() as usize);
    let weight = position - below as f64;
    sorted[below] + (sorted[above] - sorted[below]) * weight
}

/// The interval of the samples' median; nothing of no samples. One sample gives an interval without
/// width: it cannot know its own noise.
pub(crate) fn median_interval(samples: &[f64], seed: u64) -> Option<Interval> {
    if samples.is_empty() {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut drawn = vec![0.0; samples.len()];
    for _ in 0..RESAMPLES {
        for slot in &mut drawn {
            *slot = samples[random.random_range(0..samples.len())];
        }
        drawn.sort_by(f64::total_cmp);
        medians.push(quantile_of_sorted(&drawn, 0.5));
    }
    medians.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval {
        low: quantile_of_sorted(&medians, tail),
        high: quantile_of_sorted(&medians, 1.0 - tail),
        confidence: CONFIDENCE,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians_and_quartiles() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.75), 3.0);
    }

    #[test]
    fn a_seed_is_an_interval() {
        let samples: Vec<f64> = (0..20).map(|i| f64::from(i * 7 % 20)).collect();
        assert_eq!(median_interval(&samples, 5), median_interval(&samples, 5));
        assert_eq!(median_interval(&[], 5), None);
        let one = median_interval(&[2.0], 5).unwrap();
        assert_eq!((one.low, one.high), (2.0, 2.0));
    }

    proptest! {
        #[test]
        fn an_interval_holds_the_median_and_stays_in_the_samples(
            samples in prop::collection::vec(-10.0..10.0_f64, 1..40),
            seed in any::<u64>(),
        ) {
            let interval = median_interval(&samples, seed).unwrap();
            let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
            let most = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(least <= interval.low && interval.high <= most);
            prop_assert!(interval.low <= median(&samples) && median(&samples) <= interval.high);
        }
    }
}
