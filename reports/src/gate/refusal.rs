//! Why there is no verdict at all: input that must not become a number.

use crate::perf::{PerfLoadError, PerfReport};
use crate::report::ExitCode;

/// Input that cannot be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A file that is no baseline or report of a known version.
    #[error(transparent)]
    Load(#[from] PerfLoadError),
    /// The baseline has no numbers.
    #[error("there is not one number to compare; make a baseline with --accept --reason TEXT")]
    Empty,
    /// A number that cannot have been measured.
    #[error("the baseline's {metric} has no usable sample; accept a new baseline")]
    Unusable {
        /// Which.
        metric: String,
    },
    /// The clocks differ.
    #[error(
        "the baseline is of the clock `{baseline}` and the report of `{here}`; give the baseline of that clock"
    )]
    Clock {
        /// The baseline's.
        baseline: String,
        /// The report's.
        here: String,
    },
    /// The baseline was measured somewhere else.
    #[error(
        "not comparable: {}; conclusive would be --base REVISION, which measures both trees here, or a baseline accepted here",
        differences.join(", ")
    )]
    Elsewhere {
        /// What differs, a phrase each.
        differences: Vec<String>,
    },
    /// Report and baseline do not have the same numbers.
    #[error(
        "the {side} lacks {}{}; measure the same cells, or accept a new baseline",
        metrics.first().map_or("", String::as_str),
        match metrics.len() { 0 | 1 => String::new(), more => format!(" and {} more", more - 1) }
    )]
    Missing {
        /// `report` or `baseline`.
        side: &'static str,
        /// What is missing, never empty.
        metrics: Vec<String>,
    },
    /// The run itself went wrong.
    #[error("the run has errors and its numbers do not count: {first}")]
    Broken {
        /// The first of them.
        first: String,
    },
    /// A sample that is no number, or not more than 0 where it has to be.
    #[error("the report's {metric} has a sample that is no measurement")]
    Sample {
        /// Which.
        metric: String,
    },
    /// Nothing of this name was measured.
    #[error("the report has no subject `{name}`")]
    NoSubject {
        /// Its name.
        name: String,
    },
    /// By the wall clock, and not interleaved.
    #[error(
        "a report by the wall clock can only be judged with its base in the same run, there and back; make it with `cargo xtask gate --clock wall --base REVISION`"
    )]
    NotInterleaved,
    /// A baseline is not moved without a word.
    #[error("--accept wants --reason TEXT, which is kept in the baseline")]
    NoReason,
}

impl Refusal {
    /// The number the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            // Nothing is wrong with the tree or the command: it is just not known.
            Self::Elsewhere { .. } => ExitCode::Inconclusive,
            Self::Broken { .. } => ExitCode::Infrastructure,
            _ => ExitCode::Usage,
        }
    }
}

/// Refuses a run that is not whole.
pub(super) fn whole(report: &PerfReport) -> Result<(), Refusal> {
    match report.errors.first() {
        Some(first) => Err(Refusal::Broken { first: first.clone() }),
        None => Ok(()),
    }
}
