//! Performance numbers of a scenario, in units that are in the names.
//!
//! Informative: a wall-clock number from a shared machine decides no verdict. Evidence that should hold
//! such numbers and does not is another matter, and an error of its scenario.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The numbers of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PerfCell {
    /// Name of the job.
    pub name: String,
    /// Reads, where the job made any.
    pub read: Option<PerfSide>,
    /// Writes, where the job made any.
    pub write: Option<PerfSide>,
}

/// The numbers of one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PerfSide {
    /// I/Os that were made.
    pub ios: u64,
    /// I/Os per second.
    pub iops: f64,
    /// Bytes per second.
    pub bandwidth_bytes_per_s: u64,
    /// Completion latency, ascending; empty where percentiles were switched off.
    pub latency: Vec<LatencyPercentile>,
}

/// One point of the latency distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyPercentile {
    /// Percent of the I/Os that took no longer, as 99.9.
    pub percent: f64,
    /// Nanoseconds.
    pub latency_ns: u64,
}
