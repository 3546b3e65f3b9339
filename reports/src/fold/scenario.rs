//! Puts the report of one scenario together: its verdict and what the verdict rests on.

use crate::event::Outcome;
use crate::plan::PlannedScenario;
use crate::report::{Cause, Evidence, ScenarioReport, Verdict};

use super::boot::{BootTrace, RunTrace};
use super::evidence;
use super::expect;
use super::perf;
use super::replay::KernelTrace;
use super::verdict::{self, Decision};

/// The report of `planned` on the kernel of `trace`.
pub(super) fn report(
    planned: &PlannedScenario,
    trace: &KernelTrace<'_>,
    interrupted: bool,
) -> ScenarioReport {
    let traces = traces_of(trace, &planned.id);
    let traced = traces.first().copied();
    let seen = match traced {
        None => verdict::not_started(interrupted),
        Some(_) if traces.len() > 1 => Decision::error(
            Cause::Violation,
            format!("its report is not believed: it was reported {} times", traces.len()),
        ),
        Some((boot, run)) => verdict::judge(boot, run, interrupted),
    };
    let (cells, broken) = perf::cells(traced.map_or(&[], |(_, run)| &run.kept.perf));
    let seen = with_broken_evidence(seen, broken);
    let decision = expect::apply(&planned.expect, seen, traced);
    let finish = traced.and_then(|(_, run)| run.finish.as_ref());

    ScenarioReport {
        id: planned.id.clone(),
        expect: planned.expect.clone(),
        verdict: decision.verdict,
        cause: decision.cause,
        failure: decision.failure,
        skip: decision.skip,
        message: decision.message,
        boot: traced.map(|(boot, _)| boot.boot),
        checks: finish.map_or(0, |finish| match finish.outcome {
            Outcome::Pass { checks, .. } => checks,
            _ => 0,
        }),
        budget_ms: planned.budget_ms,
        duration_ms: traced.and_then(|(boot, run)| duration_ms(boot, run)),
        health: finish.map_or_else(Vec::new, |finish| finish.health.clone()),
        last_steps: traced.map_or_else(Vec::new, |(_, run)| run.kept.steps.clone()),
        evidence: traced.map_or_else(Vec::new, |(boot, run)| evidence_of(boot, run)),
        perf: cells,
    }
}

/// Everything that was traced of `id`, over all boots; more than one trace is a violation.
fn traces_of<'t, 'a>(
    trace: &'t KernelTrace<'a>,
    id: &str,
) -> Vec<(&'t BootTrace<'a>, &'t RunTrace)> {
    let runs = trace.boots.iter().flat_map(|boot| boot.runs.iter().map(move |run| (boot, run)));
    runs.filter(|(_, run)| run.id == id).collect()
}

/// Numbers that cannot be read turn a pass into an error; a failure stays the louder news.
fn with_broken_evidence(seen: Decision, broken: Option<String>) -> Decision {
    match broken {
        Some(why) if matches!(seen.verdict, Verdict::Pass | Verdict::Skip) => {
            Decision::error(Cause::BadEvidence, format!("its fio evidence is not usable: {why}"))
        }
        _ => seen,
    }
}

fn duration_ms(boot: &BootTrace<'_>, run: &RunTrace) -> Option<u64> {
    match &run.finish {
        Some(finish) => Some(finish.duration_ms),
        None => boot.end.as_ref().map(|end| end.at_ms.saturating_sub(run.started_at_ms)),
    }
}

/// What the scenario sent, and the console where its machine was lost under it.
fn evidence_of(boot: &BootTrace<'_>, run: &RunTrace) -> Vec<Evidence> {
    let mut texts = run.kept.evidence.clone();
    if run.finish.is_none()
        && let Some(end) = &boot.end
        && !end.console.is_empty()
    {
        texts.push(evidence::cut("console", end.console));
    }
    texts
}
