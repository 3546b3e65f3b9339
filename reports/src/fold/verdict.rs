//! What one scenario's trace says, before anybody asks what was expected of it.

use crate::event::{BootEnd, FailureKind, HealthFinding, HealthKind, Outcome};
use crate::report::{Cause, SkipReason, Verdict};
use crate::splat;

use super::boot::{BootTrace, Finish, RunTrace};

/// A verdict with its reason.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) cause: Option<Cause>,
    pub(super) failure: Option<FailureKind>,
    pub(super) skip: Option<SkipReason>,
    pub(super) message: String,
}

impl Decision {
    pub(super) fn new(verdict: Verdict, cause: Cause, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { verdict, cause: Some(cause), failure: None, skip: None, message }
    }

    pub(super) fn fail(cause: Cause, message: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, cause, message)
    }

    pub(super) fn error(cause: Cause, message: impl Into<String>) -> Self {
        Self::new(Verdict::Error, cause, message)
    }
}

/// Judges a scenario that no boot has started.
pub(super) fn not_started(interrupted: bool) -> Decision {
    if interrupted {
        Decision::new(Verdict::NotRun, Cause::Interrupted, "the run was interrupted before it")
    } else {
        Decision::error(Cause::NotReported, "not reported: planned, and no boot started it")
    }
}

/// Judges a scenario by what was traced of it in `boot`.
pub(super) fn judge(boot: &BootTrace<'_>, run: &RunTrace, interrupted: bool) -> Decision {
    if let Some(what) = run.tainted.as_ref().or(boot.distrusted.as_ref()) {
        return Decision::error(Cause::Violation, format!("its report is not believed: {what}"));
    }
    match &run.finish {
        Some(finish) => reported(finish),
        None => lost(boot, interrupted),
    }
}

/// Judges a scenario whose boot ended before it did.
fn lost(boot: &BootTrace<'_>, interrupted: bool) -> Decision {
    let Some(end) = &boot.end else {
        return if interrupted {
            Decision::new(Verdict::NotRun, Cause::Interrupted, "the run was interrupted in it")
        } else {
            Decision::error(Cause::Lost, "virtual machine lost: the record ends before its end")
        };
    };
    if end.splat {
        let line = crash_line(end.console);
        return Decision::fail(Cause::Crash, format!("the guest's kernel crashed: {line}"));
    }
    match end.end {
        BootEnd::Deadline { which } => Decision::fail(
            Cause::Hang,
            format!("the virtual machine did not answer and was ended at its deadline: {which}"),
        ),
        BootEnd::Interrupted => {
            Decision::new(Verdict::NotRun, Cause::Interrupted, "the run was interrupted in it")
        }
        BootEnd::Exited { status } => {
            Decision::error(Cause::Lost, format!("virtual machine lost: QEMU exited ({status})"))
        }
        BootEnd::Infrastructure { reason } => {
            Decision::error(Cause::Lost, format!("virtual machine lost: {reason}"))
        }
    }
}

/// What a console says about a crash in one line, or its last line.
pub(super) fn crash_line(console: &str) -> String {
    let last = || console.lines().rev().map(splat::headline).find(|line| !line.is_empty());
    splat::first_crash(console).or_else(last).unwrap_or_default()
}

/// Judges a scenario by the agent's report of its end. A broken checker comes before everything: what
/// it did not see could be anything.
fn reported(finish: &Finish) -> Decision {
    if let Some(broken) = finish.health.iter().find(|f| f.kind == HealthKind::CheckerBroken) {
        let why = splat::headline(&broken.text);
        return Decision::error(Cause::CheckerBroken, format!("the health check failed: {why}"));
    }
    let mut decision = by_outcome(&finish.outcome);
    let Some(found) = summary_of(&finish.health) else {
        return decision;
    };
    if decision.verdict == Verdict::Fail {
        decision.message = format!("{}; kernel health: {found}", decision.message);
        return decision;
    }
    Decision::fail(
        Cause::Health,
        format!("kernel health: {found} (scenario: {})", decision.message),
    )
}

fn by_outcome(outcome: &Outcome) -> Decision {
    match outcome {
        Outcome::Pass { checks: 0, .. } => {
            Decision::error(Cause::NoChecks, "it reports a pass and no check")
        }
        Outcome::Pass { summary, .. } => Decision {
            verdict: Verdict::Pass,
            cause: None,
            failure: None,
            skip: None,
            message: summary.clone(),
        },
        Outcome::Fail { failure, message } => {
            Decision { failure: Some(*failure), ..Decision::fail(Cause::Property, message.clone()) }
        }
        Outcome::Skip { probe, reason } => Decision {
            skip: Some(SkipReason { probe: probe.clone(), reason: reason.clone() }),
            ..Decision::new(Verdict::Skip, Cause::Probe, format!("{probe}: {reason}"))
        },
        Outcome::Error { message } => Decision::error(Cause::Scenario, message.clone()),
        Outcome::Hang { after_ms, killable } => {
            let stuck = if *killable { "" } else { ", and its processes cannot be killed" };
            Decision::fail(Cause::Hang, format!("hung: given up after {after_ms} ms{stuck}"))
        }
        Outcome::Died { how } => Decision::fail(Cause::Died, format!("its process died: {how}")),
    }
}

fn summary_of(health: &[HealthFinding]) -> Option<String> {
    let first = health.first()?;
    let more = match health.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{more}", splat::headline(&first.text)))
}
