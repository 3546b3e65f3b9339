//! Options of the matrix of kernels.

use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

#[derive(Clone, Debug, Args)]
pub(crate) struct MatrixArgs {
    /// Kernel, as for `vm-e2e`; `7.3+kasan,lockdep` is one that watches itself. Repeatable; default: every series that the
    /// archive has whole.
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Every point release that the archive has whole, of the series that are named or of all.
    #[arg(long)]
    pub(crate) point_releases: bool,
    /// Only scenarios whose id holds this text, or matches it as a pattern with `*`. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// The server family with this server, as for `vm-e2e`: a conformance page of it.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) server: Option<String>,
    /// Goes on with the matrix in this folder: its kernels, scenarios, server and seed; kernels that are done are kept. The same
    /// commit and kernels have to be there.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kernels", "point_releases", "filters", "server", "seed", "output"])]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pages: MatrixPageArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where a matrix is shown, and what it is compared with.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct MatrixPageArgs {
    /// A matrix.json to compare with; default: the one that is checked in, `docs/matrix.json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    /// Puts the matrix into this page of the documentation, and its data beside it, as `docs/matrix.md` and `docs/matrix.json`.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReportMatrixArgs {
    /// A report.json or a folder with one; several are the kernels of one matrix.
    #[arg(value_name = "DIR_OR_FILE", required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// Folder for matrix.html, matrix.json and matrix.md; default: that of a single input, else this one.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pages: MatrixPageArgs,
}
