//! Options of `coverage`.

use std::path::PathBuf;

use clap::Args;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CoverageOf {
    /// Rows of the errno map: each way in which the driver answers with an error.
    Errno,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CoverageArgs {
    /// What is counted.
    #[arg(value_enum)]
    pub(crate) of: CoverageOf,
    /// A report, or the folder of one; default: the newest in `artifacts`.
    pub(crate) report: Option<PathBuf>,
    /// Also rows that are covered, excused or absent.
    #[arg(long)]
    pub(crate) all: bool,
    /// Every row as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
