//! Typed fio: job files out, JSON and JSON+ in.
//!
//! A fio run is easy to read wrongly: diagnostics share the stream with the JSON, several documents may
//! follow each other, `bw` counts KiB where `bw_bytes` counts bytes, a failed job prints a complete
//! document full of zeros, and percentiles of two jobs cannot be averaged. This crate exists so that
//! each of these mistakes is a type error or a typed finding instead of a wrong number in a report.
//!
//! ```
//! use fio_parser::{JobFile, Section};
//!
//! # fn main() -> Result<(), fio_parser::JobFileError> {
//! let file = JobFile::new()
//!     .with(Section::global().set("ioengine", "io_uring")?.flag("time_based")?)
//!     .with(Section::job("randrw")?.set("rw", "randrw")?.set("runtime", "2")?);
//! assert_eq!(JobFile::parse(&file.render())?, file);
//! # Ok(())
//! # }
//! ```
//!
//! Output goes the other way: [`Capture::parse`] takes what fio wrote, [`Capture::validate`] says what
//! is wrong with it, and [`Capture::summary`] gives numbers only when nothing is.

#![forbid(unsafe_code)]

mod capture;
mod direction;
mod distribution;
pub mod document;
mod finding;
mod histogram;
mod host;
mod job;
mod job_file;
mod latency;
mod output;
mod percentile;
mod steady_state;
mod summary;
mod totals;
mod units;
mod walk;

pub use capture::{Capture, Mode, ParseError, parse_last};
pub use direction::{BandwidthSamples, Direction, DirectionStats, IopsSamples, SyncStats};
pub use distribution::{Bucket, Distribution};
pub use document::SliceError;
pub use finding::{Finding, Severity};
pub use histogram::{Histogram, HistogramRow};
pub use host::{CpuIdleness, DiskAggregate, DiskUtil};
pub use job::{ClientHost, Job};
pub use job_file::{JobFile, JobFileError, JobOption, Section};
pub use latency::{LatencyStats, PercentileMap, PriorityStats};
pub use output::{FioOutput, FioVersion, Options, UnknownVersion};
pub use percentile::{InvalidPercentile, Percentile};
pub use steady_state::SteadyState;
pub use summary::{Refused, Summary};
pub use totals::{DirectionTotals, Totals};
pub use units::{BytesPerSec, Iops, KibPerSec, Millis, Nanos};
pub use walk::FieldError;
