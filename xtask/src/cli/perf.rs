//! Options of measuring; those that the gate has too are one struct.

use std::path::PathBuf;

use clap::Args;
use reports::perf::BLOCK_BYTES;

use super::{Accel, SourceArgs, seed};

/// What the guest's time is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PerfClock {
    /// Guest instructions, on one host thread: repeatable whatever else the host does.
    Instructions,
    /// The host's time: for a host that does nothing else.
    Wall,
}

impl PerfClock {
    /// As reports and baselines name it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Wall => "wall",
        }
    }

    /// Only emulation counts instructions.
    pub(crate) const fn accel(self) -> Accel {
        match self {
            Self::Instructions => Accel::Tcg,
            Self::Wall => Accel::Auto,
        }
    }
}

/// What every measuring takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct MeasureArgs {
    /// What time is made of.
    #[arg(long, value_enum, default_value_t = PerfClock::Instructions)]
    pub(crate) clock: PerfClock,
    /// Seed of the order of visits, and of the gate's intervals; printed with the result.
    #[arg(long, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Prints the result as JSON on standard output instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Folder for the reports; default `artifacts/<time>` in the workspace.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(512..=65536))]
    pub(crate) memory_mib: u32,
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct PerfArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// Only subjects whose id, as `kublk/copy`, holds this text. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Samples of each cell.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repetitions: u32,
    /// I/Os of each sample.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    pub(crate) ios: u64,
    /// I/Os in flight; one column of the table each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 128], value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) depths: Vec<u16>,
    /// Length of an I/O in bytes; one column of the table each.
    #[arg(long, value_delimiter = ',', default_values_t = [BLOCK_BYTES], value_parser = block_bytes)]
    pub(crate) block_bytes: Vec<u32>,
    /// What our server serves; peers serve their null target, and are compared with ours of it.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PerfTarget::Null])]
    pub(crate) targets: Vec<PerfTarget>,
    /// Data modes; all of them unless given.
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub(crate) modes: Vec<String>,
    /// Queues of each device, CPUs of the guest, and jobs that share the I/Os in flight.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) queues: u16,
    /// Writes the IOPS for github-action-benchmark (`customBiggerIsBetter`) into this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) export_github: Option<PathBuf>,
    /// Writes the numbers in the Bencher Metric Format into this file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) export_bencher: Option<PathBuf>,
    /// Puts the tables into this page, between its marks of `cargo xtask vm-perf`.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    /// Another build of `ublk`, statically linked, to compare with as `other`.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) other: Option<PathBuf>,
    /// Leaves the counting of system calls and allocations out.
    #[arg(long)]
    pub(crate) no_count: bool,
    /// Leaves the times of start and stop, and memory by depth, out.
    #[arg(long)]
    pub(crate) no_start_up: bool,
    /// Kills a server of each kind, too, and takes the time until the next one serves its device.
    #[arg(long)]
    pub(crate) recovery: bool,
    /// Runs the criterion benches, too, in the guest and on the host.
    #[arg(long)]
    pub(crate) benches: bool,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}

/// What our server serves while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PerfTarget {
    /// Nothing: what serving costs by itself.
    Null,
    /// Memory of the server.
    Ram,
    /// A file in tmpfs, as the loop device's.
    File,
}

pub(super) fn block_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|error| format!("{error}"))?;
    let fits = (512..=1 << 20).contains(&bytes) && bytes.is_multiple_of(512);
    if fits { Ok(bytes) } else { Err("a block is 512 to 1048576 bytes, in steps of 512".into()) }
}
