//! Options of a reproducer's replay.

use std::path::PathBuf;

use clap::Args;

use super::{MachineArgs, SourceArgs};

#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Reproducer: a JSON file with `steps`, or with `scenario` and `seed`.
    pub(crate) file: PathBuf,
    /// Kernel, as for `vm-e2e`; default: the series the file says it failed on.
    #[arg(long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
    /// How often it is run, for its reliability.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) times: u32,
    /// Prints the steps and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Folder for the reports; default `artifacts/replay-<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}
