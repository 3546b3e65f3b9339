//! The statistics of one I/O direction of a job, and of its syncs.

use std::fmt;

use serde::Serialize;

use crate::latency::{LatencyStats, PriorityStats};
use crate::units::{BytesPerSec, Iops, KibPerSec, Millis};
use crate::walk::{FieldError, Node, Object, UnknownFields};

/// What a set of I/Os did. `Mixed` is fio's sum of the other three under `unified_rw_reporting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Discards.
    Trim,
    /// Reads, writes and trims together; never to be added to them.
    Mixed,
}

impl fmt::Display for Direction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Trim => "trim",
            Self::Mixed => "mixed",
        })
    }
}

/// Everything fio reports for one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirectionStats {
    /// Bytes transferred.
    pub io_bytes: u64,
    /// fio's `bw_bytes`. Available since fio 3.5; see [`Self::bandwidth`].
    pub bw_bytes: Option<BytesPerSec>,
    /// fio's `bw`, rounded down to KiB/s.
    pub bw: KibPerSec,
    /// I/Os over the runtime; right also for runs too short to be sampled.
    pub iops: Iops,
    /// Time in which this direction was active.
    pub runtime: Millis,
    /// I/Os completed.
    pub total_ios: u64,
    /// I/Os that transferred less than asked.
    pub short_ios: u64,
    /// I/Os given up after being short.
    pub drop_ios: u64,
    /// Submission latency; `None` when switched off or before fio 3.0.
    pub slat: Option<LatencyStats>,
    /// Completion latency.
    pub clat: Option<LatencyStats>,
    /// Total latency.
    pub lat: Option<LatencyStats>,
    /// Sampled bandwidth.
    pub bandwidth_samples: Option<BandwidthSamples>,
    /// Sampled IOPS.
    pub iops_samples: Option<IopsSamples>,
    /// Share of cache hits in percent, from engines that know it.
    pub cache_hit_percent: Option<f64>,
    /// Latencies by I/O priority. Available since fio 3.30.
    pub priorities: Vec<PriorityStats>,
}

/// Bandwidth sampled every `bwavgtime` (500 ms), all zero in shorter runs. In KiB/s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BandwidthSamples {
    /// Lowest sample.
    pub min: KibPerSec,
    /// Highest sample.
    pub max: KibPerSec,
    /// This job's share of its group's bandwidth, in percent.
    pub aggregate_percent: f64,
    /// Mean of the samples.
    pub mean: KibPerSec<f64>,
    /// Standard deviation of the samples.
    pub stddev: KibPerSec<f64>,
    /// Number of samples; the other fields mean nothing when 0.
    pub samples: u64,
}

/// IOPS sampled every `iopsavgtime` (500 ms), all zero in shorter runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IopsSamples {
    /// Lowest sample.
    pub min: Iops,
    /// Highest sample.
    pub max: Iops,
    /// Mean of the samples.
    pub mean: Iops,
    /// Standard deviation of the samples.
    pub stddev: Iops,
    /// Number of samples; the other fields mean nothing when 0.
    pub samples: u64,
}

/// Flushes and syncs of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SyncStats {
    /// Syncs completed.
    pub total_ios: u64,
    /// Their latency.
    pub lat: Option<LatencyStats>,
}

impl DirectionStats {
    /// Bandwidth in bytes per second: `bw_bytes`, or `bw` times 1024 where fio is older than 3.5.
    #[must_use]
    pub fn bandwidth(&self) -> BytesPerSec {
        self.bw_bytes.unwrap_or_else(|| self.bw.into())
    }

    /// The latency that carries percentiles: completion latency, unless the job reports only total
    /// latency (`lat_percentiles=1`) or measures no completion latency at all.
    #[must_use]
    pub fn main_latency(&self) -> Option<&LatencyStats> {
        let with_percentiles = |latency: &&LatencyStats| !latency.percentiles.is_empty();
        let measured = |latency: &&LatencyStats| latency.samples != Some(0);
        let (clat, lat) = (self.clat.as_ref(), self.lat.as_ref());
        clat.filter(with_percentiles)
            .or_else(|| lat.filter(with_percentiles))
            .or_else(|| clat.filter(measured))
            .or_else(|| lat.filter(measured))
    }

    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let mut latency = |object: &mut Object, name| {
            object.optional_with(name, |node| LatencyStats::read(node, unknown))
        };
        let (slat, clat, lat) = (
            latency(&mut object, "slat_ns")?,
            latency(&mut object, "clat_ns")?,
            latency(&mut object, "lat_ns")?,
        );
        // Only `io_bytes` rounded down; taken so that it is not unknown.
        object.optional::<u64>("io_kbytes")?;
        let stats = Self {
            io_bytes: object.required("io_bytes")?,
            bw_bytes: object.optional("bw_bytes")?,
            bw: object.required("bw")?,
            iops: object.required("iops")?,
            runtime: object.required("runtime")?,
            total_ios: object.required("total_ios")?,
            short_ios: object.required("short_ios")?,
            drop_ios: object.required("drop_ios")?,
            slat,
            clat,
            lat,
            bandwidth_samples: BandwidthSamples::read(&mut object)?,
            iops_samples: IopsSamples::read(&mut object)?,
            cache_hit_percent: object.optional("cachehit")?,
            priorities: match object.take("prios") {
                None => Vec::new(),
                Some(node) => node
                    .array()?
                    .into_iter()
                    .map(|node| PriorityStats::read(node, unknown))
                    .collect::<Result<_, _>>()?,
            },
        };
        object.finish(unknown);
        Ok(stats)
    }
}

impl BandwidthSamples {
    fn read(object: &mut Object) -> Result<Option<Self>, FieldError> {
        let Some(min) = object.optional("bw_min")? else { return Ok(None) };
        Ok(Some(Self {
            min,
            max: object.required("bw_max")?,
            aggregate_percent: object.required("bw_agg")?,
            mean: object.required("bw_mean")?,
            stddev: object.required("bw_dev")?,
            // Older than 3.0 does not say, and then the mean cannot be trusted.
            samples: object.optional("bw_samples")?.unwrap_or(0),
        }))
    }
}

impl IopsSamples {
    fn read(object: &mut Object) -> Result<Option<Self>, FieldError> {
        let Some(min) = object.optional("iops_min")? else { return Ok(None) };
        Ok(Some(Self {
            min,
            max: object.required("iops_max")?,
            mean: object.required("iops_mean")?,
            stddev: object.required("iops_stddev")?,
            samples: object.optional("iops_samples")?.unwrap_or(0),
        }))
    }
}

impl SyncStats {
    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let stats = Self {
            total_ios: object.required("total_ios")?,
            lat: object.optional_with("lat_ns", |node| LatencyStats::read(node, unknown))?,
        };
        object.finish(unknown);
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_before_3_5_comes_from_kib() {
        let old = DirectionStats { bw: KibPerSec(10), ..DirectionStats::default() };
        assert_eq!(old.bandwidth(), BytesPerSec(10_240));
        let new = DirectionStats { bw_bytes: Some(BytesPerSec(10_999)), ..old };
        assert_eq!(new.bandwidth(), BytesPerSec(10_999));
    }
}
