//! What one kernel of a run did: its boots, its scenarios, and the sums over them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::{BootEnd, GuestFacts};
use crate::plan::{Canary, Expectation, PlannedScenario};

use super::header::KernelHeader;
use super::scenario::{Cause, ScenarioReport, Verdict};

/// One kernel of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelReport {
    /// Which kernel.
    pub kernel: KernelHeader,
    /// What the guest said about itself, from the first boot that got ready.
    pub guest: Option<GuestFacts>,
    /// Every boot, in order.
    pub boots: Vec<BootReport>,
    /// Every planned scenario, in plan order.
    pub scenarios: Vec<ScenarioReport>,
    /// Sum over the scenarios.
    pub counts: Counts,
    /// Sum over the canaries.
    pub canaries: CanaryCounts,
    /// What all parts of the run were to do, where this report is of one part; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub whole_plan: Vec<PlannedScenario>,
}

impl KernelReport {
    /// Boots that were repeated because the agent never got ready.
    #[must_use]
    pub fn retries(&self) -> usize {
        self.boots.iter().filter(|boot| boot.retried).count()
    }
}

/// One boot of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BootReport {
    /// Index of the boot, from 0.
    pub boot: u32,
    /// Milliseconds since the run began.
    pub started_at_ms: u64,
    /// Milliseconds from the boot's begin to its end by the host's clock.
    pub duration_ms: Option<u64>,
    /// Milliseconds from the boot's begin to `ready` by the host's clock.
    pub ready_after_ms: Option<u64>,
    /// Scenarios in this boot's plan.
    pub planned: u32,
    /// Scenarios whose end was reported in this boot.
    pub reported: u32,
    /// Whether the agent stopped before its plan's end: the kernel is not to be trusted, or it was told to.
    pub stopped_early: bool,
    /// Why the virtual machine is gone; nothing where the record ends before.
    pub end: Option<BootEnd>,
    /// Whether the console shows a crash.
    pub console_splat: bool,
    /// Whether another boot was made because the agent never got ready.
    pub retried: bool,
    /// The console's last words, kept where the boot did not end well.
    pub console: Option<String>,
    /// What was odd without being wrong, as a message that was cut off by a crash.
    pub notes: Vec<String>,
}

/// How many scenarios came out how. Every planned scenario is counted in exactly one verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// In the plan.
    pub planned: u64,
    /// Came to an end that was seen: reported by the guest, or lost with its virtual machine.
    pub reported: u64,
    /// `pass`.
    pub passed: u64,
    /// `fail`.
    pub failed: u64,
    /// `error`.
    pub errors: u64,
    /// `skip`.
    pub skipped: u64,
    /// `known-bug`.
    pub known_bugs: u64,
    /// `caught`: canaries.
    pub caught: u64,
    /// `missed`: canaries.
    pub missed: u64,
    /// `not-run`: the run was interrupted before.
    pub not_run: u64,
}

impl Counts {
    /// Counts `scenarios`.
    #[must_use]
    pub fn of(scenarios: &[ScenarioReport]) -> Self {
        let mut counts = Self { planned: scenarios.len() as u64, ..Self::default() };
        for scenario in scenarios {
            let unseen =
                scenario.cause == Some(Cause::NotReported) || scenario.verdict == Verdict::NotRun;
            counts.reported += u64::from(!unseen);
            *counts.slot(scenario.verdict) += 1;
        }
        counts
    }

    /// Adds `other` field by field.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            planned: self.planned + other.planned,
            reported: self.reported + other.reported,
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            errors: self.errors + other.errors,
            skipped: self.skipped + other.skipped,
            known_bugs: self.known_bugs + other.known_bugs,
            caught: self.caught + other.caught,
            missed: self.missed + other.missed,
            not_run: self.not_run + other.not_run,
        }
    }

    const fn slot(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail => &mut self.failed,
            Verdict::Error => &mut self.errors,
            Verdict::Skip => &mut self.skipped,
            Verdict::KnownBug => &mut self.known_bugs,
            Verdict::Caught => &mut self.caught,
            Verdict::Missed => &mut self.missed,
            Verdict::NotRun => &mut self.not_run,
        }
    }
}

/// How many of the deliberate disasters were caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryCounts {
    /// How many a full plan has: five for each kernel.
    pub full: u64,
    /// How many this plan has; fewer where a filter was given.
    pub planned: u64,
    /// How many were caught.
    pub caught: u64,
    /// How many were missed. One makes the run invalid.
    pub missed: u64,
}

impl CanaryCounts {
    /// Counts the canaries among the `scenarios` of one kernel.
    #[must_use]
    pub fn of(scenarios: &[ScenarioReport]) -> Self {
        let canaries =
            || scenarios.iter().filter(|s| matches!(s.expect, Expectation::Canary { .. }));
        let with = |verdict| canaries().filter(|s| s.verdict == verdict).count() as u64;
        Self {
            full: Canary::ALL.len() as u64,
            planned: canaries().count() as u64,
            caught: with(Verdict::Caught),
            missed: with(Verdict::Missed),
        }
    }

    /// Adds `other` field by field.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            full: self.full + other.full,
            planned: self.planned + other.planned,
            caught: self.caught + other.caught,
            missed: self.missed + other.missed,
        }
    }
}
