//! What a target can do, as one value: the device's parameters follow from it, so that a device never
//! promises what its target does not keep.

use serde::{Deserialize, Serialize};

/// What a target can do beyond reading and writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// It has a volatile cache, and [`flush`](super::Target::flush) empties it. Without it every write
    /// counts as durable when it returns, and the kernel sends no flush.
    pub flush: bool,
    /// A single write can be made durable. Means nothing without `flush`.
    pub fua: bool,
    /// Ranges can be discarded.
    pub discard: bool,
    /// Ranges can be zeroed without sending the zeroes.
    pub write_zeroes: bool,
    /// It cannot be written.
    pub read_only: bool,
    /// Seeks cost; the kernel then prefers sequential I/O.
    pub rotational: bool,
    /// It can say where its bytes are ([`extents`](super::Target::extents)), so that zero copy can serve it.
    pub extents: bool,
    /// It neither looks at what is written nor fills what is read, so that nothing need be moved for it.
    pub ignores_data: bool,
    /// The smallest logical block it can serve, in bytes, a power of two. 512 unless the storage below
    /// is coarser, as a file opened with O_DIRECT may be.
    pub logical_block_bytes_min: u32,
    /// The unit in which discard frees storage, in bytes; 0 for the logical block.
    pub discard_granularity_bytes: u32,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            flush: false,
            fua: false,
            discard: false,
            write_zeroes: false,
            read_only: false,
            rotational: false,
            extents: false,
            ignores_data: false,
            logical_block_bytes_min: 512,
            discard_granularity_bytes: 0,
        }
    }
}
