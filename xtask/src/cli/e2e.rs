//! Options of the end-to-end run and of its smoke.

use std::path::PathBuf;

use clap::Args;
use reports::Partition;

use super::{MachineArgs, SourceArgs, jobs, seed};

/// What every run of scenarios takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Seed of every random choice; printed in each report.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Prints the result as JSON on standard output instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default one named by the time in `artifacts` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Machines at once, which share one kernel's scenarios; default: as many as CPUs and free memory
    /// allow, at most 4.
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub(crate) jobs: Option<usize>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct E2eArgs {
    /// Kernel: a series (`6.12`, `7.3`), a release (`6.18.5`), `newest`, or a kernel image; with larger pages `7.3+16k`.
    /// Repeatable.
    #[arg(long = "kernel", value_name = "KERNEL")]
    pub(crate) kernels: Vec<String>,
    /// Only scenarios whose id holds this text, or matches it as a pattern with `*`. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Runs one part of the cells, each a scenario on a kernel, where several hosts share the run: `hash:2/5` is the second
    /// of five. Needs the seed that all parts have; `report merge` makes one report of them.
    #[arg(long, value_name = "hash:M/N", requires = "seed")]
    pub(crate) partition: Option<Partition>,
    /// Asks the server family of this server instead of all else of ours: `ublk`, `kublk`, `rublk`, `libublk`, or the adapter
    /// file of any other (docs/testing-your-server.md).
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) server: Option<String>,
    /// Lists the scenarios and what each covers, and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SimpleArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Folder for the reports.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}
