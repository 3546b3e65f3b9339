//! What a block device does with its bytes: the [`Target`] trait, and the ready targets.
//!
//! This is the only thing most users of the crate write, so it asks for nothing but bytes at an offset:
//! no tag, no ring, no sector arithmetic, no `unsafe`. A ramdisk:
//!
//! ```
//! use std::{io, sync::RwLock};
//! use ublk::target::Target;
//!
//! struct Ramdisk(RwLock<Vec<u8>>);
//!
//! impl Target for Ramdisk {
//!     fn size_bytes(&self) -> u64 {
//!         self.0.read().unwrap().len() as u64
//!     }
//!     fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
//!         let at = offset_bytes as usize;
//!         buffer.copy_from_slice(&self.0.read().unwrap()[at..at + buffer.len()]);
//!         Ok(())
//!     }
//!     fn write(&self, offset_bytes: u64, data: &[u8], _fua: bool) -> io::Result<()> {
//!         let at = offset_bytes as usize;
//!         self.0.write().unwrap()[at..at + data.len()].copy_from_slice(data);
//!         Ok(())
//!     }
//! }
//!
//! let disk = Ramdisk(RwLock::new(vec![0; 1 << 20]));
//! disk.write(512, b"ublk", false).unwrap();
//! let mut back = [0; 4];
//! disk.read(512, &mut back).unwrap();
//! assert_eq!(&back, b"ublk");
//! ```

mod async_target;
mod capabilities;
mod cow;
mod decision;
mod errno;
mod extent;
mod fault;
mod file;
mod hints;
mod integrity;
mod metadata;
mod null;
mod ram;
mod stripe;
mod zone;
mod zoned;

use std::fs::File;
use std::io;
use std::sync::Arc;

pub use async_target::AsyncTarget;
pub use capabilities::Capabilities;
pub use cow::{
    CLUSTER_BYTES_DEFAULT, CLUSTER_BYTES_MAX, CLUSTER_BYTES_MIN, CowTarget, CowTargetError,
};
pub use decision::{CommitDecision, Finished};
pub use errno::errno_of;
pub use extent::{Extent, Extents};
pub use fault::{DELAY_MAX, Fault, FaultRule, FaultRuleError, FaultTarget};
pub use file::{FileOptions, FileTarget, FileTargetError};
pub use hints::Hints;
pub use integrity::{Checksum, IntegrityOptions, IntegrityTarget};
pub use metadata::{MetadataTarget, MetadataTargetError};
pub use null::NullTarget;
pub use ram::{RamTarget, RamTargetError};
pub use stripe::{StripeTarget, StripeTargetError};
pub use zone::{Zone, ZoneAction, ZoneCondition, ZoneGeometry, ZonedTarget};
pub use zoned::{ZonedRamError, ZonedRamOptions, ZonedRamTarget};

pub use crate::uapi::Op;

/// The bytes behind a block device.
///
/// One value serves all queues at once, each from its own thread: methods take `&self`, and two calls
/// that overlap may run in any order, as on any disk. Ranges are always inside `0..size_bytes()` and
/// aligned to the logical block; a request that is not is answered by the queue and never gets here.
///
/// An error becomes the application's errno ([`errno_of`]); a panic is caught, fails the request with
/// EIO, and the device lives on.
pub trait Target: Send + Sync {
    /// Size of the device in bytes. Read when the device is configured, and again where a request reaches behind
    /// it; a remainder that does not fill a logical block is not served.
    fn size_bytes(&self) -> u64;

    /// Becomes a target of another size: grows its storage, or agrees to be asked for less. Called while requests
    /// are served, before the disk grows and after it has shrunk. `size_bytes` is whole logical blocks.
    ///
    /// # Errors
    /// Why the device must keep its size; EOPNOTSUPP by default.
    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        let _ = size_bytes;
        Err(errno::unsupported())
    }

    /// What the target can do beyond reading and writing; the device's parameters follow from it.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Fills all of `buffer` from `offset_bytes`.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Stores all of `data` at `offset_bytes`. With `fua` it must be durable on return; that is asked
    /// for only when [`Capabilities::fua`] is set.
    ///
    /// # Errors
    /// Whatever the application should see.
    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()>;

    /// What is called for each read: [`read`](Self::read) with what its sender says about it. The default does not
    /// listen, and neither do the ready targets that put several others together.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn read_hinted(&self, offset_bytes: u64, buffer: &mut [u8], hints: Hints) -> io::Result<()> {
        let _ = hints;
        self.read(offset_bytes, buffer)
    }

    /// What is called for each write: [`write`](Self::write) with what its sender says about it, as
    /// [`read_hinted`](Self::read_hinted).
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn write_hinted(
        &self,
        offset_bytes: u64,
        data: &[u8],
        fua: bool,
        hints: Hints,
    ) -> io::Result<()> {
        let _ = hints;
        self.write(offset_bytes, data, fua)
    }

    /// Makes every write that has returned durable. Called only with [`Capabilities::flush`].
    ///
    /// # Errors
    /// Whatever the application should see; EOPNOTSUPP by default.
    fn flush(&self) -> io::Result<()> {
        Err(errno::unsupported())
    }

    /// Forgets a range. What it reads as afterwards is up to the target. Called only with
    /// [`Capabilities::discard`].
    ///
    /// # Errors
    /// Whatever the application should see; EOPNOTSUPP by default.
    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        let _ = (offset_bytes, len_bytes);
        Err(errno::unsupported())
    }

    /// Makes a range read as zeroes; without `may_unmap` its storage must stay reserved. Called only
    /// with [`Capabilities::write_zeroes`].
    ///
    /// # Errors
    /// Whatever the application should see; EOPNOTSUPP by default.
    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        let _ = (offset_bytes, len_bytes, may_unmap);
        Err(errno::unsupported())
    }

    /// The files that [`extents`](Self::extents) speaks of. Asked once by each thread that serves; what is
    /// named by its index here must stay the same file.
    fn files(&self) -> Vec<Arc<File>> {
        Vec::new()
    }

    /// Where a range is in [`files`](Self::files): for a read where its bytes are to be taken from, for a
    /// write where they are to be put. Called instead of [`read`](Self::read) and [`write`](Self::write),
    /// only with [`Capabilities::extents`], where data moves without passing through this process (zero
    /// copy); it must lead to the same bytes. With `fua` the kernel makes the write durable.
    ///
    /// # Errors
    /// Whatever the application should see; EOPNOTSUPP by default.
    fn extents(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u32,
        extents: &mut Extents,
    ) -> io::Result<()> {
        let _ = (op, offset_bytes, len_bytes, extents);
        Err(errno::unsupported())
    }

    /// The door to its zones, where it has some: the device is then a host-managed zoned one.
    fn zoned(&self) -> Option<&dyn ZonedTarget> {
        None
    }

    /// The door to its metadata, where it keeps some: the device then has integrity metadata. Available since
    /// Linux 7.0.
    fn integrity(&self) -> Option<&dyn IntegrityTarget> {
        None
    }

    /// A seam for fault injection: called with the result of each request before it goes to the kernel.
    /// The default commits it. Tests of a harness override it to lie, or to never answer; nothing else
    /// should.
    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        CommitDecision::Commit(finished.result)
    }
}

impl<T: Target + ?Sized> Target for std::sync::Arc<T> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn resize(&self, size_bytes: u64) -> io::Result<()> {
        (**self).resize(size_bytes)
    }

    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn read(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read(offset_bytes, buffer)
    }

    fn write(&self, offset_bytes: u64, data: &[u8], fua: bool) -> io::Result<()> {
        (**self).write(offset_bytes, data, fua)
    }

    fn read_hinted(&self, offset_bytes: u64, buffer: &mut [u8], hints: Hints) -> io::Result<()> {
        (**self).read_hinted(offset_bytes, buffer, hints)
    }

    fn write_hinted(
        &self,
        offset_bytes: u64,
        data: &[u8],
        fua: bool,
        hints: Hints,
    ) -> io::Result<()> {
        (**self).write_hinted(offset_bytes, data, fua, hints)
    }

    fn flush(&self) -> io::Result<()> {
        (**self).flush()
    }

    fn discard(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<()> {
        (**self).discard(offset_bytes, len_bytes)
    }

    fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64, may_unmap: bool) -> io::Result<()> {
        (**self).write_zeroes(offset_bytes, len_bytes, may_unmap)
    }

    fn files(&self) -> Vec<Arc<File>> {
        (**self).files()
    }

    fn extents(
        &self,
        op: Op,
        offset_bytes: u64,
        len_bytes: u32,
        extents: &mut Extents,
    ) -> io::Result<()> {
        (**self).extents(op, offset_bytes, len_bytes, extents)
    }

    fn zoned(&self) -> Option<&dyn ZonedTarget> {
        (**self).zoned()
    }

    fn integrity(&self) -> Option<&dyn IntegrityTarget> {
        (**self).integrity()
    }

    fn before_commit(&self, finished: &Finished) -> CommitDecision {
        (**self).before_commit(finished)
    }
}
