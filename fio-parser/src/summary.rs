//! The numbers of a run, or the reason why there are none.

use serde::Serialize;

use crate::finding::{Finding, Severity};
use crate::output::FioOutput;
use crate::totals::Totals;

/// Numbers of a run without error findings. There is no other way to get one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// As printed, as `fio-3.41`.
    pub fio_version: String,
    /// All jobs as one.
    pub totals: Totals,
    /// Findings that do not make the numbers wrong.
    pub warnings: Vec<Finding>,
}

/// A run that failed, and so has no numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fio run failed and its numbers are withheld: {}", describe(findings))]
pub struct Refused {
    /// Everything that was found, worst first.
    pub findings: Vec<Finding>,
}

fn describe(findings: &[Finding]) -> String {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity() == Severity::Error)
        .map(ToString::to_string)
        .collect();
    errors.join("; ")
}

impl Summary {
    pub(crate) fn of(output: &FioOutput, findings: Vec<Finding>) -> Result<Self, Refused> {
        if findings.iter().any(|finding| finding.severity() == Severity::Error) {
            return Err(Refused { findings });
        }
        Ok(Self {
            fio_version: output.version.clone(),
            totals: output.totals(),
            warnings: findings,
        })
    }
}

impl FioOutput {
    /// The numbers of this document. Prefer [`crate::Capture::summary`], which also looks at the exit
    /// status and at what fio said around the document.
    ///
    /// # Errors
    /// [`Refused`] with all findings when one of them is an error.
    pub fn summary(&self) -> Result<Summary, Refused> {
        Summary::of(self, self.validate())
    }
}
