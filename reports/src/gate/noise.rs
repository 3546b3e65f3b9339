//! How noisy a metric is by its own history, as each test case of the compiler's performance suite earns
//! its own threshold.

use super::baseline::Baseline;
use super::metric::MetricId;
use crate::stats::quantile;

/// What is allowed while a metric has no history of its own.
pub(super) const THRESHOLD_WITHOUT_HISTORY: f64 = 0.05;
/// Controls that make a history.
const HISTORY_MIN: usize = 8;
/// However quiet it was: below one percent nobody acts.
const THRESHOLD_MIN: f64 = 0.01;
/// However noisy it was: above this a threshold gates nothing.
const THRESHOLD_MAX: f64 = 0.30;

/// From where on a change of this metric is more than its noise: `Q3 + 3 * IQR` of what it differed from
/// itself by.
pub(super) fn threshold(baseline: &Baseline, id: &MetricId) -> f64 {
    let own = baseline.noise.iter().find(|noise| noise.id == *id);
    let deltas: Vec<f64> = own.into_iter().flat_map(|n| n.deltas.iter().map(|d| d.abs())).collect();
    if deltas.len() < HISTORY_MIN {
        return THRESHOLD_WITHOUT_HISTORY;
    }
    let (lower, upper) = (quantile(&deltas, 0.25), quantile(&deltas, 0.75));
    (upper + 3.0 * (upper - lower)).clamp(THRESHOLD_MIN, THRESHOLD_MAX)
}
