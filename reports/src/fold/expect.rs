//! Turns what was seen of a scenario into a verdict, by what had to be seen.
//!
//! A canary is the harness testing itself: it is caught only by the very signal it was made to give. A
//! known bug has to keep failing; when it stops, its entry is a lie and turns red.

use crate::event::{FailureKind, HealthKind, Outcome};
use crate::plan::{Canary, Expectation};
use crate::report::{Cause, Verdict};

use super::boot::{BootTrace, RunTrace};
use super::verdict::Decision;

/// Applies `expect` to what was `seen` of a scenario in `traced`.
pub(super) fn apply(
    expect: &Expectation,
    seen: Decision,
    traced: Option<(&BootTrace<'_>, &RunTrace)>,
) -> Decision {
    match expect {
        Expectation::Pass => seen,
        Expectation::KnownBug { reference } => known_bug(reference, seen),
        Expectation::Canary { canary } => match traced {
            Some((boot, run)) if !is_undecided(&seen) => caught_or_missed(*canary, seen, boot, run),
            _ => seen,
        },
    }
}

/// Whether nothing can be said about the harness, because the disaster did not get its chance or its
/// report is not believed. The run is red anyway.
fn is_undecided(seen: &Decision) -> bool {
    matches!(
        seen.cause,
        Some(Cause::NotReported | Cause::Interrupted | Cause::Violation | Cause::CheckerBroken)
    )
}

fn known_bug(reference: &str, seen: Decision) -> Decision {
    match seen.verdict {
        Verdict::Fail => Decision {
            verdict: Verdict::KnownBug,
            message: format!("{reference}: {}", seen.message),
            ..seen
        },
        Verdict::Pass => Decision::fail(
            Cause::KnownBugPassed,
            format!("known bug did not fail any more ({reference}): {}", seen.message),
        ),
        _ => seen,
    }
}

fn caught_or_missed(
    canary: Canary,
    seen: Decision,
    boot: &BootTrace<'_>,
    run: &RunTrace,
) -> Decision {
    let cause = Some(Cause::Canary);
    if is_caught(canary, boot, run) {
        return Decision { verdict: Verdict::Caught, cause, ..seen };
    }
    let message = format!("the harness did not see the disaster: {}", seen.message);
    Decision { verdict: Verdict::Missed, cause, message, ..seen }
}

fn is_caught(canary: Canary, boot: &BootTrace<'_>, run: &RunTrace) -> bool {
    let Some(finish) = &run.finish else {
        return canary == Canary::Panic && boot.splat();
    };
    let found = |kind| finish.health.iter().any(|finding| finding.kind == kind);
    match canary {
        Canary::Panic => false,
        Canary::Hang => matches!(finish.outcome, Outcome::Hang { .. }) && run.kept.blocked_tasks,
        Canary::CorruptByte => {
            matches!(finish.outcome, Outcome::Fail { failure: FailureKind::DataMismatch, .. })
        }
        Canary::Warn => found(HealthKind::Warning),
        Canary::Segfault => found(HealthKind::Segfault),
    }
}

/// Whether a finding of `kind` beside a caught `canary` is a broken kernel that the canary would hide.
pub(super) const fn is_not_of(canary: Canary, kind: HealthKind) -> bool {
    match kind {
        HealthKind::Warning => !matches!(canary, Canary::Warn),
        HealthKind::Segfault => !matches!(canary, Canary::Segfault),
        HealthKind::Stall | HealthKind::HungTask | HealthKind::StuckProcess => {
            !matches!(canary, Canary::Hang)
        }
        // A server that is made to break may leave its device behind; the machine is not reused.
        HealthKind::LeakedDevice => false,
        _ => true,
    }
}
