//! The course of a gate: measure, measure more while it is unclear, measure anew before it is red.
//!
//! Pure: reports go in, and out comes what to do next. Whoever drives it boots the machines.

use std::collections::BTreeMap;

use super::compare::{Comparison, Reference, compare};
use super::decision::{DECISION_SCHEMA_VERSION, Decision, Finding, GateStatus, Verdict, judge_all};
use super::metric::MetricId;
use super::refusal::Refusal;
use crate::perf::PerfReport;

/// How often "I cannot tell" is answered with twice as many samples.
const ESCALATIONS_MAX: u32 = 2;

/// How a gate is to proceed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Seed of the intervals.
    pub seed: u64,
    /// Whether a regression has to be seen in a second machine before it counts.
    pub confirm: bool,
}

/// What to do after a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It is decided.
    Done(Decision),
    /// Another machine has to be measured in.
    Measure {
        /// How many times as many samples as the first run had.
        factor: u32,
        /// Why.
        why: String,
    },
}

/// A decision in the making.
#[derive(Debug)]
pub struct Gate {
    reference: Reference,
    options: Options,
    first: Vec<PerfReport>,
    /// Metrics that the first runs call red, and the runs that are to confirm it.
    suspects: Vec<MetricId>,
    confirming: Vec<PerfReport>,
    escalations: u32,
}

impl Gate {
    /// A gate that has seen nothing yet.
    #[must_use]
    pub fn new(reference: Reference, options: Options) -> Self {
        Self {
            reference,
            options,
            first: Vec::new(),
            suspects: Vec::new(),
            confirming: Vec::new(),
            escalations: 0,
        }
    }

    /// Takes the report of the next machine.
    ///
    /// # Errors
    /// [`Refusal`] where it cannot be compared.
    pub fn take(&mut self, report: PerfReport) -> Result<Next, Refusal> {
        if self.suspects.is_empty() {
            self.first.push(report);
            self.after_first()
        } else {
            self.confirming.push(report);
            self.after_confirming()
        }
    }

    /// The decision with what there is, where nothing more will be measured.
    ///
    /// # Errors
    /// [`Refusal`] as for [`Gate::take`].
    pub fn conclude(&self, missing: &str) -> Result<Decision, Refusal> {
        let reports = self.all();
        let comparison = compare(&self.reference, &reports)?;
        let reason = format!("{missing}; conclusive would be a report of another run");
        Ok(self.decision(GateStatus::Inconclusive, reason, &comparison))
    }

    /// What each metric differed from itself by, for the history; only by the wall clock.
    ///
    /// # Errors
    /// [`Refusal`] as for [`Gate::take`].
    pub fn control_deltas(&self) -> Result<BTreeMap<MetricId, f64>, Refusal> {
        let comparison = compare(&self.reference, &self.all())?;
        let findings = judge_all(&comparison.controls, self.options.seed);
        Ok(findings.into_iter().map(|finding| (finding.id, finding.loss)).collect())
    }

    /// Every report so far.
    #[must_use]
    pub fn all(&self) -> Vec<PerfReport> {
        self.first.iter().chain(&self.confirming).cloned().collect()
    }

    fn after_first(&mut self) -> Result<Next, Refusal> {
        let comparison = compare(&self.reference, &self.first)?;
        if let Some(void) = self.void(&comparison) {
            return Ok(Next::Done(void));
        }
        let findings = judge_all(&comparison.metrics, self.options.seed);
        let red = with(&findings, Verdict::Regressed);
        if !red.is_empty() {
            if !self.options.confirm {
                return Ok(Next::Done(self.red(&red, &comparison)));
            }
            self.suspects = red;
            self.escalations = 0;
            let why =
                format!("{} looks worse; a fresh machine has to agree", self.suspects[0].name());
            return Ok(Next::Measure { factor: 1, why });
        }
        let unclear = with(&findings, Verdict::Inconclusive);
        if let Some(first) = unclear.first() {
            return Ok(self.escalate(first).unwrap_or_else(|| {
                Next::Done(self.decision(
                    GateStatus::Inconclusive,
                    unclear_reason(&unclear),
                    &comparison,
                ))
            }));
        }
        let reason = format!("{} metrics, none worse than allowed", findings.len());
        Ok(Next::Done(self.decision(GateStatus::Passed, reason, &comparison)))
    }

    fn after_confirming(&mut self) -> Result<Next, Refusal> {
        let comparison = compare(&self.reference, &self.confirming)?;
        if let Some(void) = self.void(&comparison) {
            return Ok(Next::Done(void));
        }
        let findings = judge_all(&comparison.metrics, self.options.seed);
        let suspected = |ids: Vec<MetricId>| -> Vec<MetricId> {
            ids.into_iter().filter(|id| self.suspects.contains(id)).collect()
        };
        let red = suspected(with(&findings, Verdict::Regressed));
        if !red.is_empty() {
            return Ok(Next::Done(self.red(&red, &comparison)));
        }
        if let Some(first) = suspected(with(&findings, Verdict::Inconclusive)).first()
            && let Some(next) = self.escalate(first)
        {
            return Ok(next);
        }
        // Seen once and not again: what all runs say together, which may not be red any more.
        let all = compare(&self.reference, &self.all())?;
        let together = judge_all(&all.metrics, self.options.seed);
        let unclear: Vec<MetricId> = together
            .iter()
            .filter(|finding| finding.verdict != Verdict::BetterOrEqual)
            .map(|finding| finding.id.clone())
            .collect();
        let once = self.suspects[0].name();
        if unclear.is_empty() {
            let reason = format!("{once} looked worse once; a fresh machine did not confirm it");
            return Ok(Next::Done(self.decision(GateStatus::Passed, reason, &all)));
        }
        let reason = unclear_reason(&unclear);
        Ok(Next::Done(self.decision(GateStatus::Inconclusive, reason, &all)))
    }

    fn escalate(&mut self, unclear: &MetricId) -> Option<Next> {
        if self.escalations == ESCALATIONS_MAX {
            return None;
        }
        self.escalations += 1;
        let why = format!("{} is unclear; twice as many samples", unclear.name());
        Some(Next::Measure { factor: 1 << self.escalations, why })
    }

    fn void(&self, comparison: &Comparison) -> Option<Decision> {
        let controls = judge_all(&comparison.controls, self.options.seed);
        let differing = controls.iter().find(|control| control.differs())?;
        let reason = format!(
            "{} of one program differs from itself by {}; the run is void, repeat it on a quiet host",
            differing.id.name(),
            super::render::loss(differing, differing.loss),
        );
        Some(self.decision(GateStatus::NoisyHost, reason, comparison))
    }

    fn red(&self, red: &[MetricId], comparison: &Comparison) -> Decision {
        let more = match red.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let reason = format!("{}{more} got worse", red[0].name());
        self.decision(GateStatus::Regressed, reason, comparison)
    }

    fn decision(&self, status: GateStatus, reason: String, comparison: &Comparison) -> Decision {
        let seed = self.options.seed;
        let runs = self.first.len() + self.confirming.len();
        Decision {
            schema_version: DECISION_SCHEMA_VERSION.to_owned(),
            status,
            reason,
            findings: judge_all(&comparison.metrics, seed),
            controls: judge_all(&comparison.controls, seed),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            seed,
        }
    }
}

fn with(findings: &[Finding], verdict: Verdict) -> Vec<MetricId> {
    let matching = findings.iter().filter(|finding| finding.verdict == verdict);
    matching.map(|finding| finding.id.clone()).collect()
}

fn unclear_reason(unclear: &[MetricId]) -> String {
    let more = match unclear.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    format!(
        "{}{more} cannot be told from noise; conclusive would be more --repetitions or a quieter host",
        unclear[0].name()
    )
}
