//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::mode::DataMode;
use crate::size;

/// Serve, delete and list ublk block devices.
///
/// Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 3 no ublk driver or no permission.
#[derive(Debug, Parser)]
#[command(name = "ublk", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a device and serve it in the foreground until SIGINT or SIGTERM.
    ///
    /// The first signal stops the device gracefully, the second ends the process at once.
    Add(AddArgs),
    /// Stop and delete devices, whoever serves them.
    Del(DelArgs),
    /// List the devices there are.
    List(ListArgs),
    /// Show what the kernel's ublk driver can do.
    Features(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(subcommand)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TargetArgs {
    /// Swallows writes and reads as zeroes.
    Null {
        /// Size of the device, as 64M or 1G.
        #[arg(long, value_parser = size::parse, default_value = "1G")]
        size: u64,
        /// Does not even touch the buffer: a read gives what an earlier request left there. To measure.
        #[arg(long)]
        untouched: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Keeps its bytes in memory, allocated on the first write.
    Ram {
        /// Size of the device, as 64M or 1G.
        #[arg(long, value_parser = size::parse, default_value = "64M")]
        size: u64,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Keeps its bytes in a file or another block device.
    File {
        /// The file; with --size it is created, or grown, where need be.
        #[arg(long)]
        path: PathBuf,
        /// Size of the device; the file's own unless given.
        #[arg(long, value_parser = size::parse)]
        size: Option<u64>,
        /// Bypass the page cache (O_DIRECT).
        #[arg(long)]
        direct: bool,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Number of the device; the first free one unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) id: Option<u32>,
    /// Queues, each with a thread of its own; the kernel gives no more than there are CPUs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) queues: u16,
    /// Requests in flight per queue.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) depth: u16,
    /// Logical block in bytes; the smallest the target serves unless given.
    #[arg(long, value_parser = size::parse_u32)]
    pub(crate) block_size: Option<u32>,
    /// Largest request, a multiple of the page.
    #[arg(long, value_parser = size::parse_u32, default_value = "512K")]
    pub(crate) max_io_size: u32,
    /// How a request's bytes get to the server and back.
    #[arg(long, value_enum, default_value_t = DataMode::Copy)]
    pub(crate) data_mode: DataMode,
    /// Refuse writes.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Seconds a stop may take before requests are given up.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub(crate) stop_timeout: Duration,
    /// Seconds the start may take.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) start_timeout: Duration,
    /// Where the server answers questions; /run/ublk/ID.sock unless given.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Answer no questions on a socket.
    #[arg(long, conflicts_with = "socket")]
    pub(crate) no_socket: bool,
    /// Report events as lines of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    /// Numbers of the devices.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all",
          value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) ids: Vec<u32>,
    /// Every device there is.
    #[arg(long)]
    pub(crate) all: bool,
    /// Seconds a deletion may take, for each device.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// One JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number of seconds from 0.001 to 86400");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}
