//! Options of the pages and their pictures.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ReportArgs {
    #[command(subcommand)]
    pub(crate) task: Option<ReportTask>,
    /// A report.json or perf.json, a folder that holds them, or a folder of such folders.
    #[arg(value_name = "DIR_OR_FILE", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Where the page goes; default `report.html` beside a single input, else in this folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Puts the tables of a perf.json into this page of the documentation, too, between the marks of the
    /// command that measured it.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ReportTask {
    /// Makes one report of the parts of a run (`vm-e2e --partition`); a part that is missing is an error in it.
    Merge(MergeArgs),
    /// Shows a report, or the reports of several kernels, as the matrix of scenarios and kernels (`vm-matrix`).
    Matrix(super::ReportMatrixArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArgs {
    /// The folder of a part, its report.json, or a folder of such folders.
    #[arg(value_name = "DIR_OR_FILE", required = true)]
    pub(crate) parts: Vec<PathBuf>,
    /// Folder for the merged reports; default one named by the time in `artifacts` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Prints the merged report as JSON on standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReportShotsArgs {
    /// What is rendered, as for `report`; default: the pages of the tests, each by itself.
    #[arg(value_name = "DIR_OR_FILE")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Looks at the page of the matrix of what is named, instead of its report's.
    #[arg(long, requires = "inputs")]
    pub(crate) matrix: bool,
    /// A Chromium of your own; else `chromium`, `chromium-browser` or `google-chrome` of the PATH.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) chromium: Option<PathBuf>,
    /// Fails where there is no Chromium, instead of saying so and passing.
    #[arg(long)]
    pub(crate) require: bool,
    /// Folder for the pictures; default `artifacts/shots` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
