//! The one place where a verdict is decided: the record of a run against its plan.
//!
//! Pure, so that every way in which a run can lie to us is a recorded stream in `tests/streams/` and not
//! an argument. Three steps: [`replay`] reads the records and complains where they contradict the
//! protocol, [`verdict`] and [`expect`] judge each planned scenario by what was traced of it, and
//! [`status`] draws the sum. Anything that is not seen to be good is bad.

mod boot;
mod columns;
mod event;
mod evidence;
mod expect;
mod merge;
mod outside;
mod perf;
mod replay;
mod scenario;
mod status;
mod verdict;

pub use columns::join;
pub use merge::{MergeError, merge};

use std::collections::BTreeSet;

use crate::event::{BootEnd, Record, Seen};
use crate::plan::PlannedScenario;
use crate::report::{
    CanaryCounts, Counts, KernelHeader, KernelReport, Report, RunError, RunHeader, SCHEMA_VERSION,
};

use replay::{Complaints, KernelTrace};

/// Everything a report follows from.
#[derive(Clone, Copy, Debug)]
pub struct RunInput<'a> {
    /// Who ran what, where.
    pub run: &'a RunHeader,
    /// What was planned, one entry for each kernel; a record's `kernel` is an index into it.
    pub kernels: &'a [KernelInput],
    /// What was seen, in the order it was seen. Times must not decrease.
    pub records: &'a [Record],
    /// What broke on the host outside any boot, one sentence fragment each.
    pub host_errors: &'a [String],
    /// Whether the user stopped the run, also where no virtual machine was running.
    pub interrupted: bool,
}

/// One kernel of a run, before it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelInput {
    /// Which kernel.
    pub header: KernelHeader,
    /// The whole plan for this kernel, before any of it ran.
    pub planned: Vec<PlannedScenario>,
    /// What all parts of the run are to do on this kernel, where this is one; else empty.
    pub whole: Vec<PlannedScenario>,
    /// Why the kernel or its image could not be had; nothing was booted then.
    pub setup_error: Option<String>,
}

/// What follows from the records of a run.
#[must_use]
pub fn fold(input: &RunInput<'_>) -> Report {
    let mut complaints = Complaints::default();
    let traces = replay::replay(input.kernels, input.records, &mut complaints);
    let interrupted = input.interrupted || input.records.iter().any(is_interruption);

    let mut errors: Vec<RunError> =
        input.host_errors.iter().map(|message| outside::host_error(message)).collect();
    let kernels: Vec<KernelReport> = input
        .kernels
        .iter()
        .zip(&traces)
        .map(|(kernel, trace)| fold_kernel(kernel, trace, interrupted, &mut errors))
        .collect();

    let mut report = Report {
        schema_version: SCHEMA_VERSION.to_owned(),
        status: crate::report::Status::Invalid,
        status_reason: String::new(),
        run: input.run.clone(),
        parts: Vec::new(),
        duration_ms: input.records.last().map_or(0, |record| record.at_ms),
        counts: kernels.iter().fold(Counts::default(), |sum, k| sum.plus(k.counts)),
        canaries: kernels.iter().fold(CanaryCounts::default(), |sum, k| sum.plus(k.canaries)),
        kernels,
        violations: complaints.kept,
        violations_cut: complaints.cut,
        errors,
    };
    (report.status, report.status_reason) = status::decide(&report, interrupted);
    report
}

/// The scenarios of `planned` that no boot has started yet: the plan of the next boot.
///
/// `records_of_kernel` are the records of one kernel. A scenario that was started and lost is not among
/// the remaining ones: its loss is its verdict, and running it again would hide it.
#[must_use]
pub fn remaining<'a>(
    planned: &[PlannedScenario],
    records_of_kernel: impl IntoIterator<Item = &'a Record>,
) -> Vec<PlannedScenario> {
    let mut trace = KernelTrace::new(0, planned);
    let mut complaints = Complaints::default();
    for record in records_of_kernel {
        trace.take(record, &mut complaints);
    }
    let started: BTreeSet<&str> =
        trace.boots.iter().flat_map(|boot| boot.runs.iter().map(|run| run.id.as_str())).collect();
    planned.iter().filter(|scenario| !started.contains(scenario.id.as_str())).cloned().collect()
}

fn is_interruption(record: &Record) -> bool {
    matches!(record.seen, Seen::BootEnded { end: BootEnd::Interrupted, .. })
}

fn fold_kernel(
    input: &KernelInput,
    trace: &KernelTrace<'_>,
    interrupted: bool,
    errors: &mut Vec<RunError>,
) -> KernelReport {
    outside::kernel_errors(input, trace, errors);
    let scenarios: Vec<_> = input
        .planned
        .iter()
        .map(|planned| {
            let judged = scenario::report(planned, trace, interrupted);
            errors.extend(outside::beside_canary(trace, &judged));
            judged
        })
        .collect();
    KernelReport {
        kernel: input.header.clone(),
        guest: trace.boots.iter().find_map(|boot| boot.ready.as_ref().map(|r| r.facts.clone())),
        boots: trace.boots.iter().map(outside::boot_report).collect(),
        counts: Counts::of(&scenarios),
        canaries: CanaryCounts::of(&scenarios),
        scenarios,
        whole_plan: input.whole.clone(),
    }
}
