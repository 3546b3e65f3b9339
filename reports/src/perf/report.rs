//! `perf.json`: every sample, the medians, the intervals, the ratios, the counts.
//!
//! The types are the format, so a change here is a change of [`PERF_SCHEMA_VERSION`]: a new field with a
//! default raises the minor number, anything else the major. Readers skip fields they do not know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bench::BenchResult;
use super::compare::Comparison;
use super::plan::{Cell, Role};
use crate::report::{KernelHeader, LatencyPercentile, RunHeader};
use crate::stats::Interval;

/// `major.minor` of the format of `perf.json`.
pub const PERF_SCHEMA_VERSION: &str = "1.2";

/// The outcome of a perf run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PerfReport {
    /// [`PERF_SCHEMA_VERSION`] of the writer.
    pub schema_version: String,
    /// Who ran what, where.
    pub run: RunHeader,
    /// Which kernel, and what the image is made of.
    pub kernel: KernelHeader,
    /// `instructions`, where 1 ns of guest time is one guest instruction, or `wall`.
    pub clock: String,
    /// CPUs of the guest.
    pub cpus: u32,
    /// I/Os in each sample.
    pub ios_per_sample: u64,
    /// The compiler that built our server, as `rustc --version` prints it.
    #[serde(default)]
    pub toolchain: Option<String>,
    /// How busy the host was.
    #[serde(default)]
    pub host_load: Option<HostLoad>,
    /// Rounds in which every subject was visited twice, there and back: `A B C C B A`. Samples 2n and 2n+1
    /// belong to round n then. None where each repetition visits each subject once.
    #[serde(default)]
    pub mirrored_rounds: Option<u32>,
    /// One entry per server and mode, in the plan's order.
    pub subjects: Vec<SubjectResult>,
    /// Start-up times by depth.
    pub start_up: Vec<StartUpResult>,
    /// Estimates of criterion benches, in the guest and on the host.
    #[serde(default)]
    pub benches: Vec<BenchResult>,
    /// The subjects against ours, one entry for each target. Empty where nothing was to be compared.
    #[serde(default)]
    pub comparisons: Vec<Comparison>,
    /// Everything that was planned and did not come, or came wrong. Empty in a good run.
    pub errors: Vec<String>,
}

/// How busy the host was: processes that wanted a CPU, averaged over a minute.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostLoad {
    /// When the run began.
    pub before: f64,
    /// When it ended; the run itself is one of it.
    pub after: f64,
}

/// The numbers of one server in one mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubjectResult {
    /// Program.
    pub name: String,
    /// Data mode.
    pub mode: String,
    /// Its part in the comparison.
    pub role: Role,
    /// Why there are no numbers, as a probe and its answer.
    pub skipped: Option<String>,
    /// What it serves, as `null` or `file`, where subjects are compared by that.
    #[serde(default)]
    pub target: Option<String>,
    /// Release of the program.
    #[serde(default)]
    pub version: Option<String>,
    /// What is different about it beside what is measured.
    #[serde(default)]
    pub note: Option<String>,
    /// Its block device by the kernel's word.
    #[serde(default)]
    pub device: Option<DeviceFacts>,
    /// One entry per cell.
    pub cells: Vec<CellResult>,
    /// What the cells cost, where that was counted.
    pub counts: Vec<CountResult>,
    /// Context switches per second of the idle server.
    pub idle_switches_per_s: Option<f64>,
}

/// A block device as the kernel describes it in sysfs, and a ublk device as the driver does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceFacts {
    /// Its length.
    pub len_bytes: u64,
    /// Its logical block.
    pub logical_block_bytes: u32,
    /// The longest request it gets.
    pub io_bytes_max: u64,
    /// Hardware queues; 0 of a device that takes no requests but bios.
    pub queues: u32,
    /// Tags of each queue; none where there are none.
    pub tags: Option<u32>,
    /// The I/O scheduler in use.
    pub scheduler: String,
    /// Whether it is told to flush.
    pub volatile_cache: bool,
    /// `UBLK_F_*` of a ublk device, by name.
    pub features: Vec<String>,
}

/// The numbers of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellResult {
    /// Which.
    pub cell: Cell,
    /// I/Os per second, a sample per repetition, in the order they were taken.
    pub samples_iops: Vec<f64>,
    /// The median of the samples.
    pub median_iops: f64,
    /// Where the true median lies; the run's seed is the seed of it.
    #[serde(default)]
    pub interval_iops: Option<Interval>,
    /// Completion latency over all samples, ascending to 99.99 percent, in guest time.
    #[serde(default)]
    pub latency: Vec<LatencyPercentile>,
    /// Guest nanoseconds per I/O; under the instruction clock, instructions per I/O of client, kernel and
    /// server together.
    pub cost_ns_per_io: f64,
    /// Median over the median of the reference server in the same mode, or in the mode `copy` where it has
    /// not this one; none without a reference.
    pub ratio: Option<f64>,
}

/// What one cell cost the server, per I/O.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CountResult {
    /// Which.
    pub cell: Cell,
    /// I/Os that were counted over.
    pub ios: u64,
    /// `io_uring_enter` calls per I/O.
    pub enters_per_io: f64,
    /// System calls per I/O.
    pub syscalls_per_io: f64,
    /// Context switches per I/O, of both kinds.
    pub switches_per_io: f64,
    /// `futex` calls altogether.
    pub futexes: u64,
    /// Allocations altogether; none where they were not counted.
    pub allocations: Option<u64>,
    /// CPU time of the server per I/O, in user space and in the kernel, nothing traced; under the
    /// instruction clock, instructions.
    #[serde(default)]
    pub server_ns_per_io: Option<f64>,
    /// CPU time of fio per I/O, as fio says; its grain is a millisecond for the whole cell.
    #[serde(default)]
    pub client_ns_per_io: Option<f64>,
}

/// How long a server took to start, to stop and to be replaced, and what memory it kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartUpResult {
    /// Program.
    pub name: String,
    /// Data mode.
    pub mode: String,
    /// Tags of the device.
    pub depth: u16,
    /// From the start of the program to the device that can be opened, a sample per repetition.
    pub samples_ns: Vec<u64>,
    /// The median of the samples.
    pub median_ns: u64,
    /// From the order to delete the device to when nothing of it is left, in the order they were taken.
    #[serde(default)]
    pub stop_samples_ns: Vec<u64>,
    /// The median of them; none without any.
    #[serde(default)]
    pub stop_median_ns: Option<u64>,
    /// Memory that the server keeps resident for the device, the most that was seen.
    #[serde(default)]
    pub resident_bytes: Option<u64>,
    /// From the start of a program that takes over to the first read it serves, after the server before it
    /// was killed; a sample for each that was killed.
    #[serde(default)]
    pub recovery_samples_ns: Vec<u64>,
    /// The median of them; none where nobody was killed.
    #[serde(default)]
    pub recovery_median_ns: Option<u64>,
}
