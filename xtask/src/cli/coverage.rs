//! Options of `coverage`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::RunArgs;

#[derive(Clone, Debug, Args)]
pub(crate) struct CoverageArgs {
    #[command(subcommand)]
    pub(crate) of: CoverageOf,
}

/// What is counted.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum CoverageOf {
    /// Rows of the errno map: each way in which the driver answers with an error.
    Errno(ErrnoCoverageArgs),
    /// Lines and branches of the driver: runs the suite on a kernel that counts them.
    Driver(Box<DriverCoverageArgs>),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ErrnoCoverageArgs {
    /// A report, or the folder of one; default: the newest in `artifacts`.
    pub(crate) report: Option<PathBuf>,
    /// Also rows that are covered, excused or absent.
    #[arg(long)]
    pub(crate) all: bool,
    /// Every row as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DriverCoverageArgs {
    /// Kernel, built with `gcov`.
    #[arg(long, value_name = "KERNEL", default_value = "7.3+gcov")]
    pub(crate) kernel: String,
    /// Only scenarios whose id holds this text, or matches it as a pattern with `*`. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Fewer lines than this, in percent, are a failure.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub(crate) min_lines: f64,
    /// Fewer branches than this, in percent, are a failure.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub(crate) min_branches: f64,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("a share is a number from 0 to 100".to_owned()),
    }
}
