//! Options of the kernel's own selftests.

use std::path::PathBuf;

use clap::Args;
use vmimage::arch::Arch;

use super::{Accel, MachineArgs, SourceArgs};

/// Whose server the kernel's selftests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SelftestServer {
    /// This workspace's `ublk`, called as `kublk`.
    Ours,
    /// The kernel's own, built from its source package.
    Kublk,
    /// The kernel's and then ours; ours must pass what the kernel's passes.
    Both,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct KselftestArgs {
    /// Kernel, as for `vm-e2e`; the scripts are those of its series, else the newest there are.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Only scripts whose name holds this text. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Whose server the scripts run on.
    #[arg(long, value_enum, default_value_t = SelftestServer::Both)]
    pub(crate) server: SelftestServer,
    /// Leaves bpftrace (some 200 MiB of the guest's memory) out; the scripts that need it skip.
    #[arg(long)]
    pub(crate) no_bpftrace: bool,
    /// Lists the scripts, and runs nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Prints the report as JSON on standard output instead of the tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// CPUs of the guest; the scripts want several queues.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64), help_heading = "Machine")]
    pub(crate) cpus: u32,
    /// Memory of the guest in MiB: scripts keep up to 1 GiB of backing files in it.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2048..=65536), help_heading = "Machine")]
    pub(crate) memory_mib: u32,
    /// Accelerator, as for `vm-e2e`.
    #[arg(long, value_enum, default_value_t = Accel::Auto, help_heading = "Machine")]
    pub(crate) accel: Accel,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

impl KselftestArgs {
    /// The machine to boot.
    pub(crate) fn machine(&self) -> MachineArgs {
        // The kernel's own server is built with this machine's compiler.
        let arch = Arch::X86_64;
        MachineArgs { cpus: self.cpus, memory_mib: self.memory_mib, accel: self.accel, arch }
    }
}
