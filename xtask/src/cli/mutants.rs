//! Options of the mutants.

use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

#[derive(Clone, Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Only this mutant. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Lists the mutants, and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Runs the whole suite that many times on the same programs with no bug chosen, instead.
    #[arg(long, value_name = "TIMES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) unmutated: u32,
    /// Puts the matrix into this page of the documentation, too, between the marks of this command.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}
