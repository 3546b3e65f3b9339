//! Small phrases that more than one form uses.

use crate::report::{KernelReport, Report, RunError, ScenarioReport, Violation};

/// `1.2 s`, `340 ms`, `-`.
pub(super) fn duration(duration_ms: Option<u64>) -> String {
    match duration_ms {
        None => "-".to_owned(),
        Some(ms) if ms < 1_000 => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

/// `fail (crash)`, `pass`.
pub(super) fn verdict(scenario: &ScenarioReport) -> String {
    let word = scenario.verdict.as_str();
    match scenario.cause {
        Some(cause) if scenario.verdict.is_red() => format!("{word} ({})", cause.as_str()),
        _ => word.to_owned(),
    }
}

/// `kernel 7.3 (7.3.4-cloud-amd64)`.
pub(super) fn kernel(kernel: &KernelReport) -> String {
    let header = &kernel.kernel;
    let guest = kernel.guest.as_ref().map(|guest| guest.kernel_release.as_str());
    match guest.or(header.release.as_deref()) {
        Some(release) => format!("kernel {} ({release})", header.spec),
        None => format!("kernel {}", header.spec),
    }
}

/// `kernel 0 boot 1 at 1234 ms: ...`.
pub(crate) fn violation(violation: &Violation) -> String {
    let Violation { kernel, boot, at_ms, what } = violation;
    format!("kernel {kernel} boot {boot} at {at_ms} ms: {what}")
}

/// `7.3 boot 1: ...`.
pub(crate) fn run_error(report: &Report, error: &RunError) -> String {
    let spec = error
        .kernel
        .and_then(|index| report.kernels.get(index as usize))
        .map(|kernel| format!("kernel {}", kernel.kernel.spec));
    let boot = error.boot.map(|boot| format!("boot {boot}"));
    let place: Vec<_> = spec.into_iter().chain(boot).collect();
    match place.is_empty() {
        true => error.message.clone(),
        false => format!("{}: {}", place.join(" "), error.message),
    }
}

/// Counts with their names, the ones that are always shown and then those that are not zero.
pub(super) fn counts(report: &Report) -> String {
    let counts = &report.counts;
    let always = [
        (counts.planned, "planned"),
        (counts.reported, "reported"),
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.errors, "errors"),
        (counts.skipped, "skipped"),
    ];
    let sometimes = [(counts.known_bugs, "known bugs"), (counts.not_run, "not run")];
    let shown = always.into_iter().chain(sometimes.into_iter().filter(|(count, _)| *count > 0));
    shown.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

/// `5 of 5 canaries caught`, and what is missing from a full set.
pub(super) fn canaries(report: &Report) -> String {
    let canaries = &report.canaries;
    let mut text = format!("{} of {} canaries caught", canaries.caught, canaries.full);
    if canaries.planned < canaries.full {
        text.push_str(&format!(", {} planned", canaries.planned));
    }
    if canaries.missed > 0 {
        text.push_str(&format!(", {} MISSED", canaries.missed));
    }
    text
}

/// `4 boots, 1 repeated before ready`.
pub(super) fn boots(report: &Report) -> String {
    let boots: usize = report.kernels.iter().map(|kernel| kernel.boots.len()).sum();
    let retries: usize = report.kernels.iter().map(KernelReport::retries).sum();
    format!("{boots} boots, {retries} repeated before ready")
}

/// Commit and whether the tree was clean.
pub(super) fn commit(report: &Report) -> String {
    let commit = report.run.commit.as_deref().unwrap_or("unknown");
    let dirty = if report.run.dirty { " (with local changes)" } else { "" };
    format!("{commit}{dirty}")
}

/// One line without control characters.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(None), "-");
        assert_eq!(duration(Some(999)), "999 ms");
        assert_eq!(duration(Some(1_290)), "1.2 s");
        assert_eq!(duration(Some(61_000)), "61.0 s");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line("a\n  b\u{1b}[31m\tc"), "a b[31m c");
    }
}
