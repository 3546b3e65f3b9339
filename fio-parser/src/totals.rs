//! Several jobs as one: rates add up, histograms merge, runtimes do not add.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::direction::{Direction, DirectionStats};
use crate::job::Job;
use crate::latency::LatencyStats;
use crate::output::FioOutput;
use crate::units::{BytesPerSec, Iops, Millis};

/// Sum over jobs that ran at the same time. Jobs that ran one after the other (`stonewall`) must not be
/// summed; group them first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Number of entries summed; clones count one each.
    pub jobs: usize,
    /// Directions with at least one I/O. `Mixed` is there only for jobs that report nothing else.
    pub directions: BTreeMap<Direction, DirectionTotals>,
}

/// Sum of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DirectionTotals {
    /// Bytes transferred.
    pub io_bytes: u64,
    /// I/Os completed.
    pub total_ios: u64,
    /// Sum of the jobs' IOPS.
    pub iops: Iops,
    /// Sum of the jobs' bandwidths.
    pub bandwidth: BytesPerSec,
    /// Longest runtime of a job.
    pub runtime: Millis,
    /// Latency that carries percentiles, pooled; see [`LatencyStats::pooled`] and
    /// [`DirectionStats::main_latency`]. `None` when no job measured it.
    pub latency: Option<LatencyStats>,
}

impl Totals {
    /// Sums jobs.
    #[must_use]
    pub fn of<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Self {
        let mut parts: BTreeMap<Direction, Vec<&DirectionStats>> = BTreeMap::new();
        let mut count = 0;
        for job in jobs {
            count += 1;
            for (direction, stats) in job.counted().filter(|(_, stats)| stats.total_ios > 0) {
                parts.entry(direction).or_default().push(stats);
            }
        }
        let directions = parts
            .into_iter()
            .map(|(direction, parts)| (direction, DirectionTotals::of(&parts)))
            .collect();
        Self { jobs: count, directions }
    }

    /// IOPS of all directions.
    #[must_use]
    pub fn iops(&self) -> Iops {
        Iops(self.directions.values().map(|totals| totals.iops.0).sum())
    }

    /// Bandwidth of all directions.
    #[must_use]
    pub fn bandwidth(&self) -> BytesPerSec {
        BytesPerSec(sum(self.directions.values().map(|totals| totals.bandwidth.0)))
    }

    /// I/Os of all directions.
    #[must_use]
    pub fn total_ios(&self) -> u64 {
        sum(self.directions.values().map(|totals| totals.total_ios))
    }
}

impl DirectionTotals {
    fn of(parts: &[&DirectionStats]) -> Self {
        let main: Vec<_> = parts
            .iter()
            .filter_map(|stats| Some((stats.main_latency()?, stats.total_ios)))
            .collect();
        // A latency of some of the jobs would look like one of all of them.
        let everyone = !main.is_empty() && main.len() == parts.len();
        Self {
            io_bytes: sum(parts.iter().map(|stats| stats.io_bytes)),
            total_ios: sum(parts.iter().map(|stats| stats.total_ios)),
            iops: Iops(parts.iter().map(|stats| stats.iops.0).sum()),
            bandwidth: BytesPerSec(sum(parts.iter().map(|stats| stats.bandwidth().0))),
            runtime: parts.iter().map(|stats| stats.runtime).max().unwrap_or_default(),
            latency: everyone.then(|| LatencyStats::pooled(main)),
        }
    }
}

impl FioOutput {
    /// All jobs of the document as one.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(&self.jobs)
    }

    /// Jobs by name, which puts the clones of `numjobs` together.
    #[must_use]
    pub fn totals_by_name(&self) -> BTreeMap<&str, Totals> {
        let mut names: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
        for job in &self.jobs {
            names.entry(&job.name).or_default().push(job);
        }
        names.into_iter().map(|(name, jobs)| (name, Totals::of(jobs))).collect()
    }

    /// Jobs by reporting group (`new_group`, `stonewall`); jobs without one are group 0.
    #[must_use]
    pub fn totals_by_group(&self) -> BTreeMap<u64, Totals> {
        let mut groups: BTreeMap<u64, Vec<&Job>> = BTreeMap::new();
        for job in &self.jobs {
            groups.entry(job.group_id.unwrap_or(0)).or_default().push(job);
        }
        groups.into_iter().map(|(group, jobs)| (group, Totals::of(jobs))).collect()
    }
}

fn sum(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::KibPerSec;

    fn stats(total_ios: u64, runtime_ms: u64) -> DirectionStats {
        DirectionStats {
            io_bytes: total_ios * 4096,
            bw: KibPerSec(total_ios * 4),
            iops: Iops(total_ios as f64),
            runtime: Millis(runtime_ms),
            total_ios,
            ..DirectionStats::default()
        }
    }

    #[test]
    fn rates_add_and_runtimes_do_not() {
        let job = |ios, runtime| Job { read: Some(stats(ios, runtime)), ..Job::default() };
        let totals = Totals::of(&[job(10, 500), job(20, 900)]);
        let read = &totals.directions[&Direction::Read];
        assert_eq!((read.iops, read.runtime), (Iops(30.0), Millis(900)));
        assert_eq!(read.bandwidth, BytesPerSec(30 * 4096));
        assert_eq!(totals.jobs, 2);
        assert_eq!(read.latency, None);
    }

    #[test]
    fn mixed_is_not_counted_on_top_of_its_parts() {
        let both = Job {
            read: Some(stats(10, 1)),
            write: Some(stats(5, 1)),
            mixed: Some(stats(15, 1)),
            ..Job::default()
        };
        assert_eq!(Totals::of([&both]).total_ios(), 15);
        let only = Job { mixed: Some(stats(15, 1)), ..Job::default() };
        let totals = Totals::of([&only]);
        assert_eq!(totals.total_ios(), 15);
        assert!(totals.directions.contains_key(&Direction::Mixed));
    }
}
