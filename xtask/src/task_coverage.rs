//! `coverage`: what a run has reached of what there is to reach.

use std::fmt;
use std::path::{Path, PathBuf};

use reports::report::{ExitCode, KernelReport, Report};
use scenarios::errno::{Coverage, Row, Sum, coverage};
use serde::Serialize;

use crate::cli::{CoverageArgs, CoverageOf, ErrnoCoverageArgs};
use crate::error::Error;
use crate::workspace;

pub(crate) fn run(args: &CoverageArgs) -> Result<ExitCode, Error> {
    match &args.of {
        CoverageOf::Errno(args) => errno(args),
        CoverageOf::Driver(args) => crate::task_coverage_driver::run(args),
    }
}

fn errno(args: &ErrnoCoverageArgs) -> Result<ExitCode, Error> {
    let path = match &args.report {
        Some(path) if path.is_dir() => path.join("report.json"),
        Some(path) => path.clone(),
        None => newest(&workspace::root().join("artifacts"))?,
    };
    let report = reports::load(&path)
        .map_err(|error| Error::usage(format!("{}: {error}", path.display())))?;
    if args.json {
        let kernels: Vec<_> = report.kernels.iter().map(Lines::of).collect();
        let text = serde_json::to_string_pretty(&kernels).map_err(Error::infrastructure)?;
        anstream::println!("{text}");
    } else {
        show(&report, &path, args.all);
    }
    Ok(ExitCode::Passed)
}

/// The youngest report of the artifacts.
fn newest(folder: &Path) -> Result<PathBuf, Error> {
    let reports = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path().join("report.json");
        Some((path.metadata().ok()?.modified().ok()?, path))
    });
    reports.max().map(|(_, path)| path).ok_or_else(|| {
        let folder = folder.display();
        Error::usage(format!("no report in {folder}: run `cargo xtask vm-e2e` first, or name one"))
    })
}

fn show(report: &Report, path: &Path, all: bool) {
    anstream::println!("from {}", path.display());
    for kernel in &report.kernels {
        anstream::println!("\n{}", Lines::of(kernel).text(all));
    }
}

/// One kernel's rows as they are printed.
#[derive(Debug, Serialize)]
struct Lines {
    kernel: String,
    reachable: u32,
    covered: u32,
    rows: Vec<Line>,
    #[serde(skip)]
    sum: Sum,
}

#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    errno: &'static str,
    status: &'static str,
    why: String,
}

impl Lines {
    fn of(kernel: &KernelReport) -> Self {
        let rows = coverage(kernel);
        let sum = Sum::of(&rows);
        let release = kernel.kernel.release.clone();
        Self {
            kernel: release.unwrap_or_else(|| kernel.kernel.spec.clone()),
            reachable: sum.reachable,
            covered: sum.covered,
            rows: rows.into_iter().map(|(row, coverage)| Line::of(row, coverage)).collect(),
            sum,
        }
    }

    fn text(&self, all: bool) -> String {
        let Sum { reachable, covered, red, not_run, missing, covered_beyond, excused, absent } =
            self.sum;
        let percent = f64::from(covered) * 100.0 / f64::from(reachable.max(1));
        let mut text = format!(
            "{}: {covered} of {reachable} reachable rows covered ({percent:.1} %), {red} red, \
             {not_run} not run, {missing} without a scenario\n\
             beyond them: {covered_beyond} covered, {excused} excused, {absent} not in this kernel",
            self.kernel
        );
        for line in self.rows.iter().filter(|line| all || line.is_open()) {
            text.push_str(&format!("\n  {line}"));
        }
        text
    }
}

impl Line {
    fn of(row: &Row, coverage: Coverage) -> Self {
        let (status, why) = match coverage {
            Coverage::Covered(by) => ("covered", by),
            Coverage::Red(by) => ("red", by),
            Coverage::NotRun(why) => ("not-run", why),
            Coverage::Absent => ("absent", "this kernel has no such path".to_owned()),
            Coverage::Excused(why) => ("excused", why.to_owned()),
            Coverage::Missing => ("missing", "no scenario is for it".to_owned()),
        };
        Self { id: row.id, errno: row.errno, status, why }
    }

    /// Whether somebody has to look at it.
    fn is_open(&self) -> bool {
        matches!(self.status, "red" | "not-run" | "missing")
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {:<32} {:<22} {}", self.status, self.id, self.errno, self.why)
    }
}
