//! The form kernel people's tools read: KTAP version 1, one subtest for each kernel.
//!
//! As in the kernel's `Documentation/dev-tools/ktap.rst`: a version line and a plan begin each level, a
//! level is indented by two spaces, a parent fails if a child does, a description holds no `#`, and the
//! lines about a test come right before its result. The run itself is the last test, for the same
//! reason as in the JUnit form.

use std::fmt::{self, Write};

use crate::report::{Cause, KernelReport, Report, ScenarioReport, Status, Verdict};

use super::excerpt;
use super::words;

const VERSION: &str = "KTAP version 1";
const INDENT: &str = "  ";

/// The KTAP form of `report`, with a final newline.
#[must_use]
pub fn ktap(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail; the `Result` is `fmt`'s.
    let _ = write_report(&mut out, report);
    out
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    let tests = report.kernels.len() + 1;
    writeln!(out, "{VERSION}\n1..{tests}")?;
    for (number, kernel) in (1..).zip(&report.kernels) {
        write_kernel(out, number, kernel)?;
    }
    for violation in &report.violations {
        writeln!(out, "# violation: {}", words::one_line(&words::violation(violation)))?;
    }
    for error in &report.errors {
        writeln!(out, "# run error: {}", words::one_line(&words::run_error(report, error)))?;
    }
    writeln!(out, "# {}", words::counts(report))?;
    writeln!(out, "# {}; {}", words::canaries(report), words::boots(report))?;
    let (result, directive) = match report.status {
        Status::Passed => ("ok", ""),
        Status::Failed => ("not ok", ""),
        Status::Invalid | Status::Interrupted | Status::NothingRan => ("not ok", "ERROR "),
    };
    let reason = data(&report.status_reason);
    writeln!(out, "{result} {tests} run # {directive}{}: {reason}", report.status.as_str())
}

fn write_kernel(out: &mut String, number: usize, kernel: &KernelReport) -> fmt::Result {
    writeln!(out, "{INDENT}{VERSION}\n{INDENT}1..{}", kernel.scenarios.len())?;
    for (number, scenario) in (1..).zip(&kernel.scenarios) {
        write_scenario(out, number, scenario)?;
    }
    let counts = &kernel.counts;
    let name = description(&words::kernel(kernel));
    if counts.failed + counts.errors + counts.missed + counts.not_run > 0 || counts.planned == 0 {
        writeln!(out, "not ok {number} {name}")
    } else if counts.skipped == counts.planned {
        writeln!(out, "ok {number} {name} # SKIP every scenario was skipped")
    } else {
        writeln!(out, "ok {number} {name}")
    }
}

fn write_scenario(out: &mut String, number: usize, scenario: &ScenarioReport) -> fmt::Result {
    if scenario.verdict.is_red() {
        for piece in excerpt::of(scenario) {
            writeln!(out, "{INDENT}# {}:", words::one_line(&piece.title))?;
            for line in piece.lines {
                writeln!(out, "{INDENT}#   {line}")?;
            }
        }
    }
    let (result, directive) = match (scenario.verdict, scenario.cause) {
        (Verdict::Pass | Verdict::Caught, _) => ("ok", ""),
        (Verdict::Skip, _) => ("ok", "SKIP "),
        (Verdict::KnownBug, _) => ("ok", "XFAIL "),
        (Verdict::Fail, Some(Cause::Hang)) => ("not ok", "TIMEOUT "),
        (Verdict::Fail, _) => ("not ok", ""),
        (Verdict::Error | Verdict::Missed | Verdict::NotRun, _) => ("not ok", "ERROR "),
    };
    let id = description(&scenario.id);
    let message = data(&scenario.message);
    match scenario.verdict {
        // The data of a failure begins with its cause, so that no message is read as a directive.
        Verdict::Pass => writeln!(out, "{INDENT}{result} {number} {id} # pass: {message}"),
        _ if directive.is_empty() => {
            let verdict = words::verdict(scenario);
            writeln!(out, "{INDENT}{result} {number} {id} # {verdict}: {message}")
        }
        _ => writeln!(out, "{INDENT}{result} {number} {id} # {directive}{message}"),
    }
}

/// A description holds no `#`: it would begin the directive.
fn description(text: &str) -> String {
    words::one_line(text).replace('#', "_")
}

fn data(text: &str) -> String {
    words::one_line(text)
}
