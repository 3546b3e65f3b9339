//! What a run says about itself, and what may be concluded from it.
//!
//! The guest agent and the host write one stream of [`event`] records; [`fold()`] turns that stream and
//! the [`plan`] into a [`report`], and nothing else in the workspace decides a verdict. The renderers
//! only format a report that is already decided.

#![forbid(unsafe_code)]

pub mod abilities;
pub mod budget;
pub mod console;
pub mod driver;
pub mod environment;
pub mod event;
mod fold;
pub mod gate;
mod hash;
pub mod html;
pub mod matrix;
mod partition;
pub mod perf;
pub mod plan;
mod recorder;
pub mod render;
pub mod report;
mod schema;
pub mod splat;
mod stats;
mod store;
mod text;

pub use fold::{KernelInput, MergeError, RunInput, fold, join, merge, remaining};
pub use hash::fnv1a;
pub use partition::{Partition, PartitionError};
pub use recorder::Recorder;
pub use report::{ExitCode, Report, Status};
pub use schema::{baseline_schema, matrix_schema, perf_schema, schema};
pub use store::{
    LoadError, WriteError, load, parse_events, parse_report, write_all, write_file, write_html,
    write_report,
};
