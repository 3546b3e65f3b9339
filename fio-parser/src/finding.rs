//! What can be wrong with a fio run that printed perfectly good JSON.
//!
//! fio prints a complete document for a job that failed on its first I/O, with zeros that a plot would
//! show as a very slow device. Every such way is a variant here, and the severe ones withhold the numbers.

use std::fmt;

use serde::Serialize;

use crate::capture::Capture;
use crate::direction::Direction;
use crate::job::Job;
use crate::output::FioOutput;

/// Whether numbers may be used despite a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The numbers are right; read them with this in mind.
    Warning,
    /// There are no numbers.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// fio's process failed.
    ExitStatus {
        /// Its status.
        status: i32,
    },
    /// The output ends inside a document.
    Truncated {
        /// Where that document begins.
        line: usize,
    },
    /// fio reported an error outside of the JSON.
    Diagnostic {
        /// What it printed.
        line: String,
    },
    /// A document without jobs.
    NoJobs,
    /// A job ended with an error.
    JobError {
        /// Its name.
        job: String,
        /// errno.
        errno: i64,
    },
    /// A job went on after errors (`continue_on_error`).
    ToleratedErrors {
        /// Its name.
        job: String,
        /// How many.
        count: u64,
        /// errno of the first.
        first_errno: i64,
    },
    /// A job transferred nothing. `total_ios` alone does not tell: fio counts an I/O that failed.
    ZeroIos {
        /// Its name.
        job: String,
    },
    /// A direction finished within fio's clock of milliseconds, so that its rates are zero.
    NoRuntime {
        /// Name of the job.
        job: String,
        /// Direction.
        direction: Direction,
    },
    /// I/Os that transferred less than asked; a block device does not do that.
    ShortIos {
        /// Name of the job.
        job: String,
        /// Direction.
        direction: Direction,
        /// How many.
        count: u64,
    },
    /// I/Os given up.
    DroppedIos {
        /// Name of the job.
        job: String,
        /// Direction.
        direction: Direction,
        /// How many.
        count: u64,
    },
    /// Too short for a sample: `iops` and bandwidth are right, their means and extremes are zero.
    NoSamples {
        /// Name of the job.
        job: String,
        /// Direction.
        direction: Direction,
    },
    /// Several documents (`--status-interval`); only the last one counts.
    SeveralDocuments {
        /// How many.
        count: usize,
    },
}

impl Finding {
    /// Whether numbers may be used despite this.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoSamples { .. } | Self::SeveralDocuments { .. } => Severity::Warning,
            Self::ExitStatus { .. }
            | Self::Truncated { .. }
            | Self::Diagnostic { .. }
            | Self::NoJobs
            | Self::JobError { .. }
            | Self::ToleratedErrors { .. }
            | Self::ZeroIos { .. }
            | Self::NoRuntime { .. }
            | Self::ShortIos { .. }
            | Self::DroppedIos { .. } => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitStatus { status } => write!(out, "fio ended with status {status}"),
            Self::Truncated { line } => {
                write!(out, "the document that begins at line {line} has no end")
            }
            Self::Diagnostic { line } => write!(out, "fio said: {line}"),
            Self::NoJobs => out.write_str("no job was run"),
            Self::JobError { job, errno } => write!(out, "job `{job}` ended with errno {errno}"),
            Self::ToleratedErrors { job, count, first_errno } => {
                write!(
                    out,
                    "job `{job}` went on after {count} errors, the first errno {first_errno}"
                )
            }
            Self::ZeroIos { job } => write!(out, "job `{job}` transferred nothing"),
            Self::NoRuntime { job, direction } => {
                write!(
                    out,
                    "job `{job}` took less than a millisecond ({direction}); let it run longer"
                )
            }
            Self::ShortIos { job, direction, count } => {
                write!(out, "job `{job}` had {count} short I/Os ({direction})")
            }
            Self::DroppedIos { job, direction, count } => {
                write!(out, "job `{job}` dropped {count} I/Os ({direction})")
            }
            Self::NoSamples { job, direction } => write!(
                out,
                "job `{job}` was too short to be sampled ({direction}); its IOPS are right, the means are not"
            ),
            Self::SeveralDocuments { count } => {
                write!(out, "{count} documents, of which the last one counts")
            }
        }
    }
}

impl FioOutput {
    /// Everything that is wrong with this document, worst first.
    #[must_use]
    pub fn validate(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.jobs.is_empty() {
            findings.push(Finding::NoJobs);
        }
        for job in &self.jobs {
            job_findings(job, &mut findings);
        }
        worst_first(findings)
    }
}

/// Findings of the process, then those of its last document.
pub(crate) fn capture_findings(capture: &Capture) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(status) = capture.exit_status().filter(|&status| status != 0) {
        findings.push(Finding::ExitStatus { status });
    }
    findings.extend(capture.truncated_at_line().map(|line| Finding::Truncated { line }));
    findings.extend(
        capture
            .diagnostics()
            .iter()
            .filter(|line| is_error_line(line))
            .map(|line| Finding::Diagnostic { line: line.clone() }),
    );
    if capture.documents().len() > 1 {
        findings.push(Finding::SeveralDocuments { count: capture.documents().len() });
    }
    findings.extend(capture.last().validate());
    worst_first(findings)
}

fn worst_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    // Stable, so that findings of one severity stay in the order of the output.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
    findings
}

/// fio's death notice of a job, `fio: pid=N, err=28/file:...`, and its report of a failed I/O.
fn is_error_line(line: &str) -> bool {
    let Some(message) = line.strip_prefix("fio: ") else { return false };
    let failed = message
        .split_once("err=")
        .and_then(|(_, rest)| rest.split(|letter: char| !letter.is_ascii_digit()).next())
        .is_some_and(|errno| errno.bytes().any(|digit| digit != b'0'));
    failed || message.starts_with("io_u error")
}

fn job_findings(job: &Job, findings: &mut Vec<Finding>) {
    let name = || job.name.clone();
    if job.error != 0 {
        findings.push(Finding::JobError { job: name(), errno: job.error });
    }
    let first_errno = job.first_error.unwrap_or(0);
    let count = job.total_errors.unwrap_or(0);
    if count > 0 || first_errno != 0 {
        findings.push(Finding::ToleratedErrors { job: name(), count, first_errno });
    }
    if job.counted().all(|(_, stats)| stats.total_ios == 0 || stats.io_bytes == 0) {
        findings.push(Finding::ZeroIos { job: name() });
    }
    for (direction, stats) in job.counted() {
        if stats.short_ios > 0 {
            let count = stats.short_ios;
            findings.push(Finding::ShortIos { job: name(), direction, count });
        }
        if stats.drop_ios > 0 {
            let count = stats.drop_ios;
            findings.push(Finding::DroppedIos { job: name(), direction, count });
        }
        if stats.io_bytes > 0 && stats.runtime.0 == 0 {
            findings.push(Finding::NoRuntime { job: name(), direction });
        }
        if stats.io_bytes > 0 && stats.iops_samples.is_none_or(|samples| samples.samples == 0) {
            findings.push(Finding::NoSamples { job: name(), direction });
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::direction::{DirectionStats, IopsSamples};
    use crate::units::Millis;

    fn good_job() -> Job {
        let sampled = IopsSamples { samples: 2, ..IopsSamples::default() };
        Job {
            name: "j".to_owned(),
            read: Some(DirectionStats {
                io_bytes: 40_960,
                runtime: Millis(600),
                total_ios: 10,
                iops_samples: Some(sampled),
                ..DirectionStats::default()
            }),
            ..Job::default()
        }
    }

    fn findings_of(change: impl FnOnce(&mut Job)) -> Vec<Finding> {
        let mut job = good_job();
        change(&mut job);
        FioOutput { jobs: vec![job], ..FioOutput::default() }.validate()
    }

    fn read(job: &mut Job) -> &mut DirectionStats {
        job.read.as_mut().unwrap()
    }

    #[test]
    fn a_good_job_has_none() {
        assert_eq!(findings_of(|_| {}), []);
    }

    #[test]
    fn no_job_is_an_error() {
        assert_eq!(FioOutput::default().validate(), [Finding::NoJobs]);
    }

    #[rstest]
    #[case::error(|job: &mut Job| job.error = 28, Finding::JobError { job: "j".into(), errno: 28 })]
    #[case::tolerated(|job: &mut Job| job.total_errors = Some(3), Finding::ToleratedErrors { job: "j".into(), count: 3, first_errno: 0 })]
    #[case::zero(|job: &mut Job| read(job).total_ios = 0, Finding::ZeroIos { job: "j".into() })]
    #[case::counted_but_failed(|job: &mut Job| read(job).io_bytes = 0, Finding::ZeroIos { job: "j".into() })]
    #[case::instant(|job: &mut Job| read(job).runtime = Millis(0), Finding::NoRuntime { job: "j".into(), direction: Direction::Read })]
    #[case::nothing(|job: &mut Job| job.read = None, Finding::ZeroIos { job: "j".into() })]
    #[case::short(|job: &mut Job| read(job).short_ios = 1, Finding::ShortIos { job: "j".into(), direction: Direction::Read, count: 1 })]
    #[case::dropped(|job: &mut Job| read(job).drop_ios = 2, Finding::DroppedIos { job: "j".into(), direction: Direction::Read, count: 2 })]
    #[case::unsampled(|job: &mut Job| read(job).iops_samples = None, Finding::NoSamples { job: "j".into(), direction: Direction::Read })]
    fn each_defect_is_found_alone(#[case] change: fn(&mut Job), #[case] expected: Finding) {
        assert_eq!(findings_of(change), [expected]);
    }

    #[test]
    fn errors_come_before_warnings() {
        let findings = findings_of(|job| {
            read(job).iops_samples = None;
            job.write = Some(DirectionStats { short_ios: 1, ..DirectionStats::default() });
        });
        let severities: Vec<_> = findings.iter().map(Finding::severity).collect();
        assert_eq!(severities, [Severity::Error, Severity::Warning]);
    }

    #[rstest]
    #[case("fio: pid=1, err=28/file:io_u.c:1876, func=io_u error, error=No space left", true)]
    #[case("fio: io_u error on file /dev/full: No space left on device", true)]
    #[case("fio: pid=1, err=0/", false)]
    #[case("note: both iodepth >= 1 and synchronous I/O engine are selected", false)]
    #[case("job: err=5", false)]
    fn error_lines(#[case] line: &str, #[case] expected: bool) {
        assert_eq!(is_error_line(line), expected);
    }
}
