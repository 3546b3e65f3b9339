//! RAID-0: one device over several, a chunk of each in turn. It works over any target, files for use and
//! ramdisks for tests, and shows how a target is made of targets.

use std::fs::File;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::{Capabilities, Extent, Extents, Op, Target};

/// The smallest and the largest chunk. Below a page every request would be torn apart, and above this
/// only one member would ever be busy.
const CHUNK_BYTES: std::ops::RangeInclusive<u32> = 4096..=1 << 30;

/// Why there is no such stripe.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StripeTargetError {
    /// There is nothing to stripe over.
    #[error("a stripe needs at least 2 members, {members} given")]
    Members {
        /// How many there are.
        members: usize,
    },
    /// The chunk is no power of two, or too small or large.
    #[error("a chunk of {bytes} bytes is not a power of two from {min} to {max}",
        min = CHUNK_BYTES.start(), max = CHUNK_BYTES.end())]
    Chunk {
        /// What was asked for.
        bytes: u32,
    },
    /// A member cannot be cut where the chunk ends.
    #[error(
        "a chunk of {chunk_bytes} bytes is finer than the {unit_bytes} bytes member {member} needs"
    )]
    FinerThanMember {
        /// Which member, from 0.
        member: usize,
        /// What it needs: its logical block, or the unit of its discard.
        unit_bytes: u32,
        /// What was asked for.
        chunk_bytes: u32,
    },
    /// A member does not even hold one chunk.
    #[error("member {member} has {size_bytes} bytes, less than one chunk of {chunk_bytes}")]
    TooSmall {
        /// Which member, from 0.
        member: usize,
        /// Its size.
        size_bytes: u64,
        /// The chunk.
        chunk_bytes: u32,
    },
}

/// A stripe over `T`s. Each gives as many whole chunks as the smallest has.
///
/// One request is served by one thread, member after member: what a stripe gains, it gains from requests
/// in flight together, and in zero copy, where the kernel serves all extents of a request at once.
#[derive(Debug)]
pub struct StripeTarget<T> {
    members: Vec<T>,
    chunk_bytes: u64,
    size_bytes: u64,
    /// For each member, where its files begin in the list of all files.
    files_before: Vec<usize>,
}

impl<T: Target> StripeTarget<T> {
    /// Stripes over `members`, in that order, which has to be the same each time.
    ///
    /// # Errors
    /// [`StripeTargetError`].
    pub fn new(members: Vec<T>, chunk_bytes: u32) -> Result<Self, StripeTargetError> {
        if members.len() < 2 {
            return Err(StripeTargetError::Members { members: members.len() });
        }
        if !chunk_bytes.is_power_of_two() || !CHUNK_BYTES.contains(&chunk_bytes) {
            return Err(StripeTargetError::Chunk { bytes: chunk_bytes });
        }
        let mut chunks_each = u64::MAX;
        for (member, target) in members.iter().enumerate() {
            let Capabilities { logical_block_bytes_min, discard_granularity_bytes, .. } =
                target.capabilities();
            for unit_bytes in [logical_block_bytes_min, discard_granularity_bytes] {
                if unit_bytes != 0 && !chunk_bytes.is_multiple_of(unit_bytes) {
                    let wrong =
                        StripeTargetError::FinerThanMember { member, unit_bytes, chunk_bytes };
                    return Err(wrong);
                }
            }
            let size_bytes = target.size_bytes();
            chunks_each = chunks_each.min(size_bytes / u64::from(chunk_bytes));
            if chunks_each == 0 {
                return Err(StripeTargetError::TooSmall { member, size_bytes, chunk_bytes });
            }
        }
        let chunk_bytes = u64::from(chunk_bytes);
        let size_bytes = (chunks_each * chunk_bytes).saturating_mul(members.len() as u64);
        let mut files_before = Vec::with_capacity(members.len());
        let mut files = 0;
        for member in &members {
            files_before.push(files);
            files += member.files().len();
        }
        Ok(Self { members, chunk_bytes, size_bytes, files_before })
    }

    /// Serves no more than that, if the members allow more: rows are whole, sizes need not be.
    #[must_use]
    pub fn at_most(mut self, size_bytes: u64) -> Self {
        self.size_bytes = self.size_bytes.min(size_bytes);
        self
    }

    /// The bytes of one row: a chunk of each member.
    fn row_bytes(&self) -> u64 {
        self.chunk_bytes * self.members.len() as u64
    }

    /// Cuts a range of the device at the chunks: which member, where in it, how many bytes.
    fn pieces(&self, offset: u64, len: u64) -> impl Iterator<Item = (usize, u64, u64)> {
        let (mut at, end) = (offset, offset.saturating_add(len));
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (row, in_row) = (at / self.row_bytes(), at % self.row_bytes());
            let in_chunk = in_row % self.chunk_bytes;
            let len = (self.chunk_bytes - in_chunk).min(end - at);
            at += len;
            Some(((in_row / self.chunk_bytes) as usize, row * self.chunk_bytes + in_chunk, len))
        })
    }

    /// The part of a range of the device that lies on each member, as one range: a member's chunks are
    /// neighbours on it. A discard of gigabytes is then one call for each member, not one for each chunk.
    fn ranges(&self, offset: u64, len: u64) -> impl Iterator<Item = (&T, u64, u64)> {
        // How many of the device's first `at` bytes are on that member.
        let before = move |member: u64, at: u64| {
            let in_row = (at % self.row_bytes()).saturating_sub(member * self.chunk_bytes);
            at / self.row_bytes() * self.chunk_bytes + in_row.min(self.chunk_bytes)
        };
        self.members.iter().zip(0..).filter_map(move |(target, member)| {
            let start = before(member, offset);
            let len = before(member, offset.saturating_add(len)) - start;
            (len > 0).then_some((target, start, len))
        })
    }
}

impl<T: Target> Target for StripeTarget<T> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What all members can; what one member needs.
    fn capabilities(&self) -> Capabilities {
        let each = || self.members.iter().map(Target::capabilities);
        Capabilities {
            flush: each().any(|c| c.flush),
            // One that has no cache keeps every promise at once.
            fua: each().all(|c| c.fua || !c.flush),
            discard: each().all(|c| c.discard),
            write_zeroes: each().all(|c| c.write_zeroes),
            read_only: each().any(|c| c.read_only),
            rotational: each().any(|c| c.rotational),
            extents: each().all(|c| c.extents),
            ignores_data: each().all(|c| c.ignores_data),
            logical_block_bytes_min: each().map(|c| c.logical_block_bytes_min).max().unwrap_or(512),
            discard_granularity_bytes: each()
                .map(|c| c.discard_granularity_bytes)
                .max()
                .unwrap_or(0),
        }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut rest = buffer;
        for (member, at, len) in self.pieces(offset_bytes, rest.len() as u64) {
            let (part, behind) = rest.split_at_mut(len as usize);
            self.members[member].read(at, part)?;
            rest = behind;
        }
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        let mut rest = data;
        for (member, at, len) in self.pieces(offset_bytes, data.len() as u64) {
            let (part, behind) = rest.split_at(len as usize);
            self.members[member].write(at, part, fua)?;
            rest = behind;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        // All of them, whatever one says: the others' data is worth keeping.
        let cached = self.members.iter().filter(|member| member.capabilities().flush);
        let flushed: Vec<_> = cached.map(Target::flush).collect();
        flushed.into_iter().collect()
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.ranges(offset_bytes, len_bytes)
            .try_for_each(|(target, at, len)| target.discard(at, len))
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.ranges(offset_bytes, len_bytes)
            .try_for_each(|(target, at, len)| target.write_zeroes(at, len, may_unmap))
    }

    fn files(&self) -> Vec<Arc<File>> {
        self.members.iter().flat_map(Target::files).collect()
    }

    fn extents(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u32,
        extents: &mut Extents,
    ) -> io::Result<()> {
        let mut part = Extents::new();
        for (member, at, len) in self.pieces(offset_bytes, u64::from(len_bytes)) {
            part.clear();
            // A piece is no longer than the request.
            self.members[member].extents(op, at, len as u32, &mut part)?;
            for extent in part.as_slice() {
                extents.push(Extent { file: self.files_before[member] + extent.file, ..*extent });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
