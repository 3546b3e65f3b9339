//! What went wrong outside any scenario: boots, the console, the host.
//!
//! A run whose scenarios are all green can still have crashed on its way out. These rules make such a
//! run red, and only them: a crash that a scenario accounts for is that scenario's verdict.

use crate::event::BootEnd;
use crate::plan::Expectation;
use crate::report::{BootReport, RunError, RunErrorKind, ScenarioReport, Verdict};
use crate::splat;

use super::KernelInput;
use super::boot::{BootTrace, End};
use super::evidence;
use super::expect;
use super::replay::KernelTrace;
use super::verdict::crash_line;

/// An error of the host.
pub(super) fn host_error(message: &str) -> RunError {
    let kind = RunErrorKind::Infrastructure;
    RunError { kind, kernel: None, boot: None, message: message.to_owned() }
}

/// Appends what went wrong around the scenarios of one kernel.
pub(super) fn kernel_errors(
    input: &KernelInput,
    trace: &KernelTrace<'_>,
    errors: &mut Vec<RunError>,
) {
    let kernel = Some(trace.index);
    if let Some(reason) = &input.setup_error {
        let kind = RunErrorKind::Infrastructure;
        errors.push(RunError { kind, kernel, boot: None, message: reason.clone() });
    }
    for (index, scenario) in input.planned.iter().enumerate() {
        if input.planned[..index].iter().any(|earlier| earlier.id == scenario.id) {
            let message = format!("{} is planned twice", scenario.id);
            errors.push(RunError { kind: RunErrorKind::Plan, kernel, boot: None, message });
        }
    }
    for boot in &trace.boots {
        let release = input.header.release.as_deref();
        let found = wrong_kernel(release, boot).into_iter().chain(boot_error(input, boot));
        errors.extend(found.map(|(kind, message)| RunError {
            kind,
            kernel,
            boot: Some(boot.boot),
            message,
        }));
    }
}

fn wrong_kernel(release: Option<&str>, boot: &BootTrace<'_>) -> Option<(RunErrorKind, String)> {
    let (release, ready) = (release?, boot.ready.as_ref()?);
    let guest = &ready.facts.kernel_release;
    (guest != release).then(|| {
        (RunErrorKind::WrongKernel, format!("the guest runs {guest}, the run is about {release}"))
    })
}

/// What is wrong with a boot that no scenario accounts for.
fn boot_error(input: &KernelInput, boot: &BootTrace<'_>) -> Option<(RunErrorKind, String)> {
    let Some(end) = &boot.end else {
        return Some((RunErrorKind::Unfinished, "the record ends before the boot".to_owned()));
    };
    if let Some(reason) = &boot.refused {
        return Some((RunErrorKind::Boot, format!("the agent refused its plan: {reason}")));
    }
    let interrupted = *end.end == BootEnd::Interrupted;
    if boot.ready.is_none() {
        return (!interrupted && !end.retried).then(|| {
            let kind = kind_or_infrastructure(end, RunErrorKind::Boot);
            (kind, format!("the agent never got ready: {}", how(end)))
        });
    }
    // Its scenario's verdict says it all, but for whose fault it is.
    if boot.running().is_some() && boot.finished.is_none() {
        let host = matches!(end.end, BootEnd::Infrastructure { .. }) && !end.splat;
        return host.then(|| (RunErrorKind::Infrastructure, how(end)));
    }
    if end.splat && !is_explained(input, boot) {
        let line = crash_line(end.console);
        return Some((RunErrorKind::Splat, format!("a crash outside any scenario: {line}")));
    }
    match &boot.finished {
        _ if interrupted => None,
        None => {
            let kind = kind_or_infrastructure(end, RunErrorKind::Unfinished);
            Some((kind, format!("the agent never finished: {}", how(end))))
        }
        Some(finished) => match end.end {
            BootEnd::Infrastructure { .. } => Some((RunErrorKind::Infrastructure, how(end))),
            BootEnd::Deadline { .. } if !finished.stopped_early => Some((
                RunErrorKind::Unfinished,
                format!("the guest did not power off: {}", how(end)),
            )),
            _ => None,
        },
    }
}

fn kind_or_infrastructure(end: &End<'_>, kind: RunErrorKind) -> RunErrorKind {
    match end.end {
        BootEnd::Infrastructure { .. } => RunErrorKind::Infrastructure,
        _ => kind,
    }
}

/// Whether a scenario of this boot already carries the crash as a health finding, or has left a kernel that was given up
/// for what it printed and got worse on its way down. A canary excuses nothing but its own disaster.
fn is_explained(input: &KernelInput, boot: &BootTrace<'_>) -> bool {
    let finishes = boot.runs.iter().filter_map(|run| run.finish.as_ref());
    let carried = finishes.flat_map(|finish| &finish.health).any(|f| splat::is_crash(f.kind));
    carried || (boot.finished.as_ref().is_some_and(|f| f.stopped_early) && left_unwell(input, boot))
}

fn left_unwell(input: &KernelInput, boot: &BootTrace<'_>) -> bool {
    let Some(last) = boot.runs.last() else { return false };
    let is_canary = input.planned.iter().any(|planned| {
        planned.id == last.id && matches!(planned.expect, Expectation::Canary { .. })
    });
    !is_canary && last.finish.as_ref().is_some_and(|finish| !finish.health.is_empty())
}

fn how(end: &End<'_>) -> String {
    let why = match end.end {
        BootEnd::Exited { status } => format!("QEMU exited ({status})"),
        BootEnd::Deadline { which } => format!("ended at its deadline ({which})"),
        BootEnd::Interrupted => "interrupted".to_owned(),
        BootEnd::Infrastructure { reason } => reason.clone(),
    };
    match crash_line(end.console).as_str() {
        "" => why,
        line => format!("{why}; console: {line}"),
    }
}

/// A kernel found broken beside a caught canary, which would otherwise hide it.
pub(super) fn beside_canary(
    trace: &KernelTrace<'_>,
    scenario: &ScenarioReport,
) -> Option<RunError> {
    let Expectation::Canary { canary } = scenario.expect else { return None };
    if scenario.verdict != Verdict::Caught {
        return None;
    }
    let finding = scenario.health.iter().find(|f| expect::is_not_of(canary, f.kind))?;
    let line = splat::headline(&finding.text);
    Some(RunError {
        kind: RunErrorKind::Canary,
        kernel: Some(trace.index),
        boot: scenario.boot,
        message: format!("{} was caught, and beside it: {line}", scenario.id),
    })
}

/// The report of one boot.
pub(super) fn boot_report(boot: &BootTrace<'_>) -> BootReport {
    let end = boot.end.as_ref();
    let clean = boot.finished.is_some() && !boot.splat();
    BootReport {
        boot: boot.boot,
        started_at_ms: boot.started_at_ms,
        duration_ms: end.map(|end| end.at_ms.saturating_sub(boot.started_at_ms)),
        ready_after_ms: boot
            .ready
            .as_ref()
            .map(|ready| ready.at_ms.saturating_sub(boot.started_at_ms)),
        planned: u32::try_from(boot.planned.len()).unwrap_or(u32::MAX),
        reported: u32::try_from(boot.reported()).unwrap_or(u32::MAX),
        stopped_early: boot.finished.as_ref().is_some_and(|finished| finished.stopped_early),
        end: end.map(|end| end.end.clone()),
        console_splat: boot.splat(),
        retried: end.is_some_and(|end| end.retried),
        console: end
            .filter(|end| !clean && !end.console.is_empty())
            .map(|end| evidence::cut("console", end.console).text),
        notes: boot.notes.clone(),
    }
}
