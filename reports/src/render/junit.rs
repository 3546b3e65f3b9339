//! The form CI systems read: one suite for each kernel, and one for the run itself.
//!
//! The run has a test case of its own because a JUnit reader only knows test cases: without it a run
//! whose scenarios are all green and whose record is not to be trusted would be shown as a success.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestSuite};

use crate::report::{KernelReport, Report, ScenarioReport, Status, Verdict};

use super::excerpt;
use super::words;

/// Why the XML could not be written; a bug of this crate or of its writer.
#[derive(Debug, thiserror::Error)]
#[error("serialize JUnit XML: {0}")]
pub struct JunitError(#[from] quick_junit::SerializeError);

/// The JUnit form of `report`.
///
/// # Errors
///
/// [`JunitError`] where the XML writer refuses.
pub fn junit(report: &Report) -> Result<String, JunitError> {
    let mut junit = Junit::new("ublk-proof");
    junit.set_time(Duration::from_millis(report.duration_ms));
    junit.add_test_suite(run_suite(report));
    junit.add_test_suites(report.kernels.iter().map(kernel_suite));
    Ok(junit.to_string()?)
}

fn run_suite(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("run");
    let run = &report.run;
    suite.add_property(("run_id", run.run_id.as_str()));
    suite.add_property(("seed", format!("{:#x}", run.seed).as_str()));
    suite.add_property(("commit", words::commit(report).as_str()));
    if let Some(server) = &run.server {
        suite.add_property(("server", server.to_string().as_str()));
    }
    suite.add_property(("accelerator", run.accelerator.name.as_str()));
    suite.add_property(("qemu", run.qemu.version.as_str()));
    let mut status = match report.status {
        Status::Passed => TestCaseStatus::success(),
        Status::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    if report.status != Status::Passed {
        status.set_type(report.status.as_str());
        status.set_message(words::one_line(&report.status_reason));
        status.set_description(trouble(report));
    }
    let mut case = TestCase::new("status", status);
    case.set_classname("run");
    case.set_system_out(format!("{}\n{}", words::counts(report), words::canaries(report)));
    suite.add_test_case(case);
    suite
}

fn trouble(report: &Report) -> String {
    let violations =
        report.violations.iter().map(|v| format!("violation: {}", words::violation(v)));
    let errors = report.errors.iter().map(|e| format!("error: {}", words::run_error(report, e)));
    violations.chain(errors).collect::<Vec<_>>().join("\n")
}

fn kernel_suite(kernel: &KernelReport) -> TestSuite {
    let mut suite = TestSuite::new(words::kernel(kernel));
    suite.add_property(("boots", kernel.boots.len().to_string().as_str()));
    suite.add_property(("retries", kernel.retries().to_string().as_str()));
    for entry in &kernel.kernel.packages {
        let name = format!("package.{}", entry.name);
        let value = format!("{} sha256:{}", entry.version, entry.sha256);
        suite.add_property((name.as_str(), value.as_str()));
    }
    let time_ms = kernel.boots.iter().filter_map(|boot| boot.duration_ms).sum();
    suite.set_time(Duration::from_millis(time_ms));
    suite.add_test_cases(kernel.scenarios.iter().map(|scenario| case(kernel, scenario)));
    suite
}

fn case(kernel: &KernelReport, scenario: &ScenarioReport) -> TestCase {
    let mut status = match scenario.verdict {
        Verdict::Pass | Verdict::Caught => TestCaseStatus::success(),
        Verdict::Skip | Verdict::KnownBug | Verdict::NotRun => TestCaseStatus::skipped(),
        Verdict::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Error | Verdict::Missed => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let good = matches!(scenario.verdict, Verdict::Pass | Verdict::Caught);
    if !good {
        status.set_type(words::verdict(scenario));
        status.set_message(words::one_line(&scenario.message));
        status.set_description(excerpts(scenario));
    }
    let mut case = TestCase::new(scenario.id.as_str(), status);
    case.set_classname(format!("kernel-{}", kernel.kernel.spec));
    case.set_time(Duration::from_millis(scenario.duration_ms.unwrap_or(0)));
    case.set_assertions(usize::try_from(scenario.checks).unwrap_or(usize::MAX));
    if good {
        case.set_system_out(scenario.message.as_str());
    }
    case
}

fn excerpts(scenario: &ScenarioReport) -> String {
    let piece = |p: excerpt::Excerpt| format!("--- {}\n{}", p.title, p.lines.join("\n"));
    excerpt::of(scenario).into_iter().map(piece).collect::<Vec<_>>().join("\n")
}
