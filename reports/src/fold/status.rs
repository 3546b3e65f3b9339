//! Draws the sum: one status for the run, and one line that says why.

use crate::report::{Cause, KernelReport, Report, Status};

/// The status of `report`, whose own status is not looked at.
///
/// Strongest doubt first: a record that contradicts itself makes every other question pointless.
pub(super) fn decide(report: &Report, interrupted: bool) -> (Status, String) {
    if let Some(first) = report.violations.first() {
        let more = report.violations.len() as u64 - 1 + report.violations_cut;
        return (
            Status::Invalid,
            format!("the record cannot be trusted: {}{}", first.what, and(more)),
        );
    }
    if report.canaries.missed > 0 {
        let missed = report.canaries.missed;
        return (Status::Invalid, format!("the harness missed {missed} of its canaries"));
    }
    if interrupted {
        return (Status::Interrupted, "the run was interrupted".to_owned());
    }
    if let Some(reason) = nothing_at_all(report) {
        return (Status::NothingRan, reason);
    }
    if let Some(reason) = red(report) {
        return (Status::Failed, reason);
    }
    // A part of a run may have no cell on a kernel; the other parts have.
    let is_mine =
        |kernel: &&KernelReport| !kernel.scenarios.is_empty() || kernel.whole_plan.is_empty();
    match report.kernels.iter().filter(is_mine).find(|kernel| kernel.counts.passed == 0) {
        Some(kernel) => (
            Status::NothingRan,
            format!("no scenario passed on kernel {}: nothing was shown", kernel.kernel.spec),
        ),
        None => (Status::Passed, "everything planned was reported, and nothing is red".to_owned()),
    }
}

/// Why a run never began, if it did not.
fn nothing_at_all(report: &Report) -> Option<String> {
    if !report.errors.is_empty() {
        return None;
    }
    if report.counts.planned == 0 {
        return Some("nothing was planned".to_owned());
    }
    let booted = report.kernels.iter().any(|kernel| !kernel.boots.is_empty());
    (!booted).then(|| "nothing was booted".to_owned())
}

/// Why a run failed, if it did: the first red scenario, else the first error around them.
fn red(report: &Report) -> Option<String> {
    let reds = || report.scenarios().filter(|(_, scenario)| scenario.verdict.is_red());
    // A scenario that was never reported is the consequence of something else, if there is any.
    let own = reds().find(|(_, scenario)| scenario.cause != Some(Cause::NotReported));
    let error = report.errors.first();
    let total = reds().count() as u64 + report.errors.len() as u64;
    let first = match (own, error) {
        (Some((kernel, scenario)), _) => named(kernel, &scenario.id, &scenario.message),
        (None, Some(error)) => error.message.clone(),
        (None, None) => {
            let (kernel, scenario) = reds().next()?;
            named(kernel, &scenario.id, &scenario.message)
        }
    };
    Some(format!("{first}{}", and(total.saturating_sub(1))))
}

fn named(kernel: &KernelReport, id: &str, message: &str) -> String {
    format!("{id} on kernel {}: {message}", kernel.kernel.spec)
}

fn and(more: u64) -> String {
    if more == 0 { String::new() } else { format!(" (and {more} more)") }
}
