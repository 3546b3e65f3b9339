//! Metadata for any target: what an application, or the kernel for it, sends along with its data goes to a second
//! target. It is also how to see what the kernel's checks are worth: change a byte of either behind its back.

mod store;

use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thiserror::Error;

use super::{
    Capabilities, Checksum, CommitDecision, Finished, IntegrityOptions, IntegrityTarget, Target,
};
use store::Store;

/// What is under one lock at a time. A request within it is atomic; of a longer one each such part is.
const STRETCH_BYTES: u64 = 1 << 20;
/// Stretches that are that many apart share a lock.
const LOCKS: usize = 64;
/// The logical block's limit, and so the interval's.
const INTERVAL_BYTES_MAX: u32 = 64 << 10;

/// Why there is no such target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataTargetError {
    /// No metadata at all.
    #[error("metadata of 0 bytes is none, give 1 to 255 bytes or serve the data alone")]
    Empty,
    /// An interval that no device can have.
    #[error(
        "an interval of {interval_bytes} bytes is impossible, give a power of two from 512 to {INTERVAL_BYTES_MAX}"
    )]
    Interval {
        /// What was asked for.
        interval_bytes: u32,
    },
    /// The second target is too small.
    #[error("the metadata needs {wanted_bytes} bytes, and its target has {size_bytes}")]
    Room {
        /// The metadata of all data.
        wanted_bytes: u64,
        /// What there is.
        size_bytes: u64,
    },
}

/// A target, and another one that keeps its metadata.
///
/// The metadata of interval `n` is at byte `n * metadata_bytes` of the second target, which must take reads and
/// writes at any byte: a [`RamTarget`](super::RamTarget), a [`FileTarget`](super::FileTarget) that is not `direct`.
/// Where there is a checksum it is kept inverted. What was never written, was given back, or was written without
/// metadata, then reads as all ones, which the kernel does not check, and takes no room in a sparse target.
///
/// What was flushed survives a crash with the metadata that belongs to it. What was not may fail the check after
/// it: two targets are not written at the same instant.
#[derive(Debug)]
pub struct MetadataTarget<D, M> {
    data: D,
    store: Store<M>,
    options: IntegrityOptions,
    interval_bytes: u32,
    locks: Box<[RwLock<()>]>,
}

/// A part of a request that is under one lock.
struct Stretch {
    lock: usize,
    /// Where it begins in the request.
    done: usize,
    len: usize,
}

fn stretches(offset: u64, len: usize) -> impl Iterator<Item = Stretch> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let len = (STRETCH_BYTES - at % STRETCH_BYTES).min((len - done) as u64) as usize;
        let stretch = Stretch { lock: (at / STRETCH_BYTES) as usize % LOCKS, done, len };
        done += len;
        (len > 0).then_some(stretch)
    })
}

impl<D: Target, M: Target> MetadataTarget<D, M> {
    /// `data`, with metadata of that kind in `metadata`. The interval is the smallest block that `data` serves
    /// unless given.
    ///
    /// # Errors
    /// [`MetadataTargetError`]. The rest of the options is checked when the device's parameters are built.
    pub fn new(
        data: D,
        metadata: M,
        options: IntegrityOptions,
    ) -> Result<Self, MetadataTargetError> {
        if options.metadata_bytes == 0 {
            return Err(MetadataTargetError::Empty);
        }
        let block_bytes = data.capabilities().logical_block_bytes_min.max(512);
        let interval_bytes = options.interval_bytes.unwrap_or(block_bytes);
        if !interval_bytes.is_power_of_two()
            || !(512..=INTERVAL_BYTES_MAX).contains(&interval_bytes)
        {
            return Err(MetadataTargetError::Interval { interval_bytes });
        }
        let options = IntegrityOptions { interval_bytes: Some(interval_bytes), ..options };
        let size_bytes = metadata.size_bytes();
        let store = Store { target: metadata, inverted: options.checksum != Checksum::None };
        let locks = (0..LOCKS).map(|_| RwLock::default()).collect();
        let whole = Self { data, store, options, interval_bytes, locks };
        let wanted_bytes = whole.metadata_at(whole.data.size_bytes());
        if wanted_bytes > size_bytes {
            return Err(MetadataTargetError::Room { wanted_bytes, size_bytes });
        }
        Ok(whole)
    }

    /// The target below.
    pub fn data(&self) -> &D {
        &self.data
    }

    /// The target with the metadata.
    pub fn metadata(&self) -> &M {
        &self.store.target
    }

    /// Where the metadata for an offset of the data begins.
    fn metadata_at(&self, offset: u64) -> u64 {
        self.options.metadata_len_bytes(offset)
    }

    /// Data and metadata of a lock have no state of their own that a panic could have left half changed.
    fn for_read(&self, lock: usize) -> RwLockReadGuard<'_, ()> {
        self.locks[lock].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn for_write(&self, lock: usize) -> RwLockWriteGuard<'_, ()> {
        self.locks[lock].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears a range of the data by `clear`, and forgets its metadata. Everybody else waits: a range may be as long
    /// as the disk, and all others hold one lock at most.
    fn clear(
        &self,
        offset: u64,
        len: u64,
        clear: impl FnOnce(&D) -> io::Result<()>,
    ) -> io::Result<()> {
        let _all: Vec<_> = (0..LOCKS).map(|lock| self.for_write(lock)).collect();
        clear(&self.data)?;
        self.store.forget(self.metadata_at(offset), self.metadata_at(len))
    }

    /// Refuses what is no whole number of intervals, or has metadata of another length.
    fn check(&self, offset: u64, data_len: usize, metadata_len: usize) -> io::Result<()> {
        let interval = u64::from(self.interval_bytes);
        let whole = offset.is_multiple_of(interval) && (data_len as u64).is_multiple_of(interval);
        if whole && self.metadata_at(data_len as u64) == metadata_len as u64 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
    }

    /// A stretch's part of a request's metadata.
    fn part(&self, stretch: &Stretch) -> std::ops::Range<usize> {
        let start = self.metadata_at(stretch.done as u64) as usize;
        start..start + self.metadata_at(stretch.len as u64) as usize
    }
}

impl<D: Target, M: Target> Target for MetadataTarget<D, M> {
    fn size_bytes(&self) -> u64 {
        self.data.size_bytes()
    }

    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        let wanted = self.metadata_at(size_bytes);
        if wanted > self.store.target.size_bytes() {
            self.store.target.resize(wanted)?;
        }
        self.data.resize(size_bytes)
    }

    fn capabilities(&self) -> Capabilities {
        let (data, metadata) = (self.data.capabilities(), self.store.target.capabilities());
        let flush = data.flush || metadata.flush;
        Capabilities {
            flush,
            fua: flush && (data.fua || !data.flush) && (metadata.fua || !metadata.flush),
            read_only: data.read_only || metadata.read_only,
            extents: false,
            ignores_data: false,
            logical_block_bytes_min: data.logical_block_bytes_min.max(self.interval_bytes),
            ..data
        }
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.data.read(offset_bytes, buffer)
    }

    /// Without metadata: what there was is not this data's, so it is forgotten.
    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        self.check(offset_bytes, data.len(), self.metadata_at(data.len() as u64) as usize)?;
        let below = self.data.capabilities().fua;
        for stretch in stretches(offset_bytes, data.len()) {
            let Stretch { lock, done, len } = stretch;
            let at = offset_bytes + done as u64;
            let _lock = self.for_write(lock);
            self.data.write(at, &data[done..done + len], fua && below)?;
            self.store.forget(self.metadata_at(at), self.metadata_at(len as u64))?;
        }
        if fua && self.store.target.capabilities().flush {
            self.store.target.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&self) -> io::Result<()> {
        if self.data.capabilities().flush {
            self.data.flush()?;
        }
        if self.store.target.capabilities().flush { self.store.target.flush() } else { Ok(()) }
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        self.clear(offset_bytes, len_bytes, |data| data.discard(offset_bytes, len_bytes))
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        self.clear(offset_bytes, len_bytes, |data| {
            data.write_zeroes(offset_bytes, len_bytes, may_unmap)
        })
    }

    fn integrity(&self) -> Option<&dyn IntegrityTarget> {
        Some(self)
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        self.data.before_commit(finished)
    }
}

impl<D: Target, M: Target> IntegrityTarget for MetadataTarget<D, M> {
    fn options(&self) -> IntegrityOptions {
        self.options
    }

    fn read_with_metadata(
        &self,
        offset_bytes: u64,
        data: &mut [u8],
        metadata: &mut [u8],
    ) -> io::Result<()> {
        self.check(offset_bytes, data.len(), metadata.len())?;
        for stretch in stretches(offset_bytes, data.len()) {
            let at = offset_bytes + stretch.done as u64;
            let _lock = self.for_read(stretch.lock);
            self.data.read(at, &mut data[stretch.done..stretch.done + stretch.len])?;
            self.store.load(self.metadata_at(at), &mut metadata[self.part(&stretch)])?;
        }
        Ok(())
    }

    fn write_with_metadata(
        &self,
        offset_bytes: u64,
        data: &[u8],
        metadata: &[u8],
        fua: bool,
    ) -> io::Result<()> {
        self.check(offset_bytes, data.len(), metadata.len())?;
        let below = self.data.capabilities().fua;
        for stretch in stretches(offset_bytes, data.len()) {
            let at = offset_bytes + stretch.done as u64;
            let _lock = self.for_write(stretch.lock);
            let bytes = &data[stretch.done..stretch.done + stretch.len];
            self.data.write(at, bytes, fua && below)?;
            self.store.store(self.metadata_at(at), &metadata[self.part(&stretch)], fua)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
