//! One latency object of fio (`slat_ns`, `clat_ns`, `lat_ns`) and how several become one.
//!
//! Means and deviations can be pooled from counts; percentiles cannot be pooled from percentiles, only
//! recomputed from merged histograms. Where a part has no histogram, the whole has no percentiles.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::histogram::Histogram;
use crate::percentile::Percentile;
use crate::units::Nanos;
use crate::walk::{FieldError, Node, UnknownFields};

/// Latencies by percentile, in ascending order of the percentile.
pub type PercentileMap = BTreeMap<Percentile, Nanos>;

/// Statistics of one kind of latency.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyStats {
    /// Lowest latency; 0 without samples.
    pub min: Nanos,
    /// Highest latency; 0 without samples.
    pub max: Nanos,
    /// Arithmetic mean.
    pub mean: Nanos<f64>,
    /// Sample standard deviation.
    pub stddev: Nanos<f64>,
    /// fio's `N`; `None` before fio 3.19.
    pub samples: Option<u64>,
    /// Empty when percentiles are switched off for this kind, and without samples.
    pub percentiles: PercentileMap,
    /// Only with `--output-format=json+`, and only where percentiles are.
    pub histogram: Option<Histogram>,
}

/// Latencies of one I/O priority. Available since fio 3.30.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriorityStats {
    /// I/O priority class (0 none, 1 real time, 2 best effort, 3 idle).
    pub class: u64,
    /// Level within the class.
    pub level: u64,
    /// Hint of the priority. Available since fio 3.36.
    pub hint: Option<u64>,
    /// Completion latency, unless the job measures total latency.
    pub clat: Option<LatencyStats>,
    /// Total latency (`lat_percentiles=1`).
    pub lat: Option<LatencyStats>,
}

impl LatencyStats {
    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let stats = Self {
            min: object.required("min")?,
            max: object.required("max")?,
            mean: object.required("mean")?,
            stddev: object.required("stddev")?,
            samples: object.optional("N")?,
            percentiles: object.optional_with("percentile", read_percentiles)?.unwrap_or_default(),
            histogram: object.optional_with("bins", read_bins)?,
        };
        object.finish(unknown);
        Ok(stats)
    }

    /// Pools several latency statistics, each with the number of I/Os behind it where `N` is missing.
    ///
    /// Percentiles are kept when one part alone has samples; else they are recomputed from the merged
    /// histogram, and left empty where a part with samples brings none.
    #[must_use]
    pub fn pooled<'a>(parts: impl IntoIterator<Item = (&'a Self, u64)>) -> Self {
        let parts: Vec<(&Self, u64)> = parts
            .into_iter()
            .map(|(part, ios)| (part, part.samples.unwrap_or(ios)))
            .filter(|&(_, count)| count > 0)
            .collect();
        match parts.as_slice() {
            [] => Self::default(),
            [(only, _)] => (*only).clone(),
            several => Self::pooled_from(several),
        }
    }

    fn pooled_from(parts: &[(&Self, u64)]) -> Self {
        let (mean, stddev) = pool_moments(parts);
        let histogram =
            parts.iter().map(|(part, _)| part.histogram.as_ref()).collect::<Option<Vec<_>>>().map(
                |histograms| {
                    let mut merged = Histogram::default();
                    histograms.into_iter().for_each(|histogram| merged.merge(histogram));
                    merged
                },
            );
        let wanted: BTreeSet<Percentile> =
            parts.iter().flat_map(|(part, _)| part.percentiles.keys().copied()).collect();
        Self {
            min: parts.iter().map(|(part, _)| part.min).min().unwrap_or_default(),
            max: parts.iter().map(|(part, _)| part.max).max().unwrap_or_default(),
            mean,
            stddev,
            samples: parts
                .iter()
                .map(|(part, _)| part.samples)
                .try_fold(0_u64, |sum, samples| Some(sum.saturating_add(samples?))),
            percentiles: histogram
                .as_ref()
                .map(|merged| merged.percentiles(wanted))
                .unwrap_or_default(),
            histogram,
        }
    }
}

/// Pooled mean and sample deviation; counts are above zero.
fn pool_moments(parts: &[(&LatencyStats, u64)]) -> (Nanos<f64>, Nanos<f64>) {
    let total: f64 = parts.iter().map(|&(_, count)| count as f64).sum();
    let mean = parts.iter().map(|(part, count)| part.mean.0 * *count as f64).sum::<f64>() / total;
    let squares: f64 = parts
        .iter()
        .map(|(part, count)| {
            let count = *count as f64;
            part.stddev.0.powi(2) * (count - 1.0) + count * (part.mean.0 - mean).powi(2)
        })
        .sum();
    (Nanos(mean), Nanos((squares / (total - 1.0)).sqrt()))
}

fn read_percentiles(node: Node) -> Result<PercentileMap, FieldError> {
    node.object()?
        .into_entries()
        .map(|(name, node)| match name.parse() {
            Ok(percentile) => Ok((percentile, node.scalar()?)),
            Err(_) => Err(node.wrong_type("named by a percentile above 0 and up to 100")),
        })
        .collect()
}

fn read_bins(node: Node) -> Result<Histogram, FieldError> {
    node.object()?
        .into_entries()
        .map(|(name, node)| match name.parse() {
            Ok(midpoint) => Ok((Nanos(midpoint), node.scalar()?)),
            Err(_) => Err(node.wrong_type("named by a latency in nanoseconds")),
        })
        .collect()
}

impl PriorityStats {
    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let stats = Self {
            class: object.required("prioclass")?,
            level: object.required("prio")?,
            hint: object.optional("priohint")?,
            clat: object.optional_with("clat_ns", |node| LatencyStats::read(node, unknown))?,
            lat: object.optional_with("lat_ns", |node| LatencyStats::read(node, unknown))?,
        };
        object.finish(unknown);
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stats(values: &[u64], with_bins: bool) -> LatencyStats {
        let count = values.len() as f64;
        let mean = values.iter().sum::<u64>() as f64 / count;
        let squares: f64 = values.iter().map(|&value| (value as f64 - mean).powi(2)).sum();
        let histogram: Histogram = values.iter().map(|&value| (Nanos(value), 1)).collect();
        LatencyStats {
            min: Nanos(*values.iter().min().unwrap()),
            max: Nanos(*values.iter().max().unwrap()),
            mean: Nanos(mean),
            stddev: Nanos((squares / (count - 1.0)).sqrt()),
            samples: Some(values.len() as u64),
            percentiles: histogram.percentiles([Percentile::P50, Percentile::P99]),
            histogram: with_bins.then_some(histogram),
        }
    }

    #[test]
    fn pooling_equals_measuring_everything_at_once() {
        let (a, b) = (stats(&[10, 20, 30, 400], true), stats(&[5, 900], true));
        let pooled = LatencyStats::pooled([(&a, 4), (&b, 2)]);
        let whole = stats(&[10, 20, 30, 400, 5, 900], true);
        assert!((pooled.mean.0 - whole.mean.0).abs() < 1e-9);
        assert!((pooled.stddev.0 - whole.stddev.0).abs() < 1e-9);
        assert_eq!(pooled.percentiles, whole.percentiles);
        assert_eq!((pooled.min, pooled.max), (whole.min, whole.max));
        assert_eq!(pooled.samples, Some(6));
    }

    #[test]
    fn percentiles_are_never_averaged() {
        let (a, b) = (stats(&[10, 20], true), stats(&[30, 40], false));
        let pooled = LatencyStats::pooled([(&a, 2), (&b, 2)]);
        assert!(pooled.percentiles.is_empty());
        assert_eq!(pooled.histogram, None);
        assert_eq!(pooled.max, Nanos(40));
    }

    #[test]
    fn an_idle_part_does_not_pull_the_minimum_to_zero() {
        let busy = stats(&[10, 20], false);
        let idle = LatencyStats { samples: Some(0), ..LatencyStats::default() };
        assert_eq!(LatencyStats::pooled([(&busy, 2), (&idle, 0)]), busy);
    }

    #[test]
    fn without_n_the_count_of_ios_weighs() {
        let mut a = stats(&[10, 10], false);
        let mut b = stats(&[40, 40], false);
        (a.samples, b.samples) = (None, None);
        let pooled = LatencyStats::pooled([(&a, 1), (&b, 3)]);
        assert_eq!(pooled.mean, Nanos(32.5));
        assert_eq!(pooled.samples, None);
    }

    #[test]
    fn a_percentile_of_nonsense_is_an_error_with_its_path() {
        let value =
            json!({"min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "percentile": {"high": 1}});
        let error = LatencyStats::read(Node::root(value), &mut UnknownFields::new()).unwrap_err();
        assert!(error.to_string().starts_with("field `percentile.high` should be named by"));
    }
}
