//! Several reports as one: the parts of a run that hosts shared, or the kernels of a matrix that were done one after another.
//!
//! Fail-closed as the fold is: each part carries the whole plan, so a part that is missing is known by what it was to
//! do, and all of that is red. Parts that are not of one run are refused, each with the one thing that differs.

use crate::plan::PlannedScenario;
use crate::report::{
    CanaryCounts, Cause, Counts, KernelReport, Report, RunError, RunErrorKind, ScenarioReport,
    Status, Verdict,
};

use super::columns::{commit, server};
use super::status;

/// Why reports are not parts of one run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There are none.
    #[error("nothing to merge: name the folders of all parts")]
    Nothing,
    /// One was not run with a partition.
    #[error("{run} is no part of a run: run each with --partition hash:N/M")]
    Whole {
        /// Its run id.
        run: String,
    },
    /// Two differ in something that all parts share.
    #[error("{first} and {second} are not of one run: {what} {of_first} and {of_second}")]
    Differ {
        /// Run id.
        first: String,
        /// Run id.
        second: String,
        /// What it is that differs.
        what: &'static str,
        /// What the first has.
        of_first: String,
        /// What the second has.
        of_second: String,
    },
    /// A part is there twice.
    #[error("{first} and {second} are both part {part}")]
    Twice {
        /// Run id.
        first: String,
        /// Run id.
        second: String,
        /// As `hash:2/5`.
        part: String,
    },
    /// A kernel is in two of them.
    #[error("{first} and {second} both have kernel {kernel}")]
    KernelTwice {
        /// Run id.
        first: String,
        /// Run id.
        second: String,
        /// As it was typed.
        kernel: String,
    },
    /// A kernel of one is no kernel of the other, or their plans differ.
    #[error("{first} and {second} are not of one run: their plans for kernel {kernel} differ")]
    Plan {
        /// Run id.
        first: String,
        /// Run id.
        second: String,
        /// As it was typed.
        kernel: String,
    },
}

/// One report of all parts of a run. A part that is not among `parts` makes what it was to do red.
///
/// # Errors
/// [`MergeError`], where the reports are not parts of one run.
pub fn merge(parts: &[Report]) -> Result<Report, MergeError> {
    let first = parts.first().ok_or(MergeError::Nothing)?;
    let count = number_of_parts(first)?;
    for (index, part) in parts.iter().enumerate() {
        number_of_parts(part)?;
        same_run(first, part)?;
        if let Some(earlier) =
            parts[..index].iter().find(|one| one.run.partition == part.run.partition)
        {
            return Err(MergeError::Twice {
                first: earlier.run.run_id.clone(),
                second: part.run.run_id.clone(),
                part: part.run.partition.map(|part| part.to_string()).unwrap_or_default(),
            });
        }
    }
    let missing: Vec<u32> = (1..=count)
        .filter(|index| {
            !parts.iter().any(|part| part.run.partition.is_some_and(|p| p.index.get() == *index))
        })
        .collect();
    let mut report = together(first, parts);
    for index in missing {
        let message = format!("part {index} of {count} is missing: what it was to do was not run");
        report.errors.push(RunError {
            kind: RunErrorKind::Infrastructure,
            kernel: None,
            boot: None,
            message,
        });
    }
    let interrupted = parts.iter().any(|part| part.status == Status::Interrupted);
    (report.status, report.status_reason) = status::decide(&report, interrupted);
    Ok(report)
}

fn number_of_parts(part: &Report) -> Result<u32, MergeError> {
    let partition = part.run.partition;
    partition
        .map(|p| p.count.get())
        .ok_or_else(|| MergeError::Whole { run: part.run.run_id.clone() })
}

/// What all parts of a run share.
fn same_run(first: &Report, second: &Report) -> Result<(), MergeError> {
    let (a, b) = (&first.run, &second.run);
    let parts = |report: &Report| report.run.partition.map_or(0, |p| p.count.get()).to_string();
    let kernels = |report: &Report| {
        let names: Vec<_> =
            report.kernels.iter().map(|kernel| kernel.kernel.spec.as_str()).collect();
        names.join(" ")
    };
    let shared = [
        ("number of parts", parts(first), parts(second)),
        ("seed", format!("{:#x}", a.seed), format!("{:#x}", b.seed)),
        ("commit", commit(a), commit(b)),
        ("server", server(a), server(b)),
        ("kernels", kernels(first), kernels(second)),
    ];
    for (what, of_first, of_second) in shared {
        if of_first != of_second {
            let (first, second) = (a.run_id.clone(), b.run_id.clone());
            return Err(MergeError::Differ { first, second, what, of_first, of_second });
        }
    }
    for (one, other) in first.kernels.iter().zip(&second.kernels) {
        if let (Some(of_first), Some(of_second)) = (&one.kernel.release, &other.kernel.release)
            && of_first != of_second
        {
            return Err(MergeError::Differ {
                first: a.run_id.clone(),
                second: b.run_id.clone(),
                what: "releases",
                of_first: of_first.clone(),
                of_second: of_second.clone(),
            });
        }
        let ids = |kernel: &KernelReport| {
            kernel.whole_plan.iter().map(|planned| planned.id.clone()).collect::<Vec<_>>()
        };
        if ids(one) != ids(other) {
            return Err(MergeError::Plan {
                first: a.run_id.clone(),
                second: b.run_id.clone(),
                kernel: one.kernel.spec.clone(),
            });
        }
    }
    Ok(())
}

fn together(first: &Report, parts: &[Report]) -> Report {
    let kernels: Vec<_> =
        (0..first.kernels.len()).map(|kernel| kernel_together(kernel, first, parts)).collect();
    // Boots of one kernel are counted on through the parts.
    let shift = |part: usize, kernel: Option<u32>, boot: u32| {
        kernel.map_or(boot, |kernel| boot + boots_before(&parts[..part], kernel as usize))
    };
    let mut report = first.clone();
    report.run.partition = None;
    report.parts = parts.iter().map(|part| part.run.clone()).collect();
    report.duration_ms = parts.iter().map(|part| part.duration_ms).max().unwrap_or(0);
    report.counts = kernels.iter().fold(Counts::default(), |sum, kernel| sum.plus(kernel.counts));
    report.canaries =
        kernels.iter().fold(CanaryCounts::default(), |sum, kernel| sum.plus(kernel.canaries));
    report.kernels = kernels;
    report.violations.clear();
    report.errors.clear();
    report.violations_cut = parts.iter().map(|part| part.violations_cut).sum();
    for (index, part) in parts.iter().enumerate() {
        report.violations.extend(part.violations.iter().cloned().map(|mut violation| {
            violation.boot = shift(index, Some(violation.kernel), violation.boot);
            violation
        }));
        report.errors.extend(part.errors.iter().cloned().map(|mut error| {
            error.boot = error.boot.map(|boot| shift(index, error.kernel, boot));
            error
        }));
    }
    report
}

/// Boots of a kernel in these parts.
fn boots_before(parts: &[Report], kernel: usize) -> u32 {
    let boots = parts
        .iter()
        .filter_map(|part| part.kernels.get(kernel))
        .map(|k| k.boots.len())
        .sum::<usize>();
    u32::try_from(boots).unwrap_or(u32::MAX)
}

fn kernel_together(index: usize, first: &Report, parts: &[Report]) -> KernelReport {
    let mut merged = first.kernels[index].clone();
    merged.boots.clear();
    let mut done: Vec<ScenarioReport> = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let Some(kernel) = part.kernels.get(index) else { continue };
        let shift = boots_before(&parts[..number], index);
        merged.boots.extend(kernel.boots.iter().cloned().map(|mut boot| {
            boot.boot += shift;
            boot
        }));
        done.extend(kernel.scenarios.iter().cloned().map(|mut scenario| {
            scenario.boot = scenario.boot.map(|boot| boot + shift);
            scenario
        }));
        if merged.guest.is_none() {
            merged.guest.clone_from(&kernel.guest);
        }
        if merged.kernel.image_sha256.is_none() {
            merged.kernel.clone_from(&kernel.kernel);
        }
    }
    let plan = std::mem::take(&mut merged.whole_plan);
    merged.scenarios = plan
        .iter()
        .map(|planned| match done.iter().position(|scenario| scenario.id == planned.id) {
            Some(place) => done.swap_remove(place),
            None => of_a_missing_part(planned),
        })
        .collect();
    merged.counts = Counts::of(&merged.scenarios);
    merged.canaries = CanaryCounts::of(&merged.scenarios);
    merged
}

fn of_a_missing_part(planned: &PlannedScenario) -> ScenarioReport {
    ScenarioReport {
        id: planned.id.clone(),
        expect: planned.expect.clone(),
        verdict: Verdict::Error,
        cause: Some(Cause::NotReported),
        failure: None,
        skip: None,
        message: "it is of a part of the run that is missing".to_owned(),
        boot: None,
        checks: 0,
        budget_ms: planned.budget_ms,
        duration_ms: None,
        health: Vec::new(),
        last_steps: Vec::new(),
        evidence: Vec::new(),
        perf: Vec::new(),
    }
}
