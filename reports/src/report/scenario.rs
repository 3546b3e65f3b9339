//! The verdict on one scenario on one kernel, with what it rests on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{FailureKind, HealthFinding};
use crate::plan::Expectation;

use super::perf::PerfCell;

/// One planned scenario and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioReport {
    /// Catalogue id.
    pub id: String,
    /// What had to be seen.
    pub expect: Expectation,
    /// What follows from what was seen.
    pub verdict: Verdict,
    /// Why, where the verdict is not a plain pass.
    pub cause: Option<Cause>,
    /// What sort of property did not hold, where the scenario said so.
    pub failure: Option<FailureKind>,
    /// What was asked and answered, where it was skipped.
    pub skip: Option<SkipReason>,
    /// One line: what was shown, or what was expected and observed.
    pub message: String,
    /// Boot in which it was started.
    pub boot: Option<u32>,
    /// Checks that were made; 0 where it did not get to say.
    pub checks: u64,
    /// Wall-clock limit in milliseconds.
    pub budget_ms: u64,
    /// Wall-clock milliseconds: the agent's word, or the host's clock where the guest was lost.
    pub duration_ms: Option<u64>,
    /// What the kernel-health check found after it.
    pub health: Vec<HealthFinding>,
    /// Its last lines of progress.
    pub last_steps: Vec<String>,
    /// Texts kept beside the verdict.
    pub evidence: Vec<Evidence>,
    /// Performance numbers among the evidence; informative.
    pub perf: Vec<PerfCell>,
}

/// The verdict on one scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Reported, with at least one check, on a healthy kernel.
    Pass,
    /// The subject did something wrong.
    Fail,
    /// Nothing can be said about the subject. Never counted as less than a failure.
    Error,
    /// A probe said that it cannot run here.
    Skip,
    /// Failed, and was expected to.
    KnownBug,
    /// A canary that the harness noticed.
    Caught,
    /// A canary that the harness did not notice: the run is invalid.
    Missed,
    /// The run was interrupted before. Not a skip: nobody asked a probe.
    NotRun,
}

impl Verdict {
    /// Whether a run with this verdict cannot pass.
    #[must_use]
    pub const fn is_red(self) -> bool {
        matches!(self, Self::Fail | Self::Error | Self::Missed)
    }

    /// The word of the verdict in every form of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Skip => "skip",
            Self::KnownBug => "known-bug",
            Self::Caught => "caught",
            Self::Missed => "missed",
            Self::NotRun => "not-run",
        }
    }
}

/// Why a verdict is not a plain pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A property did not hold.
    Property,
    /// The guest's kernel crashed while it ran.
    Crash,
    /// It outlived its budget.
    Hang,
    /// Its process died without a word.
    Died,
    /// It may be fine itself, and the kernel is not fine after it.
    Health,
    /// A known bug did not fail any more: the expectation has to go.
    KnownBugPassed,
    /// The scenario said that it could not do its work.
    Scenario,
    /// Planned, and no boot ever started it.
    NotReported,
    /// Started, and its virtual machine went away without a crash on the console.
    Lost,
    /// It claims to pass and checked nothing.
    NoChecks,
    /// Its result came on a line that contradicts the protocol.
    Violation,
    /// The health check could not be made after it.
    CheckerBroken,
    /// It sent numbers that cannot be read or contradict themselves.
    BadEvidence,
    /// A probe said that it cannot run here.
    Probe,
    /// The disaster of a canary was seen, or was not.
    Canary,
    /// The user stopped the run.
    Interrupted,
}

impl Cause {
    /// The word of the cause in every form of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Property => "property",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Died => "died",
            Self::Health => "health",
            Self::KnownBugPassed => "known-bug-passed",
            Self::Scenario => "scenario",
            Self::NotReported => "not-reported",
            Self::Lost => "lost",
            Self::NoChecks => "no-checks",
            Self::Violation => "violation",
            Self::CheckerBroken => "checker-broken",
            Self::BadEvidence => "bad-evidence",
            Self::Probe => "probe",
            Self::Canary => "canary",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What decided a skip. Always a probe that was made, never a version number alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SkipReason {
    /// What was asked.
    pub probe: String,
    /// What the answer was.
    pub reason: String,
}

/// A text kept beside the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Short name, as `blocked-tasks` or `console`.
    pub name: String,
    /// The text, or its beginning.
    pub text: String,
    /// Bytes of the text that are not here.
    pub cut_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_ones_in_the_json() {
        for verdict in [Verdict::KnownBug, Verdict::NotRun, Verdict::Pass, Verdict::Missed] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
        }
        for cause in [Cause::KnownBugPassed, Cause::NoChecks, Cause::BadEvidence, Cause::Crash] {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.as_str());
        }
    }
}
