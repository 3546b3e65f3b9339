//! `report.html`: the report for a person with a browser, as one file that needs nothing else.
//!
//! The page is mailed, kept as a CI artifact and opened from a disk years later, so it loads nothing: styles,
//! drawings and the few lines of script are inside, and its content policy lets a browser run only those.
//! Everything can be read without the script, which only filters and sorts.
//!
//! Most of the text on it comes from a guest that may be broken in any way. `maud` escapes whatever is put
//! into a template unless it is told not to, and one last pass over the whole page ([`clean`]) makes control
//! and direction characters visible.

mod artifacts;
mod badge;
mod boots;
mod canaries;
mod clean;
mod columns;
mod driver;
mod environment;
mod evidence;
mod expected;
mod headline;
mod history;
mod kernels;
mod kernels_changes;
mod known;
mod matrix;
mod page;
mod perf;
mod red;
mod reproduce;
mod selection;
mod skips;
mod units;

use crate::perf::PerfReport;
use crate::report::{Report, RunHeader};

pub use artifacts::{Artifact, find as artifacts};
pub use driver::driver_page;
pub use kernels::matrix_page;
pub use page::page;

/// A report, and the files that lie beside it.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// What is shown.
    pub document: Document<'a>,
    /// What is linked to.
    pub artifacts: Vec<Artifact>,
}

/// What a page can show.
#[derive(Clone, Copy, Debug)]
pub enum Document<'a> {
    /// `report.json`: verdicts.
    Run(&'a Report),
    /// `perf.json`: numbers.
    Perf(&'a PerfReport),
}

impl Document<'_> {
    /// Who ran what, where.
    #[must_use]
    pub const fn header(&self) -> &RunHeader {
        match self {
            Self::Run(report) => &report.run,
            Self::Perf(report) => &report.run,
        }
    }
}
