//! Performance under the instruction clock: what is to be measured, what the guest said, what follows.
//!
//! A perf run compares servers, so its unit is not the scenario but the visit: one server is started, its
//! cells are measured one after another, its costs are counted, and it is stopped again. The host lays out
//! all visits of a run in one [`PerfPlan`], interleaved, so that nothing the guest does over time can favour
//! one side; the guest answers with [`PerfLine`]s; [`fold`] makes the [`PerfReport`] of both, and what the
//! plan names and no line answers is an error there.

mod bench;
mod compare;
pub(crate) mod compared;
mod event;
mod export;
mod fold;
mod job;
mod lifecycle;
mod numbers;
pub(crate) mod parse;
mod plan;
mod render;
mod report;

pub use bench::{BenchPlace, BenchResult};
pub use compare::{Compared, ComparedCell, Comparison, Overall, comparisons};
pub use event::{Counted, Measured, PerfEvent, PerfLine, StartUp, Untraced};
pub use export::{bencher, github};
pub use fold::{PerfInput, fold};
pub use job::{JobError, WARM_UP, job_file};
pub use parse::{PerfLoadError, load_perf, parse_perf};
pub use plan::{
    BLOCK_BYTES, BenchRequest, Cell, CountRequest, Launch, Operation, PERF_PROTOCOL_VERSION,
    PerfPlan, Proof, Role, Subject, Visit,
};
pub use render::{markdown, terminal};
pub use report::{
    CellResult, CountResult, DeviceFacts, HostLoad, PERF_SCHEMA_VERSION, PerfReport, StartUpResult,
    SubjectResult,
};

pub use crate::stats::Interval;
