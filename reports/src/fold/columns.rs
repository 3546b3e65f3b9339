//! The kernels of one run, done one after another and perhaps by several attempts, as the run that they are.
//!
//! Each report has whole kernels, with their whole plans. Reports that are not of one run are refused, each with the one
//! thing that differs: a table whose columns mean different things would be worse than none.

use crate::report::{CanaryCounts, Counts, KernelReport, Report, RunHeader, Status};

use super::merge::MergeError;
use super::status;

/// One report of the kernels of all `reports`: those that `order` names first, as it names them, then the others. Scenarios,
/// seed and commit have to be the same, and no kernel may be there twice. Times of a boot count from the begin of the
/// attempt that made it.
///
/// # Errors
/// [`MergeError`], where the reports are not of one run.
pub fn join(reports: &[Report], order: &[String]) -> Result<Report, MergeError> {
    let first = reports.first().ok_or(MergeError::Nothing)?;
    for report in reports {
        alike(first, report)?;
    }
    twice(reports)?;
    let mut joined = first.clone();
    joined.parts = attempts(reports).cloned().collect();
    joined.run.partition = None;
    joined.kernels = Vec::new();
    joined.violations.clear();
    joined.errors.clear();
    joined.violations_cut = reports.iter().map(|report| report.violations_cut).sum();
    for report in reports {
        // Kernels are counted on through the reports.
        let shift = u32::try_from(joined.kernels.len()).unwrap_or(u32::MAX);
        joined.kernels.extend(report.kernels.iter().cloned());
        joined.violations.extend(report.violations.iter().cloned().map(|mut violation| {
            violation.kernel += shift;
            violation
        }));
        joined.errors.extend(report.errors.iter().cloned().map(|mut error| {
            error.kernel = error.kernel.map(|kernel| kernel + shift);
            error
        }));
    }
    put_in_order(&mut joined, order);
    joined.counts = joined.kernels.iter().fold(Counts::default(), |sum, k| sum.plus(k.counts));
    joined.canaries =
        joined.kernels.iter().fold(CanaryCounts::default(), |sum, k| sum.plus(k.canaries));
    joined.duration_ms = attempts(reports).map(|run| longest(reports, run)).sum();
    let interrupted = reports.iter().any(|report| report.status == Status::Interrupted);
    (joined.status, joined.status_reason) = status::decide(&joined, interrupted);
    Ok(joined)
}

/// Sorts the kernels, and lets violations and errors point to where theirs are.
fn put_in_order(report: &mut Report, order: &[String]) {
    let rank = |kernel: &KernelReport| {
        order.iter().position(|name| *name == kernel.kernel.spec).unwrap_or(order.len())
    };
    let mut places: Vec<usize> = (0..report.kernels.len()).collect();
    places.sort_by_key(|place| rank(&report.kernels[*place]));
    let now = |was: u32| {
        let place = places.iter().position(|place| *place == was as usize);
        place.and_then(|place| u32::try_from(place).ok()).unwrap_or(was)
    };
    for violation in &mut report.violations {
        violation.kernel = now(violation.kernel);
    }
    for error in &mut report.errors {
        error.kernel = error.kernel.map(now);
    }
    report.kernels = places.iter().map(|place| report.kernels[*place].clone()).collect();
}

/// The runs that the reports came from, each once. A report that was joined before says its own.
fn attempts(reports: &[Report]) -> impl Iterator<Item = &RunHeader> {
    let headers = || {
        reports.iter().flat_map(|report| match report.parts.is_empty() {
            true => std::slice::from_ref(&report.run),
            false => &report.parts[..],
        })
    };
    let is_first = move |(index, run): &(usize, &RunHeader)| {
        headers().take(*index).all(|earlier| earlier.run_id != run.run_id)
    };
    headers().enumerate().filter(is_first).map(|(_, run)| run)
}

/// How long an attempt took: its reports count from its begin.
fn longest(reports: &[Report], run: &RunHeader) -> u64 {
    let of_run = reports.iter().filter(|report| report.run.run_id == run.run_id);
    of_run.map(|report| report.duration_ms).max().unwrap_or(0)
}

fn alike(first: &Report, second: &Report) -> Result<(), MergeError> {
    let (a, b) = (&first.run, &second.run);
    let shared = [
        ("seed", format!("{:#x}", a.seed), format!("{:#x}", b.seed)),
        ("commit", commit(a), commit(b)),
        ("server", server(a), server(b)),
    ];
    for (what, of_first, of_second) in shared {
        if of_first != of_second {
            let (first, second) = (a.run_id.clone(), b.run_id.clone());
            return Err(MergeError::Differ { first, second, what, of_first, of_second });
        }
    }
    let (mine, others) = (first.kernels.first(), second.kernels.iter());
    let ids = |kernel: &KernelReport| {
        kernel.scenarios.iter().map(|scenario| scenario.id.clone()).collect::<Vec<_>>()
    };
    for kernel in others {
        if mine.is_some_and(|mine| ids(mine) != ids(kernel)) {
            return Err(MergeError::Plan {
                first: a.run_id.clone(),
                second: b.run_id.clone(),
                kernel: kernel.kernel.spec.clone(),
            });
        }
    }
    Ok(())
}

/// The commit of a run in a sentence.
pub(super) fn commit(run: &RunHeader) -> String {
    let name = run.commit.as_deref().unwrap_or("of nobody knows which");
    format!("{name}{}", if run.dirty { " with local changes" } else { "" })
}

/// The server of a run in a sentence.
pub(super) fn server(run: &RunHeader) -> String {
    run.server.as_ref().map_or_else(|| "of nobody".to_owned(), ToString::to_string)
}

fn twice(reports: &[Report]) -> Result<(), MergeError> {
    let all: Vec<(&RunHeader, &str)> = reports
        .iter()
        .flat_map(|report| report.kernels.iter().map(|k| (&report.run, k.kernel.spec.as_str())))
        .collect();
    for (index, (run, kernel)) in all.iter().enumerate() {
        if let Some((earlier, _)) = all[..index].iter().find(|(_, other)| other == kernel) {
            return Err(MergeError::KernelTwice {
                first: earlier.run_id.clone(),
                second: run.run_id.clone(),
                kernel: (*kernel).to_owned(),
            });
        }
    }
    Ok(())
}
