//! Options of `kernel`.

use clap::{Args, Subcommand};

use super::SourceArgs;

#[derive(Clone, Debug, Args)]
pub(crate) struct KernelArgs {
    #[command(subcommand)]
    pub(crate) task: KernelTask,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KernelTask {
    /// Builds a kernel from the archive's sources, unless the cache has it. `--kernel 7.3+kasan` does so too.
    Build(KernelBuildArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KernelBuildArgs {
    /// The series, as `7.3`, or `newest`.
    #[arg(long, value_name = "SERIES", default_value = "newest")]
    pub(crate) series: String,
    /// What watches the kernel: `kasan`, `lockdep`, `ubsan`, `kcov`, `gcov`, several with commas, or `none`.
    #[arg(long, value_name = "LIST", default_value = "none")]
    pub(crate) with: String,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}
