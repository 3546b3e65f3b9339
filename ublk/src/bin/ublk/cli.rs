//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ublk::target::FaultRule;

use crate::daemon::DaemonArgs;
use crate::doctor::DoctorArgs;
use crate::features::FeaturesArgs;
use crate::life::LifeArgs;
use crate::pages::{CompletionsArgs, ManArgs};
use crate::plane::PlaneArgs;
use crate::size;
use crate::stats::StatsArgs;
use crate::targets::TargetArgs;

/// Serve, delete, list and watch ublk block devices.
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
    /// Add a device and serve it until SIGINT or SIGTERM, or until it is deleted.
    ///
    /// In the foreground, or with --daemon in the background. The first signal stops the device
    /// gracefully, the second ends the process at once.
    Add(AddArgs),
    /// Take over a device whose server is gone, or was quiesced, and serve it.
    ///
    /// The target has to be the one the device had. Without --replace, a server that is there keeps
    /// the device.
    Recover(RecoverArgs),
    /// Make the server of a device finish its requests and leave, so that another can take over.
    Quiesce(QuiesceArgs),
    /// Stop devices: their disks go, their servers end.
    Stop(StopArgs),
    /// Change the size of a live device; its server must agree.
    Resize(ResizeArgs),
    /// Stop and delete devices, whoever serves them.
    Del(DelArgs),
    /// List the devices there are.
    List(ListArgs),
    /// Show what the kernel's ublk driver can do.
    Features(FeaturesArgs),
    /// Show what live servers have done, once, again and again, or for Prometheus.
    Stats(StatsArgs),
    /// Say what stands between this machine and a ublk device, and the remedy for each.
    Doctor(DoctorArgs),
    /// Print or write the manual pages.
    Man(ManArgs),
    /// Print or write a shell's completions.
    Completions(CompletionsArgs),
}

impl Command {
    /// What was typed, for messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Recover(_) => "recover",
            Self::Quiesce(_) => "quiesce",
            Self::Stop(_) => "stop",
            Self::Resize(_) => "resize",
            Self::Del(_) => "del",
            Self::List(_) => "list",
            Self::Features(_) => "features",
            Self::Stats(_) => "stats",
            Self::Doctor(_) => "doctor",
            Self::Man(_) => "man",
            Self::Completions(_) => "completions",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(subcommand)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    #[command(flatten)]
    pub(crate) plane: PlaneArgs,
    /// Number of the device; the first free one unless given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) id: Option<u32>,
    /// Queues, each with a thread of its own; 1 unless given, and no more than there are CPUs.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) queues: Option<u16>,
    /// Requests in flight per queue; 64 unless given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) depth: Option<u16>,
    /// Logical block in bytes; the smallest the target serves unless given.
    #[arg(long, value_parser = size::parse_u32)]
    pub(crate) block_size: Option<u32>,
    /// Largest request, a multiple of the page; 512K unless given.
    #[arg(long, value_parser = size::parse_u32)]
    pub(crate) max_io_size: Option<u32>,
    /// Refuse writes.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Makes things go wrong, for tests of what is above the device; may be given several times.
    ///
    /// A rule is conditions and one fault, joined by commas: `op=read,sectors=100-200,error=EIO`.
    /// Conditions: op=read+write (also flush, discard, write-zeroes, zone-append, ...), sectors=FIRST-LAST,
    /// probability=0.1, seed=N, after=N (not the first N), times=N (at most N times). Faults: error=EIO,
    /// delay=20ms (holds up the whole queue), flip (one byte), flip-metadata, short=BYTES, never (no answer),
    /// reorder, die. The same seed strikes the same requests.
    #[arg(long = "fault", value_name = "RULE")]
    pub(crate) faults: Vec<FaultRule>,
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
    /// Measure how long requests take, for `ublk stats`; costs two looks at the clock for each batch.
    #[arg(long)]
    pub(crate) latency: bool,
    /// Report events as lines of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    pub(crate) life: LifeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Number of the device.
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) id: u32,
    /// Quiesce the device first, so that a server that has it leaves.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Seconds to wait for the old server to be gone.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub(crate) wait: Duration,
    #[command(subcommand)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct QuiesceArgs {
    /// Number of the device.
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) id: u32,
    /// Seconds the server may take to finish its requests and leave.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Numbers of the devices.
    #[arg(value_name = "ID", required = true,
          value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) ids: Vec<u32>,
    /// Not while somebody has the disk open.
    #[arg(long)]
    pub(crate) safe: bool,
    /// Seconds a stop may take, for each device.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ResizeArgs {
    /// Number of the device.
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) id: u32,
    /// The new size, as 64M or 1G.
    #[arg(value_parser = size::parse)]
    pub(crate) size: u64,
    /// Where the server answers questions; /run/ublk/ID.sock unless given.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    /// Numbers of the devices.
    #[arg(value_name = "ID", required_unless_present_any = ["all", "orphans"],
          conflicts_with = "all", value_parser = clap::value_parser!(u32).range(0..=1_048_575))]
    pub(crate) ids: Vec<u32>,
    /// Every device there is.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only devices whose server is gone: of those named whatever can be deleted, else the ones that
    /// nobody can take over.
    #[arg(long, conflicts_with = "all")]
    pub(crate) orphans: bool,
    /// With --orphans, those that could be taken over, too.
    #[arg(long, requires = "orphans")]
    pub(crate) recoverable: bool,
    /// Begin the deletion and do not wait until it is done.
    #[arg(long)]
    pub(crate) no_wait: bool,
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

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number of seconds from 0.001 to 86400");
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
