//! Does each ready target do what its name says, seen from the block device and from the files below?

mod answers;
mod checksum;
mod cow;
mod fault;
mod file;
mod integrity;
mod metadata;
mod scratch;
mod stripe;
mod zoned;

use crate::Scenario;
use crate::block::{AlignedBuffer, BlockDevice};
use crate::context::Stop;
use crate::oracle::Reference;
use crate::process::ServerProcess;
use crate::signature::{SECTOR_BYTES, fill};

/// The group, in the order in which it is run.
pub const SCENARIOS: &[&[Scenario]] = &[
    file::SCENARIOS,
    stripe::SCENARIOS,
    cow::SCENARIOS,
    fault::SCENARIOS,
    answers::SCENARIOS,
    zoned::SCENARIOS,
    integrity::SCENARIOS,
    metadata::SCENARIOS,
];

/// `ublkbN`, as sysfs calls it.
fn name_of(server: &ServerProcess) -> String {
    format!("ublkb{}", server.live.id)
}

/// Signatures of that generation for a place.
fn signed(offset_bytes: u64, len_bytes: usize, generation: u64, seed: u64) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len_bytes);
    fill(&mut buffer, offset_bytes / SECTOR_BYTES as u64, generation, seed);
    buffer
}

/// Writes signatures to the device and to what it should be.
fn write_both(
    device: &BlockDevice,
    reference: &Reference,
    offset_bytes: u64,
    bytes: &[u8],
) -> Result<(), Stop> {
    device.write_at(offset_bytes, bytes)?;
    reference.write(offset_bytes, bytes)
}
