//! Which of our targets stands for which of the original's, with the original's sizes and limits.

use std::io;
use std::path::Path;
use std::time::Duration;

use ublk::params::{IntegrityOptions, ParamsBuilder, SegmentLimits};
use ublk::queue::AsyncRequest;
use ublk::server::{Server, ServerBuilder};
use ublk::target::{
    AsyncTarget, Capabilities, FileOptions, FileTarget, MetadataTarget, NullTarget, StripeTarget,
};
use ublk::uapi::IntegrityFlags;

use super::options::Options;
use crate::exit::Failure;

/// Size of the devices that store nothing.
const NULL_BYTES: u64 = 250 << 30;
/// The stripe's chunk unless told otherwise.
const CHUNK_BYTES: u32 = 65_536;
/// Largest chunk the original takes.
const CHUNK_BYTES_MAX: u32 = 512 << 10;

/// A target, and what its device is to be beyond what follows from it.
pub(super) struct Chosen {
    pub(super) name: &'static str,
    pub(super) server: ServerBuilder,
    pub(super) params: fn(ParamsBuilder) -> ParamsBuilder,
    /// The server is to die with a queue half fetched.
    pub(super) die_during_fetch: bool,
}

/// Makes the target that was asked for.
pub(super) fn choose(options: &Options) -> Result<Chosen, Failure> {
    let chosen = match options.target.as_str() {
        "null" => null(options),
        "loop" => file(options),
        "stripe" => stripe(options),
        "fault_inject" => fault(options),
        other => Err(Failure::usage(format!("there is no target {other:?}"))),
    }?;
    if options.auto_zc_fallback && chosen.name != "null" {
        return Err(Failure::usage(format!("{} has no auto_zc_fallback", chosen.name)));
    }
    Ok(chosen)
}

/// The group of parameters for metadata beside the data.
pub(super) fn integrity(options: &Options) -> Option<IntegrityOptions> {
    let words = options.integrity;
    (words.metadata_size != 0).then(|| IntegrityOptions {
        metadata_bytes: words.metadata_size,
        checksum: words.checksum.unwrap_or_default(),
        tuple_offset_bytes: words.pi_offset,
        tag_bytes: words.tag_size,
        storage_checks: words.flags.contains(IntegrityFlags::CAP_INTEGRITY),
        reference_tag: words.flags.contains(IntegrityFlags::CAP_REFTAG),
        ..IntegrityOptions::default()
    })
}

fn null(options: &Options) -> Result<Chosen, Failure> {
    known(options, &[])?;
    Ok(Chosen {
        name: "null",
        server: Server::builder(NullTarget::untouched(NULL_BYTES)),
        // What test_generic_03 reads back from sysfs.
        params: |params| {
            units(params).dma_alignment_bytes(4096).segments(SegmentLimits {
                boundary_bytes: 4096,
                max_segment_bytes: 32 << 10,
                max_segments: 32,
            })
        },
        die_during_fetch: false,
    })
}

fn file(options: &Options) -> Result<Chosen, Failure> {
    known(options, &[])?;
    let wanted = if options.integrity.metadata_size == 0 { 1 } else { 2 };
    let [path, ..] = options.files.as_slice() else {
        return Err(Failure::usage("loop needs a backing file"));
    };
    if options.files.len() != wanted {
        let given = options.files.len();
        return Err(Failure::usage(format!("loop needs {wanted} backing files, {given} given")));
    }
    let data = open(path)?;
    let server = match (integrity(options), options.files.get(1)) {
        (Some(metadata), Some(path)) => {
            // Metadata is at any byte, which O_DIRECT is not for.
            let store = FileTarget::open(FileOptions::new(path)).map_err(Failure::failed)?;
            let target = MetadataTarget::new(data, store, metadata).map_err(Failure::usage)?;
            Server::builder(target)
        }
        _ => Server::builder(data),
    };
    Ok(Chosen {
        name: "loop",
        server,
        params: |params| units(params).dma_alignment_bytes(512),
        die_during_fetch: false,
    })
}

fn stripe(options: &Options) -> Result<Chosen, Failure> {
    known(options, &["chunk_size"])?;
    let chunk_bytes = number(options, "chunk_size")?.unwrap_or(CHUNK_BYTES);
    if chunk_bytes > CHUNK_BYTES_MAX {
        return Err(Failure::usage(format!("invalid chunk size {chunk_bytes}")));
    }
    if options.integrity.metadata_size != 0 {
        return Err(Failure::usage("stripe has no metadata"));
    }
    let members: Result<Vec<FileTarget>, Failure> =
        options.files.iter().map(|path| open(path)).collect();
    let target = StripeTarget::new(members?, chunk_bytes).map_err(Failure::usage)?;
    Ok(Chosen {
        name: "stripe",
        server: Server::builder(target),
        params: units,
        die_during_fetch: false,
    })
}

/// Does nothing, after a while; requests wait side by side.
struct Delayed(Duration);

impl AsyncTarget for Delayed {
    fn size_bytes(&self) -> u64 {
        NULL_BYTES
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ignores_data: true, ..Capabilities::default() }
    }

    async fn handle(&self, request: &AsyncRequest) -> io::Result<()> {
        request.sleep(self.0).await
    }
}

fn fault(options: &Options) -> Result<Chosen, Failure> {
    known(options, &["delay_us", "die_during_fetch"])?;
    let delay_us: u64 = number(options, "delay_us")?.unwrap_or(0);
    let die: u64 = number(options, "die_during_fetch")?.unwrap_or(0);
    Ok(Chosen {
        name: "fault_inject",
        server: Server::builder_async(Delayed(Duration::from_micros(delay_us))),
        params: units,
        die_during_fetch: die != 0,
    })
}

/// Block and I/O units of all of them.
fn units(params: ParamsBuilder) -> ParamsBuilder {
    params.logical_block_bytes(512).physical_block_bytes(4096).io_opt_bytes(4096)
}

fn open(path: &Path) -> Result<FileTarget, Failure> {
    FileTarget::open(FileOptions::new(path).direct(true)).map_err(Failure::failed)
}

/// Refuses options that the target does not have.
fn known(options: &Options, names: &[&str]) -> Result<(), Failure> {
    match options.of_target.iter().find(|(name, _)| !names.contains(&name.as_str())) {
        Some((name, _)) => {
            let target = &options.target;
            Err(Failure::usage(format!("neither kublk nor {target} has an option {name}")))
        }
        None => Ok(()),
    }
}

fn number<T: std::str::FromStr>(options: &Options, name: &str) -> Result<Option<T>, Failure> {
    let Some((_, text)) = options.of_target.iter().rfind(|(found, _)| found == name) else {
        return Ok(None);
    };
    let parsed = text.parse();
    parsed.map(Some).map_err(|_| Failure::usage(format!("{name} cannot be {text:?}")))
}
