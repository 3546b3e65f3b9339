//! A sparse ramdisk that is sound: the reference ramdisk of another library aliases mutable slices of
//! one mapping per tag, and locking the whole disk for each request would make queues pointless. Here
//! storage comes in chunks behind one lock per region, allocated on the first write and freed again by
//! discard.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

use thiserror::Error;

use super::{Capabilities, Target};

/// What one allocation holds; also the granularity in which discard frees.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks under one lock.
const CHUNKS_PER_REGION: usize = 64;
const REGION_BYTES: u64 = (CHUNK_BYTES * CHUNKS_PER_REGION) as u64;
/// Regions that are made together, on the first write to one of them: 16 GiB of disk. Miri makes each by
/// hand, and is given few.
const REGIONS_PER_SHELF: usize = if cfg!(miri) { 16 } else { 4096 };
const SHELF_BYTES: u64 = REGION_BYTES * REGIONS_PER_SHELF as u64;
/// Above this the table of regions alone would take hundreds of MiB.
const SIZE_BYTES_MAX: u64 = if cfg!(miri) { 1 << 30 } else { 64 << 40 };

/// Why there is no such ramdisk.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RamTargetError {
    /// The size is 0 or above what the table can hold.
    #[error("a ramdisk of {size_bytes} bytes is impossible, give 1 to {SIZE_BYTES_MAX} bytes")]
    Size {
        /// The size asked for.
        size_bytes: u64,
    },
}

/// An allocated chunk, or none while it reads as zeroes.
type Chunk = Option<Box<[u8]>>;

/// The chunks under one lock; empty until the first write.
#[derive(Debug, Default)]
struct Region {
    chunks: Vec<Chunk>,
}

/// Regions that are made together; none until the first request to one of them.
type Shelf = OnceLock<Box<[RwLock<Region>]>>;

/// A sparse ramdisk.
///
/// A request that lies inside one region of 4 MiB is atomic to other requests; one that spans regions
/// is atomic in each. It has no volatile cache: what is written is as durable as the process.
#[derive(Debug)]
pub struct RamTarget {
    size_bytes: AtomicU64,
    /// Room for the largest disk, so that one that grows need not move while it is served.
    shelves: Box<[Shelf]>,
}

/// The part of a request that falls into one chunk.
struct Piece {
    chunk: usize,
    /// Where it begins in the chunk.
    start: usize,
    /// Where it begins in the request.
    done: u64,
    len: usize,
}

impl RamTarget {
    /// A ramdisk of that size which reads as zeroes and holds no storage yet.
    ///
    /// # Errors
    /// [`RamTargetError::Size`] for no bytes at all or more than 64 TiB.
    pub fn new(size_bytes: u64) -> Result<Self, RamTargetError> {
        if size_bytes == 0 || size_bytes > SIZE_BYTES_MAX {
            return Err(RamTargetError::Size { size_bytes });
        }
        let shelves = (0..SIZE_BYTES_MAX / SHELF_BYTES).map(|_| OnceLock::new()).collect();
        Ok(Self { size_bytes: AtomicU64::new(size_bytes), shelves })
    }

    /// Bytes of storage held now.
    pub fn allocated_bytes(&self) -> u64 {
        let chunks = |region: &RwLock<Region>| {
            let region = region.read().unwrap_or_else(PoisonError::into_inner);
            region.chunks.iter().flatten().count() as u64
        };
        let regions = self.shelves.iter().filter_map(OnceLock::get).flatten();
        regions.map(chunks).sum::<u64>() * CHUNK_BYTES as u64
    }

    fn region(&self, number: u64) -> &RwLock<Region> {
        let (shelf, place) =
            (number as usize / REGIONS_PER_SHELF, number as usize % REGIONS_PER_SHELF);
        let make = || (0..REGIONS_PER_SHELF).map(|_| RwLock::default()).collect();
        &self.shelves[shelf].get_or_init(make)[place]
    }

    /// The regions a range touches, each with the range's part in it: region, offset in the region,
    /// offset in the request, bytes.
    fn split(
        &self,
        offset: u64,
        len: u64,
    ) -> io::Result<impl Iterator<Item = (&RwLock<Region>, u64, u64, u64)>> {
        let end = offset.checked_add(len).filter(|end| *end <= self.size_bytes());
        let Some(end) = end else {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        };
        let mut at = offset;
        Ok(std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let inside = at % REGION_BYTES;
            let part = (REGION_BYTES - inside).min(end - at);
            let item = (self.region(at / REGION_BYTES), inside, at - offset, part);
            at += part;
            Some(item)
        }))
    }

    /// Zeroes a range; whole chunks are freed where `free` allows it.
    fn clear(&self, offset: u64, len: u64, free: bool) -> io::Result<()> {
        for (region, inside, done, part) in self.split(offset, len)? {
            let mut region = region.write().unwrap_or_else(PoisonError::into_inner);
            for piece in pieces(inside, done, part) {
                let Some(slot) = region.chunks.get_mut(piece.chunk) else { continue };
                if free && piece.len == CHUNK_BYTES {
                    *slot = None;
                } else if let Some(chunk) = slot {
                    chunk[piece.start..piece.start + piece.len].fill(0);
                }
            }
            if free && region.chunks.iter().all(Option::is_none) {
                region.chunks = Vec::new();
            }
        }
        Ok(())
    }
}

/// Cuts a range of a region into its chunks.
fn pieces(inside: u64, done: u64, part: u64) -> impl Iterator<Item = Piece> {
    let (mut at, end) = (inside as usize, (inside + part) as usize);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let start = at % CHUNK_BYTES;
        let len = (CHUNK_BYTES - start).min(end - at);
        let done = done + (at as u64 - inside);
        let piece = Piece { chunk: at / CHUNK_BYTES, start, done, len };
        at += len;
        Some(piece)
    })
}

impl Target for RamTarget {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Grows; what is added reads as zeroes.
    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        if size_bytes < self.size_bytes() || size_bytes > SIZE_BYTES_MAX {
            let message = "a ramdisk can only grow, up to 64 TiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.size_bytes.fetch_max(size_bytes, Ordering::Relaxed);
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            discard: true,
            write_zeroes: true,
            discard_granularity_bytes: CHUNK_BYTES as u32,
            ..Capabilities::default()
        }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (region, inside, done, part) in self.split(offset_bytes, buffer.len() as u64)? {
            let region = region.read().unwrap_or_else(PoisonError::into_inner);
            for piece in pieces(inside, done, part) {
                let to = &mut buffer[piece.done as usize..][..piece.len];
                match region.chunks.get(piece.chunk).and_then(Option::as_ref) {
                    Some(chunk) => to.copy_from_slice(&chunk[piece.start..][..piece.len]),
                    None => to.fill(0),
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
        for (region, inside, done, part) in self.split(offset_bytes, data.len() as u64)? {
            let mut region = region.write().unwrap_or_else(PoisonError::into_inner);
            if region.chunks.is_empty() {
                region.chunks.resize_with(CHUNKS_PER_REGION, || None);
            }
            for piece in pieces(inside, done, part) {
                let from = &data[piece.done as usize..][..piece.len];
                let chunk = region.chunks[piece.chunk]
                    .get_or_insert_with(|| vec![0; CHUNK_BYTES].into_boxed_slice());
                chunk[piece.start..][..piece.len].copy_from_slice(from);
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.clear(offset_bytes, len_bytes, true)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.clear(offset_bytes, len_bytes, may_unmap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_follows_writes_and_discards() {
        let disk = RamTarget::new(1 << 40).unwrap();
        assert_eq!(disk.allocated_bytes(), 0);
        disk.write((1 << 40) - 512, &[7; 512], false).unwrap();
        assert_eq!(disk.allocated_bytes(), CHUNK_BYTES as u64);
        // A discard that does not cover the chunk frees nothing, and yet reads as zeroes.
        disk.discard((1 << 40) - 512, 512).unwrap();
        assert_eq!(disk.allocated_bytes(), CHUNK_BYTES as u64);
        let mut back = [1; 512];
        disk.read((1 << 40) - 512, &mut back).unwrap();
        assert_eq!(back, [0; 512]);
        disk.discard((1 << 40) - CHUNK_BYTES as u64, CHUNK_BYTES as u64).unwrap();
        assert_eq!(disk.allocated_bytes(), 0);
    }

    #[test]
    fn write_zeroes_without_unmap_keeps_the_storage() {
        let disk = RamTarget::new(1 << 20).unwrap();
        disk.write(0, &[7; 1 << 20], false).unwrap();
        disk.write_zeroes(0, 1 << 20, false).unwrap();
        assert_eq!(disk.allocated_bytes(), 1 << 20);
        disk.write_zeroes(0, 1 << 20, true).unwrap();
        assert_eq!(disk.allocated_bytes(), 0);
    }

    #[test]
    fn what_reaches_over_the_end_is_an_error() {
        let disk = RamTarget::new(1000).unwrap();
        assert!(disk.read(999, &mut [0; 2]).is_err());
        assert!(disk.write(u64::MAX, &[0; 2], false).is_err());
        assert!(disk.discard(0, 1001).is_err());
        assert!(disk.read(999, &mut [0; 1]).is_ok());
    }

    #[test]
    fn a_disk_that_grows_keeps_its_bytes_and_adds_zeroes() {
        let disk = RamTarget::new(1 << 20).unwrap();
        disk.write((1 << 20) - 512, &[7; 512], false).unwrap();
        disk.resize(1 << 40).unwrap();
        assert_eq!(disk.size_bytes(), 1 << 40);
        let mut back = [1; 1024];
        disk.read((1 << 20) - 512, &mut back).unwrap();
        assert_eq!((back[0], back[511], back[512]), (7, 7, 0));
        disk.write((1 << 40) - 512, &[8; 512], false).unwrap();
        disk.resize(1 << 20).unwrap_err();
        disk.resize(u64::MAX).unwrap_err();
        assert_eq!(disk.size_bytes(), 1 << 40);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert_eq!(RamTarget::new(0).unwrap_err(), RamTargetError::Size { size_bytes: 0 });
        assert!(RamTarget::new(u64::MAX).is_err());
    }
}
