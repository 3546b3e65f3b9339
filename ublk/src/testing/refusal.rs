//! What a block layer would never send to a device, told to whoever writes the test: a target that is
//! never asked cannot be right or wrong.

use std::io;

use thiserror::Error;

use super::Request;
use crate::target::{Capabilities, Op};
use crate::uapi::{Attrs, IoFlags, ParamTypes, Params, SECTOR_BYTES};

/// Why a request was not sent to the target. It is inside of an [`io::Error`] of the kind `InvalidInput`
/// without an errno.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Not whole logical blocks.
    #[error(
        "{op} of {len_bytes} bytes at {offset_bytes} is not in whole logical blocks of {block_bytes} bytes"
    )]
    Unaligned {
        /// The operation.
        op: Op,
        /// Where.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
        /// The device's logical block.
        block_bytes: u64,
    },
    /// Behind the end.
    #[error("{op} of {len_bytes} bytes at {offset_bytes} is not inside of the disk's {size_bytes}")]
    OutOfRange {
        /// The operation.
        op: Op,
        /// Where.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
        /// The device's size.
        size_bytes: u64,
    },
    /// Nothing at all.
    #[error("the block layer sends no {op} of 0 bytes")]
    Empty {
        /// The operation.
        op: Op,
    },
    /// More than the parameters allow in one request.
    #[error("{op} of {len_bytes} bytes is sent in pieces of {max_bytes} bytes at most")]
    TooLong {
        /// The operation.
        op: Op,
        /// How many bytes.
        len_bytes: u64,
        /// The device's limit.
        max_bytes: u64,
    },
    /// Over a border that the parameters let no request cross.
    #[error(
        "{op} of {len_bytes} bytes at {offset_bytes} is sent in pieces that cross no multiple of {chunk_bytes}"
    )]
    CrossesChunk {
        /// The operation.
        op: Op,
        /// Where.
        offset_bytes: u64,
        /// How many bytes.
        len_bytes: u64,
        /// The device's chunk, or zone.
        chunk_bytes: u64,
    },
    /// The device cannot be written.
    #[error("the disk is read-only, so the kernel never sends a {op}")]
    ReadOnly {
        /// The operation.
        op: Op,
    },
    /// The target does not say that it can do that.
    #[error("the target does not say Capabilities::{capability}, so the kernel never sends {what}")]
    Unable {
        /// The request.
        what: &'static str,
        /// What it would have to say.
        capability: &'static str,
    },
    /// There are no zones.
    #[error("the target has no zones (Target::zoned), so the kernel never sends a {op}")]
    NoZones {
        /// The operation.
        op: Op,
    },
    /// There is no zone that begins there.
    #[error("{op} at {offset_bytes}: zones begin at multiples of {zone_bytes}")]
    NotAZone {
        /// The operation.
        op: Op,
        /// Where.
        offset_bytes: u64,
        /// A zone's length.
        zone_bytes: u64,
    },
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refused)
    }
}

/// The limits of a device, as its parameters tell them to the block layer.
#[derive(Debug)]
pub(super) struct Limits<'a> {
    pub(super) params: &'a Params,
    pub(super) capabilities: Capabilities,
}

impl Limits<'_> {
    /// The most bytes of one request of a kind, where the block layer splits it.
    pub(super) fn max_bytes(&self, op: Op) -> u64 {
        let sectors = match op {
            Op::Discard => self.params.discard.max_discard_sectors,
            Op::WriteZeroes => self.params.discard.max_write_zeroes_sectors,
            Op::ZoneAppend => self.params.zoned.max_zone_append_sectors,
            _ => self.params.basic.max_sectors,
        };
        u64::from(sectors) * SECTOR_BYTES
    }

    /// The border that no read or write crosses.
    pub(super) fn chunk_bytes(&self) -> Option<u64> {
        let sectors = self.params.basic.chunk_sectors;
        (sectors != 0).then(|| u64::from(sectors) * SECTOR_BYTES)
    }

    fn zone_bytes(&self) -> Option<u64> {
        self.chunk_bytes().filter(|_| self.params.types.contains(ParamTypes::ZONED))
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.params.basic.dev_sectors * SECTOR_BYTES
    }

    /// Whether the device is one to which such a request is ever sent, wherever it is.
    pub(super) fn check_kind(&self, op: Op, flags: IoFlags) -> Result<(), Refused> {
        let attrs = self.params.basic.attrs;
        if !matches!(op, Op::Read | Op::ReportZones | Op::Flush) && attrs.contains(Attrs::READ_ONLY)
        {
            return Err(Refused::ReadOnly { op });
        }
        let able = |able, what, capability| {
            if able { Ok(()) } else { Err(Refused::Unable { what, capability }) }
        };
        match op {
            Op::Flush => able(attrs.contains(Attrs::VOLATILE_CACHE), "a FLUSH", "flush"),
            Op::Discard => able(self.capabilities.discard, "a DISCARD", "discard"),
            Op::WriteZeroes => {
                able(self.capabilities.write_zeroes, "a WRITE_ZEROES", "write_zeroes")
            }
            Op::Write if flags.contains(IoFlags::FUA) => {
                able(attrs.contains(Attrs::FUA), "a WRITE with FUA", "{flush, fua}")
            }
            Op::Read | Op::Write => Ok(()),
            _ => self.zone_bytes().map(drop).ok_or(Refused::NoZones { op }),
        }
    }

    /// Whether that very request is ever sent.
    pub(super) fn check(&self, request: &Request) -> Result<(), Refused> {
        let Request { op, offset_bytes, len, flags, .. } = *request;
        self.check_kind(op, flags)?;
        match op {
            Op::Flush | Op::ZoneResetAll => return Ok(()),
            Op::ZoneOpen | Op::ZoneClose | Op::ZoneFinish | Op::ZoneReset => {
                return self.check_zone(op, offset_bytes);
            }
            Op::ReportZones => {
                self.check_zone(op, offset_bytes)?;
                return self.check_len(op, len, request.data_len_bytes(), self.max_bytes(op));
            }
            Op::ZoneAppend => self.check_zone(op, offset_bytes)?,
            _ => {}
        }
        self.check_range(op, offset_bytes, len)?;
        self.check_len(op, len, len, self.max_bytes(op))?;
        match self.chunk_bytes() {
            Some(chunk_bytes)
                if matches!(op, Op::Read | Op::Write | Op::ZoneAppend)
                    && offset_bytes % chunk_bytes + len > chunk_bytes =>
            {
                Err(Refused::CrossesChunk { op, offset_bytes, len_bytes: len, chunk_bytes })
            }
            _ => Ok(()),
        }
    }

    fn check_len(&self, op: Op, len: u64, len_bytes: u64, max_bytes: u64) -> Result<(), Refused> {
        if len == 0 {
            return Err(Refused::Empty { op });
        }
        if len_bytes > max_bytes {
            return Err(Refused::TooLong { op, len_bytes, max_bytes });
        }
        Ok(())
    }

    /// Whether it is whole blocks, all of them on the disk.
    pub(super) fn check_range(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u64,
    ) -> Result<(), Refused> {
        let block_bytes = 1_u64 << self.params.basic.logical_bs_shift;
        if !offset_bytes.is_multiple_of(block_bytes) || !len_bytes.is_multiple_of(block_bytes) {
            return Err(Refused::Unaligned { op, offset_bytes, len_bytes, block_bytes });
        }
        let size_bytes = self.size_bytes();
        if offset_bytes.checked_add(len_bytes).is_none_or(|end| end > size_bytes) {
            return Err(Refused::OutOfRange { op, offset_bytes, len_bytes, size_bytes });
        }
        Ok(())
    }

    fn check_zone(&self, op: Op, offset_bytes: u64) -> Result<(), Refused> {
        let zone_bytes = self.zone_bytes().ok_or(Refused::NoZones { op })?;
        let size_bytes = self.size_bytes();
        if !offset_bytes.is_multiple_of(zone_bytes) {
            return Err(Refused::NotAZone { op, offset_bytes, zone_bytes });
        }
        if offset_bytes >= size_bytes {
            return Err(Refused::OutOfRange { op, offset_bytes, len_bytes: 0, size_bytes });
        }
        Ok(())
    }
}
