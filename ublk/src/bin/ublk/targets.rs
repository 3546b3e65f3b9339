//! The targets there are, as subcommands: what each asks for, and the target it makes of that.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ublk::target::{
    CowTarget, CowTargetError, FileOptions, FileTarget, FileTargetError, MetadataTarget,
    NullTarget, RamTarget, StripeTarget, ZonedRamOptions, ZonedRamTarget,
};

use crate::cli::CommonArgs;
use crate::exit::Failure;
use crate::integrity::IntegrityArgs;
use crate::size;

#[derive(Debug, Subcommand)]
pub(crate) enum TargetArgs {
    /// Swallows writes and reads as zeroes.
    Null(NullArgs),
    /// Keeps its bytes in memory, allocated on the first write.
    Ram(RamArgs),
    /// Keeps its bytes in a file or another block device.
    File(FileArgs),
    /// A host-managed zoned disk in memory.
    Zoned(ZonedArgs),
    /// Shows a file that is never written, and keeps what is written in another (copy-on-write).
    Cow(CowArgs),
    /// Spreads its bytes over several files or block devices, a chunk on each in turn (RAID-0).
    Stripe(StripeArgs),
}

impl TargetArgs {
    /// What every target has.
    pub(crate) fn common(&self) -> &CommonArgs {
        match self {
            Self::Null(args) => &args.common,
            Self::Ram(args) => &args.common,
            Self::File(args) => &args.common,
            Self::Zoned(args) => &args.common,
            Self::Cow(args) => &args.common,
            Self::Stripe(args) => &args.common,
        }
    }

    /// As [`common`](Self::common), to be changed.
    pub(crate) fn common_mut(&mut self) -> &mut CommonArgs {
        match self {
            Self::Null(args) => &mut args.common,
            Self::Ram(args) => &mut args.common,
            Self::File(args) => &mut args.common,
            Self::Zoned(args) => &mut args.common,
            Self::Cow(args) => &mut args.common,
            Self::Stripe(args) => &mut args.common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct NullArgs {
    /// Size of the device, as 64M or 1G.
    #[arg(long, value_parser = size::parse, default_value = "1G")]
    size: u64,
    /// Leave buffers as they are: a read gives what an earlier request left there. For comparisons with
    /// null targets that do so.
    #[arg(long)]
    untouched: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl NullArgs {
    pub(crate) fn open(&self) -> NullTarget {
        if self.untouched { NullTarget::untouched(self.size) } else { NullTarget::new(self.size) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RamArgs {
    /// Size of the device, as 64M or 1G.
    #[arg(long, value_parser = size::parse, default_value = "64M")]
    size: u64,
    #[command(flatten)]
    integrity: IntegrityArgs,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl RamArgs {
    pub(crate) fn open(&self) -> Result<RamTarget, Failure> {
        RamTarget::new(self.size).map_err(Failure::usage)
    }

    /// The same with its metadata in another one, where metadata was asked for.
    pub(crate) fn open_with_metadata(
        &self,
    ) -> Result<Option<MetadataTarget<RamTarget, RamTarget>>, Failure> {
        let Some(options) = self.integrity.options(self.common.block_size) else { return Ok(None) };
        let room_bytes = options.metadata_len_bytes(self.size);
        let metadata = RamTarget::new(room_bytes.max(1)).map_err(Failure::usage)?;
        MetadataTarget::new(self.open()?, metadata, options).map(Some).map_err(Failure::usage)
    }
}

#[derive(Debug, Args)]
pub(crate) struct FileArgs {
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
    pub(crate) common: CommonArgs,
}

impl FileArgs {
    pub(crate) fn open(&self) -> Result<FileTarget, Failure> {
        open_file(self.path.clone(), self.size, self.direct, self.common.read_only)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ZonedArgs {
    /// Size of the device, whole zones.
    #[arg(long, value_parser = size::parse, default_value = "1G")]
    size: u64,
    /// Size of each zone, a power of two.
    #[arg(long, value_parser = size::parse, default_value = "64M")]
    zone_size: u64,
    /// Zones, from the first on, that can be written anywhere.
    #[arg(long, value_name = "ZONES", default_value_t = 0)]
    conventional: u32,
    /// Zones that may be open at once; 0 for no limit.
    #[arg(long, value_name = "ZONES", default_value_t = 0)]
    max_open: u32,
    /// Zones that may be open or partly written at once; 0 for no limit.
    #[arg(long, value_name = "ZONES", default_value_t = 0)]
    max_active: u32,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl ZonedArgs {
    pub(crate) fn open(&self) -> Result<ZonedRamTarget, Failure> {
        let options = ZonedRamOptions::new(self.size)
            .zone_bytes(self.zone_size)
            .conventional_zones(self.conventional)
            .max_open_zones(self.max_open)
            .max_active_zones(self.max_active);
        ZonedRamTarget::new(options).map_err(Failure::usage)
    }
}

#[derive(Debug, Args)]
pub(crate) struct CowArgs {
    /// The file to show.
    #[arg(long)]
    base: PathBuf,
    /// The file that keeps what is written; made where it does not exist, continued where it does.
    #[arg(long)]
    overlay: PathBuf,
    /// What is copied at once for the first write to it, a power of two; an overlay that exists keeps
    /// its own.
    #[arg(long, value_parser = size::parse_u32, default_value = "4K")]
    cluster_size: u32,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl CowArgs {
    pub(crate) fn open(&self) -> Result<CowTarget<FileTarget, FileTarget>, Failure> {
        CowTarget::open(&self.base, &self.overlay, self.cluster_size).map_err(|error| match error {
            CowTargetError::Cluster { .. } => Failure::usage(error),
            error => Failure::failed(error),
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct StripeArgs {
    /// A member, two or more of them, in the same order each time; with --size it is created, or
    /// grown, where need be.
    #[arg(long = "path", value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Size of the device; what the smallest member allows unless given.
    #[arg(long, value_parser = size::parse)]
    size: Option<u64>,
    /// What goes to one member before the next has its turn, a power of two.
    #[arg(long, value_parser = size::parse_u32, default_value = "64K")]
    chunk_size: u32,
    /// Bypass the page cache (O_DIRECT).
    #[arg(long)]
    direct: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl StripeArgs {
    pub(crate) fn open(&self) -> Result<StripeTarget<FileTarget>, Failure> {
        // Each member gets its part of the size, in whole chunks.
        let members = self.paths.len() as u64;
        let chunk = u64::from(self.chunk_size.max(1));
        let share = |size: u64| size.div_ceil(members).div_ceil(chunk).saturating_mul(chunk);
        let each = self.size.map(share);
        let open =
            |path: &PathBuf| open_file(path.clone(), each, self.direct, self.common.read_only);
        let members = self.paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let stripe = StripeTarget::new(members, self.chunk_size).map_err(Failure::usage)?;
        // Members are whole chunks and may be longer; a size that was asked for is kept to the byte.
        Ok(stripe.at_most(self.size.unwrap_or(u64::MAX)))
    }
}

fn open_file(
    path: PathBuf,
    size: Option<u64>,
    direct: bool,
    read_only: bool,
) -> Result<FileTarget, Failure> {
    let mut options = FileOptions::new(path).direct(direct).read_only(read_only);
    if let Some(size) = size {
        options = options.size_bytes(size);
    }
    FileTarget::open(options).map_err(|error| match error {
        FileTargetError::Empty { .. } => Failure::usage(error).with_hint("--size 64M"),
        error => Failure::failed(error),
    })
}
