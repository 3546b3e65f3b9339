//! The verdict of a run as a value: everything the renderers show and a later reader may ask.
//!
//! Built by [`crate::fold`] alone. The types are the format of `report.json`, so a change here is a
//! change of [`SCHEMA_VERSION`]: a new optional field raises the minor number, anything else the major.

mod exit_code;
mod header;
mod kernel;
mod perf;
mod scenario;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::BootEnd;

pub use exit_code::ExitCode;
pub use header::{
    Accelerator, HostFacts, KernelHeader, LockEntry, QemuFacts, RunHeader, ServerFacts,
};
pub use kernel::{BootReport, CanaryCounts, Counts, KernelReport};
pub use perf::{LatencyPercentile, PerfCell, PerfSide};
pub use scenario::{Cause, Evidence, ScenarioReport, SkipReason, Verdict};

/// `major.minor` of the report's format.
pub const SCHEMA_VERSION: &str = "1.3";

/// One run: what was planned, what was seen, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: String,
    /// The verdict of the whole run.
    pub status: Status,
    /// One line that says why the run has this status.
    pub status_reason: String,
    /// Who ran what, where.
    pub run: RunHeader,
    /// The runs that this was merged from, where it was. Times of a boot count from the begin of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<RunHeader>,
    /// Milliseconds from the run's begin to its last record; of parts, the longest.
    pub duration_ms: u64,
    /// Sum over the kernels.
    pub counts: Counts,
    /// Sum over the kernels.
    pub canaries: CanaryCounts,
    /// One entry for each kernel, in the order they were asked for.
    pub kernels: Vec<KernelReport>,
    /// Places where the record contradicts the protocol. One makes the run invalid.
    pub violations: Vec<Violation>,
    /// Violations beyond the report's limit, counted and not kept.
    pub violations_cut: u64,
    /// What went wrong outside any scenario.
    pub errors: Vec<RunError>,
}

impl Report {
    /// The verdict of the whole run.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The number the process ends with; follows from the report alone.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.status {
            Status::Passed => ExitCode::Passed,
            Status::Failed if self.only_infrastructure_failed() => ExitCode::Infrastructure,
            Status::Failed => ExitCode::Failed,
            Status::Invalid => ExitCode::Invalid,
            Status::Interrupted => ExitCode::Interrupted,
            Status::NothingRan => ExitCode::NothingRan,
        }
    }

    /// Every scenario of every kernel, in plan order.
    pub fn scenarios(&self) -> impl Iterator<Item = (&KernelReport, &ScenarioReport)> {
        self.kernels.iter().flat_map(|kernel| kernel.scenarios.iter().map(move |s| (kernel, s)))
    }

    /// Whether the tools around the guest broke, and nothing in the guest was found wrong.
    fn only_infrastructure_failed(&self) -> bool {
        let mut reds = self.scenarios().filter(|(_, scenario)| scenario.verdict.is_red());
        !self.errors.is_empty()
            && self.errors.iter().all(|error| error.kind == RunErrorKind::Infrastructure)
            && reds.all(|(kernel, scenario)| match scenario.cause {
                Some(Cause::NotReported) => true,
                Some(Cause::Lost) => kernel.boots.iter().any(|boot| {
                    Some(boot.boot) == scenario.boot
                        && matches!(boot.end, Some(BootEnd::Infrastructure { .. }))
                }),
                _ => false,
            })
    }
}

/// The verdict of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// At least one scenario passed on each kernel, and everything planned came out as it should.
    Passed,
    /// A scenario is red, or something went wrong around them.
    Failed,
    /// The record contradicts the protocol, or a canary was not caught: no verdict can be trusted.
    Invalid,
    /// The user stopped the run.
    Interrupted,
    /// Nothing was shown to be wrong, and nothing was shown to work.
    NothingRan,
}

impl Status {
    /// The word of the status in the machine-readable forms.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Interrupted => "interrupted",
            Self::NothingRan => "nothing-ran",
        }
    }
}

/// A place where the record contradicts the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Index of the kernel in the run.
    pub kernel: u32,
    /// Index of the boot of that kernel.
    pub boot: u32,
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What is wrong, as a sentence fragment.
    pub what: String,
}

/// Something that went wrong outside any scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunError {
    /// What sort.
    pub kind: RunErrorKind,
    /// Index of the kernel in the run, where it concerns one.
    pub kernel: Option<u32>,
    /// Index of the boot of that kernel, where it concerns one.
    pub boot: Option<u32>,
    /// What went wrong, as a sentence fragment.
    pub message: String,
}

/// What sort of thing went wrong outside any scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RunErrorKind {
    /// QEMU, a download or the image: nothing of the guest.
    Infrastructure,
    /// The plan itself is wrong: an id twice.
    Plan,
    /// A boot whose agent never got ready, or refused its plan.
    Boot,
    /// The guest is not the kernel the run is about.
    WrongKernel,
    /// The console shows a crash that no scenario accounts for.
    Splat,
    /// A boot that ended without its agent saying so, while no scenario ran.
    Unfinished,
    /// A canary was caught, and the kernel was found broken in another way beside it.
    Canary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_status_is_the_one_in_the_json() {
        for status in [
            Status::Passed,
            Status::Failed,
            Status::Invalid,
            Status::Interrupted,
            Status::NothingRan,
        ] {
            let json = serde_json::to_value(status).unwrap();
            assert_eq!(json, status.as_str());
        }
    }
}
