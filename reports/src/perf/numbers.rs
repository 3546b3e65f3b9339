//! What fio's output says about each job, taken only where fio itself stands by it.

use std::collections::BTreeMap;

use fio_parser::{Capture, Histogram, Job, Mode, Percentile};

use crate::report::LatencyPercentile;

/// Percentiles of the report, in millionths of a percent.
const PERCENTILES: &[u32] =
    &[50_000_000, 75_000_000, 90_000_000, 95_000_000, 99_000_000, 99_900_000, 99_990_000];

/// The numbers of one job; clones of `numjobs` together.
#[derive(Clone, Debug)]
pub(super) struct JobNumbers {
    pub(super) iops: f64,
    pub(super) ios: u64,
    /// Empty where fio was not asked for JSON+.
    pub(super) latency: Histogram,
    /// CPU time of fio's threads; none where fio does not say it.
    pub(super) cpu_ns: Option<f64>,
}

/// Every job in fio's output, warm-up included.
pub(super) fn jobs_of(text: &str) -> Result<BTreeMap<String, JobNumbers>, String> {
    let capture = Capture::parse(text.as_bytes(), Mode::Lenient).map_err(|e| e.to_string())?;
    // Refuses on every finding that makes the numbers wrong.
    capture.summary().map_err(|refused| refused.to_string())?;
    let document = capture.last();
    let totals = document.totals_by_name();
    Ok(totals
        .into_iter()
        .map(|(name, totals)| {
            let mut latency = Histogram::default();
            let parts = totals.directions.values().filter_map(|part| part.latency.as_ref());
            for histogram in parts.filter_map(|stats| stats.histogram.as_ref()) {
                latency.merge(histogram);
            }
            let own = document.jobs.iter().filter(|job| job.name == name);
            let numbers = JobNumbers {
                iops: totals.iops().0,
                ios: totals.total_ios(),
                latency,
                cpu_ns: own.map(cpu_ns).sum(),
            };
            (name.to_owned(), numbers)
        })
        .collect())
}

fn cpu_ns(job: &Job) -> Option<f64> {
    let percent = job.user_cpu_percent? + job.system_cpu_percent?;
    Some(percent / 100.0 * job.runtime?.0 as f64 * 1e6)
}

/// The report's percentiles; none of an empty histogram.
pub(super) fn percentiles(histogram: &Histogram) -> Vec<LatencyPercentile> {
    let wanted = PERCENTILES.iter().filter_map(|&p| Percentile::from_millionths(p).ok());
    let found = histogram.percentiles(wanted);
    found
        .into_iter()
        .map(|(percentile, latency)| LatencyPercentile {
            percent: percentile.percent(),
            latency_ns: latency.0,
        })
        .collect()
}
