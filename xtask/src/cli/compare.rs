//! Options of the comparison with others.

use std::path::PathBuf;

use clap::Args;

use super::perf::{MeasureArgs, PerfTarget, block_bytes};

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Kernel, as for `vm-e2e`.
    #[arg(long, value_name = "KERNEL", default_value = "newest")]
    pub(crate) kernel: String,
    /// What is served; a table each.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [PerfTarget::Null, PerfTarget::File, PerfTarget::Ram])]
    pub(crate) targets: Vec<PerfTarget>,
    /// Only subjects whose id, as `kublk-file/copy`, holds this text, and ours to compare them with. Repeatable.
    #[arg(long = "filter", value_name = "TEXT")]
    pub(crate) filters: Vec<String>,
    /// Data modes, and ours of the mode `copy` to compare them with; all of them unless given.
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    pub(crate) modes: Vec<String>,
    /// Samples of each cell; fewer than three have no interval worth its name.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..=99))]
    pub(crate) repetitions: u32,
    /// I/Os of each sample.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1000..=10_000_000))]
    pub(crate) ios: u64,
    /// I/Os in flight; one column of the tables each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32], value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) depths: Vec<u16>,
    /// Length of an I/O in bytes; one column of the tables each.
    #[arg(long, value_delimiter = ',', default_values_t = [4096, 65536], value_parser = block_bytes)]
    pub(crate) block_bytes: Vec<u32>,
    /// CPUs of the guest; every device has one queue.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) cpus: u16,
    /// Puts the tables into this page, between its marks of `cargo xtask vm-compare`.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,
}
