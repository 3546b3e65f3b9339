//! Options of the tasks around the runs: a shell, a closer look, the doctor, CI, a package.

use std::path::PathBuf;

use clap::Args;

use super::{MachineArgs, SourceArgs, seed};

#[derive(Clone, Debug, Args)]
pub(crate) struct ShellArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DebugArgs {
    /// Id of the scenario; `vm-e2e --list` shows them.
    pub(crate) scenario: String,
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Seed, to repeat a run.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Folder for everything that was recorded.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Prints the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct CiArgs {
    /// Leaves the virtual machines out: format, lints, tests, loom, Miri, tidy.
    #[arg(long)]
    pub(crate) no_vm: bool,
    /// Leaves `cargo test --workspace` out, because the caller has just run it.
    #[arg(long)]
    pub(crate) tests_done: bool,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct DistArgs {
    /// The folder; `target/dist` in the workspace unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
