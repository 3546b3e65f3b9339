//! What follows for each metric and for all of them, with what it was concluded from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::Compared;
use super::metric::{MetricId, Tolerance};
use crate::report::ExitCode;
use crate::stats::{median, median_interval};

/// `major.minor` of the format of `gate.json`.
pub const DECISION_SCHEMA_VERSION: &str = "1.0";

/// What is concluded of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A loss of more than the tolerance is ruled out.
    BetterOrEqual,
    /// It is worse by more than the tolerance, and worse beyond doubt.
    Regressed,
    /// Neither can be said.
    Inconclusive,
}

/// One metric and what is concluded of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which.
    pub id: MetricId,
    /// The median that is compared with.
    pub base: f64,
    /// The median of this tree.
    pub head: f64,
    /// How much worse, in the tolerance's terms; below 0 it is better.
    pub loss: f64,
    /// Lower end of the loss's interval.
    pub loss_low: f64,
    /// Upper end: a loss above this is ruled out.
    pub loss_high: f64,
    /// How much is allowed.
    pub tolerance: Tolerance,
    /// What follows.
    pub verdict: Verdict,
}

/// What follows from all metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GateStatus {
    /// Every metric is better or equal.
    Passed,
    /// A metric is worse, and where a confirmation was wanted a fresh machine said the same.
    Regressed,
    /// No metric is known to be worse, and not all are known not to be.
    Inconclusive,
    /// The host is too noisy: a program was not equal to itself.
    NoisyHost,
}

/// The outcome of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// [`DECISION_SCHEMA_VERSION`] of the writer.
    pub schema_version: String,
    /// What follows.
    pub status: GateStatus,
    /// Why, in one line; where it is inconclusive, with what would make it conclusive.
    pub reason: String,
    /// Every metric; of the confirming runs where there were any.
    pub findings: Vec<Finding>,
    /// The same for the program that was compared with itself; only by the wall clock.
    pub controls: Vec<Finding>,
    /// Machines that were measured in.
    pub runs: u32,
    /// Seed of the intervals.
    pub seed: u64,
}

impl GateStatus {
    /// The number the process ends with.
    #[must_use]
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Self::Passed => ExitCode::Passed,
            Self::Regressed => ExitCode::Failed,
            Self::Inconclusive => ExitCode::Inconclusive,
            Self::NoisyHost => ExitCode::NoisyHost,
        }
    }

    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "better or equal",
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
            Self::NoisyHost => "noisy host",
        }
    }
}

/// Both have to hold for a red one: worse beyond doubt, and by more than is allowed.
fn verdict(loss: f64, low: f64, high: f64, limit: f64) -> Verdict {
    if high <= limit {
        Verdict::BetterOrEqual
    } else if low > 0.0 && loss > limit {
        Verdict::Regressed
    } else {
        Verdict::Inconclusive
    }
}

/// Judges one metric.
pub(super) fn judge(id: &MetricId, compared: &Compared, seed: u64) -> Finding {
    let loss = median(&compared.losses);
    let interval = median_interval(&compared.losses, seed);
    let (low, high) = interval.map_or((f64::NAN, f64::NAN), |i| (i.low, i.high));
    Finding {
        id: id.clone(),
        base: compared.base,
        head: compared.head,
        loss,
        loss_low: low,
        loss_high: high,
        tolerance: compared.tolerance,
        verdict: verdict(loss, low, high, compared.tolerance.limit()),
    }
}

/// Judges all of them.
pub(super) fn judge_all(metrics: &BTreeMap<MetricId, Compared>, seed: u64) -> Vec<Finding> {
    metrics.iter().map(|(id, compared)| judge(id, compared, seed)).collect()
}

impl Finding {
    /// Whether it differs beyond doubt and by more than is allowed, in either direction.
    pub(super) fn differs(&self) -> bool {
        let limit = self.tolerance.limit();
        let gain = verdict(-self.loss, -self.loss_high, -self.loss_low, limit);
        self.verdict == Verdict::Regressed || gain == Verdict::Regressed
    }
}
